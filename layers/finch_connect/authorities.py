"""Writes the root certificates of AWS's endpoints, taken from certifi's bundle. The Makefile calls it.

AWS documents that its endpoints need the Amazon Trust Services roots (AWS: security in Amazon Trust Services). Parsing
five roots instead of 140 saves 11 ms of CPU for each client on a cold start (docs/performance.md). Finch's roots are
never restricted: that client reads all of certifi.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOTS = (
    "Amazon Root CA 1",
    "Amazon Root CA 2",
    "Amazon Root CA 3",
    "Amazon Root CA 4",
    "Starfield Services Root Certificate Authority - G2",
)

_CERTIFICATE = r'# Label: "{label}"\n(?:#.*\n)*(-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----\n)'


def amazon_roots(bundle: str) -> str:
    """Return the five roots as PEM. Raises ValueError if certifi does not have one of them under its name."""
    found = {label: re.search(_CERTIFICATE.format(label=re.escape(label)), bundle) for label in ROOTS}
    missing = [label for label, match in found.items() if match is None]
    if missing:
        raise ValueError(f"certifi has no {', '.join(missing)}")
    return "".join(f"# {label}\n{match[1]}" for label, match in found.items() if match)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    roots = amazon_roots((folder / "certifi" / "cacert.pem").read_text())
    (folder / "finch_connect" / "amazon-root-cas.pem").write_text(roots)
