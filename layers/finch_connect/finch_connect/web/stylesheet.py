"""The pages' one style sheet, and the hash with which the Content-Security-Policy allows it."""

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5a6475; --ground: #f4f5f8; --card: #fff; --accent: #2750d8;
  --on-accent: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9ecf3; --soft: #a3adbf; --ground: #12151c; --card: #1c212b;
  --accent: #8aa6ff; --on-accent: #10131a; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--ground);
  color: var(--ink); font: 1.0625rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { width: 100%; max-width: 30rem; padding: 2.5rem; background: var(--card); border-radius: 1rem;
  box-shadow: 0 1px 2px rgb(0 0 0 / .08), 0 8px 32px rgb(0 0 0 / .08); }
h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.3; }
p { margin: 0 0 1rem; color: var(--soft); overflow-wrap: anywhere; }
p:last-child { margin-bottom: 0; }
strong { color: var(--ink); }
ul { margin: 0 0 1.25rem; padding-left: 1.25rem; color: var(--soft); }
button, .button { display: inline-block; width: 100%; padding: .8rem 1.25rem; border: 0; border-radius: .6rem;
  background: var(--accent); color: var(--on-accent); font: inherit; font-weight: 600; text-align: center;
  text-decoration: none; cursor: pointer; }
button:focus-visible, .button:focus-visible { outline: 3px solid var(--ink); outline-offset: 3px; }
form { margin: 1.5rem 0 1rem; }
"""

STYLE_HASH = "sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""The one inline style that the Content-Security-Policy allows."""
