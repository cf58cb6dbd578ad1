"""The AWS emulator: MiniStack in a process of its own, on this machine only, gone when we are."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
REGION = "eu-central-1"
ACCOUNT = "000000000000"

_PYTHON = ROOT / ".venv-emulator" / "bin" / "python"
_READY_SECONDS = 60.0


class EngineError(Exception):
    """The local stack cannot be had; the text says what to do."""


@contextlib.contextmanager
def emulator(*, auth: bool) -> Iterator[str]:
    """Run MiniStack and yield its URL. `auth`: enforce the functions' roles.

    Its environment is made here from nothing, because all of it leaks into the functions it runs.
    """
    if not _PYTHON.exists():
        raise EngineError("The emulator is not installed. Run `make setup`.")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    scratch = tempfile.mkdtemp(prefix="finch-connect-")  # the guard removes it, also when we are killed
    environment = {
        "PATH": os.defpath,
        "HOME": scratch,
        "TMPDIR": scratch,
        "LANG": "C.UTF-8",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "AUTH": "true" if auth else "false",
        "MINISTACK_REGION": REGION,
    }
    log = Path(scratch) / "ministack.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # our own arguments
            [sys.executable, str(ROOT / "local/engine/guard.py"), scratch, str(_PYTHON), "-m", "ministack"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=scratch,
            start_new_session=True,
        )
    try:
        _wait_until_ready(url, process, log)
        yield url
    finally:
        assert process.stdin is not None  # noqa: S101  # asked for above
        process.stdin.close()  # the guard ends with its input, and the emulator with it
        process.wait(timeout=20)


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    patience = time.monotonic() + _READY_SECONDS
    while time.monotonic() < patience:
        if process.poll() is not None:
            raise EngineError(f"The emulator ended by itself. Its last words:\n{_tail(log)}")
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(f"{url}/_ministack/health", timeout=2),  # noqa: S310  # our own http address
        ):
            return
        time.sleep(0.1)
    raise EngineError(f"The emulator did not answer within {_READY_SECONDS:.0f} s. Its last words:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
