"""`make quarantine`: what an operator reads and decides, on an AWS account in memory. Row 18 tests the real stack."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from cli.quarantine import REFUSALS, main
from finch_connect.adapters.items import item_of
from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.domain.connection import Connection
from finch_connect.domain.flow import Status
from finch_connect.flow import token_storage
from tests.cli.account import make_stack
from tests.flows import a_flow
from tests.template import ROOT, make_flow_table
from tests.unit.conftest import GRANT

FLOW = a_flow(flow_id="Q" * 22, status=Status.CLAIMED, customer_id="globex", claimed_at=1_800_000_001_000)


@dataclasses.dataclass
class Account:
    """The stack's table and vault."""

    dynamodb: Any
    secrets: Any

    @property
    def table(self) -> DynamoFlowTable:
        return DynamoFlowTable(self.dynamodb, "flows")

    def secret_names(self) -> set[str]:
        """Return the names of the secrets that are not deleted."""
        return {one["Name"] for one in self.secrets.list_secrets()["SecretList"]}

    def quarantine(self, **grant: Any) -> None:
        """Put one token into quarantine, published, as the callback and the relay do."""
        given = dataclasses.replace(GRANT, **grant)
        settled = FLOW.settled(
            Status.QUARANTINED, at=datetime.now(UTC), reason="owner_mismatch", connection_id=given.connection_id
        )
        self.dynamodb.put_item(TableName="flows", Item=item_of(dataclasses.replace(settled, due_at=None)))
        self.secrets.create_secret(
            Name=f"finch/dev/quarantine/{FLOW.flow_id}", SecretString=token_storage.document(FLOW, given).reveal()
        )

    def set_owner(self, customer_id: str, claimed_at: int = FLOW.claimed_at or 0) -> None:
        """Make a customer the connection's owner, with a stored token."""
        known, claim = GRANT.connection_id or "", claimed_at - 1
        self.table.acquire_lease(Connection(known, customer_id, "A" * 22, claim, "v" * 64, "n", "gusto", ()), now=claim)
        self.table.end_lease(known, flow_id="A" * 22, claimed_at=claim, stored=True)


@pytest.fixture
def account(aws: None) -> Account:
    """As much of a deployed stack as the tool uses."""
    made = Account(boto3.client("dynamodb"), boto3.client("secretsmanager"))
    make_flow_table(made.dynamodb)
    make_stack({"TableName": "flows"}, {"Stage": "dev", "KmsKeyArn": ""})
    return made


def test_the_list_has_what_a_person_needs_to_decide(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    """Flow, customer, connection and reason, but no token."""
    assert main([]) == 0
    assert "Nothing is in quarantine." in capsys.readouterr().out
    account.quarantine()
    assert main([]) == 0
    line = capsys.readouterr().out
    assert all(text in line for text in (FLOW.flow_id, "globex", str(GRANT.connection_id), "owner_mismatch"))
    assert "token-1" not in line


def test_a_release_moves_the_token_and_leaves_the_row_to_be_published(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """The token has its connection's name, and the row is due and keeps nothing of its time in quarantine."""
    account.quarantine()
    assert main(["--release", FLOW.flow_id]) == 0
    assert "globex owns" in capsys.readouterr().out
    assert account.secret_names() == {f"finch/dev/connections/{GRANT.connection_id}"}
    row = account.table.get(FLOW.flow_id)
    assert row is not None
    assert (row.status, row.reason, row.published_at) == (Status.CONNECTED, None, None)
    item = account.dynamodb.get_item(TableName="flows", Key={"id": {"S": f"flow#{FLOW.flow_id}"}})["Item"]
    assert item["due"] == {"S": "flow"}
    assert main(["--release", FLOW.flow_id]) == 0, "a repetition succeeds"


def test_a_refused_release_names_the_owner_and_the_argument_that_helps(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """The advice works: the command with the argument that the message names succeeds."""
    account.set_owner("acme")
    account.quarantine()
    for wrong in ([], ["--transfer-from", "umbrella"]):
        assert main(["--release", FLOW.flow_id, *wrong]) == 1
        assert "belongs to acme. If it belongs to globex from now on, add TRANSFER_FROM=acme" in capsys.readouterr().err
    assert account.secret_names() == {f"finch/dev/quarantine/{FLOW.flow_id}"}
    assert main(["--release", FLOW.flow_id, "--transfer-from", "acme"]) == 0


def test_a_release_over_a_newer_token_advises_to_discard(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    """The customer has signed in again since."""
    account.set_owner("globex", claimed_at=(FLOW.claimed_at or 0) + 10)
    account.quarantine()
    assert main(["--release", FLOW.flow_id]) == 1
    assert "a newer token is in the vault. Please discard" in capsys.readouterr().err


def test_a_release_without_a_connection_advises_to_discard(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """Finch named no connection."""
    account.quarantine(connection_id=None)
    assert main(["--release", FLOW.flow_id]) == 1
    assert "can only be discarded" in capsys.readouterr().err


def test_a_discarded_token_can_be_restored(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the secret's name and for how long, and the flow has failed."""
    account.quarantine()
    assert main(["--discard", FLOW.flow_id]) == 0
    assert f"for 7 days: finch/dev/quarantine/{FLOW.flow_id}" in capsys.readouterr().out
    row = account.table.get(FLOW.flow_id)
    assert row is not None
    assert (row.status, row.reason, row.secret_arn) == (Status.FAILED, "discarded", None)
    assert account.secret_names() == set()
    account.secrets.restore_secret(SecretId=f"finch/dev/quarantine/{FLOW.flow_id}")
    assert main(["--discard", FLOW.flow_id]) == 0, "a repetition succeeds"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--release", "nobody"], "There is no flow nobody. `make quarantine` lists"),
        (["--stack", "nowhere"], "There is no stack nowhere"),
    ],
)
def test_an_error_is_one_sentence(
    account: Account, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """On standard error, without a traceback."""
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_every_refusal_has_a_sentence() -> None:
    """Each reason in the source of the decisions is explained, and no explanation is left over."""
    source = (ROOT / "layers/finch_connect/finch_connect/flow/quarantine.py").read_text()
    raised = re.findall(r'DecisionRefusedError\("(\w+)"(?: if newer else "(\w+)")?', source)
    assert {reason for pair in raised for reason in pair if reason} == set(REFUSALS)


def test_a_token_without_a_row_is_listed_and_can_be_discarded(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its flow's row is gone, but it is still billed. The list says what can be done with it, and the command works."""
    account.quarantine()
    account.dynamodb.delete_item(TableName="flows", Key={"id": {"S": f"flow#{FLOW.flow_id}"}})
    assert main([]) == 0
    line = capsys.readouterr().out
    assert all(text in line for text in (FLOW.flow_id, f"{datetime.now(UTC):%Y-%m}", "no row", "can only be discarded"))
    assert main(["--release", FLOW.flow_id]) == 1
    assert "can only be discarded" in capsys.readouterr().err
    assert main(["--discard", FLOW.flow_id]) == 0
    assert f"for 7 days: finch/dev/quarantine/{FLOW.flow_id}" in capsys.readouterr().out
    assert account.secret_names() == set()


def test_a_connection_in_use_is_not_taken_and_the_message_says_what_to_do(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its owner is signing in at this moment. Nothing changes, and the same command works a few minutes later."""
    account.quarantine()
    known, claim = GRANT.connection_id or "", (FLOW.claimed_at or 0) - 1
    account.table.acquire_lease(
        Connection(known, "acme", "A" * 22, claim, "v" * 64, "finch/dev/connections/c", "gusto", ()), now=claim
    )
    assert main(["--release", FLOW.flow_id, "--transfer-from", "acme"]) == 1
    assert "is being stored now. Nothing was changed. Try again in a few minutes." in capsys.readouterr().err
    assert account.secret_names() == {f"finch/dev/quarantine/{FLOW.flow_id}"}
    account.table.end_lease(known, flow_id="A" * 22, claimed_at=claim, stored=True)
    assert main(["--release", FLOW.flow_id, "--transfer-from", "acme"]) == 0
    row = account.table.get(FLOW.flow_id)
    assert row is not None
    assert [outcome.status for outcome in row.outcomes] == ["quarantined", "transferred", "connected"]
