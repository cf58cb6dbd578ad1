"""What an event says beyond its outcome: the secret's version, and what a customer who lost a connection learns."""

from __future__ import annotations

import dataclasses

import pytest

from finch_connect.adapters.bus import detail, detail_type
from finch_connect.domain.flow import Status
from tests.contracts import validate_event
from tests.fakes import NOW
from tests.ports.test_flow_table import EVERYTHING


@pytest.mark.parametrize("changes", [{}, {"reauthorized": True}, {"status": Status.QUARANTINED}])
def test_an_event_with_a_secret_names_the_version(changes: dict[str, object]) -> None:
    """A consumer can check whether the token that it reads is the one of this event."""
    flow = dataclasses.replace(EVERYTHING, **changes)  # type: ignore[arg-type]
    assert detail(flow)["secret_version_id"] == flow.secret_version_id
    validate_event({"detail-type": detail_type(flow), "detail": detail(flow)})


@pytest.mark.parametrize("secret_arn", ["arn:1", None])
def test_the_customer_who_lost_a_connection_learns_nothing_of_the_other_ones_link(secret_arn: str | None) -> None:
    """The event has both customers and the connection, but no metadata, reason or product of the new owner's flow."""
    quarantined = dataclasses.replace(EVERYTHING, status=Status.QUARANTINED)
    transfer = quarantined.transferred("c-1", "globex", secret_arn, at=NOW)
    assert detail_type(transfer) == "Connection Transferred"
    content = detail(transfer)
    validate_event({"detail-type": detail_type(transfer), "detail": content})
    assert content.pop("secret_arn", None) == secret_arn
    assert content == {
        "version": "1",
        "event_id": transfer.event_id,
        "occurred_at": "2026-01-15T12:00:00.000+00:00",
        "flow_id": EVERYTHING.flow_id,
        "customer_id": "globex",
        "connection_id": "c-1",
        "from_customer_id": "globex",
        "to_customer_id": "acme",
    }
    assert transfer.event_id not in {quarantined.event_id, EVERYTHING.event_id}
