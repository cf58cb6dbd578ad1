"""Northwind does with receipts and events what a team's app has to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient

from cli.signing import ReceiptError
from local.demo.app import OUTCOMES, WAITING_SECONDS, create_app
from local.settings import SettingsError, demo_settings

REFRESH = 'http-equiv="refresh"'


class Stack:
    """A fake of the stack behind the app: the links signed so far, a receipt's status, and the events so far."""

    def __init__(self) -> None:
        self.signed: list[tuple[str, str, str]] = []
        self.status = "connected"
        self.events: list[Mapping[str, Any]] = []
        self.now = 1_700_000_000.0

    def sign(self, customer: str, name: str, nonce: str) -> str:
        self.signed.append((customer, name, nonce))
        return "https://connect.example.com/connect?link=signed"

    def verify(self, receipt: str, customer: str, nonce: str) -> Mapping[str, Any]:
        if receipt != f"receipt-of-{customer}" or not self.signed or nonce != self.signed[-1][2]:
            raise ReceiptError("about another customer")
        return {"status": self.status, "flow_id": "flow-1"}

    def publish(self, kind: str, customer: str, **detail: Any) -> None:
        base = {"event_id": str(len(self.events)), "customer_id": customer, "flow_id": "flow-1"}
        shown = {"occurred_at": "2026-01-15T12:00:00.000+00:00", "connection_id": "c-1", "provider_id": "gusto"}
        self.events.insert(0, {"detail-type": kind, "detail": {**base, **shown, "products": ["company"], **detail}})


@pytest.fixture
def stack() -> Stack:
    """A fake stack."""
    return Stack()


@pytest.fixture
def northwind(stack: Stack) -> FlaskClient:
    """A browser that uses the app."""
    app = create_app(sign=stack.sign, verify=stack.verify, events=lambda: stack.events, clock=lambda: stack.now)
    return app.test_client()


def test_the_button_redirects_to_a_link_for_the_customer_who_is_logged_in(northwind: FlaskClient, stack: Stack) -> None:
    """The link is signed with a nonce of this session."""
    northwind.post("/customer", data={"customer": "globex"})
    answer = northwind.post("/connect-payroll")
    assert (answer.status_code, answer.location) == (303, "https://connect.example.com/connect?link=signed")
    ((customer, name, nonce),) = stack.signed
    assert (customer, name) == ("globex", "Globex Corporation")
    assert len(nonce) >= 20


@pytest.mark.parametrize("status", OUTCOMES)
def test_each_outcome_has_a_sentence(northwind: FlaskClient, stack: Stack, status: str) -> None:
    """The receipt does not stay in the page's URL."""
    stack.status = status
    northwind.post("/connect-payroll")
    back = northwind.get("/connected?finch_receipt=receipt-of-acme")
    assert (back.status_code, back.location) == (303, "/")
    assert OUTCOMES[status][1] in northwind.get("/").text.replace("&#39;", "'")


def test_a_receipt_about_another_customer_is_refused(northwind: FlaskClient) -> None:
    """Somebody sent this customer another customer's return URL."""
    northwind.post("/connect-payroll")
    answer = northwind.get("/connected?finch_receipt=receipt-of-globex")
    assert answer.status_code == 400
    assert "about another customer" in answer.text


def test_a_receipt_of_another_session_is_refused(northwind: FlaskClient) -> None:
    """The nonce belongs to the session in which the button was clicked."""
    assert northwind.get("/connected?finch_receipt=receipt-of-acme").status_code == 400


def test_the_page_shows_the_events_and_connections_of_this_customer(northwind: FlaskClient, stack: Stack) -> None:
    """It shows no other customer's, and each connection once, by its newest event."""
    arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:finch/local/connections/c-1-AbCd12"
    stack.publish("Connection Established", "acme", secret_arn=arn)
    stack.publish("Connection Reauthorized", "acme", secret_arn=arn)
    stack.publish("Connection Established", "globex", connection_id="c-2", provider_id="workday")
    text = northwind.get("/").text
    assert text.count("finch/local/connections/c-1<") == 1
    assert "Renewed" in text
    assert "15 Jan 2026, 12:00:00 UTC" in text
    assert "Connection Reauthorized" in text
    assert "workday" not in text


def test_the_page_refreshes_until_its_event_arrives(northwind: FlaskClient, stack: Stack) -> None:
    """It refreshes only after the return from Finch."""
    assert REFRESH not in northwind.get("/").text
    northwind.post("/connect-payroll")
    northwind.get("/connected?finch_receipt=receipt-of-acme")
    assert REFRESH in northwind.get("/").text
    stack.publish("Connection Established", "acme")
    assert REFRESH not in northwind.get("/").text


def test_the_page_stops_refreshing_after_a_minute(northwind: FlaskClient, stack: Stack) -> None:
    """An event that arrives later shows when the person refreshes the page."""
    northwind.post("/connect-payroll")
    northwind.get("/connected?finch_receipt=receipt-of-acme")
    stack.now += WAITING_SECONDS
    text = northwind.get("/").text
    assert REFRESH not in text
    assert "The event has not arrived yet" in text
    stack.publish("Connection Established", "acme")
    assert "The event has not arrived yet" not in northwind.get("/").text


def test_a_new_start_removes_the_outcome_of_the_one_before(northwind: FlaskClient) -> None:
    """The page neither shows the old outcome nor waits for the old event."""
    northwind.post("/connect-payroll")
    northwind.get("/connected?finch_receipt=receipt-of-acme")
    northwind.post("/connect-payroll")
    text = northwind.get("/").text
    assert REFRESH not in text
    assert "Your payroll is connected" not in text


@pytest.mark.parametrize("path", ["/", "/connected?finch_receipt=forged"])
def test_a_page_is_not_cached_and_loads_nothing(northwind: FlaskClient, path: str) -> None:
    """It has no script, loads no file of another site, and sends no receipt in a Referer."""
    answer = northwind.get(path)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text


def test_an_events_values_are_escaped(northwind: FlaskClient, stack: Stack) -> None:
    """Markup in an event is shown as text."""
    stack.publish("Connection Established", "acme", provider_id="<b>gusto</b>")
    assert "&lt;b&gt;gusto&lt;/b&gt;" in northwind.get("/").text


def test_another_customer_does_not_see_the_outcome(northwind: FlaskClient, stack: Stack) -> None:
    """Switching the customer ends the session."""
    northwind.post("/connect-payroll")
    northwind.get("/connected?finch_receipt=receipt-of-acme")
    northwind.post("/customer", data={"customer": "initech"})
    assert "Your payroll is connected" not in northwind.get("/").text


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PORT": "http"}, "PORT must be a number from 1 to 65535, not 'http'"),
        ({"PORT": "70000"}, "PORT must be a number from 1 to 65535, not '70000'"),
        ({"CONNECT_MODE": "both"}, "CONNECT_MODE must be static or session, not 'both'"),
        ({"FINCH_CLIENT_ID": "x"}, "set both"),
        ({"FINCH_CLIENT_SECRET": "x"}, "set both"),
    ],
)
def test_settings_that_cannot_work_are_refused(environment: dict[str, str], message: str) -> None:
    """The error names the variable and what would work."""
    with pytest.raises(SettingsError, match=message):
        demo_settings(environment)


def test_settings_have_defaults() -> None:
    """By default the demo uses port 3000 and the simulator, and runs until Ctrl-C."""
    settings = demo_settings({})
    assert (settings.port, settings.once, settings.mode, settings.real) == (3000, False, "static", None)
    assert demo_settings({"DEMO_ONCE": "1", "FINCH_CLIENT_ID": "a", "FINCH_CLIENT_SECRET": "b"}).real == ("a", "b")
