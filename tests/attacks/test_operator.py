"""Rows 45 and 46: what an operator's decision about a token in quarantine does to the connection and its owner."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.domain.connection import Connection, Leased
from finch_connect.domain.errors import DecisionRefusedError
from finch_connect.domain.flow import Flow, Status
from finch_connect.flow.quarantine import discard_left_over, quarantined, release
from tests.attacks.test_answers import injected, names_of, quarantine_of  # noqa: F401  # `injected` is a fixture
from tests.conftest import Customer, Inbox, secret_versions

Injected = tuple[Customer, Customer, str]


def item(customer: Customer) -> dict[str, Any]:
    """Read the flow's row as a DynamoDB item."""
    found: dict[str, Any] = customer.stack.client("dynamodb").get_item(
        TableName=customer.stack.outputs["TableName"],
        Key={"id": {"S": f"flow#{customer.flow_id}"}},
        ConsistentRead=True,
    )["Item"]
    return found


def published_row(customer: Customer) -> Flow:
    """Wait until the relay has marked the row, and return it."""
    for _ in range(120):
        row = customer.row()
        if row is not None and row.due_at is None and row.published_at is not None:
            return row
        time.sleep(0.25)
    raise AssertionError(f"not published: {customer.row()}")


def test_45_a_connection_whose_owner_signs_in_at_this_moment_is_not_taken(
    injected: Injected,  # noqa: F811
    inbox: Inbox,
) -> None:
    """Its lease is in use. The decision is refused and changes nothing, and succeeds when the lease has ended."""
    victim, attacker, secret_arn = injected
    inbox.wait_for(attacker)
    ports, names = quarantine_of(victim.stack), names_of(victim.stack)
    owned, flow = published_row(victim), published_row(attacker)
    table = DynamoFlowTable(victim.stack.client("dynamodb"), victim.stack.outputs["TableName"])
    assert owned.connection_id is not None
    again = Connection(
        owned.connection_id, victim.customer_id, "S" * 22, 2**42, "5" * 64, names.connection_secret("x"), None, None
    )
    for _ in range(60):  # the first login's lease ends when the relay has published it
        if isinstance(table.acquire_lease(again, now=int(time.time() * 1000)), Leased):
            break
        time.sleep(0.5)
    with pytest.raises(DecisionRefusedError, match="connection_leased"):
        release(attacker.flow_id, ports, names, transfer_from=victim.customer_id)
    assert attacker.row() == flow
    assert secret_versions(victim.stack, secret_arn) == 1
    table.end_lease(owned.connection_id, flow_id="S" * 22, claimed_at=2**42, stored=False)
    released = release(attacker.flow_id, ports, names, transfer_from=victim.customer_id)
    assert released.status is Status.CONNECTED


def test_45_both_customers_of_a_transfer_get_an_event(injected: Injected, inbox: Inbox) -> None:  # noqa: F811
    """The former owner's event names both customers and the secret, and nothing of the other one's link."""
    victim, attacker, secret_arn = injected
    inbox.wait_for(attacker)
    ports, names = quarantine_of(victim.stack), names_of(victim.stack)
    published_row(victim)
    release(attacker.flow_id, ports, names, transfer_from=victim.customer_id)
    _, transferred, established = inbox.distinct(attacker, 3)
    assert transferred["detail-type"] == "Connection Transferred"
    detail = transferred["detail"]
    assert (detail["from_customer_id"], detail["to_customer_id"]) == (victim.customer_id, attacker.customer_id)
    assert detail["customer_id"] == victim.customer_id
    # Left out if the owner's version is not found: the emulator chooses version ids itself (docs/architecture.md).
    assert detail.get("secret_arn", secret_arn) == secret_arn
    assert attacker.link_id not in json.dumps(transferred)
    assert established["detail-type"] == "Connection Established"
    assert published_row(attacker).unpublished == ()


def test_46_a_row_with_a_token_in_quarantine_never_expires(injected: Injected, inbox: Inbox) -> None:  # noqa: F811
    """Its outcome is published, but nobody has decided. The victim's row has nothing open, so it has a TTL."""
    victim, attacker, _ = injected
    inbox.wait_for(attacker)
    published_row(victim)
    published_row(attacker)
    assert "expires" in item(victim)
    assert "expires" not in item(attacker)


def test_46_a_token_without_a_row_is_found_and_discarded(
    injected: Injected,  # noqa: F811
    inbox: Inbox,
) -> None:
    """An earlier version's row was deleted by its TTL. The live token is listed, and can be given up."""
    _, attacker, _ = injected
    inbox.wait_for(attacker)
    published_row(attacker)
    ports = quarantine_of(attacker.stack)
    attacker.stack.client("dynamodb").delete_item(
        TableName=attacker.stack.outputs["TableName"], Key={"id": {"S": f"flow#{attacker.flow_id}"}}
    )
    (waiting,) = [one for one in quarantined(ports) if one.flow_id == attacker.flow_id]
    assert (waiting.flow, waiting.is_left_over) == (None, True)
    assert discard_left_over(attacker.flow_id, ports)
    assert attacker.flow_id not in {one.flow_id for one in quarantined(ports)}
