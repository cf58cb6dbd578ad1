"""Checks of the suite itself: each row has a test, and each mutation still matches the source."""

from __future__ import annotations

import re

import pytest

from tests.attacks.mutations.__main__ import mutated
from tests.attacks.mutations.controls import MUTATIONS
from tests.attacks.mutations.mutation import Mutation
from tests.attacks.rows import ROWS
from tests.template import ROOT


def test_every_row_has_a_test() -> None:
    """The row's number is in the name of at least one test, and no test has a number without a row."""
    text = "\n".join(path.read_text() for path in (ROOT / "tests/attacks").glob("test_*.py"))
    assert {int(row) for row in re.findall(r"^def test_(\d\d)_", text, re.MULTILINE)} == ROWS.keys()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.control)
def test_every_mutation_matches_its_source_once(mutation: Mutation) -> None:
    """Otherwise `make mutations` could not remove the control."""
    source = (ROOT / mutation.path).read_text()
    assert mutated(source, mutation) != source
    assert set(mutation.rows) <= ROWS.keys()


def test_at_least_fifteen_controls_can_be_removed() -> None:
    """Each has its own name, so that each can be removed alone."""
    assert len({mutation.control for mutation in MUTATIONS}) == len(MUTATIONS) >= 15
