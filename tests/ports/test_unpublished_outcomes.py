"""The table keeps an outcome until it is published, and gives a row its TTL only when nothing is open."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from finch_connect.adapters.items import flow_of, item_of, read_stream_record
from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.flow import MOST_UNPUBLISHED, Flow, NotWritten, StartRule, Status, Written
from finch_connect.flow.ports import FlowTable
from tests.fakes import NOW
from tests.ports.test_flow_table import EVERYTHING, FLOW, put, with_status

LATER = dataclasses.replace(FLOW, state_hash="b" * 64, deadline=900_000, due_at=900_000)


def row(table: FlowTable) -> Flow:
    found = table.get(FLOW.flow_id)
    assert found is not None
    return found


def restarted(table: FlowTable, status: Status = Status.DENIED) -> Flow:
    """Settle a flow, restart it before anything is published, and return the first outcome."""
    put(table, with_status(status))
    outcome = row(table)
    assert isinstance(table.start(LATER, StartRule.NEW_ATTEMPT), Written)
    return outcome


def test_what_a_row_carries_is_read_as_it_was_written() -> None:
    """Also from the stream."""
    assert flow_of(item_of(dataclasses.replace(FLOW, products=()))).products == (), "an empty list is not left out"
    carrying = dataclasses.replace(FLOW, unpublished=(EVERYTHING, dataclasses.replace(FLOW, status=Status.DENIED)))
    assert flow_of(item_of(carrying)) == carrying
    assert read_stream_record({"NewImage": item_of(carrying)}) == (None, carrying)


@pytest.mark.parametrize("status", [Status.DENIED, Status.FAILED, Status.ABANDONED, Status.ORPHANED])
def test_a_restart_carries_the_outcome_that_is_not_published(table: FlowTable, status: Status) -> None:
    """The new row is due soon, and not only at its deadline."""
    outcome = restarted(table, status)
    assert row(table) == dataclasses.replace(LATER, unpublished=(outcome,), due_at=LATER.started_at + 120_000)


def test_a_restart_over_a_published_outcome_carries_nothing(table: FlowTable) -> None:
    """It is one put, as ever."""
    put(table, with_status(Status.DENIED))
    assert isinstance(table.mark_published(row(table), at=5_000), Written)
    assert isinstance(table.start(LATER, StartRule.NEW_ATTEMPT), Written)
    assert row(table) == LATER


@pytest.mark.parametrize("rule", [StartRule.RESUME, StartRule.TAKE_OVER])
def test_a_put_over_a_started_row_keeps_what_it_carries(table: FlowTable, rule: StartRule) -> None:
    """The same browser again, and another browser after the button."""
    outcome = restarted(table)
    state_hash = LATER.state_hash if rule is StartRule.RESUME else "c" * 64
    for _ in range(2):  # a repetition whose first answer was lost
        attempt = dataclasses.replace(LATER, state_hash=state_hash)
        assert isinstance(table.start(attempt, rule, asked_at=LATER.started_at), Written)
        assert row(table).unpublished == (outcome,)


def test_a_start_that_its_rule_refuses_changes_nothing(table: FlowTable) -> None:
    """The row that it met is returned."""
    restarted(table)
    before = row(table)
    assert table.start(dataclasses.replace(LATER, state_hash="c" * 64), StartRule.NEW_ATTEMPT) == NotWritten(before)
    put_claim = table.claim(FLOW.flow_id, state_hash="b" * 64, claim_id="c-1", code_hash=None, now=2_000)
    assert isinstance(put_claim, Written)
    assert put_claim.flow.unpublished == before.unpublished, "a claim keeps it"
    assert isinstance(table.start(dataclasses.replace(LATER, state_hash="c" * 64), StartRule.TAKE_OVER), NotWritten)


def test_a_released_claim_stays_due_for_what_it_carries(table: FlowTable) -> None:
    """Not only at the deadline."""
    outcome = restarted(table)
    claimed = table.claim(FLOW.flow_id, state_hash="b" * 64, claim_id="c-1", code_hash=None, now=2_000)
    assert isinstance(claimed, Written)
    assert isinstance(table.release(claimed.flow), Written)
    assert (row(table).unpublished, row(table).due_at) == ((outcome,), claimed.flow.due_at)


def test_a_row_carries_a_bounded_number_of_outcomes(table: FlowTable) -> None:
    """Then the start fails, and the row stays as it is."""
    put(table, with_status(Status.DENIED))
    for number in range(MOST_UNPUBLISHED + 1):
        before, attempt = row(table), f"{number:064d}"
        again = dataclasses.replace(FLOW, state_hash=attempt)
        if number == MOST_UNPUBLISHED:
            with pytest.raises(ServiceUnavailableError):
                table.start(again, StartRule.NEW_ATTEMPT)
            break
        assert isinstance(table.start(again, StartRule.NEW_ATTEMPT), Written)
        claim = table.claim(FLOW.flow_id, state_hash=attempt, claim_id="c", code_hash=None, now=2_000)
        assert isinstance(claim, Written)
        assert isinstance(table.settle(claim.flow.settled(Status.DENIED, at=NOW), was=Status.CLAIMED), Written)
    assert row(table) == before


def test_outcomes_are_marked_one_by_one_in_any_place_of_the_row(table: FlowTable) -> None:
    """The row is due until the last one is marked, and a repetition changes nothing."""
    first = restarted(table)
    claimed = table.claim(FLOW.flow_id, state_hash="b" * 64, claim_id="c-1", code_hash=None, now=2_000)
    assert isinstance(claimed, Written)
    settled = claimed.flow.settled(Status.CONNECTED, at=NOW)
    assert isinstance(table.settle(settled, was=Status.CLAIMED), Written)
    second = row(table)
    assert [outcome.event_id for outcome in second.outcomes] == [first.event_id, second.event_id]
    assert isinstance(table.mark_published(second, at=5_000), Written)
    assert (row(table).unpublished, row(table).published_at) == ((first,), 5_000)
    assert list(table.due(2**53)) == [row(table)]
    assert isinstance(table.mark_published(first, at=6_000), Written)
    assert isinstance(table.mark_published(first, at=6_000), NotWritten)
    assert (row(table).unpublished, row(table).published_at) == ((), 5_000)
    assert list(table.due(2**53)) == []


def test_a_started_row_with_nothing_left_to_publish_is_due_at_its_deadline_again(table: FlowTable) -> None:
    """A row that still carries something is not postponed."""
    outcome = restarted(table)
    stale = dataclasses.replace(row(table), unpublished=())
    assert isinstance(table.postpone(stale), NotWritten)
    assert isinstance(table.mark_published(outcome, at=5_000), Written)
    assert isinstance(table.postpone(row(table)), Written)
    assert row(table) == LATER
    put_claim = table.claim(FLOW.flow_id, state_hash="b" * 64, claim_id="c-1", code_hash=None, now=2_000)
    assert isinstance(put_claim, Written)
    assert isinstance(table.postpone(LATER), NotWritten)


def test_a_decision_carries_the_outcome_that_it_replaces(table: FlowTable) -> None:
    """It is refused if that was published since the row was read, and then read again."""
    put(table, with_status(Status.QUARANTINED))
    read = row(table)
    assert isinstance(table.mark_published(read, at=5_000), Written)
    failed = read.settled(Status.FAILED, at=NOW, reason="discarded")
    assert isinstance(table.settle(failed, was=Status.QUARANTINED, replaced=read), NotWritten)
    assert isinstance(table.settle(failed, was=Status.QUARANTINED, replaced=row(table)), Written)
    assert row(table).unpublished == ()
    other = dataclasses.replace(FLOW, flow_id="g" * 22)
    assert isinstance(table.start(other, StartRule.NEW_ATTEMPT), Written)
    claim = table.claim(other.flow_id, state_hash=other.state_hash, claim_id="c", code_hash=None, now=2_000)
    assert isinstance(claim, Written)
    quarantined = claim.flow.settled(Status.QUARANTINED, at=NOW)
    assert isinstance(table.settle(quarantined, was=Status.CLAIMED), Written)
    unread = table.get(other.flow_id)
    assert unread is not None
    failed = unread.settled(Status.FAILED, at=NOW, reason="discarded")
    assert isinstance(table.settle(failed, was=Status.QUARANTINED, replaced=unread), Written)
    decided = table.get(other.flow_id)
    assert decided is not None
    assert decided.unpublished == (unread,)


def ttl(dynamodb_table: tuple[Any, str]) -> str | None:
    """Return the attribute that DynamoDB deletes the row by."""
    client, name = dynamodb_table
    item = client.get_item(TableName=name, Key={"id": {"S": f"flow#{FLOW.flow_id}"}})["Item"]
    return item["expires"]["N"] if "expires" in item else None


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.TRANSFERRED])
def test_a_row_has_a_ttl_only_when_nothing_is_open(dynamodb_table: tuple[Any, str], status: Status) -> None:
    """An outcome must be published first, and a token in quarantine must be decided."""
    table = DynamoFlowTable(*dynamodb_table)
    put(table, with_status(status))
    assert ttl(dynamodb_table) is None
    ends = {Status.CONNECTED, Status.DENIED, Status.FAILED, Status.ABANDONED, Status.ORPHANED}
    table.mark_published(row(table), at=5_000)
    assert ttl(dynamodb_table) == ("99" if status in ends else None)


def test_a_decision_takes_the_ttl_away_until_it_is_published(dynamodb_table: tuple[Any, str]) -> None:
    """Also of a row that an earlier version of this stack has written, which has a TTL from the start."""
    client, name = dynamodb_table
    table = DynamoFlowTable(client, name)
    put(table, with_status(Status.QUARANTINED))
    client.update_item(
        TableName=name,
        Key={"id": {"S": f"flow#{FLOW.flow_id}"}},
        UpdateExpression="SET expires = kept_until REMOVE kept_until",
    )
    read = row(table)
    assert read.expires == 99
    failed = read.settled(Status.FAILED, at=NOW, reason="discarded")
    assert isinstance(table.settle(failed, was=Status.QUARANTINED, replaced=read), Written)
    assert ttl(dynamodb_table) is None
    for outcome in row(table).outcomes:
        table.mark_published(outcome, at=5_000)
    assert ttl(dynamodb_table) == "99"
