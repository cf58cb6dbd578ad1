"""The accounting finds each thing that does not fit: evidence that fits, and one thing changed at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from benchmarks.load.accounting import Evidence, Granted, Kept, account
from benchmarks.load.person import Customer, Intent, Journey, Shown
from finch_connect.adapters.bus import detail, detail_type
from finch_connect.domain.connection import Connection
from finch_connect.domain.flow import ConnectMode, Flow, Status

MOMENT = datetime(2026, 1, 15, 12, tzinfo=UTC)


def customer(name: str) -> Customer:
    return Customer(name, "link-1", "http://localhost/connect?link=…", f"smallco+{name}", Intent.CONNECT)


def settled(of: Customer, status: Status, **facts: Any) -> Flow:
    """A flow's row after its event was told."""
    started = Flow(
        flow_id=of.flow_id,
        status=Status.STARTED,
        state_hash="0" * 64,
        mode=ConnectMode.STATIC,
        customer_id=of.customer_id,
        redirect_uri="http://localhost/callback",
        started_at=1,
        deadline=2,
        expires=3,
        products=(),
    )
    return replace(started.settled(status, at=MOMENT, **facts), due_at=None, published_at=4)


def event(flow: Flow) -> dict[str, Any]:
    return {"detail-type": detail_type(flow), "detail": detail(flow)}


GOOD, NO, LOST, LEFT = customer("good"), customer("no"), customer("lost"), customer("left")
ROWS = {
    flow.flow_id: flow
    for flow in (
        settled(GOOD, Status.CONNECTED, connection_id="c-1", secret_arn="arn:1"),
        settled(NO, Status.DENIED, reason="access_denied"),
        settled(LOST, Status.ORPHANED, reason="server_error"),
        settled(LEFT, Status.ABANDONED, reason="deadline_passed"),
    )
}
FITS = Evidence(
    journeys=[
        Journey(GOOD, Shown.CONNECTED, opened=True, connection_id="c-1"),
        Journey(NO, Shown.DENIED, opened=True),
        Journey(LOST, Shown.ORPHANED, opened=True),
        Journey(LEFT, Shown.NOTHING, opened=True),
        Journey(customer("late"), Shown.TRY_AGAIN),
    ],
    flows=ROWS,
    owners={"c-1": Connection("c-1", "good", GOOD.flow_id, 1, "0" * 64, "finch/local/connections/c-1", None, ())},
    kept=[Kept("c-1", GOOD.flow_id, "good", known_to_finch=True)],
    quarantined=[],
    waiting=[],
    granted=[Granted("c-1", GOOD.username, tokens=1, sent=1), Granted("c-2", LOST.username, tokens=1, sent=1)],
    events=[event(flow) for flow in ROWS.values()],
)


def row(of: Customer, **changed: Any) -> dict[str, Any]:
    """The rows with one that is otherwise."""
    return {"flows": {**ROWS, of.flow_id: replace(ROWS[of.flow_id], **changed)}}


def shown(of: Customer, **changed: Any) -> dict[str, Any]:
    """The journeys with one that is otherwise."""
    return {"journeys": [replace(one, **changed) if one.customer == of else one for one in FITS.journeys]}


def test_what_fits_has_no_problem() -> None:
    """One of each outcome, and a person who never came in."""
    done = account(FITS)
    assert done.problems == []
    assert (done.begun, done.opened, done.secrets, done.granted) == (5, 4, 1, 2)
    assert done.shown["orphaned"] == {"orphaned": 1}
    assert done.events == dict.fromkeys(map(detail_type, ROWS.values()), 1)


def test_a_delivery_that_comes_twice_is_one_event() -> None:
    """The bus delivers at least once."""
    done = account(replace(FITS, events=[*FITS.events, *FITS.events]))
    assert (done.problems, done.deliveries) == ([], 8)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"flows": {one: flow for one, flow in ROWS.items() if one != NO.flow_id}}, "was opened and has no row"),
        ({"journeys": FITS.journeys[1:]}, "is nobody's"),
        (row(LOST, status=Status.CLAIMED), "is still claimed"),
        (row(GOOD, status=Status.UNSTORED), "is still unstored"),
        (row(NO, published_at=None), "not marked as published"),
        (row(NO, due_at=5), "not marked as published"),
        ({"owners": {"c-1": replace(FITS.owners["c-1"], leased_until=9)}}, "is still leased"),
        ({"waiting": ["attempt"]}, "still waits in the fallback"),
        ({"quarantined": ["flow"]}, "was quarantined"),
        ({"events": FITS.events[1:]}, "has 0 events"),
        ({"events": [*FITS.events, event(replace(ROWS[NO.flow_id], state_hash="1" * 64))]}, "has 2 events"),
        ({"events": [*FITS.events, event(settled(customer("x"), Status.DENIED))]}, "which is no row"),
        (row(NO, status=Status.FAILED), "its event is Connection Denied"),
        (row(NO, reason="another"), "another reason"),
        (row(GOOD, secret_arn="arn:2"), "another secret_arn"),
        ({"kept": []}, "its token is not in the vault"),
        ({"kept": [replace(FITS.kept[0], known_to_finch=False)]}, "that Finch did not give"),
        ({"kept": [replace(FITS.kept[0], customer_id="no")]}, "is not its owner's"),
        ({"kept": [*FITS.kept, Kept("c-2", LOST.flow_id, "lost", known_to_finch=True)]}, "the flow is orphaned"),
        (row(GOOD, connection_id="c-3"), "as another connection"),
        (row(NO, status=Status.CONNECTED, connection_id="c-1"), "2 flows are connected as 1 connections"),
        ({"granted": [replace(FITS.granted[0], tokens=2)]}, "was exchanged 2 times"),
        ({"granted": [replace(FITS.granted[0], sent=3)]}, "was exchanged 3 times"),
        ({"granted": [Granted("c-4", NO.username, tokens=1, sent=1)]}, "is lost, and nobody was told"),
        (shown(GOOD, shown=Shown.ORPHANED), "was told orphaned, and the row says connected"),
        (shown(NO, shown=Shown.CONNECTED), "was told connected, and the row says denied"),
        (shown(LEFT, shown=Shown.NO_ANSWER), "was told: no answer"),
        (shown(LEFT, shown=Shown.ANYTHING_ELSE), "was told: anything else"),
        (shown(GOOD, connection_id="c-9"), "told of another connection"),
        (shown(LOST, shown=Shown.QUARANTINED), "was told: quarantined"),
    ],
)
def test_each_thing_that_does_not_fit_is_said(changed: dict[str, Any], said: str) -> None:
    """A check that finds nothing would be none."""
    assert [problem for problem in account(replace(FITS, **changed)).problems if said in problem]


@pytest.mark.parametrize("end", [Status.CONNECTED, Status.ABANDONED, Status.ORPHANED])
def test_a_person_who_gave_up_may_have_any_outcome(end: Status) -> None:
    """Asking the same address later tells it; the event has told it already."""
    of = {Status.CONNECTED: GOOD, Status.ABANDONED: LEFT, Status.ORPHANED: LOST}[end]
    assert account(replace(FITS, **shown(of, shown=Shown.TRY_AGAIN, connection_id=None))).problems == []


def test_a_token_that_nobody_could_be_sure_of_was_reported_lost() -> None:
    """The vault took it and did not say so, and the fallback was away too: better told than not."""
    evidence = replace(
        FITS,
        **row(LOST, reason="token_lost"),
        kept=[*FITS.kept, Kept("c-2", LOST.flow_id, "lost", known_to_finch=True)],
        owners={**FITS.owners, "c-2": replace(FITS.owners["c-1"], connection_id="c-2", customer_id="lost")},
    )
    evidence = replace(evidence, events=[event(flow) for flow in evidence.flows.values()])
    assert (account(evidence).problems, account(evidence).reported_lost) == ([], 1)
