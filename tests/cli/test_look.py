"""`make look`: runs the runbook's queries on the deployed stack, as an operator does."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from cli.look import main, queries
from local.engine import RunningStack
from local.simulator import Fault, Simulator
from tests.conftest import Customer


@pytest.fixture
def look(emulated_aws: None, static_stack: RunningStack) -> Callable[..., int]:
    """The command on the deployed stack, with the emulator as AWS."""
    return lambda *arguments, stack=static_stack.deployed.name: main([*arguments, "--stack", stack])


def test_a_flow_is_shown_from_its_row_to_its_logs(
    look: Callable[..., int], static_stack: RunningStack, finch: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output has the current row and the query with this flow's id."""
    customer = Customer(static_stack, finch)
    customer.connect()
    assert look(f"--flow={customer.flow_id}", "--hours", "1") == 0
    written = capsys.readouterr().out
    assert "connected" in written
    assert customer.customer_id in written
    assert f'filter flow_id = "{customer.flow_id}"' in written
    assert "<flow_id>" not in written
    assert customer.row() is not None


def test_a_flow_shows_finchs_own_word_for_an_error(
    look: Callable[..., int], static_stack: RunningStack, finch: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Support sees why Finch refused, with the word that Finch's support knows."""
    customer = Customer(static_stack, finch)
    finch.faults.add(Fault("error", status=402, name="payment_required_error"))
    customer.connect()
    assert look(f"--flow={customer.flow_id}") == 0
    assert re.search(r"^finch_error +payment_required_error$", capsys.readouterr().out, re.MULTILINE)


def test_every_heading_with_a_query_can_be_used(look: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Each query reads log groups of the stack, and the output has the number of rows found."""
    text = "## One thing\n```sql\n# RelayLogs\nfields @message\n```\n\n## Another\n"
    assert list(queries(text)) == ["one-thing"]
    for anchor in ("token-lost", "interrupted", "people-are-turned-away"):
        assert look("--at", anchor, "--hours", "0.5") == 0
        written = capsys.readouterr().out
        assert "the last 0.5 h" in written
        assert "ound." in written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at", "nothing"], "Use one of: a-function-fails, a-token-in-quarantine"),
        (["--flow=short"], "short is not a flow id"),
        (['--flow=" or flow_id != "aaaaaaa'], "is not a flow id"),
    ],
)
def test_an_unknown_heading_or_an_invalid_flow_id_is_an_error(
    look: Callable[..., int], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """One line without a traceback."""
    assert look(*arguments) == 1
    assert message in capsys.readouterr().err


def test_a_flow_that_nobody_started_has_no_row(look: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """The output explains why, and the command succeeds."""
    assert look(f"--flow={'-' * 22}") == 0
    assert "has no row" in capsys.readouterr().out


def test_a_stack_that_does_not_exist_is_an_error(look: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the stack."""
    assert look("--at", "token-lost", stack="nowhere") == 1
    assert "There is no stack nowhere" in capsys.readouterr().err
