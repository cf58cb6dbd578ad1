"""CPU time by part: the emulator, the functions' processes, this process. Read from /proc, so only on Linux."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from local.polling import Polling

EMULATOR = "emulator (MiniStack, one process)"
PROXY = "fault proxies (two processes)"
API_GATEWAY = "API Gateway (SAM CLI's local API server)"
FINCH = "simulated Finch"
SHIM = "Secrets Manager shim"
BROWSERS = "browsers"
REST = "the run itself (consumer, invoking functions, progress)"

IN_PROCESS = (API_GATEWAY, FINCH, SHIM, BROWSERS, REST)
"""The parts that run in this process."""

_PROC = Path("/proc")
_FUNCTION = re.compile(r"ministack-lambda-.*?-(Connect|Callback|Relay|Sweeper)Function")
_INTERVAL_SECONDS = 1.0


class Watch(Polling):
    """Reads the CPU time of this process and its descendants once a second, because some of them end during the run."""

    def __init__(self) -> None:
        super().__init__("cpu", _INTERVAL_SECONDS)
        self._readings: dict[int, tuple[str, float]] = {}
        self._before: dict[int, float] = {}
        self._busy = (0.0, 0.0)

    def __enter__(self) -> Self:
        self._read_all()
        self._busy = (_busy(), 0.0)
        self._before = {pid: seconds for pid, (_, seconds) in self._readings.items()}
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._read_all()
        self._busy = (self._busy[0], _busy())

    def seconds(self, in_process: Mapping[str, float]) -> dict[str, float]:
        """Return CPU seconds by part. `in_process` has the parts that were measured inside this process."""
        found = dict.fromkeys((part for part, _ in self._readings.values()), 0.0)
        for pid, (part, seconds) in self._readings.items():
            found[part] += seconds - self._before.get(pid, 0.0)
        if REST in found:
            found |= {**in_process, REST: max(0.0, found[REST] - sum(in_process.values()))}
        return found

    @property
    def machine_seconds(self) -> float:
        """The CPU seconds of all processes on this machine, including those outside the run."""
        return self._busy[1] - self._busy[0]

    def processes(self) -> dict[str, int]:
        """Return the number of processes seen of each part. For a function these are its cold starts."""
        return dict(Counter(part for part, _ in self._readings.values()))

    def _turn(self) -> None:
        self._read_all()

    def _read_all(self) -> None:
        for pid in _descendants(os.getpid()):
            reading = _reading(pid)
            if reading is not None:
                self._readings[pid] = reading


def _descendants(root: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    yield root
    try:
        tasks = list((_PROC / str(root) / "task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended, or this is not Linux
        return
    for child in children:
        yield from _descendants(child)


def _reading(pid: int) -> tuple[str, float] | None:
    """Return a process's part and its CPU seconds so far, or None if it has ended or belongs to no part."""
    try:
        times = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[11:13]
        command = (_PROC / str(pid) / "cmdline").read_text()
    except OSError:
        return None
    part = REST if pid == os.getpid() else _part(command)
    return (part, sum(map(int, times)) / os.sysconf("SC_CLK_TCK")) if part is not None else None


def _busy() -> float:
    """Return the busy seconds of all processors since the machine started; 0 without /proc."""
    try:
        user, nice, system, _, _, irq, softirq, steal = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / os.sysconf("SC_CLK_TCK")


def _part(command: str) -> str | None:
    if (function := _FUNCTION.search(command)) is not None:
        return f"function {function.group(1).lower()}"
    if "supervisor.py" in command:
        return None
    if "microburst" in command:
        return PROXY
    return EMULATOR if "ministack" in command else None
