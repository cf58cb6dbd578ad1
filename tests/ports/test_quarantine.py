"""`ports.Quarantine` and `ports.Owners`: the fakes and the operator's adapters keep the same promises."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from cli.quarantine import DynamoOwners, SecretsManagerQuarantine
from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.adapters.vault import SecretsManagerVault
from finch_connect.domain.connection import Connection, Leased, LeaseRefused
from finch_connect.domain.names import Names
from finch_connect.domain.secret import Secret
from finch_connect.flow.ports import ConnectionTable, Owners, Quarantine, Vault
from tests.fakes import FakeFlowTable, FakeOwners, FakeQuarantine, FakeVault
from tests.template import make_flow_table

NAMES = Names("dev")
FLOW_ID = "Q" * 22
CONNECTION = Connection("c-1", "globex", FLOW_ID, 2_000, "v" * 64, NAMES.connection_secret("c-1"), None, None)

type Kept = tuple[Vault, Quarantine]
type Owned = tuple[ConnectionTable, Owners]


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
    assert list(quarantine.flow_ids()) == []
    put(vault, FLOW_ID)
    vault.put(NAMES.connection_secret("c-1"), Secret("token"), version="w" * 64, exists=False)
    assert list(quarantine.flow_ids()) == [FLOW_ID]
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
        assert list(quarantine.flow_ids()) == ["R" * 22]


def test_only_the_named_owner_loses_a_connection(owned: Owned) -> None:
    """With another name nothing changes; with the right one the connection is free for the next customer."""
    table, owners = owned
    first = Connection("c-1", "acme", "A" * 22, 1_000, "u" * 64, CONNECTION.secret_name, None, None)
    assert isinstance(table.acquire_lease(first, now=1_000), Leased)
    table.end_lease("c-1", flow_id="A" * 22, claimed_at=1_000, stored=True)
    owners.end_ownership("c-1", "umbrella")
    assert isinstance(table.acquire_lease(CONNECTION, now=2_000), LeaseRefused)
    owners.end_ownership("c-1", "acme")
    assert table.acquire_lease(CONNECTION, now=2_000) == Leased(None)
    owners.end_ownership("c-1", "acme")
    assert isinstance(table.acquire_lease(CONNECTION, now=2_000), Leased), "a repetition changes nothing"
