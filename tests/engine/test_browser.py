"""The scripts' browser handles cookies as browsers do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask, make_response, redirect, request
from werkzeug.wrappers import Response

from local.browser import Browser
from local.server import Server


class Clock:
    """A clock in epoch seconds that a test moves by hand."""

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
    """The port of a site."""
    with Server("site", 0, site()) as server:
        yield server.address[1]


@pytest.fixture(scope="module")
def other_port() -> Iterator[int]:
    """The port of another site on the same host."""
    with Server("other", 0, site()) as server:
        yield server.address[1]


def test_secure_cookies_go_to_localhost_over_http(port: int) -> None:
    """Every browser sends them; plain HTTP clients do not."""
    browser = Browser()
    page = browser.get(f"http://localhost:{port}/set")
    assert len(page.set_cookies) == 2
    assert browser.cookies("http://localhost/") == {"__Host-fc-a": "1", "plain": "2"}
    assert "('__Host-fc-a', '1'), ('plain', '2')" in browser.get(f"http://localhost:{port}/seen").text


def test_a_cookie_goes_to_every_port_of_its_host(port: int, other_port: int) -> None:
    """RFC 6265 section 8.5. Another host name does not get it."""
    browser = Browser()
    browser.get(f"http://localhost:{port}/set")
    assert "plain" in browser.get(f"http://localhost:{other_port}/seen").text
    assert "plain" not in browser.get(f"http://127.0.0.1:{port}/seen").text


def test_max_age_0_deletes_a_cookie(port: int) -> None:
    """Other cookies stay."""
    browser = Browser()
    browser.get(f"http://localhost:{port}/set")
    browser.get(f"http://localhost:{port}/delete")
    assert browser.cookies("http://localhost/") == {"plain": "2"}


def test_a_cookie_expires_after_its_max_age(port: int) -> None:
    """A cookie without Max-Age does not expire."""
    clock = Clock()
    browser = Browser(clock)
    browser.get(f"http://localhost:{port}/set")
    clock.now += 61
    assert "[('plain', '2')]" in browser.get(f"http://localhost:{port}/seen").text


def test_redirects_are_followed_only_on_request(port: int) -> None:
    """By default a test gets the redirect itself and can check its target."""
    page = Browser().get(f"http://localhost:{port}/away")
    assert (page.status, page.location) == (303, f"http://localhost:{port}/seen")
    assert Browser().get(f"http://localhost:{port}/away", follow=True).status == 200


def test_a_form_is_posted(port: int) -> None:
    """Its fields arrive at the server."""
    assert "[('allow', 'yes')]" in Browser().post(f"http://localhost:{port}/seen", {"allow": "yes"}).text
