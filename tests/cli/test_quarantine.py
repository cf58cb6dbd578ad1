"""`make quarantine`: what an operator reads and decides, over an account in memory; row 18 has it on the real stack."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from cli.quarantine import main
from finch_connect.adapters.items import item_of
from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.domain.connection import Connection
from finch_connect.domain.flow import ConnectMode, Flow, Status
from finch_connect.flow import token_storage
from tests.template import make_flow_table
from tests.unit.conftest import GRANT

FLOW = Flow(
    flow_id="Q" * 22,
    status=Status.CLAIMED,
    state_hash="5" * 64,
    mode=ConnectMode.STATIC,
    customer_id="globex",
    redirect_uri="https://connect.example.com/callback",
    started_at=1_800_000_000_000,
    deadline=1_800_000_600_000,
    expires=1_802_600_000,
    products=("company",),
    claimed_at=1_800_000_001_000,
)


@dataclasses.dataclass
class Account:
    """The stack's table and vault."""

    dynamodb: Any
    secrets: Any

    @property
    def table(self) -> DynamoFlowTable:
        return DynamoFlowTable(self.dynamodb, "flows")

    def names(self) -> set[str]:
        """Return the names of the secrets that are not deleted."""
        return {one["Name"] for one in self.secrets.list_secrets()["SecretList"]}

    def quarantine(self, **grant: Any) -> None:
        """Put one token into quarantine, told to the bus, as the callback and the relay do."""
        given = dataclasses.replace(GRANT, **grant)
        settled = FLOW.settled(
            Status.QUARANTINED, at=datetime.now(UTC), reason="owner_mismatch", connection_id=given.connection_id
        )
        self.dynamodb.put_item(TableName="flows", Item=item_of(dataclasses.replace(settled, due_at=None)))
        self.secrets.create_secret(
            Name=f"finch/dev/quarantine/{FLOW.flow_id}", SecretString=token_storage.document(FLOW, given).reveal()
        )

    def own(self, customer_id: str, claimed_at: int = FLOW.claimed_at or 0) -> None:
        """Let a customer own the connection already."""
        known, claim = GRANT.connection_id or "", claimed_at - 1
        self.table.acquire_lease(Connection(known, customer_id, "A" * 22, claim, "v" * 64, "n", "gusto", ()), now=claim)
        self.table.end_lease(known, flow_id="A" * 22, claimed_at=claim, stored=True)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """A deployed stack as far as the tool asks."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        made = Account(boto3.client("dynamodb"), boto3.client("secretsmanager"))
        make_flow_table(made.dynamodb)
        template = {
            "Parameters": {
                "Stage": {"Type": "String", "Default": "dev"},
                "KmsKeyArn": {"Type": "String", "Default": ""},
            },
            "Resources": {"Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": "b"}}},
            "Outputs": {"TableName": {"Value": "flows"}},
        }
        boto3.client("cloudformation").create_stack(
            StackName="finch-connect",
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": "Stage", "ParameterValue": "dev"}],
        )
        yield made


def test_what_waits_is_listed_with_what_a_person_needs(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    """Flow, customer, connection, reason; and no token."""
    assert main([]) == 0
    assert "Nothing is in quarantine" in capsys.readouterr().out
    account.quarantine()
    assert main([]) == 0
    line = capsys.readouterr().out
    assert all(text in line for text in (FLOW.flow_id, "globex", str(GRANT.connection_id), "owner_mismatch"))
    assert "token-1" not in line


def test_a_release_makes_it_the_customers_connection_and_is_told(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """The token moves; the row is connected, due to be told, and keeps nothing of its time in quarantine."""
    account.quarantine()
    assert main(["--release", FLOW.flow_id]) == 0
    assert "globex owns" in capsys.readouterr().out
    assert account.names() == {f"finch/dev/connections/{GRANT.connection_id}"}
    row = account.table.get(FLOW.flow_id)
    assert row is not None
    assert (row.status, row.reason, row.published_at) == (Status.CONNECTED, None, None)
    item = account.dynamodb.get_item(TableName="flows", Key={"id": {"S": f"flow#{FLOW.flow_id}"}})["Item"]
    assert item["due"] == {"S": "flow"}
    assert main(["--release", FLOW.flow_id]) == 0, "again is the same"


def test_a_connection_of_another_customer_needs_to_be_named(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is taken from a customer by a slip."""
    account.own("acme")
    account.quarantine()
    assert main(["--release", FLOW.flow_id]) == 1
    assert "belongs to acme" in capsys.readouterr().err
    assert main(["--release", FLOW.flow_id, "--transfer-from", "umbrella"]) == 1
    assert "does not belong to umbrella" in capsys.readouterr().err
    assert account.names() == {f"finch/dev/quarantine/{FLOW.flow_id}"}
    assert main(["--release", FLOW.flow_id, "--transfer-from", "acme"]) == 0


def test_a_newer_token_of_the_same_customer_is_not_replaced(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """They signed in again meanwhile."""
    account.own("globex", claimed_at=(FLOW.claimed_at or 0) + 10)
    account.quarantine()
    assert main(["--release", FLOW.flow_id]) == 1
    assert "a newer token is in the vault" in capsys.readouterr().err


def test_a_token_without_a_connection_can_only_be_discarded(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """Finch named none."""
    account.quarantine(connection_id=None)
    assert main(["--release", FLOW.flow_id]) == 1
    assert "nothing to release" in capsys.readouterr().err


def test_a_discard_gives_the_token_up_and_can_be_undone(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    """The flow has failed, so the link starts anew; the secret can be restored."""
    account.quarantine()
    assert main(["--discard", FLOW.flow_id]) == 0
    assert "starts anew" in capsys.readouterr().out
    row = account.table.get(FLOW.flow_id)
    assert row is not None
    assert (row.status, row.reason, row.secret_arn) == (Status.FAILED, "discarded", None)
    assert account.names() == set()
    account.secrets.restore_secret(SecretId=f"finch/dev/quarantine/{FLOW.flow_id}")
    assert main(["--discard", FLOW.flow_id]) == 0, "again is the same"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--release", "nobody"], "There is no flow nobody"),
        (["--stack", "nowhere"], "There is no stack nowhere"),
    ],
)
def test_what_cannot_be_is_said(
    account: Account, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    """One line, without a traceback."""
    assert main(arguments) == 1
    assert says in capsys.readouterr().err
