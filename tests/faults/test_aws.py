"""Every AWS call of every function fails in every way, once and for good."""

from __future__ import annotations

import pytest

from tests.faults.cells import CELLS, Cell
from tests.faults.conftest import Director
from tests.faults.plays import expected


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_27_whatever_fails_nothing_is_lost(cell: Cell, director: Director) -> None:
    """The person is told to start again and nothing dangles, or the token is in the vault and its event follows."""
    assert director.story(cell) == expected(cell)
