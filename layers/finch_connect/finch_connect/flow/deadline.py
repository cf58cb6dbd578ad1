"""The one deadline of a request, which all its calls share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

ANSWER_SECONDS = 1.0
"""Reserved of a function's timeout for what follows the last call: the answer and the log."""


def seconds_of(context: Any, at_most: float = math.inf) -> float:
    """Return how many seconds this invocation has for its calls: Lambda's remaining time, at most `at_most`."""
    return min(at_most, float(context.get_remaining_time_in_millis()) / 1000 - ANSWER_SECONDS)


class RequestDeadline:
    """Implements `ports.Deadline`. One per container, restarted for each request, because Lambda runs one at a time."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ends = math.inf
        self._reserved = 0.0

    def begin(self, seconds: float) -> None:
        """See `ports.Deadline.begin`."""
        self._ends, self._reserved = self._monotonic() + seconds, 0.0

    def remaining(self) -> float:
        """See `ports.Deadline.remaining`."""
        return self._ends - self._monotonic() - self._reserved

    @contextmanager
    def reserving(self, seconds: float) -> Iterator[None]:
        """See ports.Deadline.reserving`."""
        self._reserved += seconds
        try:
            yield
        finally:
            self._reserved -= seconds
