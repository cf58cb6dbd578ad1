"""Runs a command that must not outlive its parent: when the parent is gone, however it went, so is the command.

    python local/engine/supervisor.py SCRATCH_FOLDER COMMAND…

The parent keeps this process's standard input open; the end of that input is the end of the command, of all that it
started, and of its scratch folder. Works without PR_SET_PDEATHSIG (macOS), and when the parent was killed hard.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading

_GRACE_SECONDS = 1.0


def main(scratch: str, command: list[str]) -> int:
    """Run the command in a process group of its own until it ends or standard input does; return its exit code."""
    try:
        return _run(command)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run(command: list[str]) -> int:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603  # our own arguments
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it closes our input
    signal.signal(signal.SIGTERM, lambda *_: _end(child))
    code = child.wait()
    _end(child)  # whatever it started and left
    return code


def _end_with_input(child: subprocess.Popen[bytes]) -> None:
    while sys.stdin.buffer.read(1024):
        pass
    _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end, then make it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says EPERM of a group that is gone
        os.killpg(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE_SECONDS)
        os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
