"""Cookies, their tags, and the nonce of a confirm page."""

from __future__ import annotations

import pytest

from finch_connect.domain.secret import Secret
from finch_connect.domain.states import (
    asked_at_in,
    cookie_of_page,
    form_nonce_of,
    has_tag_of,
    is_cookie,
    is_form_cookie,
    new_cookie,
    new_form_cookie,
    state_of,
    tagged_again,
)

FLOW, OTHER_FLOW = "F" * 22, "G" * 22
KEY, OTHER_KEY = Secret("k" * 64), Secret("q" * 64)
NOW = 1_767_225_600_000
COOKIE = new_cookie(bytes(32), FLOW, KEY)
FORM_COOKIE = new_form_cookie(bytes(32))


def test_a_tag_fits_its_cookie_its_flow_and_its_key() -> None:
    """Any other key, flow or cookie gives another tag."""
    assert has_tag_of(COOKIE, FLOW, KEY)
    assert not has_tag_of(COOKIE, FLOW, OTHER_KEY)
    assert not has_tag_of(COOKIE, OTHER_FLOW, KEY)
    assert not has_tag_of(Secret("B" + COOKIE.reveal()[1:]), FLOW, KEY)


def test_a_state_does_not_depend_on_the_tag() -> None:
    """After a rotation the same cookie gets another tag, and the flow in progress keeps its state."""
    again = tagged_again(COOKIE, FLOW, OTHER_KEY)
    assert again != COOKIE
    assert state_of(again, FLOW) == state_of(COOKIE, FLOW)


def test_a_page_gives_one_cookie() -> None:
    """Another page, form cookie or flow gives another one."""
    cookie = cookie_of_page(FORM_COOKIE, FLOW, NOW, KEY)
    assert cookie == cookie_of_page(FORM_COOKIE, FLOW, NOW, KEY)
    others = [
        cookie_of_page(FORM_COOKIE, FLOW, NOW + 1, KEY),
        cookie_of_page(FORM_COOKIE, OTHER_FLOW, NOW, KEY),
        cookie_of_page(new_form_cookie(b"x" * 32), FLOW, NOW, KEY),
    ]
    assert all(state_of(other, FLOW) != state_of(cookie, FLOW) for other in others)


def test_a_nonce_shows_when_its_page_was_made_and_nothing_of_the_cookie() -> None:
    """The page's source has the nonce, and the cookie must not follow from it."""
    nonce = form_nonce_of(FORM_COOKIE, FLOW, NOW).reveal()
    assert asked_at_in(nonce) == NOW
    assert nonce.partition(".")[2] not in cookie_of_page(FORM_COOKIE, FLOW, NOW, KEY).reveal()


@pytest.mark.parametrize(
    "text", ["", "N" * 43, f"{NOW}.", f"{NOW}.{'N' * 42}", f"-{NOW}.{'N' * 43}", f"{NOW}.{'N' * 43}\n", f"١{'N' * 56}"]
)
def test_a_malformed_nonce_has_no_time(text: str) -> None:
    """Only what could be a nonce of this stack is examined further."""
    assert asked_at_in(text) is None


def test_the_two_kinds_of_cookies_have_forms_of_their_own() -> None:
    """A form's cookie is never taken for a flow's."""
    assert is_cookie(COOKIE.reveal())
    assert not is_form_cookie(COOKIE.reveal())
    assert is_form_cookie(FORM_COOKIE.reveal())
    assert not is_cookie(FORM_COOKIE.reveal())


def test_a_cookie_needs_256_random_bits() -> None:
    """A shorter one is a mistake in this code."""
    with pytest.raises(ValueError, match="32 random bytes"):
        new_cookie(bytes(31), FLOW, KEY)
