"""The matrix for a person to read: in the terminal after the tests, and in docs/reliability.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.answers import ANSWERS
from tests.faults.deaths import DEATHS
from tests.faults.matrix import CELLS, KINDS, ONCE, OUTCOMES, ROWS, Cell
from tests.faults.scenarios import Story

_PLACE = re.compile(r"(<!-- faults: [^>]*-->\n).*(<!-- end of faults -->\n)", re.DOTALL)


def grid(outcomes: Mapping[str, str]) -> list[list[str]]:
    """Return the table of AWS's calls; `outcomes` by cell: one that was not played has none.

    A field says what comes of a fault that happens once, and what of one that lasts, where that is another.
    """
    lines = [["call", *map(str, KINDS)]]
    for row in ROWS:
        cells = [cell for cell in CELLS if cell.row is row]
        fields = [_field([cell for cell in cells if cell.kind is kind], outcomes) for kind in KINDS]
        lines.append([row.name, *fields])
    return lines


def _field(cells: Sequence[Cell], outcomes: Mapping[str, str]) -> str:
    ordered = sorted(cells, key=lambda cell: cell.duration != ONCE)
    return " / ".join(dict.fromkeys(outcomes.get(cell.name, "–") for cell in ordered))


def text(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return a table in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(field.ljust(width) for field, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    head, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head, "|" + " --- |" * len(lines[0]), *body]) + "\n"


def chapter() -> str:
    """Return what stands between the markers of docs/reliability.md: what each cell has to come to."""
    promised = {cell.name: cell.outcome for cell in CELLS}
    words = [["outcome", "means"], *([f"**{word}**", meaning] for word, meaning in OUTCOMES.items())]
    finch = [["Finch answers", "the person is told", "the row says", "posts of the code"]]
    finch += [[answer.name, *_heard(answer.story), str(_posts(answer.story))] for answer in ANSWERS]
    deaths = [["the callback is killed", "the row says", "then the person is told", "in the vault, and told"]]
    deaths += [[death.name, death.story.row, death.story.then, death.kept] for death in DEATHS]
    return "\n".join(
        [
            markdown(words),
            f"{len(CELLS)} cells: a fault that happens once, and after the slash one that lasts until it is cleared.\n",
            markdown(grid(promised)),
            "What Finch may answer to the exchange:\n",
            markdown(finch),
            "And the callback's deaths, after which minutes pass:\n",
            markdown(deaths),
        ]
    )


def _heard(story: Story) -> tuple[str, str]:
    return story.answer, story.row


def _posts(story: Story) -> int:
    return story.exchanges - len(story.events) + 1  # where the link started anew, its own exchange is one of them


def written(document: str) -> str:
    """Return a document with the chapter in its place. Raises ValueError when it has none."""
    if not _PLACE.search(document):
        raise ValueError("the document has no place for the fault matrix")
    return _PLACE.sub(lambda place: f"{place[1]}\n{chapter()}\n{place[2]}", document)


def write(path: Path) -> None:
    """Write the chapter into a document."""
    path.write_text(written(path.read_text()))
