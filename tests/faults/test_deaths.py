"""Functions are killed between two steps; the stream, the sweeper and the person continue."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.faults.conftest import Runner
from tests.faults.deaths import DEATHS, Death, hanging, kill_running
from tests.faults.harness import Harness, until
from tests.faults.scenarios import CONNECTED, Result, Scenario, completed, outage, row_summary


@pytest.mark.parametrize("case", DEATHS, ids=lambda death: death.name.replace(" ", "_"))
def test_28_a_callback_that_dies_is_finished_or_published_as_orphaned(case: Death, runner: Runner) -> None:
    """Wherever the callback dies, a stored token reaches the vault, and a lost one is published as orphaned."""
    assert runner.result(case) == case.expected


def _sweeper_dies(at: str, harness: Harness) -> Result:
    person = harness.person()
    callback = person.approved()
    with harness.proxy.breaking(outage("create the secret", person)):
        answer = person.answer_of(person.come_back(callback))
    assert row_summary(person) == "unstored"
    with hanging(at, person) as is_waiting, ThreadPoolExecutor(1) as schedule:
        sweep = schedule.submit(harness.sweep)
        until(is_waiting)
        kill_running(harness, "SweeperFunction", sweep)
        assert sweep.result() is False
    return completed(person, answer, "connected", callback)


_SWEEPS = [
    Scenario(f"sweeper dies at {at}", partial(_sweeper_dies, at), CONNECTED, exclusive=True)
    for at in ("acquire the lease", "create the secret", "delete from the fallback", "settle")
]


@pytest.mark.parametrize("case", _SWEEPS, ids=lambda scenario: scenario.name.replace(" ", "_"))
def test_28_after_a_sweeper_dies_the_next_one_finishes(case: Scenario, runner: Runner) -> None:
    """Wherever the sweeper dies while it moves a token from the fallback to the vault, the next sweep finishes it."""
    assert runner.result(case) == case.expected


def _relay_dies(harness: Harness) -> Result:
    person = harness.person()
    callback = person.approved()
    with hanging("mark as published", person) as is_waiting:
        answer = person.answer_of(person.come_back(callback))
        until(is_waiting)
        assert harness.kill("RelayFunction") > 0
    return completed(person, answer, row_summary(person), callback)


@pytest.mark.parametrize("case", [Scenario("relay dies", _relay_dies, CONNECTED, exclusive=True)], ids=["relay"])
def test_28_a_relay_that_dies_before_the_mark_publishes_the_same_event_again(case: Scenario, runner: Runner) -> None:
    """The event is published at least once, always with the same id."""
    assert runner.result(case) == case.expected


@pytest.mark.parametrize("dies", [False, True], ids=["vault unavailable", "callback killed"])
def test_28_an_older_token_never_replaces_a_newer_one(dies: bool, harness: Harness) -> None:
    """A customer connects twice, and the first token is not in the vault yet when the second one arrives."""
    first = harness.person()
    second = harness.person(username=first.username, customer_id=first.customer_id)
    first_callback, second_callback = first.approved(), second.approved()
    with harness.sweep_lock:  # no sweep before both have answers
        if dies:
            with hanging("create the secret", first) as is_waiting, ThreadPoolExecutor(1) as browser:
                page = browser.submit(first.come_back, first_callback)
                until(is_waiting)
                kill_running(harness, "CallbackFunction", page)
        else:
            with harness.proxy.breaking(outage("create the secret", first)):
                assert first.answer_of(first.come_back(first_callback)) == "connected"
        assert row_summary(first) == ("claimed" if dies else "unstored")
        assert second.answer_of(second.come_back(second_callback)) == "connected"
        assert row_summary(second) == "unstored", "the second token waits until the first one's lease ends"
    for person in (first, second, first):
        person.wait_until_finished()
    secret = harness.stack.client("secretsmanager").get_secret_value(SecretId=second.secret_name)["SecretString"]
    assert f'"flow_id":"{second.flow_id}"' in secret
    assert row_summary(second) == "connected"
    assert row_summary(first) == ("orphaned interrupted" if dies else "connected")
    assert (harness.published(first), harness.published(second)) == (
        ("orphaned",) if dies else ("connected",),
        ("connected",),
    )
    assert (first.exchanges, second.exchanges) == (1, 1)
