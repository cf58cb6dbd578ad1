"""The matrix for a person to read: in the terminal after the tests, and in docs/reliability.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.answers import ANSWERS
from tests.faults.deaths import DEATHS
from tests.faults.matrix import CASES, KINDS, ONCE, OUTCOMES, ROWS, Case
from tests.faults.scenarios import Result

_PLACE = re.compile(r"(<!-- faults: [^>]*-->\n).*(<!-- end of faults -->\n)", re.DOTALL)


def grid(outcomes: Mapping[str, str]) -> list[list[str]]:
    """Return the table of AWS's calls; `outcomes` by case: one that was not run has none.

    A field says what comes of a fault that happens once, and what of one that lasts, where that is another.
    """
    lines = [["call", *map(str, KINDS)]]
    for row in ROWS:
        cases = [case for case in CASES if case.row is row]
        fields = [_field([case for case in cases if case.kind is kind], outcomes) for kind in KINDS]
        lines.append([row.name, *fields])
    return lines


def _field(cases: Sequence[Case], outcomes: Mapping[str, str]) -> str:
    ordered = sorted(cases, key=lambda case: case.duration != ONCE)
    return " / ".join(dict.fromkeys(outcomes.get(case.name, "–") for case in ordered))


def text(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return a table in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(field.ljust(width) for field, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    head, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head, "|" + " --- |" * len(lines[0]), *body]) + "\n"


def chapter() -> str:
    """Return what stands between the markers of docs/reliability.md: what each case has to come to."""
    promised = {case.name: case.outcome for case in CASES}
    words = [["outcome", "means"], *([f"**{word}**", meaning] for word, meaning in OUTCOMES.items())]
    finch = [["Finch answers", "the person is told", "the row says", "posts of the code"]]
    finch += [[answer.name, *_heard(answer.expected), str(_posts(answer.expected))] for answer in ANSWERS]
    deaths = [["the callback is killed", "the row says", "then the person is told", "in the vault, and told"]]
    deaths += [[death.name, death.expected.row, death.expected.then, death.kept] for death in DEATHS]
    return "\n".join(
        [
            markdown(words),
            f"{len(CASES)} cases: a fault that happens once, and after the slash one that lasts until it is cleared.\n",
            markdown(grid(promised)),
            "What Finch may answer to the exchange:\n",
            markdown(finch),
            "And the callback's deaths, after which minutes pass:\n",
            markdown(deaths),
        ]
    )


def _heard(result: Result) -> tuple[str, str]:
    return result.answer, result.row


def _posts(result: Result) -> int:
    return result.exchanges - len(result.events) + 1  # where the link started anew, its own exchange is one of them


def written(document: str) -> str:
    """Return a document with the chapter in its place. Raises ValueError when it has none."""
    if not _PLACE.search(document):
        raise ValueError("the document has no place for the fault matrix")
    return _PLACE.sub(lambda place: f"{place[1]}\n{chapter()}\n{place[2]}", document)


def write(path: Path) -> None:
    """Write the chapter into a document."""
    path.write_text(written(path.read_text()))
