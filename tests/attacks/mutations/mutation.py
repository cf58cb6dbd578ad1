"""What a mutation is: one control, and what replaces it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """One control: the one occurrence of `text` in `path` becomes `instead`. The attacks of `rows` run first.

    If `case` is given, a test of the fault suite has to notice instead: the one that pytest's `-k` selects by it.
    """

    control: str
    path: str
    text: str
    instead: str
    rows: tuple[int, ...]
    case: str | None = None
