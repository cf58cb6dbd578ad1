"""The modelled work of one connection matches the real functions, which run here on moto."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields

import pytest

from benchmarks.scale.model import Assumptions
from benchmarks.scale.work import (
    ABANDONED,
    FIRST,
    LOG_BYTES,
    LOG_TOLERANCE,
    RECONNECTED,
    ROWS,
    SWEEP,
    Call,
    item_bytes,
    units,
)
from finch_connect.domain.flow import Status
from finch_connect.flow.sweep import Sweep
from local.simulator import Simulator
from tests.benchmarks.scale.recorder import HOST, RETURN_URL, Functions, RecordedCall
from tests.handlers.test_events import Account
from tests.template import ROOT

CUSTOMER = "5f0c7a52-7d7f-4f8e-9a0c-3c1a4a3f7b11"


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch, finch: Simulator, aws: None) -> Iterator[Functions]:
    """The functions on an in-memory account, with their redirect URI registered at the simulator."""
    finch.redirect_uris.add(f"https://{HOST}/callback")
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


def recorded(calls: Iterable[RecordedCall]) -> Counter[tuple[str, str, str]]:
    return Counter((call.function, call.action, call.due) for call in calls)


def test_a_first_connection_makes_these_calls(functions: Functions) -> None:
    """The model has each call by function and action, and the effect of each write on the index."""
    assert recorded(functions.connect("link-1", CUSTOMER)) == modelled(FIRST)


def test_a_reconnect_makes_these_calls(functions: Functions) -> None:
    """It differs from a first connection only by a new version in place of a new secret."""
    functions.connect("link-1", CUSTOMER)
    assert recorded(functions.connect("link-2", CUSTOMER)) == modelled(RECONNECTED)


def test_an_abandoned_link_makes_these_calls(functions: Functions) -> None:
    """The model has its row, the sweeper's update and the event. The sweep itself is counted separately."""
    assert recorded(functions.abandon("link-1", CUSTOMER)) == modelled(ABANDONED) + modelled(SWEEP)


def test_a_sweep_with_nothing_to_do_only_queries(functions: Functions) -> None:
    """An idle sweep every five minutes costs two queries."""
    functions.invoke("sweeper", {})
    assert recorded(functions.calls) == modelled(SWEEP)


def test_the_modelled_rows_match_the_written_rows(functions: Functions) -> None:
    """They have the same attributes and write units, and about the same size."""
    real = [*functions.connect("link-1", CUSTOMER), *functions.abandon("link-2", CUSTOMER)]
    for call, one in zip(written_by((*FIRST, *ABANDONED)), (one for one in real if one.after), strict=True):
        row, written = ROWS[str(call.row)], one.after or {}
        assert row.keys() == written.keys(), call.row
        assert item_bytes(row) == pytest.approx(item_bytes(written), rel=0.1), call.row
        assert units(row) == units(written), call.row


def test_an_item_has_the_size_that_dynamodb_counts() -> None:
    """Names and values count in UTF-8, a number as half its digits plus 1, a list as 3 plus 1 per element."""
    assert item_bytes({"id": {"S": "é"}}) == 2 + 2
    assert item_bytes({"n": {"N": "1768478400000"}}) == 1 + 7 + 1
    assert item_bytes({"l": {"L": [{"S": "ab"}, {"S": "c"}]}}) == 1 + 3 + 2 + 3
    assert item_bytes({"b": {"BOOL": True}}) == 1 + 1
    assert [units({"s": {"S": "x" * number}}) for number in (1023, 1024)] == [1, 2]


def test_the_modelled_log_bytes_match_real_logs(functions: Functions) -> None:
    """Logs of real invocations, metrics included, are within the tolerance. The sweep is idle, as most are."""
    functions.connect("link-1", CUSTOMER)
    functions.invoke("sweeper", {})
    measured = {function: len(lines[0].encode()) for function, lines in functions.logs.items()}
    assert measured == pytest.approx(LOG_BYTES, rel=LOG_TOLERANCE)


def test_the_model_pays_for_every_custom_metric() -> None:
    """Custom metrics are the names in the code, one per status, and one per count of a sweep."""
    code = [*ROOT.glob("functions/*/app.py"), *ROOT.glob("layers/finch_connect/finch_connect/**/*.py")]
    named = {name for path in code for name in re.findall(r'(?:count|measure)\("(\w+)"', path.read_text())}
    assert len(named) > 3
    assert len(named) + len(Status) + len(fields(Sweep)) <= Assumptions().metrics


def test_the_example_row_matches_the_example_link() -> None:
    """The sizes compared above are those of the same example."""
    assert ROWS["started"]["return_url"] == {"S": RETURN_URL}
    assert ROWS["started"]["customer_id"] == {"S": CUSTOMER}
