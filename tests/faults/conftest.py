"""The stage, the director who has the cells played, and the table at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from local.engine import LocalStack
from local.engine.microburst import Microburst, microburst, stand_before
from local.engine.secretsmanager_shim import Corrected
from local.simulator import Simulator
from tests.canary import CLIENT_SECRET
from tests.conftest import CLIENT_ID, Inbox, deployed
from tests.faults.answers import Answer
from tests.faults.deaths import Death
from tests.faults.harness import CALL_TIMEOUT_SECONDS, REQUEST_BUDGET_SECONDS, Stage
from tests.faults.matrix import CELLS, Cell
from tests.faults.scenarios import Story, play
from tests.faults.setup import Scene
from tests.faults.table import grid, text

type Playable = Cell | Answer | Death | Scene

STAGES = {"local": "static", "second": "static", "third": "session"}
"""Several deployments, because a sweep is over a whole table: cells of one stage do not wait for another's."""
AT_ONCE = 4
"""So many cells at a time on each stage."""
FEW = 40
"""So many cells are played on one stage and not on several."""


def _chosen(request: pytest.FixtureRequest) -> list[Playable]:
    """Return what is to be played for the tests that were chosen."""
    asked = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    return [params["cell"] for params in asked if "cell" in params]


@pytest.fixture(scope="session")
def stages(request: pytest.FixtureRequest) -> Iterator[list[Stage]]:
    """One emulator, and deployments whose functions call it through the proxy and have tiny deadlines."""
    chosen = _chosen(request)
    names = list(STAGES)
    if len(chosen) < FEW:
        names = names[-1:] if any(cell.session for cell in chosen) else names[:1]
    with ExitStack() as running:
        finch = running.enter_context(Simulator(client_id=CLIENT_ID, client_secret=CLIENT_SECRET))
        local_stack = running.enter_context(LocalStack.start(auth=False))
        corrected = running.enter_context(Corrected(local_stack.endpoint_url))
        proxy = running.enter_context(microburst(corrected.url))
        yield [_stage(name, STAGES[name], local_stack, proxy, finch) for name in names]


def _stage(name: str, form: str, local_stack: LocalStack, proxy: Microburst, finch: Simulator) -> Stage:
    stack = deployed(local_stack, finch, name, form, LogLevel="INFO")
    budget, call = str(REQUEST_BUDGET_SECONDS), str(CALL_TIMEOUT_SECONDS)
    stand_before(stack, proxy, REQUEST_BUDGET_SECONDS=budget, CALL_TIMEOUT_SECONDS=call)
    stage = Stage(stack, proxy, finch, Inbox(stack))
    with ThreadPoolExecutor(AT_ONCE) as pool:  # cold starts beside each other take longer than these deadlines
        list(pool.map(lambda _: stage.person().tries_until_connected(), range(AT_ONCE)))
    return stage


class Director:
    """Has the cells played: on each stage those of relay and sweeper without the stream, then the others.

    What must be alone is alone on its stage.
    """

    def __init__(self, stages: Sequence[Stage], cells: Sequence[Playable]) -> None:
        self._stories: dict[str, Future[Story]] = {cell.name: Future() for cell in cells}
        anywhere = [cell for cell in cells if not cell.session]
        shares = [anywhere[place :: len(stages)] for place in range(len(stages))]
        shares[-1] = [*shares[-1], *(cell for cell in cells if cell.session)]
        self._threads = [
            threading.Thread(target=self._run, args=(stage, share)) for stage, share in zip(stages, shares, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def story(self, cell: Playable) -> Story:
        """Return what came of a cell, when it is played."""
        return self._stories[cell.name].result()

    def finish(self) -> None:
        """Wait until all is played."""
        for thread in self._threads:
            thread.join()

    def _run(self, stage: Stage, cells: Sequence[Playable]) -> None:
        with stage.without_stream():
            self._play(stage, [cell for cell in cells if not cell.needs_people])
        self._play(stage, [cell for cell in cells if cell.needs_people])

    def _play(self, stage: Stage, cells: Sequence[Playable]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for cell in cells:
                if not cell.alone:
                    pool.submit(self._play_one, stage, cell)
        for cell in cells:
            if cell.alone:
                self._play_one(stage, cell)

    def _play_one(self, stage: Stage, cell: Playable) -> None:
        try:
            story = play(cell, stage) if isinstance(cell, Cell) else cell.play(stage)
            self._stories[cell.name].set_result(story)
        except BaseException as error:  # noqa: BLE001  # it is for the test that waits
            self._stories[cell.name].set_exception(error)


@pytest.fixture(scope="session")
def director(stages: list[Stage], request: pytest.FixtureRequest) -> Iterator[Director]:
    """The director, with those cells that are to be tested now."""
    directing = Director(stages, _chosen(request))
    yield directing
    directing.finish()


@pytest.fixture
def stage(stages: list[Stage], director: Director) -> Stage:
    """A stage for one test alone: all cells are played."""
    director.finish()
    return stages[0]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the matrix: what came of each cell."""
    names, outcomes = {cell.name: cell.outcome for cell in CELLS}, dict[str, str]()
    for verdict in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(verdict, []):
            cell = report.nodeid.partition("[")[2].removesuffix("]")
            if cell in names and (report.when == "call" or verdict == "error"):
                outcomes[cell] = names[cell] if verdict == "passed" else "FAILED"
    if outcomes:
        terminalreporter.section("fault matrix: what a fault comes to that happens once / that lasts")
        for line in text(grid(outcomes)):
            terminalreporter.line(line)
