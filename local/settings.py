"""Settings of the local tools, from environment variables. No other module under `local/` reads the environment."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 3000
_LAST_PORT = 65535


class SettingsError(Exception):
    """An environment variable has a value that cannot work. The text says what works."""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """Settings of `make demo`. `real`: (client id, client secret) of an application in the real Finch sandbox."""

    port: int
    once: bool
    mode: str
    real: tuple[str, str] | None


def demo_settings(environment: Mapping[str, str] = os.environ) -> DemoSettings:
    """Read PORT, DEMO_ONCE, CONNECT_MODE, FINCH_CLIENT_ID and FINCH_CLIENT_SECRET. Raises SettingsError."""
    port = environment.get("PORT", str(DEFAULT_PORT))
    if not port.isdigit() or not 0 < int(port) <= _LAST_PORT:
        raise SettingsError(f"PORT must be a number from 1 to {_LAST_PORT}, not '{port}'.")
    pair = environment.get("FINCH_CLIENT_ID", ""), environment.get("FINCH_CLIENT_SECRET", "")
    if any(pair) and not all(pair):
        raise SettingsError(
            "For the real Finch sandbox, set both FINCH_CLIENT_ID and FINCH_CLIENT_SECRET. Otherwise, set neither."
        )
    mode = environment.get("CONNECT_MODE", "static")
    if mode not in {"static", "session"}:
        raise SettingsError(f"CONNECT_MODE must be static or session, not '{mode}'.")
    once = environment.get("DEMO_ONCE", "") not in {"", "0"}
    return DemoSettings(int(port), once, mode, pair if all(pair) else None)


def tool_environment() -> dict[str, str]:
    """Return the environment for a tool of this virtual environment, with its `bin` first in PATH.

    The AWS_ variables are left out, so that they do not lead a tool to the developer's AWS account.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**inherited, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"}


def architecture() -> str:
    """Return this machine's processor architecture by Lambda's name for it."""
    return "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
