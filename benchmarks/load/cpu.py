"""Whose CPU time it was: the emulator's, the functions' processes', our own. Read from /proc, so on Linux only."""

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
SHIM = "corrections of the emulator's secret versions"
BROWSERS = "browsers"
REST = "the run itself (consumer, invoking functions, progress)"

HERE = (API_GATEWAY, FINCH, SHIM, BROWSERS, REST)
"""The parts that share this one process."""

_PROC = Path("/proc")
_FUNCTION = re.compile(r"ministack-lambda-.*?-(Connect|Callback|Relay|Sweeper)Function")
_EVERY_SECONDS = 1.0


class Watch(Polling):
    """Looks once a second at all processes below this one and keeps each one's last reading: some end in between."""

    def __init__(self) -> None:
        super().__init__("cpu", _EVERY_SECONDS)
        self._readings: dict[int, tuple[str, float]] = {}
        self._before: dict[int, float] = {}
        self._busy = (0.0, 0.0)

    def __enter__(self) -> Self:
        self._look()
        self._busy = (_busy(), 0.0)
        self._before = {pid: seconds for pid, (_, seconds) in self._readings.items()}
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._look()
        self._busy = (self._busy[0], _busy())

    def seconds(self, here: Mapping[str, float]) -> dict[str, float]:
        """Return CPU seconds by part. `here` are the parts that were counted inside this process."""
        found = dict.fromkeys((part for part, _ in self._readings.values()), 0.0)
        for pid, (part, seconds) in self._readings.items():
            found[part] += seconds - self._before.get(pid, 0.0)
        if REST in found:
            found |= {**here, REST: max(0.0, found[REST] - sum(here.values()))}
        return found

    @property
    def machine_seconds(self) -> float:
        """Return the CPU seconds of everything on this machine, what is none of ours included."""
        return self._busy[1] - self._busy[0]

    def processes(self) -> dict[str, int]:
        """Return how many processes of each part were seen: a function's are its cold starts."""
        return dict(Counter(part for part, _ in self._readings.values()))

    def _turn(self) -> None:
        self._look()

    def _look(self) -> None:
        for pid in _below(os.getpid()):
            reading = _reading(pid)
            if reading is not None:
                self._readings[pid] = reading


def _below(root: int) -> Iterator[int]:
    """Yield a process and everything that it started."""
    yield root
    try:
        tasks = list((_PROC / str(root) / "task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it ended, or this is no Linux
        return
    for child in children:
        yield from _below(child)


def _reading(pid: int) -> tuple[str, float] | None:
    """Return which part a process is and its CPU seconds so far, or None when it is gone or none of the parts."""
    try:
        times = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[11:13]
        command = (_PROC / str(pid) / "cmdline").read_text()
    except OSError:
        return None
    part = REST if pid == os.getpid() else _part(command)
    return (part, sum(map(int, times)) / os.sysconf("SC_CLK_TCK")) if part is not None else None


def _busy() -> float:
    """Return the CPU seconds that all processors were busy since the machine started; 0 where there is no /proc."""
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
