"""The event bus: one event for each settled flow, made from the row alone. It never contains any part of a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finch_connect.adapters.aws import translated
from finch_connect.domain import strict_json
from finch_connect.domain.errors import ServiceUnavailableError
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

_CONTENT_REFUSED = frozenset(
    {"MalformedDetail", "InvalidArgument", "RedactionFailure", "ValidationException", "SerializationException"}
)
"""Error codes that blame what an entry says, so that no retry helps (AWS: PutEventsResultEntry, and common errors)."""


class EventBridgeBus:
    """Implements `ports.Bus`."""

    def __init__(self, client: Any, bus_name: str) -> None:
        self._client = client
        self._bus = bus_name

    def publish(self, flows: Sequence[Flow], *, with_metadata: bool = True) -> Sequence[NotPublished]:
        """See `ports.Bus.publish`."""
        entries: list[tuple[Flow, dict[str, Any]]] = []
        not_published: list[NotPublished] = []
        for flow in flows:
            try:
                entries.append((flow, self._entry(flow, with_metadata=with_metadata)))
            except strict_json.NotStrictError:  # a row from before links were checked for it
                not_published.append(NotPublished(flow, "not_strict_json", permanent=True, retry=False))
        for start in range(0, len(entries), EVENTS_AT_ONCE):
            not_published += self._put(entries[start : start + EVENTS_AT_ONCE])
        return not_published

    def _put(self, batch: Sequence[tuple[Flow, dict[str, Any]]]) -> Sequence[NotPublished]:
        """Publish at most EVENTS_AT_ONCE entries. If one of them has the whole request refused, each is tried alone."""
        try:
            with translated("PutEvents"):
                answers = self._client.put_events(Entries=[entry for _, entry in batch])["Entries"]
                codes = [answer.get("ErrorCode") for _, answer in zip(batch, answers, strict=True)]
        except ServiceUnavailableError as error:
            code = str(error.fields.get("aws_code"))
            if code not in _CONTENT_REFUSED:
                raise
            if len(batch) > 1:
                return [refused for one in batch for refused in self._put([one])]
            codes = [code]
        refusals = [(flow, code) for (flow, _), code in zip(batch, codes, strict=True) if code is not None]
        return [
            NotPublished(flow, code, permanent=code in _CONTENT_REFUSED, retry=code in _RETRYABLE)
            for flow, code in refusals
        ]

    def _entry(self, flow: Flow, *, with_metadata: bool) -> dict[str, Any]:
        return {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": detail_type(flow),
            "Time": from_epoch_ms(flow.settled_at or flow.started_at),
            "Detail": strict_json.dumps(detail(flow, with_metadata=with_metadata)),
        }


def detail_type(flow: Flow) -> str:
    """Return the event's type. Raises KeyError for a flow that has not settled."""
    return "Connection Reauthorized" if flow.reauthorized else _DETAIL_TYPES[flow.status]


def detail(flow: Flow, *, with_metadata: bool = True) -> dict[str, Any]:
    """Return the event's detail (contracts/events), with the fields that apply."""
    content = {
        "version": DETAIL_VERSION,
        "event_id": flow.event_id,
        "occurred_at": from_epoch_ms(flow.settled_at or flow.started_at).isoformat(timespec="milliseconds"),
        "flow_id": flow.flow_id,
        "connection_id": flow.connection_id,
        "secret_arn": flow.secret_arn,
    }
    content |= _of_transfer(flow) if flow.status is Status.TRANSFERRED else _of_outcome(flow, with_metadata)
    return {name: value for name, value in content.items() if value is not None}


def _of_transfer(flow: Flow) -> dict[str, Any]:
    """Return what the customer who lost a connection learns. Nothing of the other customer's link is in it."""
    return {
        "customer_id": flow.transferred_from,
        "from_customer_id": flow.transferred_from,
        "to_customer_id": flow.customer_id,
    }


def _of_outcome(flow: Flow, with_metadata: bool) -> dict[str, Any]:  # private, one caller
    omitted = flow.metadata is not None and not with_metadata
    return {
        "customer_id": flow.customer_id,
        "provider_id": flow.provider_id,
        "client_type": flow.client_type,
        "products": None if flow.granted_products is None else list(flow.granted_products),
        "secret_version_id": flow.secret_version_id,
        "reason": flow.reason,
        "finch_request_id": flow.finch_request_id,
        "metadata": None if omitted else flow.metadata,
        "metadata_omitted": omitted or None,
    }
