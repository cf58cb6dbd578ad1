"""The suite about itself: no row without a test, no control that `make mutations` could not find any more."""

from __future__ import annotations

import re

import pytest

from tests.attacks.mutations.__main__ import mutated
from tests.attacks.mutations.controls import MUTATIONS, Mutation
from tests.attacks.rows import ROWS
from tests.template import ROOT


def test_every_row_has_a_test() -> None:
    """By its number, in the test's name."""
    text = "\n".join(path.read_text() for path in (ROOT / "tests/attacks").glob("test_*.py"))
    assert {int(row) for row in re.findall(r"^def test_(\d\d)_", text, re.MULTILINE)} == ROWS.keys()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.control)
def test_every_control_stands_where_it_is_taken_away(mutation: Mutation) -> None:
    """Else `make mutations` would take away nothing, and call it noticed."""
    source = (ROOT / mutation.path).read_text()
    assert mutated(source, mutation) != source
    assert set(mutation.rows) <= ROWS.keys()


def test_at_least_fifteen_controls_can_be_taken_away() -> None:
    """One by one."""
    assert len({mutation.control for mutation in MUTATIONS}) == len(MUTATIONS) >= 15
