"""What `make demo` prints and how it ends: it prints no secret, and a sentence for every failure."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from local.demo import __main__ as demo
from local.engine.supervised import EngineError
from local.settings import demo_settings

SECRETS = {
    "http://f/authorize?client_id=app&state=hidden-1&products=company+directory": "company directory",
    "http://localhost:3000/callback?code=hidden-1&state=hidden-2": "http://localhost:3000/callback",
    "http://localhost:3000/connected?finch_receipt=hidden-1": "http://localhost:3000/connected",
    "http://localhost:3000/connect?link=hidden-1": "http://localhost:3000/connect",
    "http://f/authorize?session=hidden-1&state=hidden-2": "http://f/authorize",
}


@pytest.mark.parametrize("url", SECRETS)
def test_secrets_in_a_url_are_not_printed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest of the URL is, so that a person can follow the flow."""
    demo.Terminal().facts(demo._shown(url))
    written = capsys.readouterr().out
    assert "hidden" not in written
    assert "***" in written
    assert SECRETS[url] in written


def test_no_escape_sequence_is_printed_outside_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A file or a pipe gets plain text."""
    terminal = demo.Terminal()
    terminal.title("Starting")
    terminal.step("Ready")
    assert "\033" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("problem", "once", "code", "message"),
    [
        (EngineError("Port 3000 is taken. Free it."), "", 1, "Port 3000 is taken. Free it."),
        (requests.ConnectionError("http://localhost/callback?code=hidden"), "", 1, "Run `make demo` again"),
        (KeyboardInterrupt(), "", 0, "Stopped"),
        (KeyboardInterrupt(), "1", 130, "Stopped"),
    ],
)
def test_the_demo_ends_with_a_sentence(
    capsys: pytest.CaptureFixture[str],
    problem: BaseException,
    once: str,
    code: int,
    message: str,
) -> None:
    """It prints no traceback and no URL. Ctrl-C exits with 0, or with 130 if DEMO_ONCE is set."""

    def fails(*_: Any) -> int:
        raise problem

    assert demo.main(fails, lambda: demo_settings({"DEMO_ONCE": once})) == code
    written = "".join(capsys.readouterr())
    assert message in written
    assert "hidden" not in written
