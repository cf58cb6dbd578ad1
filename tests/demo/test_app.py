"""Northwind: what a team's app has to do with receipts and events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient

from cli.signing import ReceiptError
from local.demo.app import OUTCOMES, WAITING_SECONDS, create_app
from local.settings import SettingsError, demo_settings


class World:
    """The app's outside: what was signed, what a receipt says, and the events so far."""

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

    def happened(self, kind: str, customer: str, **detail: Any) -> None:
        base = {"event_id": str(len(self.events)), "customer_id": customer, "flow_id": "flow-1"}
        shown = {"occurred_at": "2026-01-15T12:00:00.000+00:00", "connection_id": "c-1", "provider_id": "gusto"}
        self.events.insert(0, {"detail-type": kind, "detail": {**base, **shown, "products": ["company"], **detail}})


@pytest.fixture
def world() -> World:
    """What the app sees of the world."""
    return World()


@pytest.fixture
def northwind(world: World) -> FlaskClient:
    """A browser at the app."""
    app = create_app(sign=world.sign, verify=world.verify, events=lambda: world.events, clock=lambda: world.now)
    return app.test_client()


def test_the_button_leads_to_a_link_for_who_is_logged_in(northwind: FlaskClient, world: World) -> None:
    """With a nonce of this session."""
    northwind.post("/customer", data={"customer": "globex"})
    answer = northwind.post("/connect-payroll")
    assert (answer.status_code, answer.location) == (303, "https://connect.example.com/connect?link=signed")
    ((customer, name, nonce),) = world.signed
    assert (customer, name) == ("globex", "Globex Corporation")
    assert len(nonce) >= 20


@pytest.mark.parametrize("status", OUTCOMES)
def test_each_outcome_is_said_in_words(northwind: FlaskClient, world: World, status: str) -> None:
    """And the receipt does not stay in the address."""
    world.status = status
    northwind.post("/connect-payroll")
    back = northwind.get("/connected?finch_receipt=receipt-of-acme")
    assert (back.status_code, back.location) == (303, "/")
    assert OUTCOMES[status][1] in northwind.get("/").text.replace("&#39;", "'")


def test_a_receipt_about_another_customer_is_not_believed(northwind: FlaskClient) -> None:
    """Somebody sent this customer another's way back."""
    northwind.post("/connect-payroll")
    answer = northwind.get("/connected?finch_receipt=receipt-of-globex")
    assert answer.status_code == 400
    assert "about another customer" in answer.text


def test_a_receipt_without_a_start_is_not_believed(northwind: FlaskClient) -> None:
    """The nonce is of the session that pressed the button."""
    assert northwind.get("/connected?finch_receipt=receipt-of-acme").status_code == 400


def test_the_list_shows_what_the_events_say_of_this_customer(northwind: FlaskClient, world: World) -> None:
    """Of nobody else; each connection once, newest event first."""
    arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:finch/local/connections/c-1-AbCd12"
    world.happened("Connection Established", "acme", secret_arn=arn)
    world.happened("Connection Reauthorized", "acme", secret_arn=arn)
    world.happened("Connection Established", "globex", connection_id="c-2", provider_id="workday")
    text = northwind.get("/").text
    assert text.count("finch/local/connections/c-1<") == 1
    assert "Renewed" in text
    assert "15 Jan 2026, 12:00:00 UTC" in text
    assert "Connection Reauthorized" in text
    assert "workday" not in text


def test_while_its_event_is_on_the_way_the_page_looks_again(northwind: FlaskClient, world: World) -> None:
    """Only right after the way back, and only until it is there."""
    assert "refresh" not in northwind.get("/").text
    northwind.post("/connect-payroll")
    northwind.get("/connected?finch_receipt=receipt-of-acme")
    assert "refresh" in northwind.get("/").text
    world.happened("Connection Established", "acme")
    assert "refresh" not in northwind.get("/").text


def test_the_page_does_not_look_for_ever(northwind: FlaskClient, world: World) -> None:
    """An event that is late shows when the person looks again."""
    northwind.post("/connect-payroll")
    northwind.get("/connected?finch_receipt=receipt-of-acme")
    world.now += WAITING_SECONDS
    text = northwind.get("/").text
    assert "refresh" not in text
    assert "Look again" in text
    world.happened("Connection Established", "acme")
    assert "Look again" not in northwind.get("/").text


def test_a_new_start_waits_for_nothing_from_before(northwind: FlaskClient) -> None:
    """Its outcome and its event are still to come."""
    northwind.post("/connect-payroll")
    northwind.get("/connected?finch_receipt=receipt-of-acme")
    northwind.post("/connect-payroll")
    text = northwind.get("/").text
    assert "refresh" not in text
    assert "Your payroll is connected" not in text


@pytest.mark.parametrize("path", ["/", "/connected?finch_receipt=forged"])
def test_a_page_is_kept_nowhere_and_loads_nothing(northwind: FlaskClient, path: str) -> None:
    """No script, nobody else's file, and no receipt in a Referer."""
    answer = northwind.get(path)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text


def test_what_an_event_says_is_text_on_the_page(northwind: FlaskClient, world: World) -> None:
    """Never markup."""
    world.happened("Connection Established", "acme", provider_id="<b>gusto</b>")
    assert "&lt;b&gt;gusto&lt;/b&gt;" in northwind.get("/").text


def test_another_customer_starts_with_nothing(northwind: FlaskClient, world: World) -> None:
    """Switching logs out."""
    northwind.post("/connect-payroll")
    northwind.get("/connected?finch_receipt=receipt-of-acme")
    northwind.post("/customer", data={"customer": "initech"})
    assert "Your payroll is connected" not in northwind.get("/").text


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"PORT": "http"}, "PORT=http is no port"),
        ({"PORT": "70000"}, "PORT=70000 is no port"),
        ({"CONNECT_MODE": "both"}, "static or session"),
        ({"FINCH_CLIENT_ID": "x"}, "set both"),
        ({"FINCH_CLIENT_SECRET": "x"}, "set both"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(environment: dict[str, str], says: str) -> None:
    """With what to do instead."""
    with pytest.raises(SettingsError, match=says):
        demo_settings(environment)


def test_settings_have_defaults() -> None:
    """Port 3000, the simulator, until Ctrl-C."""
    settings = demo_settings({})
    assert (settings.port, settings.once, settings.mode, settings.real) == (3000, False, "static", None)
    assert demo_settings({"DEMO_ONCE": "1", "FINCH_CLIENT_ID": "a", "FINCH_CLIENT_SECRET": "b"}).real == ("a", "b")
