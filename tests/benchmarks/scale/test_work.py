"""The model's work of one connection is what the real functions do: they run here once, over moto."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields

import pytest
from moto import mock_aws

from benchmarks.scale.model import Assumptions
from benchmarks.scale.work import (
    ABANDONED,
    AGAIN,
    FIRST,
    LOG_BYTES,
    LOG_TOLERANCE,
    ROWS,
    SWEEP,
    Call,
    item_bytes,
    units,
)
from finch_connect.domain.flow import Status
from finch_connect.flow.sweep import Sweep
from local.simulator import Simulator
from tests.benchmarks.scale.recorder import HOST, RETURN_URL, Functions, Seen
from tests.handlers.test_events import Account
from tests.template import ROOT

CUSTOMER = "5f0c7a52-7d7f-4f8e-9a0c-3c1a4a3f7b11"


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch, finch: Simulator) -> Iterator[Functions]:
    """The functions over an account in memory, with a Finch that knows them."""
    for name, value in [("DEFAULT_REGION", "eu-central-1"), ("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x")]:
        monkeypatch.setenv(f"AWS_{name}", value)
    finch.redirect_uris.add(f"https://{HOST}/callback")
    with mock_aws():
        account = Account(finch)
        changed = {"PUBLIC_URL": "", "LINK_POLICY": "signed", "ALLOWED_RETURN_URLS": "https://app.example.com/"}
        for name, value in (account.environment | changed).items():
            monkeypatch.setenv(name, value)
        yield Functions(account)
    finch.redirect_uris.discard(f"https://{HOST}/callback")


def modelled(calls: Iterable[Call]) -> Counter[tuple[str, str, str]]:
    return Counter((call.function, call.action, call.due) for call in calls)


def written_by(calls: Iterable[Call]) -> list[Call]:
    return [call for call in calls if call.row is not None]


def really(seen: Iterable[Seen]) -> Counter[tuple[str, str, str]]:
    return Counter((one.function, one.action, one.due) for one in seen)


def test_a_first_connection_makes_these_calls(functions: Functions) -> None:
    """Each call, by function and action, and what each write does to the index."""
    assert really(functions.connect("link-1", CUSTOMER)) == modelled(FIRST)


def test_a_connection_made_again_makes_these_calls(functions: Functions) -> None:
    """A version instead of a secret, and nothing more."""
    functions.connect("link-1", CUSTOMER)
    assert really(functions.connect("link-2", CUSTOMER)) == modelled(AGAIN)


def test_a_link_opened_in_vain_makes_these_calls(functions: Functions) -> None:
    """Its row, what the sweeper makes of it, and its event; the sweep itself is counted apart."""
    assert really(functions.open_in_vain("link-1", CUSTOMER)) == modelled(ABANDONED) + modelled(SWEEP)


def test_a_sweep_with_nothing_to_do_asks_and_no_more(functions: Functions) -> None:
    """Every five minutes, all year."""
    functions.invoke("sweeper", {})
    assert really(functions.seen) == modelled(SWEEP)


def test_the_rows_are_those_that_are_written(functions: Functions) -> None:
    """The same attributes, the same number of write units, about the same size."""
    real = [*functions.connect("link-1", CUSTOMER), *functions.open_in_vain("link-2", CUSTOMER)]
    for call, one in zip(written_by((*FIRST, *ABANDONED)), (one for one in real if one.after), strict=True):
        row, written = ROWS[str(call.row)], one.after or {}
        assert row.keys() == written.keys(), call.row
        assert item_bytes(row) == pytest.approx(item_bytes(written), rel=0.1), call.row
        assert units(row) == units(written), call.row


def test_an_item_has_the_size_that_dynamodb_counts() -> None:
    """Names and values in UTF-8; a number half its digits and one; a list three and one for each element."""
    assert item_bytes({"id": {"S": "é"}}) == 2 + 2
    assert item_bytes({"n": {"N": "1768478400000"}}) == 1 + 7 + 1
    assert item_bytes({"l": {"L": [{"S": "ab"}, {"S": "c"}]}}) == 1 + 3 + 2 + 3
    assert item_bytes({"b": {"BOOL": True}}) == 1 + 1
    assert [units({"s": {"S": "x" * number}}) for number in (1023, 1024)] == [1, 2]


def test_each_function_logs_so_much(functions: Functions) -> None:
    """Real lines of real invocations, metrics included; the sweep has nothing to do, as most have not."""
    functions.connect("link-1", CUSTOMER)
    functions.invoke("sweeper", {})
    measured = {function: len(lines[0].encode()) for function, lines in functions.logs.items()}
    assert measured == pytest.approx(LOG_BYTES, rel=LOG_TOLERANCE)


def test_no_more_metrics_than_are_paid_for() -> None:
    """Each name is a custom metric: those in the code, one for each status, one for each thing a sweep counts."""
    code = [*ROOT.glob("functions/*/app.py"), *ROOT.glob("layers/finch_connect/finch_connect/**/*.py")]
    named = {name for path in code for name in re.findall(r'(?:count|measure)\("(\w+)"', path.read_text())}
    assert len(named) > 3
    assert len(named) + len(Status) + len(fields(Sweep)) <= Assumptions().metrics


def test_the_example_row_asks_for_what_the_example_link_asks_for() -> None:
    """So that the sizes above compare like with like."""
    assert ROWS["started"]["return_url"] == {"S": RETURN_URL}
    assert ROWS["started"]["customer_id"] == {"S": CUSTOMER}
