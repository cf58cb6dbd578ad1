"""Every AWS call of every function fails in every way, once and lasting."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from local.engine.microburst import Kind
from local.simulator import Fault
from tests.faults.conftest import Runner
from tests.faults.harness import Harness
from tests.faults.matrix import CASES, Case
from tests.faults.scenarios import EXPECTED, Result, Scenario, completed, expected, fault, in_time, row_summary


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_27_whatever_fails_nothing_is_lost(case: Case, runner: Runner) -> None:
    """Either nothing is left over and the person starts again, or the token is in the vault and its event follows."""
    assert runner.result(case) == expected(case)


def _several_slow_services(harness: Harness) -> Result:
    person = harness.person()
    callback = person.approved()
    harness.finch.faults.add(Fault("delay", code=person.codes[-1], seconds=2))
    slow = fault("claim", Kind.SLOW, person, times=1), fault("acquire the lease", Kind.SLOW, person)
    with harness.proxy.breaking(*slow) as rules:
        page = in_time(lambda: person.come_back(callback))
        row = row_summary(person)
        assert len(harness.proxy.broken(rules)) > len(slow)
    return completed(person, person.answer_of(page), row, callback)


@pytest.mark.parametrize(
    "case", [Scenario("slow", _several_slow_services, EXPECTED["callback"]["stored later"])], ids=["claim_Finch_lease"]
)
def test_27_with_several_slow_services_the_answer_is_in_time_and_nothing_is_lost(
    case: Scenario, runner: Runner
) -> None:
    """All calls share one deadline: claim, Finch and lease are slow, and there is still time for the fallback."""
    assert runner.result(case) == case.expected


def _late_settle(harness: Harness) -> Result:
    person = harness.person()
    callback = person.approved()
    late = replace(fault("settle", Kind.SLOW, person), seconds=9.0)
    with harness.proxy.breaking(late) as rules:
        answer = person.answer_of(in_time(lambda: person.come_back(callback)))
        attempts = len(harness.proxy.broken(rules))
    row = row_summary(person)
    person.wait_until_finished()
    settled = person.item()
    arrives = time.monotonic() + late.seconds
    while time.monotonic() < arrives:
        time.sleep(0.5)
        assert person.item() == settled
    assert attempts > 1
    return completed(person, answer, row, callback)


@pytest.mark.parametrize(
    "case", [Scenario("late", _late_settle, EXPECTED["callback"]["finished later"])], ids=["settle"]
)
def test_27_a_late_write_changes_nothing(case: Scenario, runner: Runner) -> None:
    """A settle reaches DynamoDB after the callback gave up and the sweeper finished and published the flow."""
    assert runner.result(case) == case.expected
