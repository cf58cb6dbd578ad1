"""`make republish`: which outcomes are published again and which are not, in memory and on the deployed stack."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from cli.republish import Outbox, main
from cli.waiting import wait_for
from finch_connect.adapters.items import flow_of, item_of
from finch_connect.domain.flow import Flow, Status, epoch_ms
from local.engine import RunningStack
from tests.cli.account import make_stack
from tests.conftest import TIMEOUT_SECONDS, Customer, Inbox
from tests.flows import a_flow
from tests.template import make_flow_table

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
STARTED = a_flow(started_at=epoch_ms(NOON) - 60_000)


@dataclasses.dataclass
class Account:
    """The stack's table."""

    dynamodb: Any

    def put(self, letter: str, minutes: float, status: Status = Status.DENIED) -> Flow:
        """Put a flow that was settled that many minutes after noon and then published."""
        flow = dataclasses.replace(STARTED, flow_id=letter * 22).settled(status, at=NOON + timedelta(minutes=minutes))
        published = dataclasses.replace(flow, due_at=None, published_at=(flow.settled_at or 0) + 1000)
        self.dynamodb.put_item(TableName="flows", Item=item_of(published))
        return published

    def unpublished(self) -> set[str]:
        """Return the first letters of the flows to publish: due now, and not marked as published."""
        items = self.dynamodb.scan(TableName="flows")["Items"]
        due = [item for item in items if "due" in item]
        assert all("published_at" not in item and int(item["due_at"]["N"]) <= time.time() * 1000 for item in due)
        return {item["id"]["S"][len("flow#")] for item in due}


@pytest.fixture
def account(aws: None) -> Account:
    """As much of a deployed stack as the tool reads."""
    made = Account(boto3.client("dynamodb"))
    make_flow_table(made.dynamodb)
    make_stack({"TableName": "flows"})
    return made


def test_one_flow_is_marked_to_be_published_again(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    """No other flow is marked, the event stays the same, and the command can be repeated."""
    published = account.put("A", 0)
    account.put("B", 0)
    for _ in range(2):
        assert main(["--flow", published.flow_id]) == 0
        written = capsys.readouterr().out
        assert published.event_id in written
        assert "1 to be published again" in written
        assert account.unpublished() == {"A"}
    item = account.dynamodb.get_item(TableName="flows", Key={"id": {"S": f"flow#{published.flow_id}"}})["Item"]
    row = flow_of(item)
    assert dataclasses.replace(row, due_at=None, published_at=published.published_at) == published


def test_a_span_includes_its_beginning_and_not_its_end(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    """So two adjacent spans publish nothing twice. The oldest outcome comes first."""
    for letter, minutes in [("A", -0.01), ("C", 30), ("B", 0), ("D", 59.99), ("E", 60)]:
        account.put(letter, minutes)
    assert main(["--since", "2027-01-15T12:00Z", "--until", "2027-01-15T14:00+01:00"]) == 0
    assert account.unpublished() == {"B", "C", "D"}
    written = capsys.readouterr()
    assert [line[0] for line in written.out.splitlines()] == ["B", "C", "D", "3"]
    assert "3 of them settled in this span" in written.err


def test_only_outcomes_are_published(account: Account) -> None:
    """A flow whose token waits in the fallback is left alone, and so is a connection's row."""
    account.put("A", 1, Status.UNSTORED)
    account.put("B", 1, Status.CONNECTED)
    settled_at = {"N": str(epoch_ms(NOON) + 1)}
    connection = {"id": {"S": "connection#c"}, "settled_at": settled_at, "status": {"S": "connected"}}
    account.dynamodb.put_item(TableName="flows", Item=connection)
    assert main(["--since", "2027-01-15T12:00Z", "--until", "2027-01-15T13:00Z"]) == 0
    assert account.unpublished() == {"B"}


def test_the_whole_table_is_read_page_by_page(account: Account) -> None:
    """The tool reports its progress after each page."""
    for letter in "ABCDEFG":
        account.put(letter, 5)
    reported: list[str] = []
    found = Outbox(account.dynamodb, "flows", page_rows=2).settled(NOON, NOON + timedelta(hours=1), reported.append)
    assert {flow.flow_id[0] for flow in found} == set("ABCDEFG")
    assert len(reported) >= 4
    assert reported[-1] == "7 rows read, 7 of them settled in this span"


def test_a_row_that_cannot_be_read_does_not_hold_up_the_others(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tool names the row and skips it."""
    poison = {"id": {"S": "flow#poison"}, "settled_at": {"N": str(epoch_ms(NOON))}, "status": {"S": "denied"}}
    account.dynamodb.put_item(TableName="flows", Item=poison)
    account.put("A", 5)
    assert main(["--since", "2027-01-15T12:00Z", "--until", "2027-01-15T13:00Z"]) == 0
    assert "flow#poison cannot be read" in capsys.readouterr().err
    assert account.dynamodb.get_item(TableName="flows", Key={"id": {"S": f"flow#{'A' * 22}"}})["Item"]["due"]


def test_a_large_number_of_outcomes_must_be_confirmed(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    """Consumers would receive each of them again."""
    for letter in "ABC":
        account.put(letter, 5)
    span = ["--since", "2027-01-15T12:00Z", "--until", "2027-01-15T13:00Z"]
    assert main([*span, "--at-most", "2"]) == 1
    assert "add AT_MOST=3" in capsys.readouterr().err
    assert account.unpublished() == set()
    assert main([*span, "--at-most", "3"]) == 0


def test_a_flow_that_changed_meanwhile_is_left_alone(account: Account) -> None:
    """Its link was opened again between reading and marking."""
    flow = account.put("A", 0)
    outbox = Outbox(account.dynamodb, "flows")
    account.dynamodb.put_item(TableName="flows", Item=item_of(dataclasses.replace(STARTED, flow_id=flow.flow_id)))
    assert outbox.republish(flow) is False
    account.put("A", 1)
    assert outbox.republish(flow) is False
    assert account.unpublished() == set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--flow", "nobody"], "There is no flow nobody"),
        (["--flow", "S" * 22], "is started, so it has no outcome"),
        (["--flow", "nobody", "--stack", "nowhere"], "There is no stack nowhere"),
        (["--since", "2027-01-15T12:00"], "no time zone. Write 2027-01-15T12:00Z"),
        (["--since", "yesterday"], "yesterday is not a time"),
        (["--since", "2027-01-15T12:00Z", "--until", "soon"], "soon is not a time"),
        (["--since", "2027-01-15T12:00Z", "--until", "2027-01-15T12:00Z"], "must end after it begins"),
        (["--since", "2027-01-15T12:00Z", "--until", "2027-01-15T12:30+01:00"], "must end after it begins"),
    ],
)
def test_an_invalid_request_is_an_error(
    account: Account, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """One line without a traceback, and nothing is changed."""
    account.dynamodb.put_item(TableName="flows", Item=item_of(STARTED))
    account.put("A", 0)
    assert main(arguments) == 1
    assert message in capsys.readouterr().err
    assert account.unpublished() == set()


@pytest.fixture
def command(emulated_aws: None, stack: RunningStack) -> Callable[..., int]:
    """The command on the deployed stack, with the emulator as AWS."""
    return lambda *arguments: main([*arguments, "--stack", stack.deployed.name])


def published_at(customer: Customer) -> int:
    """Wait until the customer's outcome is marked as published, and return when it was settled (epoch ms)."""
    row = wait_for(
        lambda: row if (row := customer.row()) and row.published_at else None,
        timeout=TIMEOUT_SECONDS,
        problem=lambda: str(customer.row()),
    )
    assert row.settled_at is not None
    return row.settled_at


def iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()


def test_the_deployed_stack_publishes_one_flow_and_then_a_span_again(
    a_customer: Callable[..., Customer], inbox: Inbox, command: Callable[..., int]
) -> None:
    """Each event arrives again with its `event_id`, through the relay. Flows outside the span are left alone."""
    before, *within, after = [a_customer() for _ in range(5)]
    settled: dict[str, int] = {}
    for customer in (before, *within, after):
        if customer is within[0]:
            customer.come_back(customer.denied())
        else:
            customer.connect()
        settled[customer.customer_id] = published_at(customer)
        inbox.wait_for(customer, 1)
        time.sleep(0.01)

    assert command(f"--flow={before.flow_id}") == 0
    assert len({event["detail"]["event_id"] for event in inbox.wait_for(before, 2)}) == 1

    since, until = settled[within[0].customer_id], settled[after.customer_id]
    assert command("--since", iso(since), "--until", iso(until)) == 0
    for customer in within:
        first, second = inbox.wait_for(customer, 2)
        assert first["detail"] == second["detail"]
        assert published_at(customer) == settled[customer.customer_id]
    assert len(inbox.of(before)) == 2
    assert len(inbox.of(after)) == 1
