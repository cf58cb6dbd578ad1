"""The stage, the director who has the cells played, and the table at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from local.engine import LocalStack
from local.engine.corrected import Corrected
from local.engine.microburst import Microburst, microburst, stand_before
from local.simulator import Simulator
from tests.canary import CLIENT_SECRET
from tests.conftest import CLIENT_ID, Inbox
from tests.faults.cells import Cell
from tests.faults.plays import Story, play
from tests.faults.stage import CALL_TIMEOUT_SECONDS, REQUEST_BUDGET_SECONDS, Stage

STAGES = ("local", "second", "third")
"""Several deployments, because a sweep is over a whole table: cells of one stage do not wait for another's."""
AT_ONCE = 3
"""So many cells at a time on each stage."""


@pytest.fixture(scope="session")
def stages() -> Iterator[list[Stage]]:
    """One emulator, and deployments whose functions call it through the proxy and have tiny deadlines."""
    with ExitStack() as running:
        finch = running.enter_context(Simulator(client_id=CLIENT_ID, client_secret=CLIENT_SECRET))
        local_stack = running.enter_context(LocalStack.start(auth=False))
        corrected = running.enter_context(Corrected(local_stack.endpoint_url))
        proxy = running.enter_context(microburst(corrected.url))
        yield [_stage(name, local_stack, proxy, finch) for name in STAGES]


def _stage(name: str, local_stack: LocalStack, proxy: Microburst, finch: Simulator) -> Stage:
    stack = local_stack.deploy(
        stage=name,
        client_secret=CLIENT_SECRET,
        parameters=lambda url: {
            "FinchClientId": CLIENT_ID,
            "FinchApiUrl": finch.url,
            "FinchConnectUrl": finch.url,
            "AllowedProducts": "company directory individual",
            "AllowedReturnUrls": f"{url}/connected",
        },
    )
    finch.redirect_uris.add(f"{stack.public_url}/callback")
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

    def __init__(self, stages: Sequence[Stage], cells: Sequence[Cell]) -> None:
        self._stories: dict[Cell, Future[Story]] = {cell: Future() for cell in cells}
        self._threads = [
            threading.Thread(target=self._run, args=(stage, cells[place :: len(stages)]))
            for place, stage in enumerate(stages)
        ]
        for thread in self._threads:
            thread.start()

    def story(self, cell: Cell) -> Story:
        """Return what came of a cell, when it is played."""
        return self._stories[cell].result()

    def finish(self) -> None:
        """Wait until all is played."""
        for thread in self._threads:
            thread.join()

    def _run(self, stage: Stage, cells: Sequence[Cell]) -> None:
        people = [cell for cell in cells if cell.row.function in {"connect", "callback"}]
        with stage.without_stream():
            self._play(stage, [cell for cell in cells if cell not in people])
        self._play(stage, people)

    def _play(self, stage: Stage, cells: Sequence[Cell]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for cell in cells:
                if not cell.row.alone:
                    pool.submit(self._play_one, stage, cell)
        for cell in cells:
            if cell.row.alone:
                self._play_one(stage, cell)

    def _play_one(self, stage: Stage, cell: Cell) -> None:
        try:
            self._stories[cell].set_result(play(cell, stage))
        except BaseException as error:  # noqa: BLE001  # it is for the test that waits
            self._stories[cell].set_exception(error)


@pytest.fixture(scope="session")
def director(stages: list[Stage], request: pytest.FixtureRequest) -> Iterator[Director]:
    """The director, with those cells that are to be tested now."""
    asked = [getattr(item, "callspec").params for item in request.session.items if hasattr(item, "callspec")]  # noqa: B009  # not in pytest's types
    directing = Director(stages, [params["cell"] for params in asked if "cell" in params])
    yield directing
    directing.finish()
