"""Faults on demand: what a test or a person can make the simulator do wrong."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = frozenset(
    {
        "error",
        "html",
        "broken_json",
        "bare",
        "answer",
        "status",
        "huge",
        "drip",
        "drip_header",
        "delay",
        "redirect",
        "reset_before",
        "reset_after",
    }
)
"""`bare`: only the token. `answer`: replaces the fields in `answer` (null removes a field).
`status`: gives a 200 another `status`, such as 201.
`drip`: sends one byte every `seconds`. `drip_header`: does so with a header that never ends.
`delay`: waits `seconds` before processing. `reset_before`/`reset_after`: breaks the connection before/after processing.
`error`, `html`, `broken_json`, `huge` and `redirect`: answer without processing, unless `processed`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one path. It applies `times` times (None: until cleared), each with a `probability`.

    With a `code`, it applies only to that code's exchange. `status`, Finch's error `name`, `finch_code` and
    `retry_after` (seconds) are for `error`; `context` (a connection that exists already) as well.
    """

    kind: str
    path: str = "/auth/token"
    times: int | None = 1
    probability: float = 1.0
    status: int = 500
    name: str = "server_error"
    finch_code: str | None = None
    retry_after: int | None = None
    context: Mapping[str, Any] | None = None
    seconds: float = 1.0
    answer: Mapping[str, Any] = field(default_factory=dict)
    processed: bool = False
    code: str | None = None

    def __post_init__(self) -> None:
        """Refuse a kind that does not exist."""
        if self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.kind}; choose one of {', '.join(sorted(KINDS))}")


class Faults:
    """The active faults, in the order in which they were added. `draw` returns a number in [0, 1)."""

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Activate a fault."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Deactivate all faults."""
        with self._lock:
            self._faults.clear()

    def take(self, path: str, code: str | None = None) -> Fault | None:
        """Return the fault that applies to a request, if any, and count it. `code` is the request's code."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.path == path and fault.code in {None, code} and self._draw() < fault.probability:
                    if fault.times == 1:
                        del self._faults[index]
                    elif fault.times is not None:
                        self._faults[index] = dataclasses.replace(fault, times=fault.times - 1)
                    return fault
        return None
