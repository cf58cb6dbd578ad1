"""Whose CPU it was: the emulator's, each function's processes', ours. Read from /proc, so on Linux only."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_FUNCTION = re.compile(r"ministack-lambda-.*?(Connect|Callback|Relay|Sweeper)Function")
_EVERY_SECONDS = 1.0

OURS = "this process: front, simulator, browsers, consumer"
EMULATOR = "emulator: API calls, stream, bus, queue"
PROXY = "fault proxy"


class Watch:
    """Looks once a second at all processes below this one, and keeps each one's last reading: some end in between."""

    def __init__(self) -> None:
        self._seconds: dict[int, tuple[str, float]] = {}
        self._before: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="cpu", daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._before = {pid: seconds for pid, (_, seconds) in self._seconds.items()}
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def seconds(self) -> dict[str, float]:
        """Return the CPU seconds by part since the watch began."""
        total: Counter[str] = Counter()
        for pid, (part, seconds) in self._seconds.items():
            total[part] += seconds - self._before.get(pid, 0.0)  # type: ignore[assignment]  # a Counter of seconds
        return dict(total)

    def processes(self) -> dict[str, int]:
        """Return how many processes of each part were seen: a function's are its cold starts."""
        return dict(Counter(part for part, _ in self._seconds.values()))

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            self._look()

    def _look(self) -> None:
        for pid in _below(os.getpid()):
            read = _reading(pid)
            if read is not None:
                self._seconds[pid] = read


def _below(root: int) -> Iterator[int]:
    """Yield a process and everything that it started."""
    yield root
    try:
        children = [
            int(child)
            for task in (_PROC / str(root) / "task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return
    for child in children:
        yield from _below(child)


def _reading(pid: int) -> tuple[str, float] | None:
    """Return what a process is and its CPU seconds so far, or None when it is gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        command = (_PROC / str(pid) / "cmdline").read_text()
    except OSError:
        return None
    return _part(pid, command), (int(fields[11]) + int(fields[12])) / _TICKS


def _part(pid: int, command: str) -> str:
    if pid == os.getpid():
        return OURS
    if (found := _FUNCTION.search(command)) is not None:
        return f"function {found.group(1).lower()}"
    if "microburst" in command:
        return PROXY
    return EMULATOR if "ministack" in command else "guard"
