"""The start conditions: a new attempt never has the state of an earlier one."""

from __future__ import annotations

import dataclasses

import pytest

from finch_connect.domain.flow import Flow, NotWritten, StartRule, Status, Written
from finch_connect.flow.ports import FlowTable
from tests.ports.test_flow_table import FLOW, put, with_status

ENDED = [Status.DENIED, Status.FAILED, Status.ABANDONED, Status.ORPHANED]


def row(table: FlowTable) -> Flow:
    found = table.get(FLOW.flow_id)
    assert found is not None
    return found


@pytest.mark.parametrize("status", ENDED)
@pytest.mark.parametrize("rule", [StartRule.NEW_ATTEMPT, StartRule.TAKE_OVER])
def test_an_ended_attempts_state_is_never_started_again(table: FlowTable, status: Status, rule: StartRule) -> None:
    """The event's id is made from it, so a second outcome would have the id of the first."""
    put(table, with_status(status))
    before = row(table)
    again = dataclasses.replace(FLOW, started_at=5_000)
    assert table.start(again, rule, asked_at=4_999) == NotWritten(before)
    assert row(table) == before


@pytest.mark.parametrize("status", [Status.STARTED, *ENDED])
def test_a_page_replaces_only_attempts_that_are_not_later(table: FlowTable, status: Status) -> None:
    """Otherwise a page from before an ended attempt could bring back the state of another one before that."""
    put(table, with_status(status))
    attempt = dataclasses.replace(FLOW, state_hash="b" * 64, started_at=5_000)
    for asked_at in (None, FLOW.started_at - 1):
        assert isinstance(table.start(attempt, StartRule.TAKE_OVER, asked_at=asked_at), NotWritten)
    assert row(table).state_hash == FLOW.state_hash
    assert isinstance(table.start(attempt, StartRule.TAKE_OVER, asked_at=FLOW.started_at), Written)
    assert row(table).state_hash == "b" * 64


def test_a_second_press_meets_its_own_attempt(table: FlowTable) -> None:
    """The row is later than the page, and has the same state."""
    attempt = dataclasses.replace(FLOW, started_at=5_001)
    for _ in range(2):
        assert isinstance(table.start(attempt, StartRule.TAKE_OVER, asked_at=5_000), Written)
