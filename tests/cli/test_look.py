"""`make look`: the runbook's queries, run where an operator stands, on the deployed stack."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cli.look import main, queries
from local.engine import RunningStack
from local.simulator import Simulator
from tests.conftest import Customer


@pytest.fixture
def look(emulated_aws: None, static_stack: RunningStack) -> Callable[..., int]:
    """The command on the deployed stack, with the emulator as its AWS."""
    return lambda *arguments, stack=static_stack.deployed.name: main([*arguments, "--stack", stack])


def test_a_flow_is_shown_from_its_row_to_its_logs(
    look: Callable[..., int], static_stack: RunningStack, finch: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The row as it stands, and the query with this flow's id in it."""
    customer = Customer(static_stack, finch)
    customer.connect()
    assert look(f"--flow={customer.flow_id}", "--hours", "1") == 0
    written = capsys.readouterr().out
    assert "connected" in written
    assert customer.customer_id in written
    assert f'filter flow_id = "{customer.flow_id}"' in written
    assert "<flow_id>" not in written
    assert customer.row() is not None


def test_every_heading_with_a_query_can_be_looked_at(
    look: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each query goes to log groups that the stack has; what it finds is counted."""
    text = "## One thing\n```sql\n# RelayLogs\nfields @message\n```\n\n## Another\n"
    assert list(queries(text)) == ["one-thing"]
    for anchor in ("token-lost", "interrupted", "people-are-turned-away"):
        assert look("--at", anchor, "--hours", "0.5") == 0
        written = capsys.readouterr().out
        assert "the last 0.5 h" in written
        assert "ound." in written


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--at", "nothing"], "It has: a-function-fails, a-token-in-quarantine"),
        (["--flow=short"], "short is no flow's id"),
        (['--flow=" or flow_id != "aaaaaaa'], "is no flow's id"),
    ],
)
def test_what_cannot_be_looked_at_is_said(
    look: Callable[..., int], capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    """One line, without a traceback."""
    assert look(*arguments) == 1
    assert says in capsys.readouterr().err


def test_a_flow_that_nobody_started_has_no_row(look: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Its link was not opened, or it is long ago."""
    assert look(f"--flow={'-' * 22}") == 0
    assert "has no row" in capsys.readouterr().out


def test_a_stack_that_is_not_there_is_said(look: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """With what can be done about it."""
    assert look("--at", "token-lost", stack="nowhere") == 1
    assert "There is no stack nowhere" in capsys.readouterr().err
