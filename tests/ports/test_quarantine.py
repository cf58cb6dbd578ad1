"""`ports.Quarantine` and `ports.Owners`: the fakes and the operator's adapters keep the same promises."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from cli.quarantine import SecretsManagerQuarantine
from finch_connect.adapters.owners import DynamoOwners
from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.adapters.vault import SecretsManagerVault
from finch_connect.domain.connection import Connection, Leased, LeaseRefused
from finch_connect.domain.flow import Flow, Status, Written
from finch_connect.domain.names import Names
from finch_connect.domain.secret import Secret
from finch_connect.flow.ports import Owners, Quarantine, Vault
from tests.fakes import NOW, FakeFlowTable, FakeVault
from tests.operator_fakes import FakeOwners, FakeQuarantine
from tests.ports.test_flow_table import FLOW, with_status
from tests.ports.test_flow_table import put as put_flow
from tests.template import make_flow_table

NAMES = Names("dev")
FLOW_ID = "Q" * 22
CONNECTION = Connection("c-1", "globex", FLOW_ID, 2_000, "v" * 64, NAMES.connection_secret("c-1"), None, None)

type Kept = tuple[Vault, Quarantine]
type Owned = tuple[FakeFlowTable | DynamoFlowTable, Owners]


@pytest.fixture(params=["fake", "adapter"])
def kept(request: pytest.FixtureRequest) -> Kept:
    """A vault, and the quarantine in it."""
    if request.param == "fake":
        vault = FakeVault()
        return vault, FakeQuarantine(vault, NAMES)
    request.getfixturevalue("aws")
    client: Any = boto3.client("secretsmanager")
    return SecretsManagerVault(client, "dev", None), SecretsManagerQuarantine(client, NAMES)


@pytest.fixture(params=["fake", "adapter"])
def owned(request: pytest.FixtureRequest) -> Owned:
    """A table, and the owners in it."""
    if request.param == "fake":
        table = FakeFlowTable()
        return table, FakeOwners(table)
    request.getfixturevalue("aws")
    client: Any = boto3.client("dynamodb")
    make_flow_table(client)
    return DynamoFlowTable(client, "flows"), DynamoOwners(client, "flows")


def put(vault: Vault, flow_id: str) -> None:
    vault.put(NAMES.quarantine_secret(flow_id), Secret(f"token of {flow_id}"), version="v" * 64, exists=False)


def test_what_is_in_quarantine_is_listed_and_read(kept: Kept) -> None:
    """Secrets of connections are not in the list."""
    vault, quarantine = kept
    assert list(quarantine.secrets()) == []
    put(vault, FLOW_ID)
    vault.put(NAMES.connection_secret("c-1"), Secret("token"), version="w" * 64, exists=False)
    (secret,) = quarantine.secrets()
    assert secret.flow_id == FLOW_ID
    assert secret.stored_at is not None, "known without the flow's row"
    assert quarantine.read(FLOW_ID) == Secret(f"token of {FLOW_ID}")


@pytest.mark.parametrize("recoverable", [False, True])
def test_a_deleted_secret_is_neither_listed_nor_read(kept: Kept, recoverable: bool) -> None:
    """A repeated deletion does nothing."""
    vault, quarantine = kept
    put(vault, FLOW_ID)
    put(vault, "R" * 22)
    for _ in range(2):
        quarantine.delete(FLOW_ID, recoverable=recoverable)
        assert quarantine.read(FLOW_ID) is None
        assert [secret.flow_id for secret in quarantine.secrets()] == ["R" * 22]


FIRST = Connection("c-1", "globex", "A" * 22, 5_000, "u" * 64, CONNECTION.secret_name, None, None)
WINS = Connection("c-1", "acme", FLOW.flow_id, 2_000, FLOW.state_hash, CONNECTION.secret_name, None, None)


def quarantined(table: FakeFlowTable | DynamoFlowTable) -> tuple[Flow, Flow]:
    """Quarantine the flow of `acme` for a connection of `globex`, and return it with the transfer that ends that."""
    put_flow(table, with_status(Status.QUARANTINED))
    flow = table.get(FLOW.flow_id)
    assert flow is not None
    return flow, flow.transferred("c-1", "globex", "arn:1", at=NOW)


def test_a_connection_is_transferred_together_with_its_event(owned: Owned) -> None:
    """The new owner gets the lease although the former owner's token is newer, and the row holds the event."""
    table, owners = owned
    assert isinstance(table.acquire_lease(FIRST, now=5_000), Leased)
    table.end_lease("c-1", flow_id="A" * 22, claimed_at=5_000, stored=True)
    flow, transfer = quarantined(table)
    assert owners.transfer(flow, transfer)
    row = table.get(FLOW.flow_id)
    assert row is not None
    assert (row.unpublished, row.status) == ((transfer,), Status.QUARANTINED)
    assert list(table.due(2**53)) == [row]
    assert isinstance(table.mark_published(flow, at=7_000), Written)
    assert isinstance(table.mark_published(transfer, at=7_000), Written)
    published = table.get(FLOW.flow_id)
    assert published is not None
    assert (published.unpublished, published.due_at) == ((), None)
    lease = table.acquire_lease(WINS, now=6_000)
    assert isinstance(lease, Leased)
    assert not lease.is_reauthorization, "the new owner has no token of it yet"
    assert isinstance(table.acquire_lease(FIRST, now=7_000), LeaseRefused)


def test_a_connection_whose_lease_is_in_use_is_not_transferred(owned: Owned) -> None:
    """Its owner's token is being stored. Neither row changes."""
    table, owners = owned
    table.acquire_lease(FIRST, now=5_000)
    flow, transfer = quarantined(table)
    assert not owners.transfer(flow, transfer)
    assert table.get(FLOW.flow_id) == flow
    refused = table.acquire_lease(WINS, now=6_000)
    assert isinstance(refused, LeaseRefused)
    assert (refused.current.customer_id, refused.current.flow_id) == ("globex", "A" * 22)


def test_a_connection_is_transferred_only_from_the_owner_that_was_named(owned: Owned) -> None:
    """Neither row changes, nor does a connection without a row."""
    table, owners = owned
    flow, transfer = quarantined(table)
    assert not owners.transfer(flow, transfer)
    table.acquire_lease(FIRST, now=5_000)
    table.end_lease("c-1", flow_id="A" * 22, claimed_at=5_000, stored=True)
    assert not owners.transfer(flow, flow.transferred("c-1", "umbrella", None, at=NOW))
    assert table.get(FLOW.flow_id) == flow
    assert isinstance(table.acquire_lease(WINS, now=6_000), LeaseRefused)


def test_a_connection_is_not_transferred_to_a_flow_that_was_decided_meanwhile(owned: Owned) -> None:
    """Another operator has discarded its token. The owner keeps the connection."""
    table, owners = owned
    table.acquire_lease(FIRST, now=5_000)
    table.end_lease("c-1", flow_id="A" * 22, claimed_at=5_000, stored=True)
    flow, transfer = quarantined(table)
    table.settle(flow.settled(Status.FAILED, at=NOW, reason="discarded"), was=Status.QUARANTINED)
    assert not owners.transfer(flow, transfer)
    assert isinstance(table.acquire_lease(WINS, now=6_000), LeaseRefused)
