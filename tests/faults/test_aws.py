"""Every AWS call of every function fails in every way, once and for good."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from local.engine.microburst import Kind
from local.simulator import Fault
from tests.faults.conftest import Director
from tests.faults.harness import Stage
from tests.faults.matrix import CELLS, Cell
from tests.faults.scenarios import EXPECTED, Story, ended, expected, fault, standing, timely
from tests.faults.setup import Scene


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_27_whatever_fails_nothing_is_lost(cell: Cell, director: Director) -> None:
    """The person is told to start again and nothing dangles, or the token is in the vault and its event follows."""
    assert director.story(cell) == expected(cell)


def _one_slow_after_another(stage: Stage) -> Story:
    person = stage.person()
    callback = person.approved()
    stage.finch.faults.add(Fault("delay", code=person.codes[-1], seconds=2))
    slow = fault("claim", Kind.SLOW, person, times=1), fault("own", Kind.SLOW, person)
    with stage.proxy.breaking(*slow) as rules:
        page = timely(lambda: person.come_back(callback))
        row = standing(person)
        assert len(stage.proxy.broken(rules)) > len(slow)
    return ended(person, person.told(page), row, callback)


@pytest.mark.parametrize(
    "cell", [Scene("slow", _one_slow_after_another, EXPECTED["callback"]["later"])], ids=["claim_Finch_lease"]
)
def test_27_one_slow_service_after_another_is_answered_in_time_and_loses_nothing(
    cell: Scene, director: Director
) -> None:
    """One deadline for all calls: claim, Finch and the table are slow, and there still is time for the fallback."""
    assert director.story(cell) == cell.story


def _settled_late(stage: Stage) -> Story:
    person = stage.person()
    callback = person.approved()
    late = replace(fault("settle", Kind.SLOW, person), seconds=9.0)
    with stage.proxy.breaking(late) as rules:
        said = person.told(timely(lambda: person.come_back(callback)))
        attempts = len(stage.proxy.broken(rules))
    row = standing(person)
    person.comes_to_rest()
    settled = person.item()
    came = time.monotonic() + late.seconds
    while time.monotonic() < came:
        time.sleep(0.5)
        assert person.item() == settled
    assert attempts > 1
    return ended(person, said, row, callback)


@pytest.mark.parametrize("cell", [Scene("late", _settled_late, EXPECTED["callback"]["finished"])], ids=["settle"])
def test_27_a_write_that_comes_late_changes_nothing(cell: Scene, director: Director) -> None:
    """It is long on its way; meanwhile the callback has given up, and the sweeper has finished and told the flow."""
    assert director.story(cell) == cell.story
