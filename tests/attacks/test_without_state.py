"""Rows 53 and 54: callbacks that prove nothing, and codes that are not used."""

from __future__ import annotations

import pytest

from local.engine import RunningStack
from local.simulator import Simulator
from tests.attacks.conftest import effects
from tests.attacks.test_answers import changed
from tests.canary import Visitor
from tests.conftest import Customer, Inbox, query_of, secret_versions


@pytest.fixture
def victim(session_stack: RunningStack, finch: Simulator) -> Customer:
    """A customer who is at Finch; Finch will not return the state."""
    finch.session_echoes_state = False
    return Customer(session_stack, finch)


@pytest.fixture
def session_inbox(session_stack: RunningStack) -> Inbox:
    """The consumer's queue of the session stack."""
    return Inbox(session_stack)


@pytest.mark.parametrize("query", ["error=access_denied", "", "error=server_error&code=made-up", "code=made-up"])
def test_53_without_a_state_an_error_or_nothing_changes_nothing(
    victim: Customer, finch: Simulator, session_inbox: Inbox, query: str
) -> None:
    """Another page leads the browser to the callback. The flow stays started, and the real callback connects."""
    callback = victim.approved()
    page = victim.come_back(f"{callback.partition('?')[0]}?{query}")
    assert (page.status, page.location) == (200, None)
    assert "Nothing has changed" in page.text
    assert victim.status() == "started"
    assert victim.receipt(victim.come_back(callback))["status"] == "connected"
    assert [event["detail-type"] for event in session_inbox.wait_for(victim)] == ["Connection Established"]


def test_53_without_a_state_an_attackers_code_leaves_the_flow_alone(
    victim: Customer, session_stack: RunningStack, finch: Simulator
) -> None:
    """The attacker's token is quarantined under an id of its own, and the victim's own code still connects."""
    attacker = Customer(session_stack, finch, username="largeco")
    callback, attackers_code = victim.approved(), query_of(attacker.approved())["code"]
    page = victim.come_back(changed(callback, code=attackers_code))
    assert (page.status, page.location) == (200, None)
    assert victim.status() == "started"
    names = [name for name in effects(session_stack, finch).secrets if name.startswith("finch/session/quarantine/")]
    assert names, "the attacker's token waits for a decision"
    assert not any(victim.flow_id in name or attacker.flow_id in name for name in names)
    receipt = victim.receipt(victim.come_back(callback))
    assert receipt["status"] == "connected"
    assert secret_versions(session_stack, f"finch/session/connections/{receipt['connection_id']}") == 1
    assert finch.calls_to("/disconnect") == []


def test_54_a_code_after_a_denial_is_reported_as_unused(customer: Customer, finch: Simulator) -> None:
    """The person denied in one tab and approved in another. The page says so, and offers the way back."""
    authorize_url = customer.start()
    approved = customer.approve(authorize_url)
    denied = changed(approved, remove="code", error="access_denied")
    assert customer.receipt(customer.come_back(denied))["status"] == "denied"
    page = customer.come_back(approved)
    assert (page.status, page.location) == (200, None)
    assert "was not used" in page.text
    assert f"{customer.stack.public_url}/connected?finch_receipt=" in page.text
    assert [call for call in finch.calls_to("/auth/token") if call.code == query_of(approved)["code"]] == []
    assert customer.receipt(customer.come_back(denied))["status"] == "denied", "a repetition is answered as before"
    assert Visitor().get(approved).status == 400
