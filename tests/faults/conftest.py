"""The stage, the director who has the cells played, and the table at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext

import pytest

from local.engine import LocalStack
from local.engine.corrected import Corrected
from local.engine.microburst import microburst, stand_before
from local.simulator import Simulator
from tests.canary import CLIENT_SECRET
from tests.conftest import CLIENT_ID, Inbox
from tests.faults.cells import Cell
from tests.faults.plays import Story, play
from tests.faults.stage import CALL_TIMEOUT_SECONDS, REQUEST_BUDGET_SECONDS, Stage

AT_ONCE = 8


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """One emulator, one deployment, its functions behind the proxy, with tiny deadlines."""
    with ExitStack() as running:
        finch = running.enter_context(Simulator(client_id=CLIENT_ID, client_secret=CLIENT_SECRET))
        local_stack = running.enter_context(LocalStack.start(auth=False))
        corrected = running.enter_context(Corrected(local_stack.endpoint_url))
        proxy = running.enter_context(microburst(corrected.url))
        stack = local_stack.deploy(
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
        stand_before(
            stack,
            proxy,
            REQUEST_BUDGET_SECONDS=str(REQUEST_BUDGET_SECONDS),
            CALL_TIMEOUT_SECONDS=str(CALL_TIMEOUT_SECONDS),
        )
        yield Stage(stack, proxy, finch, Inbox(stack))


class Director:
    """Has cells played: those of the stream's end without the stream, then the others, then each that must be alone."""

    def __init__(self, stage: Stage, cells: Sequence[Cell]) -> None:
        self._stage = stage
        self._stories: dict[Cell, Future[Story]] = {cell: Future() for cell in cells}
        self._thread = threading.Thread(target=self._run, name="director")
        self._thread.start()

    def story(self, cell: Cell) -> Story:
        """Return what came of a cell, when it is played."""
        return self._stories[cell].result()

    def finish(self) -> None:
        """Wait until all is played."""
        self._thread.join()

    def _run(self) -> None:
        for later in (False, True):
            chosen = [cell for cell in self._stories if (cell.row.function in {"connect", "callback"}) is later]
            for alone in (False, True):
                cells = [cell for cell in chosen if cell.row.alone is alone]
                if not cells:
                    continue
                with (
                    nullcontext() if later else self._stage.without_stream(),
                    ThreadPoolExecutor(1 if alone else AT_ONCE) as pool,
                ):
                    for cell in cells:
                        pool.submit(self._play, cell)

    def _play(self, cell: Cell) -> None:
        try:
            self._stories[cell].set_result(play(cell, self._stage))
        except BaseException as error:  # noqa: BLE001  # it is the test's that waits for it
            self._stories[cell].set_exception(error)


@pytest.fixture(scope="session")
def director(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Director]:
    """The director, with those cells that are to be tested now."""
    chosen = [
        item.callspec.params["cell"]
        for item in request.session.items
        if "cell" in getattr(getattr(item, "callspec", None), "params", {})
    ]
    directing = Director(stage, chosen)
    yield directing
    directing.finish()
