"""Events in, answers out: hostile input is refused, and no value of it comes back unescaped."""

from __future__ import annotations

import base64
import contextlib
import copy
import html
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finch_connect.config import read
from finch_connect.domain.errors import CallbackRefusedError, LinkRefusedError, TryAgainError
from finch_connect.domain.flow import Status
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
    """A percent sign in a value stays one."""
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
def test_what_cannot_be_read_plainly_is_refused(query: str) -> None:
    """Twice, too long, or no UTF-8."""
    with pytest.raises(apigateway.BadRequestError):
        apigateway.read(event(query)).query.get("a")


def test_a_form_is_read_in_base64_and_plain() -> None:
    """API Gateway sends either."""
    coded = base64.b64encode(b"link=a&form_nonce=b").decode()
    for changed in ({"body": "link=a&form_nonce=b"}, {"body": coded, "isBase64Encoded": True}):
        assert apigateway.read(event(**changed)).form == {"link": "a", "form_nonce": "b"}
    with pytest.raises(apigateway.BadRequestError):
        apigateway.read(event(body="%%%", isBase64Encoded=True))


def test_a_cookie_that_comes_twice_is_dropped() -> None:
    """One of the two was planted."""
    assert apigateway.read(event(cookies=["a=1", "b=2", "a=3"])).cookies == {"b": "2"}


@given(st.text(max_size=300))
def test_any_query_is_read_or_refused(text: str) -> None:
    """No input raises anything else."""
    with contextlib.suppress(apigateway.BadRequestError):
        dict(apigateway.read(event(text)).query)


@pytest.mark.parametrize("header", ["host", "x-forwarded-host", "x-forwarded-proto", "forwarded"])
def test_the_public_address_is_never_a_headers(header: str) -> None:
    """It is configured, or API Gateway's own."""
    request = apigateway.read(event(headers={header: "evil.example"}))
    assert apigateway.base_url(request, CONFIG) == "https://connect.team.example.com"
    own = read(ENVIRONMENT | {"PUBLIC_URL": ""})
    assert apigateway.base_url(request, own) == "https://connect.team.example.com"


def test_a_browser_on_another_host_is_moved_with_its_link() -> None:
    """The cookie must be set where the callback comes."""
    context = {**event()["requestContext"], "domainName": "abc.execute-api.example.com"}
    request = apigateway.read(event("link=a.b%2Bc", requestContext=context))
    assert apigateway.is_elsewhere(request, CONFIG)
    assert apigateway.moved(request, CONFIG) == "https://connect.team.example.com/connect?link=a.b%2Bc"


def test_a_cookie_is_host_bound_and_unreadable_for_scripts() -> None:
    """__Host- needs Secure and Path=/, and no Domain."""
    header = apigateway.Cookie("__Host-fc-x", Secret("value"), 60).header()
    assert header == "__Host-fc-x=value; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_an_answer_has_all_headers_and_allows_its_own_style_only() -> None:
    """And forms that lead to us, or through us to Finch."""
    answer = apigateway.answer(pages.in_progress(), CONFIG)
    policy = answer["headers"]["Content-Security-Policy"]
    assert "form-action 'self' https://connect.example.com;" in policy
    assert "unsafe" not in policy
    assert answer["headers"]["Refresh"] == "2"


@given(st.text(max_size=80))
def test_no_value_breaks_out_of_a_page(text: str) -> None:
    """Whatever a customer is called."""
    body = pages.confirm(text, "a.b.c", "nonce").body
    assert html.escape(text) in body
    assert body.count("<") == pages.confirm("", "a.b.c", "nonce").body.count("<")


@pytest.mark.parametrize(
    "status", [Status.CONNECTED, Status.DENIED, Status.FAILED, Status.QUARANTINED, Status.ORPHANED]
)
def test_each_outcome_has_words_of_its_own_or_the_same_advice(status: Status) -> None:
    """A page for a person and JSON for a program."""
    assert "<h1>" in pages.outcome(status).body
    assert json.loads(pages.outcome(status, as_json=True).body) == {"status": status.value}


def test_refusals_look_the_same_whatever_the_cause() -> None:
    """The reason is for the log; status, body and headers do not tell."""
    for kind in (LinkRefusedError, CallbackRefusedError):
        one, other = (pages.problem(kind(reason, flow_id="f")) for reason in ("cookie_wrong", "state_unknown"))
        assert one == other
        assert one.status == 400


def test_a_problem_is_rfc_9457_for_a_program() -> None:
    """With when to come back."""
    problem = pages.problem(TryAgainError("aws_unreachable"), as_json=True)
    assert problem.content_type == "application/problem+json"
    assert json.loads(problem.body).keys() == {"type", "title", "status", "detail"}
    assert problem.headers["Retry-After"] == "5"


def test_a_secret_does_not_show_itself() -> None:
    """Not by any of the usual ways of printing, copying out or comparing."""
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {secret!s} {[secret]} {secret:>20}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)
    assert secret == Secret("hunter2") != Secret("hunter3")
    assert secret != "hunter2"
