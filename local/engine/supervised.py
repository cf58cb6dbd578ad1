"""A server of another virtual environment, run as a separate process that ends when this process ends."""

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
_STOP_SECONDS = 180.0
"""A hundred functions that ran at once unpack two gigabytes, which the supervisor then removes."""


class EngineError(Exception):
    """The local stack does not work. The text says why and, where possible, what to do."""


@contextlib.contextmanager
def serve(
    name: str, environment: str, arguments: Sequence[str], variables: Mapping[str, str], health: str
) -> Iterator[None]:
    """Run a Python program of the virtual environment `environment` until the context ends. Yield once it is ready.

    `name` names the program in error messages. `health` is a URL that answers once the program is ready. The program
    inherits no environment variables; it gets `variables` and a few fixed ones. Raises EngineError.
    """
    python = ROOT / environment / "bin" / "python"
    if not python.exists():
        raise EngineError(f"{name} is not installed. Run `make setup`.")
    scratch = tempfile.mkdtemp(prefix="finch-connect-")  # the supervisor removes it, even after SIGKILL
    log = Path(scratch) / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # fixed arguments
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
        assert process.stdin is not None  # noqa: S101  # stdin is a pipe, see above
        process.stdin.close()  # the end of its input ends the supervisor, which ends the server
        process.wait(timeout=_STOP_SECONDS)


def free_port() -> int:
    """Return a port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(name: str, health: str, process: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise EngineError(f"{name} exited unexpectedly. The end of its output:\n{_tail(log)}")
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(health, timeout=2),  # noqa: S310  # a local http URL
        ):
            return True
        return False

    try:
        wait_for(answers, timeout=_READY_SECONDS)
    except TimeoutError:
        raise EngineError(
            f"{name} did not answer within {_READY_SECONDS:.0f} s. The end of its output:\n{_tail(log)}"
        ) from None


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
