"""What `make demo` prints and how it ends: nothing secret, and every failure in words."""

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
def test_what_is_secret_in_an_address_is_not_shown(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest is, so that a person can follow the way."""
    demo.Terminal().facts(demo._shown(url))
    written = capsys.readouterr().out
    assert "hidden" not in written
    assert "***" in written
    assert SECRETS[url] in written


def test_no_colour_is_written_where_nobody_sees_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Into a file or a pipe goes text."""
    terminal = demo.Terminal()
    terminal.title("Starting")
    terminal.step("Up")
    assert "\033" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("problem", "once", "code", "says"),
    [
        (EngineError("Port 3000 is taken. Free it."), "", 1, "Port 3000 is taken. Free it."),
        (requests.ConnectionError("http://localhost/callback?code=hidden"), "", 1, "Please run this again"),
        (KeyboardInterrupt(), "", 0, "Stopped"),
        (KeyboardInterrupt(), "1", 130, "Stopped"),
    ],
)
def test_the_demo_ends_in_words(
    capsys: pytest.CaptureFixture[str],
    problem: BaseException,
    once: str,
    code: int,
    says: str,
) -> None:
    """No traceback, no address; Ctrl-C is a good end unless one connection was asked for."""

    def fails(*_: Any) -> int:
        raise problem

    assert demo.main(fails, lambda: demo_settings({"DEMO_ONCE": once})) == code
    written = "".join(capsys.readouterr())
    assert says in written
    assert "hidden" not in written
