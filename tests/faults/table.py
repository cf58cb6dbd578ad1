"""The fault matrix as tables: in the terminal after the tests, and in docs/reliability.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.answers import ANSWERS
from tests.faults.deaths import DEATHS
from tests.faults.matrix import CASES, KINDS, ONCE, OUTCOMES, ROWS, Case
from tests.faults.scenarios import Result

_SECTION = re.compile(r"(<!-- faults: [^>]*-->\n).*(<!-- end of faults -->\n)", re.DOTALL)


def grid(outcomes: Mapping[str, str]) -> list[list[str]]:
    """Return the table of AWS calls. `outcomes` is by case name; cases that did not run may be missing.

    A field has the outcome of a fault that happens once and, if it differs, that of a fault that lasts.
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
    """Return the lines of a table in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(field.ljust(width) for field, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    head, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head, "|" + " --- |" * len(lines[0]), *body]) + "\n"


def section() -> str:
    """Return the text between the markers of docs/reliability.md: the expected outcome of each case."""
    expected = {case.name: case.outcome for case in CASES}
    words = [["outcome", "means"], *([f"**{word}**", meaning] for word, meaning in OUTCOMES.items())]
    finch = [["Finch's answer", "the person sees", "row", "times the code is sent"]]
    finch += [
        [answer.name, answer.expected.answer, answer.expected.row, str(_sends(answer.expected))] for answer in ANSWERS
    ]
    deaths = [["the callback is killed", "row", "the person then sees", "token in the vault"]]
    deaths += [[death.name, death.expected.row, death.expected.final_answer, death.token_stored] for death in DEATHS]
    return "\n".join(
        [
            markdown(words),
            "After **start again**, **token missing** and **token lost** the same link starts a new attempt.\n",
            f"{len(CASES)} cases. Before the slash the fault happens once; after it, it lasts until it is cleared.\n",
            markdown(grid(expected)),
            "Finch's answers to the exchange:\n",
            markdown(finch),
            "Crashes of the callback. Afterwards time passes and the sweeper runs:\n",
            markdown(deaths),
        ]
    )


def _sends(result: Result) -> int:
    return result.exchanges - len(result.events) + 1  # without the exchange of the link's next attempt


def with_section(document: str) -> str:
    """Return a document with the section between its markers. Raises ValueError if it has no markers."""
    if not _SECTION.search(document):
        raise ValueError("the document has no markers for the fault matrix")
    return _SECTION.sub(lambda found: f"{found[1]}\n{section()}\n{found[2]}", document)


def write(path: Path) -> None:
    """Write the section into a document. Raises ValueError if it has no markers."""
    path.write_text(with_section(path.read_text()))
