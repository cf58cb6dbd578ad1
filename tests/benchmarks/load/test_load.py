"""A short `make load` with faults, and ten thousand overdue rows for the sweeper."""

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
    """The deployed stack behind the fault proxies."""
    with harness(with_faults=True, seed=PLAN.seed) as ready:
        yield ready


@pytest.fixture(scope="module")
def reported() -> list[int]:
    """The numbers of ended journeys that the run reported as progress."""
    return []


@pytest.fixture(scope="module")
def load(faulty_harness: Harness, reported: list[int]) -> Load:
    """The result of the short run."""

    def progress(journeys: list[Journey], _seconds: float) -> None:
        reported.append(len(journeys))

    return run(PLAN, faulty_harness, progress, threading.Event())


def test_every_flow_is_accounted_for(load: Load) -> None:
    """Although calls failed, rows, secrets, events, Finch's tokens and what people saw agree."""
    assert load.account.problems == []
    assert (load.account.started, len(load.journeys)) == (PLAN.flows, PLAN.flows)
    assert sum(load.account.rows.values()) == sum(load.account.events.values()) >= load.account.opened
    assert load.account.rows["connected"] == load.account.secrets > PLAN.flows // 2


def test_calls_really_failed(load: Load) -> None:
    """Otherwise the accounting would prove nothing about faults."""
    calls, broken = load.aws_calls
    assert 0.01 < broken / calls < 0.15


def test_the_faults_end_with_the_run(load: Load, faulty_harness: Harness) -> None:
    """The final sweeps and the accounting run without faults."""
    _, before = faulty_harness.aws_calls()
    for _ in range(20):
        faulty_harness.stack.invoke("SweeperFunction", {})
    assert faulty_harness.aws_calls()[1] == before


def test_progress_is_reported(load: Load, reported: list[int]) -> None:
    """Progress starts before the last journey ends, never goes back, and reaches the number of flows."""
    assert reported[0] < PLAN.flows
    assert reported[-1] == PLAN.flows
    assert reported == sorted(reported)


def test_cpu_time_is_measured_by_part(load: Load) -> None:
    """Browsers and functions have CPU time, and a function's processes count its cold starts."""
    assert {part for part, seconds in load.cpu_seconds.items() if seconds} >= {
        "browsers",
        "function connect",
        "function callback",
    }
    assert load.processes["function callback"] > 1
    assert len(load.invocations["Callback"]) >= load.account.rows["connected"]


def test_no_flow_starts_after_the_time_limit(faulty_harness: Harness) -> None:
    """A run ends by itself, however slow the machine is."""
    late = Users(Plan(flows=100, browsers=2, faults=0.0, seed=1, seconds=0.0), faulty_harness, threading.Event())
    late.run(lambda _journeys, _seconds: None)
    assert late.journeys == []


def test_no_flow_starts_after_a_stop(faulty_harness: Harness) -> None:
    """After Ctrl-C no new flow starts."""
    stop = threading.Event()
    stop.set()
    stopped = Users(Plan(flows=100, browsers=2, faults=0.0, seed=1, seconds=60.0), faulty_harness, stop)
    stopped.run(lambda _journeys, _seconds: None)
    assert stopped.journeys == []


def test_the_sweeper_keeps_up_with_ten_thousand_overdue_rows() -> None:
    """Each row gets one outcome and one event, no sweep leaves a row stuck, and at most five sweeps are needed."""
    with harness(with_faults=False, seed=PLAN.seed) as ready:
        swept = sweep_overdue(ready, OVERDUE)
    assert swept.problems == []
    assert swept.rows == OVERDUE
    assert sum(sweep["stuck"] for sweep in swept.sweeps) == 0
    assert len(swept.sweeps) <= 5
