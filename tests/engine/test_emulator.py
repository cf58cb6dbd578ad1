"""The emulator ends when its parent ends, however that happens, and its files are removed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import requests

from cli.waiting import wait_for
from local.settings import tool_environment
from tests.template import ROOT

_RUNS_AN_EMULATOR = """
import time
from local.engine.emulator import emulator
with emulator(auth=False) as url:
    print(url, flush=True)
    time.sleep(600)
"""
_TIMEOUT_SECONDS = 30.0


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/_ministack/health", timeout=2).ok
    except requests.RequestException:
        return False


def _wait_until_gone(url: str, scratch: Path) -> None:
    wait_for(lambda: not _answers(url) and not any(scratch.iterdir()), timeout=_TIMEOUT_SECONDS)


def test_an_emulator_does_not_outlive_a_parent_that_got_sigkill(tmp_path: Path) -> None:
    """After SIGKILL the parent cannot clean up. The supervisor does, and leaves no open port and no folder."""
    environment = tool_environment() | {"TMPDIR": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", _RUNS_AN_EMULATOR], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )
    with parent:
        try:
            assert parent.stdout is not None
            url = parent.stdout.readline().strip()
            assert _answers(url)
            assert any(tmp_path.iterdir())
        finally:
            parent.send_signal(signal.SIGKILL)
    _wait_until_gone(url, tmp_path)
