"""A server of another environment in a process of its own: on this machine only, gone when we are."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cli.waiting import wait_for

ROOT = Path(__file__).parents[2]

_READY_SECONDS = 60.0
_GONE_SECONDS = 180.0
"""A hundred functions that ran at once have unpacked two gigabytes, which the supervisor removes."""


class EngineError(Exception):
    """The local stack cannot be had; the text says what to do."""


@contextlib.contextmanager
def serve(
    name: str, environment: str, arguments: Sequence[str], variables: Mapping[str, str], health: str
) -> Iterator[None]:
    """Run a Python program of the virtual environment `environment` until this context ends; wait until it answers.

    `name` is what it is called when it fails; `health` is an address that answers when it is ready. Of our own
    environment it gets nothing but `variables`. Raises EngineError.
    """
    python = ROOT / environment / "bin" / "python"
    if not python.exists():
        raise EngineError(f"{name} is not installed. Run `make setup`.")
    scratch = tempfile.mkdtemp(prefix="finch-connect-")  # the supervisor removes it, also when we are killed
    log = Path(scratch) / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # our own arguments
            [sys.executable, str(ROOT / "local/engine/supervisor.py"), scratch, str(python), *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.defpath, "HOME": scratch, "TMPDIR": scratch, "LANG": "C.UTF-8", **variables},
            cwd=scratch,
            start_new_session=True,
        )
    try:
        _wait_until_ready(name, health, process, log)
        yield
    finally:
        assert process.stdin is not None  # noqa: S101  # asked for above
        process.stdin.close()  # the supervisor ends with its input, and the server with it
        process.wait(timeout=_GONE_SECONDS)


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(name: str, health: str, process: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise EngineError(f"{name} ended by itself. Its last words:\n{_tail(log)}")
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(health, timeout=2),  # noqa: S310  # our own http address
        ):
            return True
        return False

    try:
        wait_for(answers, timeout=_READY_SECONDS)
    except TimeoutError:
        raise EngineError(
            f"{name} did not answer within {_READY_SECONDS:.0f} s. Its last words:\n{_tail(log)}"
        ) from None


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
