"""Markdown tables, lists and paragraphs for docs/scale.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 120


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], right: int = 0) -> str:
    """Return a table whose last `right` columns are right-aligned."""
    rule = ["---"] * (len(heads) - right) + ["---:"] * right
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in [heads, rule, *rows])


def section(heading: str, *parts: str) -> str:
    """Return a heading followed by paragraphs, lists and tables. Text is wrapped at WIDTH."""
    return "\n\n".join([heading, *map(_wrapped, parts)])


def items(*texts: str) -> str:
    """Return a bulleted list."""
    return "\n".join("- " + " ".join(text.split()) for text in texts)


def _wrapped(part: str) -> str:
    if part.startswith("|"):
        return part
    lines = part.split("\n") if part.startswith("- ") else [" ".join(part.split())]
    return "\n".join(
        textwrap.fill(
            line,
            WIDTH,
            subsequent_indent="  " if line.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines
    )
