"""The accounting: what people saw, the rows, the vault, the fallback, Finch's tokens and the events must agree.

Pure: it takes evidence and returns sentences. Each sentence is one problem; a good run has no problems.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.load.person import Journey, Shown
from finch_connect.domain.connection import Connection
from finch_connect.domain.flow import SETTLED, Flow, Status

_EVENTS = {
    Status.CONNECTED: {"Connection Established", "Connection Reauthorized"},
    Status.DENIED: {"Connection Denied"},
    Status.FAILED: {"Connection Failed"},
    Status.QUARANTINED: {"Connection Quarantined"},
    Status.ABANDONED: {"Connection Abandoned"},
    Status.ORPHANED: {"Connection Orphaned"},
}

_GAVE_UP = {Status.CONNECTED, Status.DENIED, Status.FAILED, Status.ABANDONED, Status.ORPHANED}
"""Possible outcomes after a person gave up. The same URL shows the outcome later, and each outcome has an event."""

_CONSISTENT: Mapping[Shown, set[Status]] = {
    Shown.CONNECTED: {Status.CONNECTED},
    Shown.DENIED: {Status.DENIED},
    Shown.FAILED: {Status.FAILED},
    Shown.ORPHANED: {Status.ORPHANED},
    Shown.LEFT: {Status.ABANDONED},
    Shown.TRY_AGAIN: _GAVE_UP,
    Shown.IN_PROGRESS: _GAVE_UP,
}
"""The row statuses that agree with what a person last saw.

Nothing here may be quarantined, because each customer has its own login.
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """One secret: the ids in its content, and whether Finch issued its token for this connection."""

    connection_id: str
    flow_id: str
    customer_id: str
    known_to_finch: bool


@dataclass(frozen=True, slots=True)
class FinchConnection:
    """One connection at Finch: its login, the number of its tokens, and how often its code was sent.

    `sent` leaves out requests that Finch answered with 429 or 503, because it did not process them.
    """

    connection_id: str
    username: str
    tokens: int
    sent: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was observed from outside at the end of a run.

    `stored` are the secrets in the vault, `quarantined` the flows in quarantine, and `in_fallback` the attempts whose
    token is in the fallback. `events` has all deliveries.
    """

    journeys: Sequence[Journey]
    flows: Mapping[str, Flow]
    connections: Mapping[str, Connection]
    stored: Sequence[Stored]
    quarantined: Sequence[str]
    in_fallback: Sequence[str]
    at_finch: Sequence[FinchConnection]
    events: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Account:
    """The counts and the problems of a run. `shown` has the row statuses by what people last saw.

    `tokens` counts the tokens that Finch issued, `deliveries` all deliveries of `events`.
    """

    started: int
    opened: int
    shown: Mapping[str, Mapping[str, int]]
    rows: Mapping[str, int]
    reasons: Mapping[str, int]
    events: Mapping[str, int]
    deliveries: int
    secrets: int
    tokens: int
    reported_lost: int
    problems: Sequence[str]


def account(evidence: Evidence) -> Account:
    """Count the evidence and check each part of it against the others."""
    events = {event["detail"]["event_id"]: event for event in evidence.events}
    problems = [
        *_row_problems(evidence),
        *_event_problems(evidence, list(events.values())),
        *_vault_problems(evidence),
        *_token_problems(evidence),
        *_person_problems(evidence),
    ]
    return Account(
        started=len(evidence.journeys),
        opened=sum(journey.opened for journey in evidence.journeys),
        shown={
            str(shown): _counted(
                str(_status(evidence, journey.customer.flow_id) or "no row")
                for journey in evidence.journeys
                if journey.shown is shown
            )
            for shown in Shown
            if any(journey.shown is shown for journey in evidence.journeys)
        },
        rows=_counted(str(flow.status) for flow in evidence.flows.values()),
        reasons=_counted(f"{flow.status}: {flow.reason}" for flow in evidence.flows.values() if flow.reason),
        events=_counted(str(event["detail-type"]) for event in events.values()),
        deliveries=len(evidence.events),
        secrets=len(evidence.stored),
        tokens=sum(one.tokens for one in evidence.at_finch),
        reported_lost=sum(map(_is_reported_lost, evidence.flows.values())),
        problems=problems,
    )


def _row_problems(evidence: Evidence) -> Iterator[str]:
    """Check that each opened flow has one row, that there are no other rows, and that nothing remains to be done."""
    started = {journey.customer.flow_id for journey in evidence.journeys}
    opened = {journey.customer.flow_id for journey in evidence.journeys if journey.opened}
    yield from (f"flow {flow_id} was opened and has no row" for flow_id in sorted(opened - evidence.flows.keys()))
    yield from (f"row {flow_id} belongs to no link" for flow_id in sorted(evidence.flows.keys() - started))
    for flow in evidence.flows.values():
        if flow.status not in SETTLED:
            yield f"flow {flow.flow_id} is still {flow.status}"
        elif flow.published_at is None or flow.due_at is not None:
            yield f"flow {flow.flow_id} is {flow.status} and not marked as published"
    for connection in evidence.connections.values():
        if connection.leased_until is not None:
            yield f"connection {connection.connection_id} is still leased to flow {connection.flow_id}"
    yield from (f"the token of attempt {attempt} is still in the fallback" for attempt in evidence.in_fallback)
    yield from (f"the token of flow {flow_id} was quarantined" for flow_id in evidence.quarantined)


def _event_problems(evidence: Evidence, events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Check that each row has exactly one event, with the row's outcome and fields."""
    of_flow: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        of_flow.setdefault(event["detail"]["flow_id"], []).append(event)
    yield from (f"an event is about flow {flow_id}, which has no row" for flow_id in of_flow.keys() - evidence.flows)
    for flow in evidence.flows.values():
        found = of_flow.get(flow.flow_id, [])
        if len(found) != 1:
            yield f"flow {flow.flow_id} ({flow.status}) has {len(found)} events"
            continue
        detail = found[0]["detail"]
        if found[0]["detail-type"] not in _EVENTS.get(flow.status, set()) or detail["event_id"] != flow.event_id:
            yield f"flow {flow.flow_id} is {flow.status} and its event is {found[0]['detail-type']}"
        for name in ("customer_id", "connection_id", "secret_arn", "reason"):
            if detail.get(name) != getattr(flow, name):
                yield f"flow {flow.flow_id} and its event differ in {name}"


def _vault_problems(evidence: Evidence) -> Iterator[str]:
    """Check that connected rows and secrets are the same connections, of the same customers, with Finch's token."""
    rows = [flow for flow in evidence.flows.values() if flow.status is Status.CONNECTED]
    connected = {flow.connection_id: flow for flow in rows}
    stored = {one.connection_id for one in evidence.stored}
    if len(rows) != len(connected):
        yield f"{len(rows)} flows are connected as {len(connected)} connections"
    yield from (
        f"flow {flow.flow_id} is connected and its token is not in the vault"
        for connection_id, flow in connected.items()
        if connection_id not in stored
    )
    for one in evidence.stored:
        flow, connection = evidence.flows.get(one.flow_id), evidence.connections.get(one.connection_id)
        if not one.known_to_finch:
            yield f"the secret of connection {one.connection_id} has a token that Finch did not issue for it"
        if connection is None or connection.customer_id != one.customer_id:
            yield f"the secret of connection {one.connection_id} names another customer than the connection's row"
        if flow is None or flow.customer_id != one.customer_id:
            yield f"the secret of connection {one.connection_id} names a flow of another customer"
        elif flow.status is not Status.CONNECTED and not _is_reported_lost(flow):
            yield f"the token of flow {flow.flow_id} is in the vault and the flow is {flow.status}"
        elif flow.status is Status.CONNECTED and flow.connection_id != one.connection_id:
            yield f"flow {flow.flow_id} and its secret name different connections"


def _token_problems(evidence: Evidence) -> Iterator[str]:
    """Check that no attempt was exchanged twice, and that each token is in the vault or its flow is orphaned."""
    flow_of = {journey.customer.username: journey.customer.flow_id for journey in evidence.journeys}
    stored = {one.connection_id for one in evidence.stored}
    for one in evidence.at_finch:
        flow_id = flow_of.get(one.username, "")
        if one.tokens > 1 or one.sent > 1:
            yield f"flow {flow_id} was exchanged {max(one.tokens, one.sent)} times"
        status = _status(evidence, flow_id)
        if one.tokens and one.connection_id not in stored and status is not Status.ORPHANED:
            yield f"the token of flow {flow_id} is lost and not published as orphaned: the row is {status}"


def _person_problems(evidence: Evidence) -> Iterator[str]:
    """Check that what each person last saw agrees with the row."""
    for journey in evidence.journeys:
        flow = evidence.flows.get(journey.customer.flow_id)
        seen = f"the person of flow {journey.customer.flow_id} last saw: {journey.shown}"
        if journey.shown not in _CONSISTENT:
            yield seen
        elif flow is not None and flow.status not in _CONSISTENT[journey.shown]:
            yield f"{seen}; the row is {flow.status}"
        elif flow is None and journey.shown is not Shown.TRY_AGAIN:
            yield f"{seen}; there is no row"
        elif flow is not None and journey.connection_id not in {None, flow.connection_id}:
            yield f"{seen}, with another connection than the row's"


def _is_reported_lost(flow: Flow) -> bool:
    """Return whether vault and fallback both failed. The vault may have stored the token without an answer."""
    return flow.status is Status.ORPHANED and flow.reason == "token_lost"


def _status(evidence: Evidence, flow_id: str) -> Status | None:
    flow = evidence.flows.get(flow_id)
    return flow.status if flow is not None else None


def _counted(words: Iterator[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())
