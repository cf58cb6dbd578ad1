"""Strict JSON: what every parser reads the same, and what is refused because some parser does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finch_connect.domain.strict_json import MAX_INTEGER, MAX_LEVELS, NotStrictError, dumps

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def nested(levels: int) -> Any:
    content: Any = []
    for _ in range(levels - 1):
        content = [content]
    return content


@given(ANY)
def test_strict_content_is_read_back_unchanged(content: Any) -> None:
    """UTF-8 can express the text, and any parser reads the same content."""
    assert json.loads(dumps(content).encode()) == content


@pytest.mark.parametrize(
    "content",
    [float("nan"), [float("inf")], {"a": -float("inf")}, MAX_INTEGER + 1, [-MAX_INTEGER - 1], "\ud800", {"\udc00": 1}],
    ids=ascii,
)
def test_what_a_strict_parser_refuses_is_refused(content: Any) -> None:
    """EventBridge answers MalformedDetail for these, each time."""
    with pytest.raises(NotStrictError):
        dumps(content)


@pytest.mark.parametrize("levels", [MAX_LEVELS + 2, 1000, 100_000])
def test_too_many_levels_are_refused_without_recursion(levels: int) -> None:
    """The content may be nested deeper than Python's own stack."""
    content = nested(levels)
    with pytest.raises(NotStrictError):
        dumps(content)
    while content:  # taken apart by hand: freeing it recursively is slow
        content = content.pop()
