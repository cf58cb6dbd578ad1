"""Pages for people and JSON for programs: no value breaks out of a page, and refusals look the same."""

from __future__ import annotations

import html
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finch_connect.domain.errors import CallbackRefusedError, LinkRefusedError, TryAgainError
from finch_connect.domain.flow import Status
from finch_connect.web import pages


@given(st.text(max_size=80))
def test_no_value_breaks_out_of_a_page(text: str) -> None:
    """The customer's name is escaped, whatever it contains."""
    body = pages.confirm(text, "a.b.c", "nonce").body
    assert html.escape(text) in body
    assert body.count("<") == pages.confirm("", "a.b.c", "nonce").body.count("<")


@pytest.mark.parametrize(
    "status", [Status.CONNECTED, Status.DENIED, Status.FAILED, Status.QUARANTINED, Status.ORPHANED]
)
def test_each_outcome_has_a_page_and_a_json_answer(status: Status) -> None:
    """A person gets a page, and a program gets JSON with the status."""
    assert "<h1>" in pages.outcome(status).body
    assert json.loads(pages.outcome(status, as_json=True).body) == {"status": status.value}


def test_refusals_look_the_same_whatever_the_cause() -> None:
    """The reason is for the log. Status, body and headers do not show it."""
    for kind in (LinkRefusedError, CallbackRefusedError):
        one, other = (pages.problem(kind(reason, flow_id="f")) for reason in ("cookie_wrong", "state_unknown"))
        assert one == other
        assert one.status == 400


def test_a_program_gets_a_problem_as_rfc_9457() -> None:
    """The answer has a Retry-After header if the request may be repeated."""
    problem = pages.problem(TryAgainError("aws_unreachable"), as_json=True)
    assert problem.content_type == "application/problem+json"
    assert json.loads(problem.body).keys() == {"type", "title", "status", "detail"}
    assert problem.headers["Retry-After"] == "5"
