"""Every AWS call of every function fails in every way, once and for good."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from local.engine.microburst import Kind
from local.simulator import Fault
from tests.faults.conftest import Runner
from tests.faults.harness import Harness
from tests.faults.matrix import CASES, Case
from tests.faults.scenarios import EXPECTED, Result, Scenario, ended, expected, fault, standing, timely


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_27_whatever_fails_nothing_is_lost(case: Case, runner: Runner) -> None:
    """The person is told to start again and nothing dangles, or the token is in the vault and its event follows."""
    assert runner.result(case) == expected(case)


def _one_slow_after_another(harness: Harness) -> Result:
    person = harness.person()
    callback = person.approved()
    harness.finch.faults.add(Fault("delay", code=person.codes[-1], seconds=2))
    slow = fault("claim", Kind.SLOW, person, times=1), fault("acquire the lease", Kind.SLOW, person)
    with harness.proxy.breaking(*slow) as rules:
        page = timely(lambda: person.come_back(callback))
        row = standing(person)
        assert len(harness.proxy.broken(rules)) > len(slow)
    return ended(person, person.answer_in(page), row, callback)


@pytest.mark.parametrize(
    "case", [Scenario("slow", _one_slow_after_another, EXPECTED["callback"]["later"])], ids=["claim_Finch_lease"]
)
def test_27_one_slow_service_after_another_is_answered_in_time_and_loses_nothing(
    case: Scenario, runner: Runner
) -> None:
    """One deadline for all calls: claim, Finch and the table are slow, and there still is time for the fallback."""
    assert runner.result(case) == case.expected


def _settled_late(harness: Harness) -> Result:
    person = harness.person()
    callback = person.approved()
    late = replace(fault("settle", Kind.SLOW, person), seconds=9.0)
    with harness.proxy.breaking(late) as rules:
        said = person.answer_in(timely(lambda: person.come_back(callback)))
        attempts = len(harness.proxy.broken(rules))
    row = standing(person)
    person.comes_to_rest()
    settled = person.item()
    arrives = time.monotonic() + late.seconds
    while time.monotonic() < arrives:
        time.sleep(0.5)
        assert person.item() == settled
    assert attempts > 1
    return ended(person, said, row, callback)


@pytest.mark.parametrize("case", [Scenario("late", _settled_late, EXPECTED["callback"]["finished"])], ids=["settle"])
def test_27_a_write_that_comes_late_changes_nothing(case: Scenario, runner: Runner) -> None:
    """It is long on its way; meanwhile the callback has given up, and the sweeper has finished and told the flow."""
    assert runner.result(case) == case.expected
