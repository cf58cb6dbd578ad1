"""The scripts' browser keeps cookies as browsers do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask, make_response, redirect, request
from werkzeug.wrappers import Response

from local.browser import Browser
from local.server import Server


class Clock:
    """Epoch seconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def site() -> Flask:
    app = Flask(__name__)

    @app.get("/set")
    def put() -> Response:
        answer = make_response("set")
        answer.headers.add("Set-Cookie", "__Host-fc-a=1; Secure; HttpOnly; SameSite=Lax; Path=/; Max-Age=60")
        answer.headers.add("Set-Cookie", "plain=2; Path=/")
        return answer

    @app.get("/delete")
    def delete() -> Response:
        answer = make_response("deleted")
        answer.headers.add("Set-Cookie", "__Host-fc-a=; Secure; Path=/; Max-Age=0")
        return answer

    @app.get("/away")
    def away() -> Response:
        return redirect("/seen", 303)

    @app.route("/seen", methods=["GET", "POST"])
    def seen() -> str:
        return f"{request.method} {sorted(request.cookies.items())} {sorted(request.form.items())}"

    return app


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where a site listens."""
    with Server("site", 0, site()) as server:
        yield server.address[1]


@pytest.fixture(scope="module")
def other_port() -> Iterator[int]:
    """Where another one does."""
    with Server("other", 0, site()) as server:
        yield server.address[1]


def test_secure_cookies_go_to_localhost_over_http(port: int) -> None:
    """As in every browser, and unlike in plain HTTP clients."""
    browser = Browser()
    page = browser.get(f"http://localhost:{port}/set")
    assert len(page.set_cookies) == 2
    assert browser.cookies("http://localhost/") == {"__Host-fc-a": "1", "plain": "2"}
    assert "('__Host-fc-a', '1'), ('plain', '2')" in browser.get(f"http://localhost:{port}/seen").text


def test_a_cookie_is_the_hosts_whatever_the_port(port: int, other_port: int) -> None:
    """RFC 6265 section 8.5; another host name does not get it."""
    browser = Browser()
    browser.get(f"http://localhost:{port}/set")
    assert "plain" in browser.get(f"http://localhost:{other_port}/seen").text
    assert "plain" not in browser.get(f"http://127.0.0.1:{port}/seen").text


def test_max_age_0_deletes_a_cookie(port: int) -> None:
    """That one alone."""
    browser = Browser()
    browser.get(f"http://localhost:{port}/set")
    browser.get(f"http://localhost:{port}/delete")
    assert browser.cookies("http://localhost/") == {"plain": "2"}


def test_a_cookie_dies_at_its_age(port: int) -> None:
    """A session's cookie does not."""
    clock = Clock()
    browser = Browser(clock)
    browser.get(f"http://localhost:{port}/set")
    clock.now += 61
    assert "[('plain', '2')]" in browser.get(f"http://localhost:{port}/seen").text


def test_redirects_are_followed_on_request_alone(port: int) -> None:
    """The tests look at where they lead."""
    page = Browser().get(f"http://localhost:{port}/away")
    assert (page.status, page.location) == (303, f"http://localhost:{port}/seen")
    assert Browser().get(f"http://localhost:{port}/away", follow=True).status == 200


def test_a_form_is_posted(port: int) -> None:
    """With the browser's cookies."""
    assert "[('allow', 'yes')]" in Browser().post(f"http://localhost:{port}/seen", {"allow": "yes"}).text
