"""Thousands of overdue rows at once: people left, the stream lost records, functions died, the vault was unavailable.

The rows are written directly into the table. Then the sweeper runs until nothing remains to be done, and each row must
have exactly one outcome and one event.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.load.consumer import Consumer
from benchmarks.load.harness import NAMES, Harness
from benchmarks.load.run import finish
from finch_connect.adapters.items import item_of
from finch_connect.domain.flow import ConnectMode, Flow, Status, epoch_ms
from finch_connect.domain.grant import Grant
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import digest, flow_id_of
from finch_connect.flow.token_storage import document

_AGO_MS = 3_600_000
_KINDS = {"left": 500, "unpublished": 450, "interrupted": 45, "unstored": 5}
"""Per thousand: nobody finished the link, the stream lost the outcome, the callback died, the vault was unavailable."""

_OUTCOMES = {
    "left": (Status.ABANDONED, "Connection Abandoned"),
    "unpublished": (Status.DENIED, "Connection Denied"),
    "interrupted": (Status.ORPHANED, "Connection Orphaned"),
    "unstored": (Status.CONNECTED, "Connection Established"),
}

_MAPPING_SETTINGS = (
    "EventSourceArn",
    "BatchSize",
    "FilterCriteria",
    "FunctionResponseTypes",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "MaximumRecordAgeInSeconds",
    "DestinationConfig",
)

_BATCH = 25
"""AWS: the most items of a BatchWriteItem."""


@dataclass(frozen=True, slots=True)
class Swept:
    """The result: seconds until nothing remained to be done, the counts of each sweep, and the problems."""

    rows: int
    seconds: float
    sweeps: Sequence[Mapping[str, int]]
    problems: Sequence[str]


def sweep_overdue(harness: Harness, number: int) -> Swept:
    """Write this many overdue rows, sweep until nothing remains to be done, and check every row."""
    kinds = [kind for kind, share in _KINDS.items() for _ in range(number * share // sum(_KINDS.values()))]
    flows = {flow.flow_id: (kind, flow) for index, kind in enumerate(kinds) for flow in [_overdue_flow(kind, index)]}
    with _stream_disabled(harness):
        _write(harness, [flow for _, flow in flows.values()])
    for kind, flow in flows.values():
        if kind == "unstored":
            _put_in_fallback(harness, flow)
    with Consumer(harness.stack.client("sqs"), harness.stack.queue_url) as consumer:
        began = time.monotonic()
        sweeps = finish(harness, consumer)
        seconds = time.monotonic() - began
        events = [delivery.event for delivery in consumer.deliveries()]
    return Swept(len(flows), seconds, sweeps, list(_problems(flows, harness, events)))


def _problems(
    flows: Mapping[str, tuple[str, Flow]], harness: Harness, events: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    rows, _ = harness.rows()
    secrets = {json.loads(text)["flow_id"] for text in harness.secrets(NAMES.connection_secret("")).values()}
    published = {event["detail"]["event_id"]: event for event in events}
    events_of = Counter(event["detail"]["flow_id"] for event in published.values())
    for flow_id, (kind, _) in flows.items():
        row, (status, detail_type) = rows[flow_id], _OUTCOMES[kind]
        if row.status is not status or row.published_at is None or row.due_at is not None:
            yield f"row {flow_id} ({kind}) is {row.status}, published {row.published_at}, due {row.due_at}"
        if events_of[flow_id] != 1 or published.get(row.event_id, {}).get("detail-type") != detail_type:
            yield f"row {flow_id} ({kind}) has {events_of[flow_id]} events"
        if (kind == "unstored") != (flow_id in secrets):
            yield f"row {flow_id} ({kind}) and the vault disagree"
    yield from (f"the token of attempt {attempt} is still in the fallback" for attempt in harness.in_fallback())


def _overdue_flow(kind: str, index: int) -> Flow:
    """Return a row that has been due for an hour."""
    now = datetime.now(UTC)
    ago = epoch_ms(now) - _AGO_MS
    customer_id = f"overdue-{index}"
    started = Flow(
        flow_id=flow_id_of(customer_id, "overdue"),
        status=Status.STARTED,
        state_hash=digest(Secret(customer_id)),
        mode=ConnectMode.STATIC,
        customer_id=customer_id,
        redirect_uri="http://localhost/callback",
        started_at=ago,
        deadline=ago,
        due_at=ago,
        expires=ago // 1000 + 30 * 24 * 3600,
        products=("company",),
    )
    claimed = replace(started, status=Status.CLAIMED, claimed_at=ago, claim_id="0" * 22, code_hash="0" * 64)
    match kind:
        case "left":
            return started
        case "interrupted":  # an earlier sweep has searched for its token
            return replace(claimed, searched_at=ago)
        case "unpublished":
            return replace(claimed.settled(Status.DENIED, at=now, reason="access_denied"), due_at=ago)
        case _:
            return claimed.settled(
                Status.UNSTORED, at=now - timedelta(hours=1), connection_id=f"overdue-{index}", provider_id="gusto"
            )


@contextlib.contextmanager
def _stream_disabled(harness: Harness) -> Iterator[None]:
    """Disable the stream within the context: the relay's mapping is deleted, and created again for later records."""
    functions, name = harness.stack.client("lambda"), harness.stack.deployed.resources["RelayFunction"]
    (mapping,) = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    functions.delete_event_source_mapping(UUID=mapping["UUID"])
    yield
    settings = {setting: mapping[setting] for setting in _MAPPING_SETTINGS if setting in mapping}
    functions.create_event_source_mapping(FunctionName=mapping["FunctionArn"], StartingPosition="LATEST", **settings)


def _write(harness: Harness, flows: Sequence[Flow]) -> None:
    client, table = harness.stack.client("dynamodb"), harness.stack.outputs["TableName"]
    for start in range(0, len(flows), _BATCH):
        requests = [{"PutRequest": {"Item": item_of(flow)}} for flow in flows[start : start + _BATCH]]
        while requests:
            requests = client.batch_write_item(RequestItems={table: requests})["UnprocessedItems"].get(table, [])


def _put_in_fallback(harness: Harness, flow: Flow) -> None:
    """Put the token into the fallback, as the callback does when the vault is unavailable."""
    token = Secret(f"token-of-{flow.flow_id}")
    grant = Grant(
        access_token=token, finch_request_id=None, connection_id=flow.connection_id, provider_id=flow.provider_id
    )
    harness.stack.client("ssm").put_parameter(
        Name=f"{NAMES.fallback_prefix}/{flow.attempt}", Value=document(flow, grant).reveal(), Type="SecureString"
    )
