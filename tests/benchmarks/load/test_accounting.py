"""The accounting finds each problem: consistent evidence has none, and each change of it has one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from benchmarks.load.accounting import Evidence, FinchConnection, Stored, account
from benchmarks.load.person import Customer, Intent, Journey, Shown
from finch_connect.adapters.bus import detail, detail_type
from finch_connect.domain.connection import Connection
from finch_connect.domain.flow import Flow, Status
from tests.flows import a_flow

MOMENT = datetime(2026, 1, 15, 12, tzinfo=UTC)


def customer(name: str) -> Customer:
    return Customer(name, "link-1", "http://localhost/connect?link=…", f"smallco+{name}", Intent.CONNECT)


def settled(of: Customer, status: Status, **facts: Any) -> Flow:
    """Return a flow's row after its event was published."""
    started = a_flow(flow_id=of.flow_id, customer_id=of.customer_id)
    return replace(started.settled(status, at=MOMENT, **facts), due_at=None, published_at=4)


def event(flow: Flow) -> dict[str, Any]:
    return {"detail-type": detail_type(flow), "detail": detail(flow)}


GOOD, DENIED, LOST, LEFT = customer("good"), customer("denied"), customer("lost"), customer("left")
ROWS = {
    flow.flow_id: flow
    for flow in (
        settled(GOOD, Status.CONNECTED, connection_id="c-1", secret_arn="arn:1"),
        settled(DENIED, Status.DENIED, reason="access_denied"),
        settled(LOST, Status.ORPHANED, reason="server_error"),
        settled(LEFT, Status.ABANDONED, reason="deadline_passed"),
    )
}
CONSISTENT = Evidence(
    journeys=[
        Journey(GOOD, Shown.CONNECTED, opened=True, connection_id="c-1"),
        Journey(DENIED, Shown.DENIED, opened=True),
        Journey(LOST, Shown.ORPHANED, opened=True),
        Journey(LEFT, Shown.LEFT, opened=True),
        Journey(customer("late"), Shown.TRY_AGAIN),
    ],
    flows=ROWS,
    connections={"c-1": Connection("c-1", "good", GOOD.flow_id, 1, "0" * 64, "finch/local/connections/c-1", None, ())},
    stored=[Stored("c-1", GOOD.flow_id, "good", known_to_finch=True)],
    quarantined=[],
    in_fallback=[],
    at_finch=[
        FinchConnection("c-1", GOOD.username, tokens=1, sent=1),
        FinchConnection("c-2", LOST.username, tokens=1, sent=1),
    ],
    events=[event(flow) for flow in ROWS.values()],
)


def row(of: Customer, **changed: Any) -> dict[str, Any]:
    """Return the rows with one row changed."""
    return {"flows": {**ROWS, of.flow_id: replace(ROWS[of.flow_id], **changed)}}


def shown(of: Customer, **changed: Any) -> dict[str, Any]:
    """Return the journeys with one journey changed."""
    return {"journeys": [replace(one, **changed) if one.customer == of else one for one in CONSISTENT.journeys]}


def test_consistent_evidence_has_no_problems() -> None:
    """Four outcomes and a person whose link never opened are counted without a problem."""
    done = account(CONSISTENT)
    assert done.problems == []
    assert (done.started, done.opened, done.secrets, done.tokens) == (5, 4, 1, 2)
    assert done.shown["orphaned"] == {"orphaned": 1}
    assert done.events == dict.fromkeys(map(detail_type, ROWS.values()), 1)


def test_an_event_delivered_twice_counts_once() -> None:
    """The bus delivers at least once."""
    done = account(replace(CONSISTENT, events=[*CONSISTENT.events, *CONSISTENT.events]))
    assert (done.problems, done.deliveries) == ([], 8)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"flows": {one: flow for one, flow in ROWS.items() if one != DENIED.flow_id}}, "was opened and has no row"),
        ({"journeys": CONSISTENT.journeys[1:]}, "belongs to no link"),
        (row(LOST, status=Status.CLAIMED), "is still claimed"),
        (row(GOOD, status=Status.UNSTORED), "is still unstored"),
        (row(DENIED, published_at=None), "not marked as published"),
        (row(DENIED, due_at=5), "not marked as published"),
        ({"connections": {"c-1": replace(CONSISTENT.connections["c-1"], leased_until=9)}}, "is still leased"),
        ({"in_fallback": ["attempt"]}, "is still in the fallback"),
        ({"quarantined": ["flow"]}, "was quarantined"),
        ({"events": CONSISTENT.events[1:]}, "has 0 events"),
        ({"events": [*CONSISTENT.events, event(replace(ROWS[DENIED.flow_id], state_hash="1" * 64))]}, "has 2 events"),
        ({"events": [*CONSISTENT.events, event(settled(customer("x"), Status.DENIED))]}, "which has no row"),
        (row(DENIED, status=Status.FAILED), "its event is Connection Denied"),
        (row(DENIED, reason="another"), "differ in reason"),
        (row(GOOD, secret_arn="arn:2"), "differ in secret_arn"),
        ({"stored": []}, "its token is not in the vault"),
        ({"stored": [replace(CONSISTENT.stored[0], known_to_finch=False)]}, "that Finch did not issue"),
        (
            {"stored": [replace(CONSISTENT.stored[0], customer_id="denied")]},
            "names another customer than the connection's row",
        ),
        (
            {"stored": [*CONSISTENT.stored, Stored("c-2", LOST.flow_id, "lost", known_to_finch=True)]},
            "the flow is orphaned",
        ),
        (row(GOOD, connection_id="c-3"), "name different connections"),
        (row(DENIED, status=Status.CONNECTED, connection_id="c-1"), "2 flows are connected as 1 connections"),
        ({"at_finch": [replace(CONSISTENT.at_finch[0], tokens=2)]}, "was exchanged 2 times"),
        ({"at_finch": [replace(CONSISTENT.at_finch[0], sent=3)]}, "was exchanged 3 times"),
        (
            {"at_finch": [FinchConnection("c-4", DENIED.username, tokens=1, sent=1)]},
            "is lost and not published as orphaned",
        ),
        (shown(GOOD, shown=Shown.ORPHANED), "last saw: orphaned; the row is connected"),
        (shown(DENIED, shown=Shown.CONNECTED), "last saw: connected; the row is denied"),
        (shown(LEFT, shown=Shown.NO_ANSWER), "last saw: no answer"),
        (shown(LEFT, shown=Shown.UNEXPECTED), "last saw: an unexpected page"),
        (shown(GOOD, connection_id="c-9"), "with another connection than the row's"),
        (shown(LOST, shown=Shown.QUARANTINED), "last saw: quarantined"),
    ],
)
def test_each_inconsistency_is_reported(changed: dict[str, Any], problem: str) -> None:
    """Each change of the evidence is reported as its problem."""
    assert [found for found in account(replace(CONSISTENT, **changed)).problems if problem in found]


@pytest.mark.parametrize("end", [Status.CONNECTED, Status.ABANDONED, Status.ORPHANED])
def test_a_person_who_gave_up_may_have_any_outcome(end: Status) -> None:
    """A person who gave up can see the outcome at the same URL later, so no outcome is a problem."""
    of = {Status.CONNECTED: GOOD, Status.ABANDONED: LEFT, Status.ORPHANED: LOST}[end]
    assert account(replace(CONSISTENT, **shown(of, shown=Shown.TRY_AGAIN, connection_id=None))).problems == []


def test_a_stored_token_that_was_reported_lost_is_not_a_problem() -> None:
    """The vault stored the token without an answer and the fallback failed, so the callback reported it as lost."""
    evidence = replace(
        CONSISTENT,
        **row(LOST, reason="token_lost"),
        stored=[*CONSISTENT.stored, Stored("c-2", LOST.flow_id, "lost", known_to_finch=True)],
        connections={
            **CONSISTENT.connections,
            "c-2": replace(CONSISTENT.connections["c-1"], connection_id="c-2", customer_id="lost"),
        },
    )
    evidence = replace(evidence, events=[event(flow) for flow in evidence.flows.values()])
    assert (account(evidence).problems, account(evidence).reported_lost) == ([], 1)
