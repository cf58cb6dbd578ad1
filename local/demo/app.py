"""Northwind, a SaaS team's app: its customers connect their payroll, and it shows the events it has received.

It does what a team's backend has to do: sign a link, verify that the receipt is about the customer who is logged in,
and consume the bus's events.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import Flask, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from cli.signing import ReceiptError

CUSTOMERS = {"acme": "Acme Inc", "globex": "Globex Corporation", "initech": "Initech"}

type Sign = Callable[[str, str, str], str]
"""Customer id, customer name, nonce -> a signed link."""

type Verify = Callable[[str, str, str], Mapping[str, Any]]
"""Receipt, customer id, nonce -> the receipt's claims. Raises ReceiptError."""

type Events = Callable[[], Sequence[Mapping[str, Any]]]
"""Returns all events so far, newest first."""

OUTCOMES = {
    "connected": ("good", "Your payroll is connected."),
    "denied": ("calm", "You chose not to connect. You can still connect at any time."),
    "failed": ("bad", "That didn't work. Please try again."),
    "orphaned": ("bad", "The connection could not be completed. Please try again."),
    "quarantined": ("calm", "Your sign-in worked, but something needs a second look. We will be in touch."),
}
WAITING_SECONDS = 60
"""The page refreshes by itself for this long. An event that arrives later shows when the page is opened again."""

_LIVE = {"Connection Established", "Connection Reauthorized"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the return URL carries a receipt
    "X-Content-Type-Options": "nosniff",
    # No form-action, because Chromium applies it to a form's redirects too, and the button's form redirects to Finch.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
}


def create_app(*, sign: Sign, verify: Verify, events: Events, clock: Callable[[], float] = time.time) -> Flask:
    """Return the app. The session cookie's key is new for each run. `clock` returns epoch seconds."""
    app = Flask(__name__)
    app.secret_key = secrets.token_bytes(32)
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    app.config["SESSION_COOKIE_NAME"] = "northwind"
    app.add_template_filter(_moment, "moment")
    app.add_template_filter(_secret_name, "secret_name")

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    @app.get("/")
    def home() -> str:
        customer = _customer()
        received = [event for event in events() if event["detail"]["customer_id"] == customer]
        awaited = session.get("awaited")
        missing = awaited is not None and not any(event["detail"]["flow_id"] == awaited for event in received)
        return render_template(
            "home.html",
            customers=CUSTOMERS,
            customer=customer,
            connections=_connections(received),
            events=received,
            outcome=OUTCOMES.get(session.get("outcome", "")),
            waiting=missing and clock() < session["awaited_until"],
            late=missing,
        )

    @app.post("/customer")
    def log_in() -> Response:
        chosen = request.form.get("customer", "")
        session.clear()
        session["customer"] = chosen if chosen in CUSTOMERS else "acme"
        return redirect(url_for("home"), 303)

    @app.post("/connect-payroll")
    def connect_payroll() -> Response:
        session["nonce"] = secrets.token_urlsafe(16)
        session.pop("outcome", None)
        session.pop("awaited", None)
        return redirect(sign(_customer(), CUSTOMERS[_customer()], session["nonce"]), 303)

    @app.get("/connected")
    def connected() -> Response | tuple[str, int]:
        try:
            receipt = verify(request.args.get("finch_receipt", ""), _customer(), session.get("nonce", ""))
        except ReceiptError as error:
            return render_template("error.html", message=str(error)), 400
        session["outcome"], session["awaited"] = receipt["status"], receipt["flow_id"]
        session["awaited_until"] = clock() + WAITING_SECONDS
        return redirect(url_for("home"), 303)

    return app


def _customer() -> str:
    return str(session.get("customer", "acme"))


def _connections(received: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the newest event of each connection, with `renewed` if that event renewed the connection."""
    newest: dict[str, Mapping[str, Any]] = {}
    for event in received:
        if event["detail-type"] in _LIVE:
            shown = {**event["detail"], "renewed": event["detail-type"] == "Connection Reauthorized"}
            newest.setdefault(event["detail"]["connection_id"], shown)
    return list(newest.values())


def _moment(occurred_at: str) -> str:
    """Format an event's time (ISO 8601, UTC) for a person, such as `15 Jan 2026, 12:04:05 UTC`."""
    return f"{datetime.fromisoformat(occurred_at):%-d %b %Y, %H:%M:%S} UTC"


def _secret_name(arn: str) -> str:
    """Return the name in a secret's ARN, without the hyphen and six characters that Secrets Manager appends."""
    return re.sub(r"-[A-Za-z0-9]{6}$", "", arn.rsplit(":secret:", maxsplit=1)[-1])
