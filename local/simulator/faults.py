"""Faults on demand: what a test or a person tells the simulator to do wrong, and how it does it."""

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
        "huge",
        "drip",
        "drip_header",
        "delay",
        "redirect",
        "reset_before",
        "reset_after",
    }
)
"""`bare`: the token alone. `answer`: fields of `answer` replaced (null removes). `drip`: a byte each `seconds`;
`drip_header`: of a header that never ends.
`delay`: `seconds` before answering. `reset_before`/`reset_after`: the connection breaks before/after processing.
`error`, `html`, `broken_json`, `huge` and `redirect` answer instead of processing, unless `processed`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one path, `times` times (None: until cleared), with a `probability`; with a `code` only of
    that code's exchange.

    For `error`: `status`, Finch's error `name`, `finch_code` and `retry_after` (seconds).
    """

    kind: str
    path: str = "/auth/token"
    times: int | None = 1
    probability: float = 1.0
    status: int = 500
    name: str = "server_error"
    finch_code: str | None = None
    retry_after: int | None = None
    seconds: float = 1.0
    answer: Mapping[str, Any] = field(default_factory=dict)
    processed: bool = False
    code: str | None = None

    def __post_init__(self) -> None:
        """Refuse a kind that does not exist."""
        if self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.kind}; there are {', '.join(sorted(KINDS))}")


class Faults:
    """The faults that are on, in the order in which they were added. `draw` returns a number from 0 up to 1."""

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Turn a fault on."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Turn all faults off."""
        with self._lock:
            self._faults.clear()

    def take(self, path: str, code: str | None = None) -> Fault | None:
        """Return the fault that this request meets, and count it; `code` is the code that it brings."""
        with self._lock:
            for place, fault in enumerate(self._faults):
                if fault.path == path and fault.code in {None, code} and self._draw() < fault.probability:
                    if fault.times == 1:
                        del self._faults[place]
                    elif fault.times is not None:
                        self._faults[place] = dataclasses.replace(fault, times=fault.times - 1)
                    return fault
        return None
