"""Polling with a timeout."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for[T](
    ready: Callable[[], T | None],
    *,
    timeout: float,
    interval: float = 0.1,
    problem: str | Callable[[], str] = "The condition was not met in time.",
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call `ready` every `interval` seconds until its result is true, and return the result.

    Raises TimeoutError with the text `problem` after `timeout` seconds.
    """
    ends = time.monotonic() + timeout
    while not (result := ready()):
        if time.monotonic() > ends:
            raise TimeoutError(problem if isinstance(problem, str) else problem())
        sleep(interval)
    return result
