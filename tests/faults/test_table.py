"""The matrix in the documents is the one that is tested."""

from __future__ import annotations

import re

import pytest

from tests.attacks.mutations.__main__ import mutated
from tests.attacks.mutations.controls import Mutation
from tests.faults.answers import ANSWERS
from tests.faults.controls import CONTROLS
from tests.faults.deaths import DEATHS
from tests.faults.matrix import CASES, OUTCOMES
from tests.faults.table import written
from tests.template import ROOT

RELIABILITY = ROOT / "docs/reliability.md"


def test_the_documents_have_the_matrix_that_is_tested() -> None:
    """Case by case; `make faults RECORD=1` writes it."""
    document = RELIABILITY.read_text()
    assert written(document) == document


def test_each_word_of_the_table_is_explained_and_used() -> None:
    """No outcome without its meaning, and no meaning without a case."""
    assert {case.outcome for case in CASES} == OUTCOMES.keys()


@pytest.mark.parametrize("mutation", CONTROLS, ids=lambda mutation: mutation.control)
def test_every_control_stands_where_it_is_taken_away(mutation: Mutation) -> None:
    """Else `make mutations` would take away nothing; and the case that is to notice is there."""
    source = (ROOT / mutation.path).read_text()
    assert mutated(source, mutation) != source
    code = "\n".join(path.read_text() for path in (ROOT / "tests/faults").glob("test_*.py"))
    names = [*(case.name for case in CASES), *(answer.name for answer in ANSWERS), *(death.name for death in DEATHS)]
    tests = [*names, code]
    assert any(mutation.case and mutation.case in test.replace(" ", "_") for test in tests)


def test_every_row_of_this_suite_has_a_test() -> None:
    """Rows 26 to 29 of the numbered attacks."""
    code = "\n".join(path.read_text() for path in (ROOT / "tests/faults").glob("test_*.py"))
    assert set(re.findall(r"^def test_(\d\d)_", code, re.MULTILINE)) == {"26", "27", "28", "29"}
