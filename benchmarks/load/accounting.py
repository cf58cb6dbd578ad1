"""The accounting: what people were told, what rows say, what the vault holds and what the bus told must be one story.

Pure: evidence in, sentences out. Each sentence is one thing that does not fit; none is the only good answer.
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
"""A person who went away before the last word can hear it later, at the same address; each of these has an event."""

_AGREES: Mapping[Shown, set[Status]] = {
    Shown.CONNECTED: {Status.CONNECTED},
    Shown.DENIED: {Status.DENIED},
    Shown.FAILED: {Status.FAILED},
    Shown.ORPHANED: {Status.ORPHANED},
    Shown.NOTHING: {Status.ABANDONED},
    Shown.TRY_AGAIN: _GAVE_UP,
    Shown.BEING_FINISHED: _GAVE_UP,
}
"""What a row may say after a person was told this. Nobody here may be quarantined: each customer has its own login."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One secret: whose it says it is, and whether Finch gave its token for this very connection."""

    connection_id: str
    flow_id: str
    customer_id: str
    known_to_finch: bool


@dataclass(frozen=True, slots=True)
class Granted:
    """One connection at Finch: who logged in, how many tokens were given for it, and how often its code was sent.

    `sent` leaves out what Finch answered with 429 or 503: it says that nothing was processed.
    """

    connection_id: str
    username: str
    tokens: int
    sent: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was seen from outside when nothing was left to be done. `events` are all deliveries."""

    journeys: Sequence[Journey]
    flows: Mapping[str, Flow]
    owners: Mapping[str, Connection]
    kept: Sequence[Kept]
    quarantined: Sequence[str]
    waiting: Sequence[str]
    granted: Sequence[Granted]
    events: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Account:
    """How many of what; and what does not fit. `shown` has, for each last word, what the rows say."""

    begun: int
    opened: int
    shown: Mapping[str, Mapping[str, int]]
    rows: Mapping[str, int]
    reasons: Mapping[str, int]
    events: Mapping[str, int]
    deliveries: int
    secrets: int
    granted: int
    reported_lost: int
    problems: Sequence[str]


def account(evidence: Evidence) -> Account:
    """Hold everything against everything."""
    published_once = {event["detail"]["event_id"]: event for event in evidence.events}
    problems = [
        *_rows(evidence),
        *_events(evidence, list(published_once.values())),
        *_vault(evidence),
        *_tokens(evidence),
        *_people(evidence),
    ]
    return Account(
        begun=len(evidence.journeys),
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
        events=_counted(str(event["detail-type"]) for event in published_once.values()),
        deliveries=len(evidence.events),
        secrets=len(evidence.kept),
        granted=sum(one.tokens for one in evidence.granted),
        reported_lost=sum(map(_reported_lost, evidence.flows.values())),
        problems=problems,
    )


def _rows(evidence: Evidence) -> Iterator[str]:
    """Each opened flow has one row, no row is anyone else's, and nothing remains to be done for any."""
    begun = {journey.customer.flow_id for journey in evidence.journeys}
    opened = {journey.customer.flow_id for journey in evidence.journeys if journey.opened}
    yield from (f"flow {flow_id} was opened and has no row" for flow_id in sorted(opened - evidence.flows.keys()))
    yield from (f"row {flow_id} is nobody's" for flow_id in sorted(evidence.flows.keys() - begun))
    for flow in evidence.flows.values():
        if flow.status not in SETTLED:
            yield f"flow {flow.flow_id} is still {flow.status}"
        elif flow.published_at is None or flow.due_at is not None:
            yield f"flow {flow.flow_id} is {flow.status} and not marked as published"
    for owner in evidence.owners.values():
        if owner.leased_until is not None:
            yield f"connection {owner.connection_id} is still leased to flow {owner.flow_id}"
    yield from (f"the token of attempt {attempt} still waits in the fallback" for attempt in evidence.waiting)
    yield from (f"the token of flow {flow_id} was quarantined" for flow_id in evidence.quarantined)


def _events(evidence: Evidence, events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each row has exactly one event, and the event says what the row says."""
    of_flow: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        of_flow.setdefault(event["detail"]["flow_id"], []).append(event)
    yield from (f"an event is about flow {flow_id}, which is no row" for flow_id in of_flow.keys() - evidence.flows)
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
                yield f"flow {flow.flow_id} and its event have another {name}"


def _vault(evidence: Evidence) -> Iterator[str]:
    """Connected rows and secrets are the same connections, of the same customers, with the token that Finch gave."""
    rows = [flow for flow in evidence.flows.values() if flow.status is Status.CONNECTED]
    connected = {flow.connection_id: flow for flow in rows}
    kept = {one.connection_id for one in evidence.kept}
    if len(rows) != len(connected):
        yield f"{len(rows)} flows are connected as {len(connected)} connections"
    yield from (
        f"flow {flow.flow_id} is connected and its token is not in the vault"
        for connection_id, flow in connected.items()
        if connection_id not in kept
    )
    for one in evidence.kept:
        flow, owner = evidence.flows.get(one.flow_id), evidence.owners.get(one.connection_id)
        if not one.known_to_finch:
            yield f"the secret of connection {one.connection_id} holds a token that Finch did not give for it"
        if owner is None or owner.customer_id != one.customer_id:
            yield f"the secret of connection {one.connection_id} is not its owner's"
        if flow is None or flow.customer_id != one.customer_id:
            yield f"the secret of connection {one.connection_id} names a flow of another customer"
        elif flow.status is not Status.CONNECTED and not _reported_lost(flow):
            yield f"the token of flow {flow.flow_id} is in the vault and the flow is {flow.status}"
        elif flow.status is Status.CONNECTED and flow.connection_id != one.connection_id:
            yield f"flow {flow.flow_id} is connected as another connection than its secret's"


def _tokens(evidence: Evidence) -> Iterator[str]:
    """Finch gave at most one token an attempt; each is in the vault, or its flow was told as orphaned."""
    flow_of = {journey.customer.username: journey.customer.flow_id for journey in evidence.journeys}
    kept = {one.connection_id for one in evidence.kept}
    for one in evidence.granted:
        flow_id = flow_of.get(one.username, "")
        if one.tokens > 1 or one.sent > 1:
            yield f"flow {flow_id} was exchanged {max(one.tokens, one.sent)} times"
        if one.tokens and one.connection_id not in kept and _status(evidence, flow_id) is not Status.ORPHANED:
            yield f"the token of flow {flow_id} is lost, and nobody was told: {_status(evidence, flow_id)}"


def _people(evidence: Evidence) -> Iterator[str]:
    """What each person was last told agrees with the row."""
    for journey in evidence.journeys:
        flow = evidence.flows.get(journey.customer.flow_id)
        if journey.shown not in _AGREES:
            yield f"the person of flow {journey.customer.flow_id} was told: {journey.shown}"
        elif flow is not None and flow.status not in _AGREES[journey.shown]:
            yield f"the person of flow {flow.flow_id} was told {journey.shown}, and the row says {flow.status}"
        elif flow is None and journey.shown is not Shown.TRY_AGAIN:
            yield f"the person of flow {journey.customer.flow_id} was told {journey.shown}, and there is no row"
        elif flow is not None and journey.connection_id not in {None, flow.connection_id}:
            yield f"the person of flow {flow.flow_id} was told of another connection than the row's"


def _reported_lost(flow: Flow) -> bool:
    """Tell whether neither vault nor fallback answered, so that nobody could know that the vault had the token."""
    return flow.status is Status.ORPHANED and flow.reason == "token_lost"


def _status(evidence: Evidence, flow_id: str) -> Status | None:
    flow = evidence.flows.get(flow_id)
    return flow.status if flow is not None else None


def _counted(words: Iterator[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())
