"""A task that a thread repeats for as long as its context lasts."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Polling(ABC):
    """Repeats a turn until the context ends, with `rest_seconds` before each. The exit waits for a running turn."""

    def __init__(self, name: str, rest_seconds: float = 0.0) -> None:
        self._rest_seconds = rest_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @abstractmethod
    def _turn(self) -> None:
        """Do the task once. An exception ends the thread."""

    def _run(self) -> None:
        while not self._stop.wait(self._rest_seconds):
            self._turn()
