"""A short `make load`, with faults, by the code that makes the long one; and the sweeper's ten thousand rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from benchmarks.load.harness import Harness, harness
from benchmarks.load.overdue import sweep_overdue
from benchmarks.load.person import Journey
from benchmarks.load.run import Load, run
from benchmarks.load.users import Plan, Users

PLAN = Plan(flows=120, browsers=12, faults=0.05, seed=7, seconds=300)
OVERDUE = 10_000


@pytest.fixture(scope="module")
def faulty_harness() -> Iterator[Harness]:
    """The deployed stack behind proxies that break its calls."""
    with harness(with_faults=True, seed=PLAN.seed) as ready:
        yield ready


@pytest.fixture(scope="module")
def shown() -> list[int]:
    """How far the run said it was."""
    return []


@pytest.fixture(scope="module")
def load(faulty_harness: Harness, shown: list[int]) -> Load:
    """The run."""

    def progress(journeys: list[Journey], _seconds: float) -> None:
        shown.append(len(journeys))

    return run(PLAN, faulty_harness, progress, threading.Event())


def test_every_flow_is_accounted_for(load: Load) -> None:
    """Whatever failed: rows, secrets, events, Finch's tokens and what people were told are one story."""
    assert load.account.problems == []
    assert (load.account.begun, len(load.journeys)) == (PLAN.flows, PLAN.flows)
    assert sum(load.account.rows.values()) == sum(load.account.events.values()) >= load.account.opened
    assert load.account.rows["connected"] == load.account.secrets > PLAN.flows // 2


def test_calls_were_really_broken(load: Load) -> None:
    """Else the accounting would be of a fair-weather day."""
    calls, broken = load.aws_calls
    assert 0.01 < broken / calls < 0.15


def test_the_faults_end_with_the_run(load: Load, faulty_harness: Harness) -> None:
    """What is swept and counted afterwards is not broken."""
    _, before = faulty_harness.aws_calls()
    for _ in range(20):
        faulty_harness.stack.invoke("SweeperFunction", {})
    assert faulty_harness.aws_calls()[1] == before


def test_progress_is_shown(load: Load, shown: list[int]) -> None:
    """From the beginning to the end."""
    assert shown[0] < PLAN.flows
    assert shown[-1] == PLAN.flows
    assert shown == sorted(shown)


def test_whose_time_it_was_is_known(load: Load) -> None:
    """Each part has some; a function's processes are its cold starts."""
    assert {part for part, seconds in load.cpu_seconds.items() if seconds} >= {
        "browsers",
        "function connect",
        "function callback",
    }
    assert load.processes["function callback"] > 1
    assert len(load.invocations["Callback"]) >= load.account.rows["connected"]


def test_nobody_comes_after_the_time_is_over(faulty_harness: Harness) -> None:
    """So a run ends by itself, however slow the machine is."""
    late = Users(Plan(flows=100, browsers=2, faults=0.0, seed=1, seconds=0.0), faulty_harness, threading.Event())
    late.run(lambda _journeys, _seconds: None)
    assert late.journeys == []


def test_nobody_comes_after_it_was_stopped(faulty_harness: Harness) -> None:
    """Ctrl-C: who is on the way finishes, and nobody else begins."""
    stop = threading.Event()
    stop.set()
    stopped = Users(Plan(flows=100, browsers=2, faults=0.0, seed=1, seconds=60.0), faulty_harness, stop)
    stopped.run(lambda _journeys, _seconds: None)
    assert stopped.journeys == []


def test_the_sweeper_keeps_up_with_ten_thousand_overdue_rows() -> None:
    """Each has its one end and its one event; each sweep ends within its time, so the next does not wait for it."""
    with harness(with_faults=False, seed=PLAN.seed) as ready:
        swept = sweep_overdue(ready, OVERDUE)
    assert swept.problems == []
    assert swept.rows == OVERDUE
    assert sum(sweep["stuck"] for sweep in swept.sweeps) == 0
    assert len(swept.sweeps) <= 5
