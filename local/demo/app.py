"""Northwind, a SaaS team's app: its customers connect their payroll, and it shows what its systems were told.

It does what a team's backend has to do: sign a link, verify the receipt against the customer who is logged in, and
listen to the bus.
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
"""All events so far, the newest first."""

OUTCOMES = {
    "connected": ("good", "Your payroll is connected."),
    "denied": ("calm", "You chose not to connect. You can do so at any time."),
    "failed": ("bad", "That didn't work. Please try again."),
    "orphaned": ("bad", "The connection could not be completed. Please try again."),
    "quarantined": ("calm", "Your sign-in worked, but something needs a second look. We will be in touch."),
}
WAITING_SECONDS = 60
"""So long the page looks for the event by itself; an event that is later shows when the page is opened again."""

_LIVE = {"Connection Established", "Connection Reauthorized"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the way back carries a receipt
    "X-Content-Type-Options": "nosniff",
    # No form-action: Chromium holds a form's redirects to it too, and the button's lead to Finch.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
}


def create_app(*, sign: Sign, verify: Verify, events: Events, clock: Callable[[], float] = time.time) -> Flask:
    """Return the app; the session cookie's key is new for each run. `clock` returns epoch seconds."""
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
        heard = [event for event in events() if event["detail"]["customer_id"] == customer]
        awaited = session.get("awaited")
        missing = awaited is not None and not any(event["detail"]["flow_id"] == awaited for event in heard)
        return render_template(
            "home.html",
            customers=CUSTOMERS,
            customer=customer,
            connections=_connections(heard),
            events=heard,
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


def _connections(heard: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return what is connected now: the newest event of each connection, and whether it renewed it."""
    newest: dict[str, Mapping[str, Any]] = {}
    for event in heard:
        if event["detail-type"] in _LIVE:
            shown = {**event["detail"], "renewed": event["detail-type"] == "Connection Reauthorized"}
            newest.setdefault(event["detail"]["connection_id"], shown)
    return list(newest.values())


def _moment(occurred_at: str) -> str:
    """Return an event's time (ISO 8601, UTC) as a person reads it, such as `15 Jan 2026, 12:04:05 UTC`."""
    return f"{datetime.fromisoformat(occurred_at):%-d %b %Y, %H:%M:%S} UTC"


def _secret_name(arn: str) -> str:
    """Return the name in a secret's ARN, without the hyphen and six characters that Secrets Manager appends."""
    return re.sub(r"-[A-Za-z0-9]{6}$", "", arn.rsplit(":secret:", maxsplit=1)[-1])
