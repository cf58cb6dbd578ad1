"""A Logs Insights query returns rows or raises an error. A failed query never returns an empty list."""

from __future__ import annotations

from typing import Any

import pytest

from cli import logs_insights
from cli.cloudformation import DeployedError
from cli.logs_insights import run_query
from tests.cli.conftest import Answers

LINE = [{"field": "@message", "value": "published"}, {"field": "@ptr", "value": "CmMKIgoe"}]


def run(logs: Any) -> Any:
    return run_query(logs, ["group"], "fields @message", 24, sleep=lambda _: None)


def test_a_query_is_read_when_it_has_finished(logs: Any, answers: Answers) -> None:
    """The tool polls while the query is scheduled or running, and leaves out the pointer of each row."""
    answers(LINE)
    assert run(logs) == [{"@message": "published"}]


def test_a_query_that_found_nothing_returns_no_rows(logs: Any, answers: Answers) -> None:
    """Only a complete query may return an empty list."""
    answers()
    assert run(logs) == []


@pytest.mark.parametrize("status", ["Failed", "Cancelled", "Timeout"])
def test_a_query_that_did_not_finish_is_an_error(logs: Any, answers: Answers, status: str) -> None:
    """An empty list would lead the operator the wrong way."""
    answers(status=status)
    with pytest.raises(DeployedError, match=f"{status}.*Run the command again"):
        run(logs)


def test_a_query_that_takes_too_long_is_an_error(logs: Any, answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error advises fewer hours."""
    monkeypatch.setattr(logs_insights, "TIMEOUT_SECONDS", -1.0)
    answers(status="Running", polls=1)
    with pytest.raises(DeployedError, match="Use fewer hours"):
        run(logs)
