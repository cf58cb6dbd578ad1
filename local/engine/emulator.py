"""The AWS emulator: MiniStack in a separate process, on this machine only. It ends when this process ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from local.engine.supervised import free_port, serve

REGION = "eu-central-1"
ACCOUNT = "000000000000"


@contextlib.contextmanager
def emulator(*, auth: bool) -> Iterator[str]:
    """Run MiniStack and yield its URL. `auth`: enforce the functions' roles. Raises EngineError.

    The functions it runs inherit its whole environment, so it gets only the variables set here.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "AUTH": "true" if auth else "false",
        "MINISTACK_REGION": REGION,
    }
    with serve("The emulator", ".venv-emulator", ["-m", "ministack"], variables, f"{url}/_ministack/health"):
        yield url
