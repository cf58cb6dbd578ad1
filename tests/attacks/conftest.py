"""Shared by the attacks: the proof that nothing happened, the one refusal, and the summary table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from local.browser import Page
from local.engine import RunningStack
from local.simulator import Simulator
from tests.attacks.rows import ROWS
from tests.canary import Visitor

_ROW = re.compile(r"tests/attacks/\S+::test_(\d\d)_")
_VOLATILE = {"date", "server", "connection", "content-length"}
_WRITTEN_BY_THE_RELAY = {"published_at", "expires", "due", "due_at", "stored_granted_at"}
"""The relay marks rows and ends leases some time after the answer."""

Untouched = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Effects:
    """What has happened so far: the number of calls to Finch's API, the versions of each secret, and the rows."""

    calls: int
    secrets: Mapping[str, int]
    rows: Mapping[str, Any]


def effects(stack: RunningStack, finch: Simulator) -> Effects:
    """Count what an attack could have caused."""
    listed = stack.client("secretsmanager").get_paginator("list_secrets").paginate()
    items = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs["TableName"])
    return Effects(
        calls=len([call for call in finch.calls if "/auth/" in call.path or call.path.startswith("/introspect")]),
        secrets={
            one["Name"]: len(one.get("SecretVersionsToStages") or ()) for page in listed for one in page["SecretList"]
        },
        rows={
            item["id"]["S"]: {name: value for name, value in item.items() if name not in _WRITTEN_BY_THE_RELAY}
            for page in items
            for item in page["Items"]
        },
    )


@contextmanager
def nothing_happens(stack: RunningStack, finch: Simulator) -> Iterator[None]:
    """Assert that the block neither calls Finch nor writes a row or a secret.

    That rules out events as well: they follow from rows only, because nobody else may publish (row 34).
    """
    before = effects(stack, finch)
    yield
    assert effects(stack, finch) == before


@pytest.fixture
def untouched(stack: RunningStack, finch: Simulator) -> Untouched:
    """`with untouched():` asserts that nothing happens in its block."""
    return lambda: nothing_happens(stack, finch)


def headers_of(page: Page) -> dict[str, str]:
    """Return an answer's headers, without those that may differ between equal answers."""
    return {name.lower(): value for name, value in page.headers.items() if name.lower() not in _VOLATILE}


def refused(page: Page) -> bool:
    """Assert that a page is its route's one refusal: the same status, headers and body for every cause. Return True."""
    route = page.url.partition("?")[0]
    reference = Visitor().get(route)
    assert reference.status == 400
    assert page.status == 400, (page.status, page.location, page.text[:300])
    assert page.text == reference.text
    assert headers_of(page) == headers_of(reference)
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the search for canaries (row 33) last, because it covers the whole suite."""
    items.sort(key=lambda item: item.name.startswith("test_33_"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table: row, verdict, number of tests that passed."""
    counts: dict[int, dict[str, int]] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if (found := _ROW.search(report.nodeid)) and (report.when == "call" or outcome == "error"):
                row = counts.setdefault(int(found.group(1)), {})
                row[outcome] = row.get(outcome, 0) + 1
    if not counts:
        return
    terminalreporter.section("attacks")
    for number, attack in ROWS.items():
        row = counts.get(number, {})
        bad = row.get("failed", 0) + row.get("error", 0)
        verdict = "not run" if not row else "FAILED" if bad else "held"
        terminalreporter.line(f"{number:>3}  {verdict:8} {row.get('passed', 0):>4} of {sum(row.values()):<4} {attack}")
