"""The harnesses, the runner of the cases, and the table at the end."""

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
"""Each deployment's form of the redirect.

There are several deployments because a sweep handles a whole table, so cases that sweep wait for each other.
"""
CONCURRENT_CASES = 4
"""How many cases run at the same time on each harness."""
FEW_CASES = 40
"""Fewer cases than this run on one harness."""


def _chosen(request: pytest.FixtureRequest) -> list[Any]:
    """Return the cases of the selected tests."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    params = [item.callspec.params for item in items if "runner" in item.fixturenames]
    return [one["case"] for one in params if "case" in one]


@pytest.fixture(scope="session")
def harnesses(request: pytest.FixtureRequest) -> Iterator[list[Harness]]:
    """One emulator, with deployments whose functions call it through the proxy and have short deadlines."""
    chosen = _chosen(request)
    names = list(HARNESSES)
    if len(chosen) < FEW_CASES:
        names = names[-1:] if any(case.session for case in chosen) else names[:1]
    with ExitStack() as running:
        finch = running.enter_context(Simulator(client_id=CLIENT_ID, client_secret=CLIENT_SECRET))
        local_stack = running.enter_context(LocalStack.start(auth=False))
        shim = running.enter_context(SecretsManagerShim(local_stack.endpoint_url))
        proxy = running.enter_context(microburst(shim.url))
        yield [_deploy(name, HARNESSES[name], local_stack, proxy, finch) for name in names]


def _deploy(name: str, form: str, local_stack: LocalStack, proxy: Microburst, finch: Simulator) -> Harness:
    stack = deployed(local_stack, finch, name, form, LogLevel="INFO")
    budget, call = str(REQUEST_BUDGET_SECONDS), str(CALL_TIMEOUT_SECONDS)
    route_through(stack, proxy, REQUEST_BUDGET_SECONDS=budget, CALL_TIMEOUT_SECONDS=call)
    harness = Harness(stack, proxy, finch, Inbox(stack))
    with ThreadPoolExecutor(CONCURRENT_CASES) as pool:  # concurrent cold starts exceed these deadlines
        list(pool.map(lambda _: harness.person().connect_with_retries(), range(CONCURRENT_CASES)))
    return harness


class Runner:
    """Runs the cases in threads, one thread for each harness.

    On each harness the cases of relay and sweeper run first, without the stream. An exclusive case has its harness for
    itself.
    """

    def __init__(self, harnesses: Sequence[Harness], cases: Sequence[Runnable]) -> None:
        self._results: dict[str, Future[Result]] = {case.name: Future() for case in cases}
        anywhere = [case for case in cases if not case.session]
        shares = [anywhere[index :: len(harnesses)] for index in range(len(harnesses))]
        shares[-1] = [*shares[-1], *(case for case in cases if case.session)]
        self._threads = [
            threading.Thread(target=self._run, args=(harness, share))
            for harness, share in zip(harnesses, shares, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def result(self, case: Runnable) -> Result:
        """Wait for a case and return its result. Raises what the case raised."""
        return self._results[case.name].result()

    def finish(self) -> None:
        """Wait until all cases have run."""
        for thread in self._threads:
            thread.join()

    def _run(self, harness: Harness, cases: Sequence[Runnable]) -> None:
        with harness.without_stream():
            self._run_all(harness, [case for case in cases if not case.needs_person])
        self._run_all(harness, [case for case in cases if case.needs_person])

    def _run_all(self, harness: Harness, cases: Sequence[Runnable]) -> None:
        with ThreadPoolExecutor(CONCURRENT_CASES) as pool:
            for case in cases:
                if not case.exclusive:
                    pool.submit(self._run_one, harness, case)
        for case in cases:
            if case.exclusive:
                self._run_one(harness, case)

    def _run_one(self, harness: Harness, case: Runnable) -> None:
        try:
            result = run(case, harness) if isinstance(case, Case) else case.run(harness)
            self._results[case.name].set_result(result)
        except BaseException as error:  # noqa: BLE001  # raised again in the test that waits
            self._results[case.name].set_exception(error)


@pytest.fixture(scope="session")
def runner(harnesses: list[Harness], request: pytest.FixtureRequest) -> Iterator[Runner]:
    """The runner of the selected cases."""
    running = Runner(harnesses, _chosen(request))
    yield running
    running.finish()


@pytest.fixture
def harness(harnesses: list[Harness], runner: Runner) -> Harness:
    """A harness for one test, after all cases have run."""
    runner.finish()
    return harnesses[0]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the matrix with the outcome of each case."""
    names, outcomes = {case.name: case.outcome for case in CASES}, dict[str, str]()
    for verdict in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(verdict, []):
            case = report.nodeid.partition("[")[2].removesuffix("]")
            if case in names and (report.when == "call" or verdict == "error"):
                outcomes[case] = names[case] if verdict == "passed" else "FAILED"
    if outcomes:
        terminalreporter.section("fault matrix: outcome of a fault that happens once / that lasts")
        for line in text(grid(outcomes)):
            terminalreporter.line(line)
