"""Every AWS call of every function fails in every way, once and for good."""

from __future__ import annotations

import pytest

from local.engine.microburst import Kind
from local.simulator import Fault
from tests.faults.cells import CELLS, OUTCOMES, Cell
from tests.faults.conftest import Director
from tests.faults.plays import EXPECTED, ended, expected, fault, standing, timely
from tests.faults.stage import Stage


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_27_whatever_fails_nothing_is_lost(cell: Cell, director: Director) -> None:
    """The person is told to start again and nothing dangles, or the token is in the vault and its event follows."""
    assert director.story(cell) == expected(cell)


def test_27_one_slow_service_after_another_is_answered_in_time_and_loses_nothing(stage: Stage) -> None:
    """One deadline for all calls: claim, Finch and the table are slow, and there still is time for the fallback."""
    person = stage.person()
    callback = person.approved()
    stage.finch.faults.add(Fault("delay", code=person.codes[-1], seconds=2))
    slow = fault("claim", Kind.SLOW, person, times=1), fault("own", Kind.SLOW, person)
    with stage.proxy.breaking(*slow) as rules:
        page = timely(lambda: person.come_back(callback))
        row = standing(person)
        assert len(stage.proxy.broken(rules)) > len(slow)
    assert ended(person, person.told(page), row, callback) == EXPECTED["callback"]["later"]


def test_27_the_words_of_the_table_are_explained() -> None:
    """Each outcome that a cell has, and no other."""
    assert {cell.outcome for cell in CELLS} == OUTCOMES.keys()
