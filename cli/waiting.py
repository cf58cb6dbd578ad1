"""Waiting for something to happen, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for[T](
    ready: Callable[[], T | None],
    *,
    timeout: float,
    interval: float = 0.1,
    problem: str | Callable[[], str] = "It did not happen in time.",
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call `ready` every `interval` seconds until it returns something true, and return that.

    Raises TimeoutError after `timeout` seconds, with `problem` as its text.
    """
    ends = time.monotonic() + timeout
    while not (result := ready()):
        if time.monotonic() > ends:
            raise TimeoutError(problem if isinstance(problem, str) else problem())
        sleep(interval)
    return result
