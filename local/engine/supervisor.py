"""Runs a command that must not outlive its parent, however the parent ends.

    python local/engine/supervisor.py SCRATCH_FOLDER COMMAND…

The parent keeps this process's standard input open. When that input ends, the supervisor ends the command and all that
it started, and removes its scratch folder. This works without PR_SET_PDEATHSIG (macOS) and if the parent gets SIGKILL.
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
    """Run the command in its own process group until it ends or standard input ends. Return its exit code."""
    try:
        return _run(command)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run(command: list[str]) -> int:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603  # fixed arguments
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and closes this input
    signal.signal(signal.SIGTERM, lambda *_: _end(child))
    code = child.wait()
    _end(child)  # what the command started may still run
    return code


def _end_with_input(child: subprocess.Popen[bytes]) -> None:
    while sys.stdin.buffer.read(1024):
        pass
    _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the whole process group, then SIGKILL."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group that has ended
        os.killpg(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE_SECONDS)
        os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
