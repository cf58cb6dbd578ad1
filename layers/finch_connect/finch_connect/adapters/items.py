"""Rows as DynamoDB items: the one place with attribute names and types.

The table uses it, and so does the relay, because the stream's images have the same form.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from finch_connect.domain.connection import Connection
from finch_connect.domain.flow import ConnectMode, Flow, Status

FLOW_KEY = "flow#"
CONNECTION_KEY = "connection#"
DUE_PARTITION = "flow"
LEASE_PARTITION = "connection"
"""Values of `due` in the sparse index: flows with something left to do, and leased connections."""

KEPT_UNTIL = "kept_until"
TTL = "expires"
"""A flow's `expires` is stored as KEPT_UNTIL. It is copied to TTL, where DynamoDB reads it, when nothing is open."""

type Item = Mapping[str, Mapping[str, Any]]
"""An item in DynamoDB's JSON: typed values by attribute name."""

_FIELDS = {field.name: field for field in dataclasses.fields(Flow)}
_NUMBERS = frozenset(
    {
        *("granted_at", "stored_granted_at", "started_at", "deadline", "due_at", "claimed_at", "searched_at"),
        *("settled_at", "published_at", KEPT_UNTIL, TTL),
    }
)
_CONNECTION_FIELDS = {field.name for field in dataclasses.fields(Connection)} - {"connection_id", "leased_until"}
_LISTS = frozenset({"products", "granted_products"})


def flow_key(flow_id: str) -> Item:
    """Return the primary key of a flow's row."""
    return {"id": {"S": FLOW_KEY + flow_id}}


def connection_key(connection_id: str) -> Item:
    """Return the primary key of a connection's row."""
    return {"id": {"S": CONNECTION_KEY + connection_id}}


def value(name: str, content: Any) -> Mapping[str, Any]:
    """Return one attribute's typed value."""
    if name in _NUMBERS:
        return {"N": str(content)}
    if name in _LISTS:
        return {"L": [{"S": text} for text in content]}
    if name == "reauthorized":
        return {"BOOL": content}
    if name == "metadata":
        return {"S": json.dumps(content, sort_keys=True)}
    if name == "unpublished":  # as one text, so that a condition can compare it
        return {"S": json.dumps([item_of(outcome) for outcome in content], sort_keys=True)}
    return {"S": str(content)}


def item_of(flow: Flow) -> dict[str, Mapping[str, Any]]:
    """Return a flow's whole row without what is None. `due` puts it into the sparse index with its `due_at`."""
    item: dict[str, Mapping[str, Any]] = {"id": {"S": FLOW_KEY + flow.flow_id}}
    for name in _FIELDS.keys() - {"flow_id", "expires"}:
        content = getattr(flow, name)
        if content is not None:
            item[name] = value(name, content)
    if not flow.unpublished:
        del item["unpublished"]
    item[KEPT_UNTIL] = value(KEPT_UNTIL, flow.expires)
    if flow.may_expire:
        item[TTL] = value(TTL, flow.expires)
    if flow.due_at is not None:
        item["due"] = {"S": DUE_PARTITION}
    return item


def flow_of(item: Item) -> Flow:
    """Return the flow in an item. Raises KeyError or ValueError for any other item."""
    found: dict[str, Any] = {"flow_id": item["id"]["S"].removeprefix(FLOW_KEY)}
    for name in _FIELDS.keys() & item.keys():
        found[name] = _content(name, item[name])
    if KEPT_UNTIL in item:
        found["expires"] = _content(KEPT_UNTIL, item[KEPT_UNTIL])
    found["status"] = Status(found["status"])
    found["mode"] = ConnectMode(found["mode"])
    return Flow(**found)


def read_stream_record(change: Mapping[str, Any]) -> tuple[Flow | None, Flow | None]:
    """See `ports.ReadStreamRecord`. A connection's row reads as None."""
    before, after = (_flow_or_none(change.get(name)) for name in ("OldImage", "NewImage"))
    return before, after


def connection_of(item: Item) -> Connection:
    """Return the connection in an item. Raises KeyError or TypeError for an item that is none."""
    found = {name: _content(name, item[name]) for name in _CONNECTION_FIELDS & item.keys()}
    leased = {"leased_until": _content("due_at", item["due_at"])} if "due_at" in item else {}
    return Connection(
        connection_id=item["id"]["S"].removeprefix(CONNECTION_KEY),
        **{"provider_id": None, "products": None, **found, **leased},
    )


def lease_of(connection: Connection, *, until: int) -> dict[str, Mapping[str, Any]]:
    """Return the attributes of a connection's row while it is leased to its claim (`until`: epoch ms)."""
    contents = {name: getattr(connection, name) for name in _CONNECTION_FIELDS - {"stored_granted_at"}}
    item = {name: value(name, content) for name, content in contents.items() if content is not None}
    return {**item, "status": {"S": "active"}, "due": {"S": LEASE_PARTITION}, "due_at": value("due_at", until)}


def _flow_or_none(item: Item | None) -> Flow | None:
    return flow_of(item) if item is not None and item["id"]["S"].startswith(FLOW_KEY) else None


def _content(name: str, typed: Mapping[str, Any]) -> Any:
    if name in _NUMBERS:
        return int(typed["N"])
    if name in _LISTS:
        return tuple(element["S"] for element in typed["L"])
    if name == "reauthorized":
        return bool(typed["BOOL"])
    if name == "metadata":
        return json.loads(typed["S"])
    if name == "unpublished":
        return tuple(flow_of(outcome) for outcome in json.loads(typed["S"]))
    return typed["S"]
