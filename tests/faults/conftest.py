"""The harness, the runner who has the cases run, and the table at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from local.engine import LocalStack
from local.engine.microburst import Microburst, microburst, route_through
from local.engine.secretsmanager_shim import SecretsManagerShim
from local.simulator import Simulator
from tests.canary import CLIENT_SECRET
from tests.conftest import CLIENT_ID, Inbox, deployed
from tests.faults.answers import Answer
from tests.faults.deaths import Death
from tests.faults.harness import CALL_TIMEOUT_SECONDS, REQUEST_BUDGET_SECONDS, Harness
from tests.faults.matrix import CASES, Case
from tests.faults.scenarios import Result, Scenario, run
from tests.faults.table import grid, text

type Runnable = Case | Answer | Death | Scenario

HARNESSES = {"local": "static", "second": "static", "third": "session"}
"""Several deployments, because a sweep is over a whole table: cases of one stage do not wait for another's."""
AT_ONCE = 4
"""So many cases at a time on each harness."""
FEW = 40
"""So many cases are run on one stage and not on several."""


def _chosen(request: pytest.FixtureRequest) -> list[Runnable]:
    """Return what is to be run for the tests that were chosen."""
    asked = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    return [params["case"] for params in asked if "case" in params]


@pytest.fixture(scope="session")
def harnesses(request: pytest.FixtureRequest) -> Iterator[list[Harness]]:
    """One emulator, and deployments whose functions call it through the proxy and have tiny deadlines."""
    chosen = _chosen(request)
    names = list(HARNESSES)
    if len(chosen) < FEW:
        names = names[-1:] if any(case.session for case in chosen) else names[:1]
    with ExitStack() as running:
        finch = running.enter_context(Simulator(client_id=CLIENT_ID, client_secret=CLIENT_SECRET))
        local_stack = running.enter_context(LocalStack.start(auth=False))
        shim = running.enter_context(SecretsManagerShim(local_stack.endpoint_url))
        proxy = running.enter_context(microburst(shim.url))
        yield [_harness(name, HARNESSES[name], local_stack, proxy, finch) for name in names]


def _harness(name: str, form: str, local_stack: LocalStack, proxy: Microburst, finch: Simulator) -> Harness:
    stack = deployed(local_stack, finch, name, form, LogLevel="INFO")
    budget, call = str(REQUEST_BUDGET_SECONDS), str(CALL_TIMEOUT_SECONDS)
    route_through(stack, proxy, REQUEST_BUDGET_SECONDS=budget, CALL_TIMEOUT_SECONDS=call)
    harness = Harness(stack, proxy, finch, Inbox(stack))
    with ThreadPoolExecutor(AT_ONCE) as pool:  # cold starts beside each other take longer than these deadlines
        list(pool.map(lambda _: harness.person().tries_until_connected(), range(AT_ONCE)))
    return harness


class Runner:
    """Has the cases run: on each stage those of relay and sweeper without the stream, then the others.

    What must be alone is alone on its harness.
    """

    def __init__(self, harnesses: Sequence[Harness], cases: Sequence[Runnable]) -> None:
        self._results: dict[str, Future[Result]] = {case.name: Future() for case in cases}
        anywhere = [case for case in cases if not case.session]
        shares = [anywhere[place :: len(harnesses)] for place in range(len(harnesses))]
        shares[-1] = [*shares[-1], *(case for case in cases if case.session)]
        self._threads = [
            threading.Thread(target=self._run, args=(harness, share))
            for harness, share in zip(harnesses, shares, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def result(self, case: Runnable) -> Result:
        """Return what came of a case, when it is run."""
        return self._results[case.name].result()

    def finish(self) -> None:
        """Wait until all is run."""
        for thread in self._threads:
            thread.join()

    def _run(self, harness: Harness, cases: Sequence[Runnable]) -> None:
        with harness.without_stream():
            self._play(harness, [case for case in cases if not case.needs_people])
        self._play(harness, [case for case in cases if case.needs_people])

    def _play(self, harness: Harness, cases: Sequence[Runnable]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for case in cases:
                if not case.alone:
                    pool.submit(self._play_one, harness, case)
        for case in cases:
            if case.alone:
                self._play_one(harness, case)

    def _play_one(self, harness: Harness, case: Runnable) -> None:
        try:
            result = run(case, harness) if isinstance(case, Case) else case.run(harness)
            self._results[case.name].set_result(result)
        except BaseException as error:  # noqa: BLE001  # it is for the test that waits
            self._results[case.name].set_exception(error)


@pytest.fixture(scope="session")
def runner(harnesses: list[Harness], request: pytest.FixtureRequest) -> Iterator[Runner]:
    """The runner, with those cases that are to be tested now."""
    directing = Runner(harnesses, _chosen(request))
    yield directing
    directing.finish()


@pytest.fixture
def harness(harnesses: list[Harness], runner: Runner) -> Harness:
    """A stage for one test alone: all cases are run."""
    runner.finish()
    return harnesses[0]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the matrix: what came of each case."""
    names, outcomes = {case.name: case.outcome for case in CASES}, dict[str, str]()
    for verdict in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(verdict, []):
            case = report.nodeid.partition("[")[2].removesuffix("]")
            if case in names and (report.when == "call" or verdict == "error"):
                outcomes[case] = names[case] if verdict == "passed" else "FAILED"
    if outcomes:
        terminalreporter.section("fault matrix: what a fault comes to that happens once / that lasts")
        for line in text(grid(outcomes)):
            terminalreporter.line(line)
