"""The work of one connection: AWS calls, rows and log lines. Tests compare all of it with the real functions.

Update this module when the flow changes. The tests show what no longer matches. `make scale` updates docs/scale.md.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from finch_connect.adapters.items import connection_key, item_of, lease_of, value
from finch_connect.domain.connection import LEASE_MS, Connection
from finch_connect.domain.flow import CLAIM_GRACE_MS, ConnectMode, Flow, Status, epoch_ms
from finch_connect.domain.names import Names

UNIT_BYTES = 1024
"""One write unit covers an item of up to 1 KB (DynamoDB: read and write operations)."""


class Due(enum.StrEnum):
    """How a write changes the row's entry in the index `due`."""

    OUTSIDE = "outside"
    ENTERS = "enters"
    STAYS = "stays"
    MOVES = "moves"
    LEAVES = "leaves"

    @property
    def writes(self) -> int:
        """The number of index writes. A changed key takes a delete and a put (DynamoDB: global secondary indexes)."""
        return {Due.OUTSIDE: 0, Due.MOVES: 2}.get(self, 1)


@dataclass(frozen=True, slots=True)
class Call:
    """One AWS call. For a write, `row` names the row of ROWS that results, and `due` how the index changes.

    A container makes a `cached` call once in five minutes, so a connection makes it at most once.
    """

    function: str
    action: str
    row: str | None = None
    due: Due = Due.OUTSIDE
    cached: bool = False


_PUT_EVENTS = Call("relay", "events:PutEvents")
_STARTED = (
    Call("connect", "secretsmanager:GetSecretValue", cached=True),
    Call("connect", "dynamodb:PutItem", "started", Due.ENTERS),
)


def _connected(store: str) -> tuple[Call, ...]:
    return (
        *_STARTED,
        Call("callback", "secretsmanager:GetSecretValue", cached=True),
        Call("callback", "secretsmanager:GetSecretValue", cached=True),
        Call("callback", "dynamodb:UpdateItem", "claimed", Due.MOVES),
        Call("callback", "dynamodb:UpdateItem", "leased", Due.ENTERS),
        Call("callback", store),
        Call("callback", "dynamodb:UpdateItem", "connected", Due.MOVES),
        Call("relay", "dynamodb:UpdateItem", "connection", Due.LEAVES),
        _PUT_EVENTS,
        Call("relay", "dynamodb:UpdateItem", "published", Due.LEAVES),
    )


FIRST = _connected("secretsmanager:CreateSecret")
"""A connection made for the first time."""

RECONNECTED = _connected("secretsmanager:PutSecretValue")
"""The same connection made again. It adds a new version to the same secret."""

ABANDONED = (
    *_STARTED,
    Call("sweeper", "dynamodb:UpdateItem", "abandoned", Due.MOVES),
    _PUT_EVENTS,
    Call("relay", "dynamodb:UpdateItem", "abandoned_published", Due.LEAVES),
)
"""A link that was opened and never finished, without the sweeper's query."""

SWEEP = (
    Call("sweeper", "dynamodb:Query"),
    Call("sweeper", "dynamodb:Query"),
    Call("sweeper", "ssm:GetParametersByPath"),
)
"""One sweep with nothing to do: it queries leases, then flows, then lists the fallback."""

LOG_BYTES = {"connect": 375, "callback": 515, "relay": 630, "sweeper": 600}
"""Bytes that one invocation of a function logs, including its metrics. The relay's number is for one event."""

LOG_TOLERANCE = 0.15
"""The relative difference from LOG_BYTES that a real invocation may have, because ids and times vary."""

_NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
_NAMES = Names("prod")


def _flow_rows() -> dict[str, Mapping[str, Any]]:
    started_at = epoch_ms(_NOW)
    deadline = epoch_ms(_NOW + timedelta(hours=24))
    started = Flow(
        flow_id="H-K7hC2bfAlSXDNwG3qClg",
        status=Status.STARTED,
        state_hash="4e9303c8c1af592a67c5ae7e85245ee31ab5de4adf8fe998ac3204a64195bf51",
        mode=ConnectMode.STATIC,
        customer_id="5f0c7a52-7d7f-4f8e-9a0c-3c1a4a3f7b11",
        redirect_uri="https://connect.example.com/callback",
        started_at=started_at,
        deadline=deadline,
        due_at=deadline,
        expires=deadline // 1000 + 30 * 86_400,
        products=("company", "directory", "individual", "employment"),
        return_url="https://app.example.com/organizations/5f0c7a52/settings/integrations/payroll/connected",
        nonce="b0d5b6c6f7f34f0f9a9d0c5f3a1b2c3d",
        metadata={"account": "5f0c7a52", "plan": "gold", "source": "onboarding-mail-2"},
    )
    claimed = dataclasses.replace(
        started,
        status=Status.CLAIMED,
        claimed_at=started_at,
        claim_id="jbI2vZ0Jx3qkq1m8Qe0yJw",
        code_hash=started.state_hash,
        due_at=started_at + CLAIM_GRACE_MS,
    )
    connection = "c3a1e6f0-2b7d-4c58-9f3e-8d1a5b7c9e02"
    secret_name = _NAMES.connection_secret(connection)
    connected = claimed.settled(
        Status.CONNECTED,
        at=_NOW,
        connection_id=connection,
        provider_id="gusto",
        client_type="production",
        granted_products=started.products,
        secret_arn=f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:{secret_name}-AbCdEf",
        secret_version_id=started.state_hash,
        finch_request_id="7d3f0a5e-9c1b-4e2a-8f6d-1b2c3d4e5f60",
        reauthorized=False,
    )
    abandoned = started.settled(Status.ABANDONED, at=_NOW, reason="deadline_passed")
    leased = _leased_row(connected)
    released = {name: typed for name, typed in leased.items() if name not in {"due", "due_at"}}
    return {
        "started": item_of(started),
        "claimed": item_of(claimed),
        "connected": item_of(connected),
        "published": item_of(dataclasses.replace(connected, due_at=None, published_at=started_at)),
        "abandoned": item_of(abandoned),
        "abandoned_published": item_of(dataclasses.replace(abandoned, due_at=None, published_at=started_at)),
        "leased": leased,
        "connection": {**released, "stored_granted_at": value("stored_granted_at", started_at)},
    }


def _leased_row(flow: Flow) -> Mapping[str, Mapping[str, Any]]:
    connection = Connection(
        connection_id=str(flow.connection_id),
        customer_id=flow.customer_id,
        flow_id=flow.flow_id,
        claimed_at=flow.started_at,
        version=str(flow.secret_version_id),
        secret_name=_NAMES.connection_secret(str(flow.connection_id)),
        provider_id=flow.provider_id,
        products=flow.products,
        client_type=flow.client_type,
        finch_request_id=flow.finch_request_id,
    )
    return {**connection_key(connection.connection_id), **lease_of(connection, until=flow.started_at + LEASE_MS)}


def item_bytes(item: Mapping[str, Any]) -> int:
    """Return an item's size in bytes as DynamoDB counts it: names and values (DynamoDB: item sizes and formats)."""
    return sum(len(name.encode()) + _value_bytes(typed) for name, typed in item.items())


def _value_bytes(typed: Mapping[str, Any]) -> int:
    ((kind, content),) = typed.items()
    if kind == "N":
        return math.ceil(len(content.lstrip("-")) / 2) + 1
    if kind == "L":
        return 3 + sum(1 + _value_bytes(element) for element in content)
    return 1 if kind == "BOOL" else len(content.encode())


def units(item: Mapping[str, Any]) -> int:
    """Return the write units that writing an item takes."""
    return math.ceil(item_bytes(item) / UNIT_BYTES)


ROWS = _flow_rows()
"""The rows of a realistic connection, by the write that results in them."""


@dataclass(frozen=True, slots=True)
class Work:
    """The totals of a list of calls. `table` and `index` are write units, `partitions` splits the index's by key.

    `stored` is the size of the rows that remain, in bytes.
    """

    calls: Mapping[str, int]
    table: int
    index: int
    partitions: Mapping[str, int]
    stored: int

    def count(self, action: str) -> int:
        """Return how many times an action is called."""
        return self.calls.get(action, 0)


def work_of(calls: tuple[Call, ...]) -> Work:
    """Add up a list of calls."""
    counts: dict[str, int] = {}
    partitions: dict[str, int] = {}
    table = 0
    for call in calls:
        counts[call.action] = counts.get(call.action, 0) + 1
        if call.row is not None:
            size = units(ROWS[call.row])
            table += size
            kind = ROWS[call.row]["id"]["S"].partition("#")[0]
            partitions[kind] = partitions.get(kind, 0) + size * call.due.writes
    last = {ROWS[call.row]["id"]["S"]: call.row for call in calls if call.row is not None}
    return Work(
        calls=counts,
        table=table,
        index=sum(partitions.values()),
        partitions=partitions,
        stored=sum(item_bytes(ROWS[row]) for row in last.values()),
    )
