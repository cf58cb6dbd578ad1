"""API Gateway's events and answers: unreadable input is refused, and every answer has its headers."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finch_connect.config import read
from finch_connect.domain.secret import Secret
from finch_connect.web import apigateway, pages
from tests.unit.conftest import ENVIRONMENT

CONFIG = read(ENVIRONMENT)


def event(query: str = "", **changed: Any) -> dict[str, Any]:
    context = {
        "http": {"method": "GET", "path": "/callback"},
        "domainName": "connect.team.example.com",
        "requestId": "r",
    }
    return {"routeKey": "GET /callback", "rawQueryString": query, "headers": {}, "requestContext": context, **changed}


def test_parameters_are_decoded_once() -> None:
    """An encoded percent sign in a value remains a percent sign. A blank parameter is absent."""
    assert apigateway.read(event("a=1%2526&b=x+y&c=")).query == {"a": "1%26", "b": "x y"}


@pytest.mark.parametrize(
    "query",
    [
        "a=1&a=2",
        "a=a&x=1&a=a",
        "a=" + "x" * 9000,
        "a=%ff",
    ],
)
def test_an_ambiguous_or_oversized_query_is_refused(query: str) -> None:
    """A name comes twice, the query is too long, or it is not UTF-8."""
    with pytest.raises(apigateway.BadRequestError):
        apigateway.read(event(query)).query.get("a")


def test_a_form_is_read_with_and_without_base64() -> None:
    """API Gateway sends both."""
    encoded = base64.b64encode(b"link=a&form_nonce=b").decode()
    for changed in ({"body": "link=a&form_nonce=b"}, {"body": encoded, "isBase64Encoded": True}):
        assert apigateway.read(event(**changed)).form == {"link": "a", "form_nonce": "b"}
    with pytest.raises(apigateway.BadRequestError):
        apigateway.read(event(body="%%%", isBase64Encoded=True))


def test_a_cookie_that_comes_twice_is_dropped() -> None:
    """One of the two was not set by this stack."""
    assert apigateway.read(event(cookies=["a=1", "b=2", "a=3"])).cookies == {"b": "2"}


@given(st.text(max_size=300))
def test_any_query_is_read_or_refused(text: str) -> None:
    """No input raises any other error."""
    with contextlib.suppress(apigateway.BadRequestError):
        dict(apigateway.read(event(text)).query)


@pytest.mark.parametrize("header", ["host", "x-forwarded-host", "x-forwarded-proto", "forwarded"])
def test_the_base_url_never_depends_on_a_header(header: str) -> None:
    """It is the configured URL, or else API Gateway's own domain name."""
    request = apigateway.read(event(headers={header: "evil.example"}))
    assert apigateway.base_url(request, CONFIG) == "https://connect.team.example.com"
    unconfigured = read(ENVIRONMENT | {"PUBLIC_URL": ""})
    assert apigateway.base_url(request, unconfigured) == "https://connect.team.example.com"


def test_a_browser_on_another_host_is_redirected_with_its_link() -> None:
    """The cookie must be set on the host that gets the callback."""
    context = {**event()["requestContext"], "domainName": "abc.execute-api.example.com"}
    request = apigateway.read(event("link=a.b%2Bc", requestContext=context))
    assert apigateway.is_elsewhere(request, CONFIG)
    assert apigateway.moved(request, CONFIG) == "https://connect.team.example.com/connect?link=a.b%2Bc&moved=1"


def test_a_cookie_is_bound_to_its_host_and_hidden_from_scripts() -> None:
    """The prefix __Host- requires Secure and Path=/, and forbids Domain."""
    header = apigateway.Cookie("__Host-fc-x", Secret("value"), 60).header()
    assert header == "__Host-fc-x=value; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_an_answer_has_a_strict_policy_and_the_headers_of_its_page() -> None:
    """The policy allows the page's one style, and forms that lead to this stack or through it to Finch."""
    answer = apigateway.answer(pages.in_progress(), CONFIG)
    policy = answer["headers"]["Content-Security-Policy"]
    assert "form-action 'self' https://connect.example.com;" in policy
    assert "unsafe" not in policy
    assert answer["headers"]["Refresh"] == "2"
