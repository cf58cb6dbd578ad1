"""Functions are killed between two of their steps; the stream, the clock and the person go on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.faults.conftest import Runner
from tests.faults.deaths import DEATHS, Death, end, held
from tests.faults.harness import Harness, until
from tests.faults.scenarios import SAVED, Result, Scenario, away, ended, standing


@pytest.mark.parametrize("case", DEATHS, ids=lambda death: death.name.replace(" ", "_"))
def test_28_a_callback_that_dies_is_finished_or_told_as_orphaned(case: Death, runner: Runner) -> None:
    """Wherever it dies: a token that is anywhere gets to its place, and one that is nowhere is told so."""
    assert runner.result(case) == case.expected


def _sweeper_dies(at: str, harness: Harness) -> Result:
    person = harness.person()
    callback = person.approved()
    with harness.proxy.breaking(away("create the secret", person)):
        said = person.answer_in(person.come_back(callback))
    assert standing(person) == "unstored"
    with held(at, person) as waits, ThreadPoolExecutor(1) as clock:
        sweep = clock.submit(harness.sweep)
        until(waits)
        end(harness, "SweeperFunction", sweep)
        assert sweep.result() is False
    return ended(person, said, "connected", callback)


_SWEEPS = [
    Scenario(f"sweeper dies at {at}", partial(_sweeper_dies, at), SAVED, alone=True)
    for at in ("acquire the lease", "create the secret", "delete from the fallback", "settle")
]


@pytest.mark.parametrize("case", _SWEEPS, ids=lambda scenario: scenario.name.replace(" ", "_"))
def test_28_a_sweeper_that_dies_is_followed_by_one_that_finishes(case: Scenario, runner: Runner) -> None:
    """A token on its way from the fallback into the vault: wherever it dies, the next sweep goes on."""
    assert runner.result(case) == case.expected


def _relay_dies(harness: Harness) -> Result:
    person = harness.person()
    callback = person.approved()
    with held("mark", person) as waits:
        said = person.answer_in(person.come_back(callback))
        until(waits)
        assert harness.kill("RelayFunction") > 0
    return ended(person, said, standing(person), callback)


@pytest.mark.parametrize("case", [Scenario("relay dies", _relay_dies, SAVED, alone=True)], ids=["relay"])
def test_28_a_relay_that_dies_before_it_has_marked_tells_the_same_event_again(case: Scenario, runner: Runner) -> None:
    """At least once, and always with the same id."""
    assert runner.result(case) == case.expected


@pytest.mark.parametrize("dies", [False, True], ids=["the vault is away", "it is killed at it"])
def test_28_an_older_token_never_replaces_a_newer_one(dies: bool, harness: Harness) -> None:
    """The same customer connects twice; the first token is on its way when the second comes."""
    first = harness.person()
    second = harness.person(username=first.username, customer_id=first.customer_id)
    first_callback, second_callback = first.approved(), second.approved()
    with harness.sweeping:  # neither is swept before both have come
        if dies:
            with held("create the secret", first) as waits, ThreadPoolExecutor(1) as browser:
                page = browser.submit(first.come_back, first_callback)
                until(waits)
                end(harness, "CallbackFunction", page)
        else:
            with harness.proxy.breaking(away("create the secret", first)):
                assert first.answer_in(first.come_back(first_callback)) == "connected"
        assert standing(first) == ("claimed" if dies else "unstored")
        assert second.answer_in(second.come_back(second_callback)) == "connected"
        assert standing(second) == "unstored", "which token is the newer one is decided when the first is known"
    for person in (first, second, first):
        person.comes_to_rest()
    secret = harness.stack.client("secretsmanager").get_secret_value(SecretId=second.secret_name)["SecretString"]
    assert f'"flow_id":"{second.flow_id}"' in secret
    assert standing(second) == "connected"
    assert standing(first) == ("orphaned interrupted" if dies else "connected")
    assert (harness.published(first), harness.published(second)) == (
        ("orphaned",) if dies else ("connected",),
        ("connected",),
    )
    assert (first.exchanges, second.exchanges) == (1, 1)
