"""The flow table: a condition protects each transition, because a put replaces a row and an update creates one."""

from __future__ import annotations

import dataclasses
from typing import Any

import boto3
import pytest

from finch_connect.adapters.items import flow_of, item_of, read_stream_record
from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.domain.connection import Connection
from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.flow import CLAIM_GRACE_MS, Flow, NotWritten, StartRule, Status, Written
from finch_connect.flow.ports import FlowTable
from tests.fakes import NOW, FakeFlowTable
from tests.flows import a_flow

FLOW = a_flow(
    flow_id="f" * 22,
    state_hash="a" * 64,
    started_at=1_000,
    deadline=9_000,
    due_at=9_000,
    expires=99,
    products=("company", "directory"),
    metadata={"plan": "gold", "seats": 3},
    nonce="n-1",
)
EVERYTHING = dataclasses.replace(
    FLOW,
    status=Status.CONNECTED,
    payroll_provider="gusto",
    requested_connection_id="c-0",
    return_url="https://app.example.com/hr",
    claimed_at=2_000,
    claim_id="c-1",
    code_hash="b" * 64,
    settled_at=3_000,
    reason="superseded",
    connection_id="c-1",
    provider_id="gusto",
    client_type="sandbox",
    granted_products=("company",),
    secret_arn="arn:secret",
    secret_version_id="v" * 32,
    finch_request_id="r-1",
    reauthorized=False,
    published_at=4_000,
)


def with_status(status: Status) -> Flow:
    return dataclasses.replace(FLOW, status=status, claimed_at=None if status is Status.STARTED else 2_000)


def put(table: FlowTable, flow: Flow) -> None:
    """Bring a row into any status through the table's transitions."""
    assert isinstance(
        table.start(dataclasses.replace(FLOW, state_hash=flow.state_hash), StartRule.NEW_ATTEMPT), Written
    )
    if flow.status is Status.STARTED:
        return
    if flow.status is Status.ABANDONED:
        settle(table, flow.state_hash, Status.ABANDONED, Status.STARTED, claimed=False)
        return
    claim = {"state_hash": flow.state_hash, "claim_id": "c-1", "code_hash": "c" * 64, "now": 2_000}
    assert isinstance(table.claim(flow.flow_id, **claim), Written)  # type: ignore[arg-type]
    if flow.status is not Status.CLAIMED:
        settle(table, flow.state_hash, flow.status, Status.CLAIMED)


def settle(
    table: FlowTable, state_hash: str, status: Status, was: Status, *, claimed: bool = True
) -> Written | NotWritten:
    seen = dataclasses.replace(FLOW, state_hash=state_hash, claimed_at=2_000 if claimed else None)
    return table.settle(seen.settled(status, at=NOW, reason="r"), was=was)


def test_a_row_is_read_as_it_was_written() -> None:
    """Every field survives the conversion to DynamoDB's types and back."""
    assert flow_of(item_of(EVERYTHING)) == EVERYTHING
    assert flow_of(item_of(FLOW)) == FLOW


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("rule", list(StartRule))
def test_a_start_replaces_only_what_its_rule_allows(table: FlowTable, status: Status, rule: StartRule) -> None:
    """It never replaces a claim, a connection or a quarantined token, and a started flow only if the rule allows it."""
    put(table, with_status(status))
    attempt = dataclasses.replace(FLOW, state_hash="b" * 64)
    ended = status in {Status.DENIED, Status.FAILED, Status.ABANDONED, Status.ORPHANED}
    allowed = {
        StartRule.NEW_ATTEMPT: ended,
        StartRule.TAKE_OVER: ended or status is Status.STARTED,
        StartRule.RESUME: False,  # another browser's state
    }[rule]
    answer = table.start(attempt, rule, asked_at=FLOW.started_at)
    assert isinstance(answer, Written) == allowed
    row = table.get(FLOW.flow_id)
    assert row is not None
    assert row.state_hash == ("b" * 64 if allowed else "a" * 64)
    if isinstance(answer, NotWritten):
        assert answer.flow == row


def test_the_same_browser_resumes_its_started_flow(table: FlowTable) -> None:
    """The state stays the same, and the later deadline is written."""
    put(table, FLOW)
    assert isinstance(table.start(dataclasses.replace(FLOW, deadline=10_000), StartRule.RESUME), Written)


def test_without_a_row_there_is_nothing_to_resume(table: FlowTable) -> None:
    """Without its condition, the update would create a flow."""
    assert table.start(FLOW, StartRule.RESUME) == NotWritten(None)
    assert table.get(FLOW.flow_id) is None


def test_a_flow_is_claimed_once(table: FlowTable) -> None:
    """This is what makes a state one-time."""
    put(table, FLOW)
    claim = {"state_hash": FLOW.state_hash, "claim_id": "c-1", "code_hash": "c" * 64, "now": 2_000}
    first = table.claim(FLOW.flow_id, **claim)  # type: ignore[arg-type]
    assert isinstance(first, Written)
    assert (first.flow.status, first.flow.claimed_at, first.flow.code_hash) == (Status.CLAIMED, 2_000, "c" * 64)
    assert first.flow.due_at == 2_000 + CLAIM_GRACE_MS
    second = table.claim(FLOW.flow_id, **{**claim, "claim_id": "c-2"})  # type: ignore[arg-type]
    assert isinstance(second, NotWritten)
    assert second.flow is not None
    assert second.flow.status is Status.CLAIMED


def test_a_claim_whose_answer_was_lost_is_recognized(table: FlowTable) -> None:
    """botocore sends the claim again, which must not be refused because of itself."""
    put(table, FLOW)
    claim = {"state_hash": FLOW.state_hash, "claim_id": "c-1", "code_hash": "c" * 64, "now": 2_000}
    first = table.claim(FLOW.flow_id, **claim)  # type: ignore[arg-type]
    assert table.claim(FLOW.flow_id, **claim) == first  # type: ignore[arg-type]


def test_a_start_whose_answer_was_lost_is_recognized(table: FlowTable) -> None:
    """The state is the same and nobody else can have it, so the person continues and is not asked first."""
    assert isinstance(table.start(FLOW, StartRule.NEW_ATTEMPT), Written)
    assert isinstance(table.start(FLOW, StartRule.NEW_ATTEMPT), Written)


@pytest.mark.parametrize(("state_hash", "now"), [("b" * 64, 2_000), ("a" * 64, 9_000), ("a" * 64, 10_000)])
def test_a_claim_with_another_state_or_past_the_deadline_changes_nothing(
    table: FlowTable, state_hash: str, now: int
) -> None:
    """The deadline is in the condition, because TTL deletes days late."""
    put(table, FLOW)
    assert isinstance(
        table.claim(FLOW.flow_id, state_hash=state_hash, claim_id="c-1", code_hash=None, now=now), NotWritten
    )
    assert table.get(FLOW.flow_id) == FLOW


def test_a_claim_without_a_row_creates_no_row(table: FlowTable) -> None:
    """Without its condition, an update on a missing key would create the row."""
    assert table.claim("x" * 22, state_hash="a" * 64, claim_id="c-1", code_hash=None, now=2_000) == NotWritten(None)
    assert table.get("x" * 22) is None


def test_a_released_claim_can_be_claimed_again(table: FlowTable) -> None:
    """The row is as it was before the claim."""
    put(table, with_status(Status.CLAIMED))
    claimed = table.get(FLOW.flow_id)
    assert claimed is not None
    assert isinstance(table.release(claimed), Written)
    assert table.get(FLOW.flow_id) == FLOW
    assert isinstance(table.release(claimed), NotWritten), "a release happens once"


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.CLAIMED])
def test_only_a_claimed_flow_is_settled_by_the_callback(table: FlowTable, status: Status) -> None:
    """A row with any other status stays as it is."""
    put(table, with_status(status))
    before = table.get(FLOW.flow_id)
    assert isinstance(settle(table, FLOW.state_hash, Status.CONNECTED, Status.CLAIMED), NotWritten)
    assert table.get(FLOW.flow_id) == before


def test_the_outcome_of_another_attempt_or_claim_is_not_written(table: FlowTable) -> None:
    """A function that was suspended during a release and a new claim must not settle the new claim."""
    put(table, with_status(Status.CLAIMED))
    assert isinstance(settle(table, "b" * 64, Status.CONNECTED, Status.CLAIMED), NotWritten)
    late = dataclasses.replace(FLOW, claimed_at=1_999).settled(Status.CONNECTED, at=NOW)
    assert isinstance(table.settle(late, was=Status.CLAIMED), NotWritten)


def test_a_flow_that_was_extended_meanwhile_is_not_abandoned(table: FlowTable) -> None:
    """The sweeper read the old deadline, and then the person opened the link again."""
    put(table, FLOW)
    table.start(dataclasses.replace(FLOW, deadline=20_000, due_at=20_000), StartRule.RESUME)
    assert isinstance(settle(table, FLOW.state_hash, Status.ABANDONED, Status.STARTED, claimed=False), NotWritten)


def test_settling_without_a_row_creates_no_row(table: FlowTable) -> None:
    """Without a row there is no outcome."""
    assert isinstance(settle(table, FLOW.state_hash, Status.CONNECTED, Status.CLAIMED), NotWritten)
    assert table.get(FLOW.flow_id) is None


def test_a_published_outcome_is_no_longer_due(table: FlowTable) -> None:
    """The sparse index contains only what remains to be done."""
    put(table, with_status(Status.FAILED))
    row = table.get(FLOW.flow_id)
    assert row is not None
    assert row.due_at is not None
    assert list(table.due(row.due_at)) == [row]
    assert list(table.due(row.due_at - 1)) == []
    assert isinstance(table.mark_published(row, at=5_000), Written)
    assert list(table.due(2**53)) == []


def test_a_search_is_noted_and_repeated_later(table: FlowTable) -> None:
    """Only on the row that was read, and a released claim starts without it."""
    put(table, with_status(Status.CLAIMED))
    row = table.get(FLOW.flow_id)
    assert row is not None
    written = table.mark_searched(row, at=7_000, due_at=8_000)
    assert isinstance(written, Written)
    assert (written.flow.status, written.flow.searched_at, written.flow.due_at) == (Status.CLAIMED, 7_000, 8_000)
    other = dataclasses.replace(row, state_hash="f" * 64)
    assert isinstance(table.mark_searched(other, at=1, due_at=1), NotWritten)
    released = table.release(written.flow)
    assert isinstance(released, Written)
    assert released.flow.searched_at is None


def test_publishing_an_earlier_attempt_leaves_the_new_one_alone(table: FlowTable) -> None:
    """The relay may run after the link was started again."""
    put(table, with_status(Status.FAILED))
    failed = table.get(FLOW.flow_id)
    assert failed is not None
    assert isinstance(table.mark_published(failed, at=5_000), Written)
    table.start(dataclasses.replace(FLOW, state_hash="b" * 64), StartRule.NEW_ATTEMPT)
    assert isinstance(table.mark_published(failed, at=5_000), NotWritten)
    assert list(table.due(9_000)) == [dataclasses.replace(FLOW, state_hash="b" * 64)]


def test_due_rows_come_most_overdue_first(table: FlowTable) -> None:
    """The sweeper works through them in this order."""
    for number, due in enumerate([7_000, 5_000, 6_000]):
        flow_id = f"{number:022d}"
        table.start(dataclasses.replace(FLOW, flow_id=flow_id, deadline=due, due_at=due), StartRule.NEW_ATTEMPT)
    assert [flow.due_at for flow in table.due(6_500)] == [5_000, 6_000]


def test_a_missing_table_is_reported_without_the_message_of_aws(aws: None) -> None:
    """AWS's messages may quote the request, so the error has only the code."""
    table = DynamoFlowTable(boto3.client("dynamodb"), "no-such-table")
    with pytest.raises(ServiceUnavailableError) as caught:
        table.claim(FLOW.flow_id, state_hash="secret-hash", claim_id="c-1", code_hash=None, now=1)
    assert caught.value.fields == {"operation": "UpdateItem", "aws_code": "ResourceNotFoundException"}
    assert "secret-hash" not in str(caught.value)


def test_stream_records_of_flows_are_read_and_of_connections_are_not(dynamodb_table: tuple[Any, str]) -> None:
    """The relay gets records of both kinds of rows."""
    client, name = dynamodb_table
    table = DynamoFlowTable(client, name)
    connection = Connection("c-1", "acme", FLOW.flow_id, 2_000, "a" * 64, "finch/dev/connections/c-1", None, None)
    table.acquire_lease(connection, now=5_000)
    connection = client.get_item(TableName=name, Key={"id": {"S": "connection#c-1"}})["Item"]
    assert read_stream_record({"NewImage": connection}) == (None, None)
    assert read_stream_record({"OldImage": item_of(FLOW), "NewImage": item_of(EVERYTHING)}) == (FLOW, EVERYTHING)
    assert read_stream_record({"OldImage": item_of(EVERYTHING)}) == (EVERYTHING, None)


def test_the_due_index_is_read_page_by_page(dynamodb_table: tuple[Any, str]) -> None:
    """More than a megabyte is due, so one page does not contain all of it."""
    table = DynamoFlowTable(*dynamodb_table)
    for number in range(30):
        flow = dataclasses.replace(FLOW, flow_id=f"{number:022d}", metadata={"filler": "x" * 50_000}, due_at=number)
        table.start(flow, StartRule.NEW_ATTEMPT)
    assert [flow.due_at for flow in table.due(1_000)] == list(range(30))


def test_an_unreadable_row_does_not_hold_up_the_others(dynamodb_table: tuple[Any, str]) -> None:
    """Somebody wrote a row by hand. The sweeper's next turn continues after it."""
    client, name = dynamodb_table
    poison = {"id": {"S": "flow#poison"}, "due": {"S": "flow"}, "due_at": {"N": "1"}}
    client.put_item(TableName=name, Item=poison)
    table = DynamoFlowTable(client, name)
    table.start(FLOW, StartRule.NEW_ATTEMPT)
    due = table.due(9_000)
    with pytest.raises(KeyError):
        next(due)
    assert list(due) == [FLOW]


def test_the_fake_raises_an_error_when_it_is_down() -> None:
    """Tests of the flow get the error that the adapter raises."""
    table = FakeFlowTable()
    table.down = True
    with pytest.raises(ServiceUnavailableError):
        table.get("x")
