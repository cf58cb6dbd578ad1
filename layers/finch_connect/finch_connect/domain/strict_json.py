"""JSON in the strict sense, which every parser reads: the form in which events leave this stack.

EventBridge refuses an event whose detail has NaN, Infinity, an integer outside 64 bits, or too many levels, and refuses
it again each time (AWS: PutEvents, `MalformedDetail`). Python's `json` reads and writes all of these.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping

MAX_INTEGER = 2**63 - 1
MAX_LEVELS = 990
"""AWS allows 1,000, and the event around the detail takes some of them."""


class NotStrictError(ValueError):
    """The content cannot be written as strict JSON. The text is one of this source code's own."""


def dumps(content: object, *, max_levels: int = MAX_LEVELS) -> str:
    """Return the content as compact JSON text that UTF-8 can express, with sorted names.

    Raises NotStrictError for anything that a strict parser refuses, and for more than `max_levels` of nesting.

    >>> dumps({"b": "ü", "a": [1.5, None]})
    '{"a":[1.5,null],"b":"ü"}'
    """
    _check(content, max_levels)
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
        text.encode()
    except UnicodeEncodeError:
        raise NotStrictError("surrogate") from None
    except RecursionError:
        raise NotStrictError("nested_too_deep") from None
    return text


def _check(content: object, max_levels: int) -> None:
    """Check numbers and depth level by level, without recursion: the content may be nested deeper than the stack."""
    level: list[object] = [content]
    for _ in range(max_levels + 1):
        if any(_is_bad_number(one) for one in level):
            raise NotStrictError("number")
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return
    raise NotStrictError("nested_too_deep")


def _is_bad_number(content: object) -> bool:
    if isinstance(content, float):
        return not math.isfinite(content)
    return isinstance(content, int) and not -MAX_INTEGER <= content <= MAX_INTEGER


def _inside(content: object) -> Iterable[object]:
    if isinstance(content, Mapping):
        return content.values()
    return content if isinstance(content, list | tuple) else ()
