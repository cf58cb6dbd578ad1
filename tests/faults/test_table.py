"""The matrix in the document is the one that the tests check."""

from __future__ import annotations

import re

import pytest

from tests.attacks.mutations.__main__ import mutated
from tests.attacks.mutations.mutation import Mutation
from tests.faults.answers import ANSWERS
from tests.faults.controls import CONTROLS
from tests.faults.deaths import DEATHS
from tests.faults.matrix import CASES, OUTCOMES
from tests.faults.table import with_section
from tests.template import ROOT

RELIABILITY = ROOT / "docs/reliability.md"


def test_the_document_has_the_tested_matrix() -> None:
    """docs/reliability.md has the expected outcome of each case; `make faults RECORD=1` writes it."""
    document = RELIABILITY.read_text()
    assert with_section(document) == document


def test_each_outcome_is_explained_and_used() -> None:
    """Every outcome in the matrix has a meaning, and every meaning has a case."""
    assert {case.outcome for case in CASES} == OUTCOMES.keys()


@pytest.mark.parametrize("mutation", CONTROLS, ids=lambda mutation: mutation.control)
def test_every_mutation_changes_its_file_and_names_an_existing_case(mutation: Mutation) -> None:
    """Otherwise `make mutations` would remove nothing, or run no case."""
    source = (ROOT / mutation.path).read_text()
    assert mutated(source, mutation) != source
    code = "\n".join(path.read_text() for path in (ROOT / "tests/faults").glob("test_*.py"))
    names = [*(case.name for case in CASES), *(answer.name for answer in ANSWERS), *(death.name for death in DEATHS)]
    tests = [*names, code]
    assert any(mutation.case and mutation.case in test.replace(" ", "_") for test in tests)


def test_every_row_of_this_suite_has_a_test() -> None:
    """Rows 26 to 29 of the threat model each have a test here."""
    code = "\n".join(path.read_text() for path in (ROOT / "tests/faults").glob("test_*.py"))
    assert set(re.findall(r"^def test_(\d\d)_", code, re.MULTILINE)) == {"26", "27", "28", "29"}
