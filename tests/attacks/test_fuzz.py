"""Thousands of requests that schemathesis makes of the contract, good and bad, against the running stack.

No 5xx, no status and no header that the contract does not name, and the flow of a person who is in the middle of it is
finished afterwards as if nothing had been. What API Gateway itself refuses (other methods, other paths) is row 25.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import hypothesis.strategies as st
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from local.engine import RunningStack
from local.simulator import Simulator
from tests.attacks.conftest import effects
from tests.attacks.test_answers import HOSTILE
from tests.conftest import Customer, Inbox, query_of
from tests.template import ROOT

CONTRACT = schemathesis.openapi.from_path(ROOT / "contracts/openapi.yaml")
OPERATIONS = [("GET", "/connect"), ("POST", "/connect"), ("GET", "/callback"), ("GET", "/callback/result")]
CASES_EACH = 300
"""For good and for bad data each: 2,700 in all, some 55 s on two cores."""

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

# What a header may hold at all: the HTTP library and the local API gateway refuse the rest before the stack sees it.
_TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60).map(str.strip)
_COOKIE = st.one_of(
    st.just(f"__Host-fc-{'A' * 22}={'B' * 43}"),
    st.just("; ".join(f"__Host-fc-{number:022}={'C' * 43}" for number in range(60))),
    st.just('__Host-fc-=; =; ;;; a=b=c; __Host-fcf-x="y"'),
    _TEXT,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Accept": st.one_of(
            st.sampled_from(["application/json", "text/html", "*/*", "application/problem+json"]), _TEXT
        ),
        "Cookie": _COOKIE,
        "Sec-Purpose": st.sampled_from(["prefetch", "none", ""]),
        "Sec-Fetch-Site": st.sampled_from(["same-origin", "cross-site", "none", "?"]),
        "X-Forwarded-Host": st.just("evil.example.com"),
        "Content-Type": st.sampled_from(["application/x-www-form-urlencoded", "application/json", "x/y"]),
        "Origin": st.sampled_from(["null", "https://evil.example.com"]),
    },
)


@pytest.fixture(scope="module")
def seeds(static_stack: RunningStack, finch_server: Simulator) -> dict[str, list[str]]:
    """Values that lead deeper than noise: real links, another browser's state and code, hostile texts."""
    somebody = Customer(static_stack, finch_server)
    callback = query_of(somebody.approved())
    hostile = list(HOSTILE.values())
    link = query_of(Customer(static_stack, finch_server).link(confirm=True))["link"]
    return {
        "link": [link, link[:-2], link + "A", *hostile],
        "form_nonce": ["N" * 43, *hostile],
        "state": [callback["state"], callback["state"][:-1] + "A", f"{'A' * 22}.{'B' * 43}", *hostile],
        "code": [callback["code"], *hostile],
        "error": ["access_denied", *hostile],
        "iss": [finch_server.url, *hostile],
        "finch_receipt": [link, *hostile],
    }


def run(stack: RunningStack, method: str, path: str, mode: GenerationMode, seeds: dict[str, list[str]]) -> int:
    """Send the cases of one operation, and check every answer; return how many there were."""
    session, sent = requests.Session(), 0
    session.trust_env = False

    @settings(
        max_examples=CASES_EACH,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=CONTRACT[path][method].as_strategy(mode), headers=HEADERS, data=st.data())
    def send(case: Any, headers: dict[str, str], data: st.DataObject) -> None:
        nonlocal sent
        names = [parameter.name for parameter in case.operation.query]
        place = case.query
        if method == "POST":
            names, place = ["link", "form_nonce"], case.body if isinstance(case.body, dict) else None
        if names and isinstance(place, dict) and data.draw(st.booleans(), label="seed"):
            name = data.draw(st.sampled_from(names), label="name")
            place[name] = data.draw(st.sampled_from(seeds[name]), label="value")
        answer = case.call(
            base_url=stack.public_url, session=session, headers=headers, allow_redirects=False, timeout=60
        )
        # Not the stack's word: API Gateway refuses over 10,240 bytes of headers, and so does the local one.
        assume(answer.status_code != HTTPStatus.REQUEST_URI_TOO_LONG)
        sent += 1
        looks_ahead = headers.get("Sec-Purpose") == "prefetch"
        assert answer.status_code < 500 or (looks_ahead and answer.status_code == 503), answer.status_code
        assert "evil.example.com" not in answer.text
        assert "evil.example.com" not in repr(answer.headers)
        assert "eflected" not in answer.text
        case.validate_response(answer, checks=CHECKS)

    send()
    return sent


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_fuzzed_requests_get_documented_answers_with_all_headers(
    static_stack: RunningStack,
    finch: Simulator,
    seeds: dict[str, list[str]],
    method: str,
    path: str,
    mode: GenerationMode,
) -> None:
    """And nobody's token moves: no exchange, no secret, and no row but what real links start."""
    before = effects(static_stack, finch)
    sent = run(static_stack, method, path, mode, seeds)
    after = effects(static_stack, finch)
    assert sent >= CASES_EACH // 4, "schemathesis runs out of different cases for small schemas"
    assert after.calls == before.calls
    assert after.secrets == before.secrets
    assert after.rows == before.rows


def test_a_flow_in_progress_survives_the_fuzz(
    static_stack: RunningStack, finch: Simulator, seeds: dict[str, list[str]]
) -> None:
    """A person is at Finch while it rains requests, their own state and code among them."""
    person = Customer(static_stack, finch)
    callback = person.approved()
    theirs = {**seeds, **{name: [value] for name, value in query_of(callback).items()}}
    run(static_stack, "GET", "/callback", GenerationMode.POSITIVE, theirs)
    assert finch.calls_to("/auth/token") == []
    assert person.receipt(person.come_back(callback))["status"] == "connected"
    assert len(finch.calls_to("/auth/token")) == 1
    assert Inbox(static_stack).wait_for(person)[0]["detail-type"] == "Connection Established"
