"""Finch's own word for an error is kept for support, and hostile text in its place is not."""

from __future__ import annotations

import uuid

import pytest

from finch_connect.domain.errors import UNREADABLE_ERROR, error_word


@pytest.mark.parametrize("word", ["access_denied", "bad_request.connection_already_exists", "E-42", "x" * 64])
def test_a_word_is_kept(word: str) -> None:
    """Letters, digits, underscores, dots and hyphens, at most 64."""
    assert error_word(word) == word


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        'x" onmouseover="y',
        "x\r\nSet-Cookie: y",
        "\u202eevil",
        "x\x00",
        "x" * 65,
        "${jndi:ldap://x}",
        "two words",
        "access_denied\n",
        "\u0661",
        str(uuid.uuid4()),
        f"code.{uuid.uuid4()}",
    ],
)
def test_any_other_text_is_replaced(text: str) -> None:
    """A redirect passes through a browser, so it may have markup, or a code, where the error should be."""
    assert error_word(text) == UNREADABLE_ERROR


def test_without_a_word_there_is_none() -> None:
    """An empty text is as good as none."""
    assert error_word(None) is None
    assert error_word("") is None
