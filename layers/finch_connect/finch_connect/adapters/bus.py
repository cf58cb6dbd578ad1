"""The event bus: one event for each settled flow, made from the row alone. It never contains any part of a token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from finch_connect.adapters.aws import translated
from finch_connect.domain.flow import Flow, NotPublished, Status, from_epoch_ms
from finch_connect.flow.ports import EVENTS_AT_ONCE

SOURCE = "finch.connect"
DETAIL_VERSION = "1"
_RETRYABLE = frozenset({"InternalException", "InternalFailure", "ThrottlingException"})
"""Error codes of single entries that may be gone in a moment (AWS: PutEventsResultEntry)."""
_DETAIL_TYPES = {
    Status.CONNECTED: "Connection Established",
    Status.DENIED: "Connection Denied",
    Status.FAILED: "Connection Failed",
    Status.QUARANTINED: "Connection Quarantined",
    Status.ABANDONED: "Connection Abandoned",
    Status.ORPHANED: "Connection Orphaned",
    Status.TRANSFERRED: "Connection Transferred",
}


class EventBridgeBus:
    """Implements `ports.Bus`."""

    def __init__(self, client: Any, bus_name: str) -> None:
        self._client = client
        self._bus = bus_name

    def publish(self, flows: Sequence[Flow]) -> Sequence[NotPublished]:
        """See `ports.Bus.publish`."""
        not_published: list[NotPublished] = []
        for start in range(0, len(flows), EVENTS_AT_ONCE):
            batch = flows[start : start + EVENTS_AT_ONCE]
            with translated("PutEvents"):
                answer = self._client.put_events(Entries=[self._entry(flow) for flow in batch])
                entries = zip(batch, answer["Entries"], strict=True)
            not_published += [
                NotPublished(flow, entry["ErrorCode"], retry=entry["ErrorCode"] in _RETRYABLE)
                for flow, entry in entries
                if "ErrorCode" in entry
            ]
        return not_published

    def _entry(self, flow: Flow) -> dict[str, Any]:
        return {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": detail_type(flow),
            "Time": from_epoch_ms(flow.settled_at or flow.started_at),
            "Detail": json.dumps(detail(flow), sort_keys=True),
        }


def detail_type(flow: Flow) -> str:
    """Return the event's type. Raises KeyError for a flow that has not settled."""
    return "Connection Reauthorized" if flow.reauthorized else _DETAIL_TYPES[flow.status]


def detail(flow: Flow) -> dict[str, Any]:
    """Return the event's detail (contracts/events), with the fields that apply."""
    content = {
        "version": DETAIL_VERSION,
        "event_id": flow.event_id,
        "occurred_at": from_epoch_ms(flow.settled_at or flow.started_at).isoformat(timespec="milliseconds"),
        "flow_id": flow.flow_id,
        "connection_id": flow.connection_id,
        "secret_arn": flow.secret_arn,
    }
    content |= _of_transfer(flow) if flow.status is Status.TRANSFERRED else _of_outcome(flow)
    return {name: value for name, value in content.items() if value is not None}


def _of_transfer(flow: Flow) -> dict[str, Any]:
    """Return what the customer who lost a connection learns. Nothing of the other customer's link is in it."""
    return {
        "customer_id": flow.transferred_from,
        "from_customer_id": flow.transferred_from,
        "to_customer_id": flow.customer_id,
    }


def _of_outcome(flow: Flow) -> dict[str, Any]:
    return {
        "customer_id": flow.customer_id,
        "provider_id": flow.provider_id,
        "client_type": flow.client_type,
        "products": None if flow.granted_products is None else list(flow.granted_products),
        "secret_version_id": flow.secret_version_id,
        "reason": flow.reason,
        "finch_request_id": flow.finch_request_id,
        "metadata": flow.metadata,
    }
