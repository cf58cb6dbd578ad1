"""`make demo`: starts the stack on this machine, makes one connection step by step, then stays up for you to try.

PORT sets another port than 3000. DEMO_ONCE=1 ends the demo after that connection. CONNECT_MODE=session uses the other
form of the redirect. With FINCH_CLIENT_ID and FINCH_CLIENT_SECRET in the environment, the demo uses the real Finch
sandbox, and you make the connection yourself.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import requests

from cli.signing import ReceiptError, sign_link, verify_receipt
from local.browser import Browser
from local.demo.app import CUSTOMERS, create_app
from local.demo.inbox import Inbox
from local.engine import LocalStack, RunningStack
from local.engine.supervised import EngineError
from local.settings import DemoSettings, SettingsError, demo_settings
from local.simulator import Simulator
from local.simulator.person import approve

EVENT_SECONDS = 30.0
BY_HAND_SECONDS = 600.0
INTERRUPTED = 130
"""The shell's exit code for Ctrl-C, because the one connection of DEMO_ONCE was not made."""

PRODUCTS = "company directory individual employment payment pay_statement"
_SECRET_PARAMETERS = frozenset({"state", "code", "link", "finch_receipt", "session"})


class Terminal:
    """Prints for a person: steps with the time elapsed, facts in columns, and styles only on a terminal."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._bold, self._dim, self._plain = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")

    def step(self, what: str) -> None:
        """Print the current step with the time elapsed."""
        elapsed = time.monotonic() - self._began
        print(f"{self._dim}{elapsed:6.1f} s{self._plain}  {what}", flush=True)

    def title(self, what: str) -> None:
        """Print the heading of a section."""
        print(f"\n{self._bold}{what}{self._plain}", flush=True)

    def facts(self, facts: Mapping[str, object]) -> None:
        """Print names and values in columns."""
        width = max(map(len, facts), default=0)
        for name, value in facts.items():
            print(f"   {name:<{width}}  {value}", flush=True)


def run(settings: DemoSettings, terminal: Terminal) -> int:
    """Run the demo; return the exit code. Raises EngineError."""
    with contextlib.ExitStack() as cleanup:
        terminal.title("Starting the stack on this machine")
        finch = None if settings.real else cleanup.enter_context(Simulator())
        local = cleanup.enter_context(LocalStack.start(auth=True, echo=terminal.step))
        stack = local.deploy(
            client_secret=settings.real[1] if settings.real else _simulated(finch).client_secret,
            parameters=lambda url: _parameters(url, settings, finch),
            port=settings.port,
        )
        inbox = cleanup.enter_context(Inbox(stack.client("sqs"), stack.queue_url))
        stack.api_gateway.serve_app(_app(stack, inbox))
        terminal.step("Ready")
        if finch is not None:
            finch.redirect_uris.add(f"{stack.public_url}/callback")
            made = _connect_or_explain(stack, inbox, terminal)
        else:
            made = _connect_by_hand(stack, inbox, terminal, wait=settings.once)
        if settings.once:
            return 0 if made else 1
        terminal.title(f"Your turn: open {stack.public_url}/")
        print("   Log in at the provider with smallco / letmein. Press Ctrl-C to stop everything.\n", flush=True)
        threading.Event().wait()
    return 0


def _parameters(url: str, settings: DemoSettings, finch: Simulator | None) -> Mapping[str, str]:
    given = {"AllowedProducts": PRODUCTS, "AllowedReturnUrls": f"{url}/connected", "ConnectMode": settings.mode}
    if settings.real:
        return {**given, "FinchClientId": settings.real[0], "AllowedProducts": "company directory"}
    return {**given, **_simulated(finch).parameters}


def _simulated(finch: Simulator | None) -> Simulator:
    if finch is None:
        raise EngineError("This demo uses the real Finch sandbox, so there is no simulator.")
    return finch


def _app(stack: RunningStack, inbox: Inbox) -> Any:
    kid, key = stack.link_key()

    def sign(customer_id: str, customer_name: str, nonce: str) -> str:
        return sign_link(
            connect_url=f"{stack.public_url}/connect",
            kid=kid,
            key=key,
            customer_id=customer_id,
            customer_name=customer_name,
            return_url=f"{stack.public_url}/connected",
            sandbox="true",
            nonce=nonce,
        )

    def verify(receipt: str, customer_id: str, nonce: str) -> Mapping[str, Any]:
        return verify_receipt(receipt, key=key, issuer=stack.public_url, customer_id=customer_id, nonce=nonce)

    return create_app(sign=sign, verify=verify, events=inbox.events)


def _connect_or_explain(stack: RunningStack, inbox: Inbox, terminal: Terminal) -> bool:
    try:
        return _connect_automatically(stack, inbox, terminal)
    except RuntimeError as error:  # from `approve`: Finch showed a page instead of redirecting
        return _report_failure(str(error), stack, "ConnectFunction")


def _connect_automatically(stack: RunningStack, inbox: Inbox, terminal: Terminal) -> bool:
    """Act as team, person and consumer once over HTTP. Print each step without secrets. Return whether it worked."""
    kid, key = stack.link_key()
    customer = next(iter(CUSTOMERS))
    browser, person = Browser(), Browser()
    terminal.title("1. The team signs a link for its customer")
    url = f"{stack.public_url}/connect"
    link = sign_link(
        connect_url=url,
        kid=kid,
        key=key,
        customer_id=customer,
        customer_name=CUSTOMERS[customer],
        return_url=f"{stack.public_url}/connected",
    )
    signed = jwt.decode(dict(parse_qsl(urlsplit(link).query))["link"], options={"verify_signature": False})
    terminal.facts({"link": f"{url}?link=***", **{f"  {name}": value for name, value in signed.items()}})

    terminal.title("2. The browser opens the link and is redirected to Finch")
    started = browser.get(link)
    if started.location is None:
        return _report_failure(f"the link returned status {started.status}", stack, "ConnectFunction")
    terminal.facts(_shown(started.location))

    terminal.title("3. The person agrees, chooses a provider and logs in. Finch redirects the browser back")
    callback = approve(person, started.location)
    terminal.facts(_shown(callback))

    terminal.title("4. The callback claims the flow's row, exchanges the code and stores the token")
    finished = browser.get(callback)
    if finished.location is None:
        return _report_failure(f"the callback returned status {finished.status}", stack, "CallbackFunction")
    try:
        receipt = verify_receipt(
            dict(parse_qsl(urlsplit(finished.location).query)).get("finch_receipt", ""),
            key=key,
            issuer=stack.public_url,
            customer_id=customer,
        )
    except ReceiptError as error:
        return _report_failure(f"the receipt is {error}", stack, "CallbackFunction")
    terminal.facts({**_shown(finished.location), "receipt's status": receipt["status"]})
    if receipt["status"] != "connected":
        return _report_failure(f"the receipt's status is {receipt['status']}", stack, "CallbackFunction")

    terminal.title("5. The event is on the team's queue")
    event = inbox.wait_for(str(receipt["flow_id"]), EVENT_SECONDS)
    if event is None:
        return _report_failure(f"no event arrived within {EVENT_SECONDS:.0f} s", stack, "RelayFunction")
    _show_event(event)

    terminal.title("6. The token is in the vault and nowhere else")
    secrets = stack.client("secretsmanager")
    described = secrets.describe_secret(SecretId=event["detail"]["secret_arn"])
    version = next(version for version, stages in described["VersionIdsToStages"].items() if "AWSCURRENT" in stages)
    terminal.facts({"secret": described["Name"], "version": version})
    return True


def _connect_by_hand(stack: RunningStack, inbox: Inbox, terminal: Terminal, *, wait: bool) -> bool:
    """Print how to connect through the real Finch sandbox. With `wait`, wait for the connection."""
    terminal.title("Make a connection through the real Finch sandbox")
    steps = {
        "1.": f"In Finch's dashboard, add the redirect URI {stack.public_url}/callback",
        "2.": f"Open {stack.public_url}/ and click 'Connect your payroll'",
        "3.": "Choose any provider and log in with smallco / letmein",
    }
    terminal.facts(steps)
    if not wait:
        return True
    event = inbox.wait_for(None, BY_HAND_SECONDS)
    if event is None:
        print(f"\nNo connection was made within {BY_HAND_SECONDS / 60:.0f} minutes.", file=sys.stderr)
        return False
    _show_event(event)
    return event["detail-type"] in {"Connection Established", "Connection Reauthorized"}


def _shown(url: str) -> dict[str, object]:
    """Return a URL's parts for printing, with *** for the value of each secret parameter."""
    split = urlsplit(url)
    parameters = {f"  {name}": "***" if name in _SECRET_PARAMETERS else value for name, value in parse_qsl(split.query)}
    return {"address": f"{split.scheme}://{split.netloc}{split.path}", **parameters}


def _show_event(event: Mapping[str, Any]) -> None:
    shown = {name: event[name] for name in ("detail-type", "source", "time", "detail")}
    print("   " + json.dumps(shown, indent=2).replace("\n", "\n   "), flush=True)


def _report_failure(why: str, stack: RunningStack, function: str) -> bool:
    print(f"\nThe connection was not made: {why}. The last lines of {function}'s log:", file=sys.stderr)
    print("\n".join(stack.logs(function)[-12:]), file=sys.stderr)
    return False


def main(
    start: Callable[[DemoSettings, Terminal], int] = run, settings_of: Callable[[], DemoSettings] = demo_settings
) -> int:
    """Run until the end or Ctrl-C. Return the exit code."""
    # Both signals end the demo through its context managers. A shell ignores SIGINT in a background job.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    once = False
    try:
        settings = settings_of()
        once = settings.once
        return start(settings, Terminal())
    except (EngineError, SettingsError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except requests.RequestException as error:
        # Only the class, because the text quotes the URL, which may contain a link or a code.
        print(f"\nThe local stack did not answer ({type(error).__name__}). Run `make demo` again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Nothing is left running.")
        return INTERRUPTED if once else 0


if __name__ == "__main__":
    sys.exit(main())
