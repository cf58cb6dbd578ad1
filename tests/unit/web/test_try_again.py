"""`Try again`: every retry that a page offers sends the request that failed."""

from __future__ import annotations

import html
import re

import pytest

from finch_connect.domain.errors import (
    CallbackRefusedError,
    FinchConnectError,
    LinkRefusedError,
    PrefetchError,
    TryAgainError,
)
from finch_connect.web import pages

FORM = {"link": f"{'a' * 20}.b-_.{'c' * 43}", "form_nonce": f"1767225600000.{'N' * 43}"}
MAY_PASS = [TryAgainError("x"), PrefetchError("x"), FinchConnectError("unexpected")]


@pytest.mark.parametrize("error", MAY_PASS, ids=lambda error: type(error).__name__)
def test_after_a_get_the_same_address_is_requested(error: FinchConnectError) -> None:
    """It still has the link, or the code and the state."""
    assert '<a class="button" href="">Try again</a>' in pages.problem(error).body


@pytest.mark.parametrize("error", MAY_PASS, ids=lambda error: type(error).__name__)
def test_after_a_post_the_same_form_is_posted(error: FinchConnectError) -> None:
    """The address of a POST has no link, so a request for it would be refused."""
    body = pages.problem(error, posted=FORM).body
    assert 'href=""' not in body
    assert '<form method="post" action="/connect">' in body
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', body)
    assert {name: html.unescape(value) for name, value in fields} == FORM
    assert "<button>Try again</button>" in body


@pytest.mark.parametrize(
    "posted", [{}, {"link": FORM["link"]}, {**FORM, "link": '"><script>'}, {**FORM, "form_nonce": "a b"}]
)
def test_a_form_that_cannot_be_this_stacks_is_not_offered_again(posted: dict[str, str]) -> None:
    """Nothing else of a request gets into a page."""
    body = pages.problem(TryAgainError("x"), posted=posted).body
    assert "Try again</" not in body
    assert "<input" not in body


@pytest.mark.parametrize("posted", [None, FORM])
@pytest.mark.parametrize("error", [LinkRefusedError("x"), CallbackRefusedError("x")])
def test_a_refusal_offers_no_retry(error: FinchConnectError, posted: dict[str, str] | None) -> None:
    """The same request would be refused again."""
    assert "Try again</" not in pages.problem(error, posted=posted).body
