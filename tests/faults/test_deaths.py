"""Functions are killed between two of their steps; the stream, the clock and the person go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from local.engine.microburst import Kind
from local.simulator import Fault
from tests.faults.deaths import DEATHS, Death
from tests.faults.plays import SAVED, away, ended, fault, standing
from tests.faults.stage import Person, Stage, until


@contextmanager
def held(call: str, person: Person) -> Iterator[Callable[[], bool]]:
    """Have a call wait for its answer, which AWS never gives; yield what tells whether it waits."""
    with person.stage.proxy.breaking(fault(call, Kind.HELD, person)) as rules:
        yield lambda: bool(person.stage.proxy.broken(rules))


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.name.replace(" ", "_"))
def test_28_a_callback_that_dies_is_finished_or_told_as_orphaned(death: Death, stage: Stage) -> None:
    """Wherever it dies: a token that is anywhere gets to its place, and one that is nowhere is told so."""
    person = stage.person()
    callback = person.approved()
    if death.at == "read the client secret":
        stage.kill("CallbackFunction")  # a cold one reads it
    with (
        stage.proxy.breaking(*[away("create the secret", person)] if death.vault_is_away else []),
        held(death.at or "own", person) as waits,
        ThreadPoolExecutor(1) as browser,
    ):
        if death.at is None:
            stage.finch.faults.add(Fault("drip_header", code=person.codes[-1]))
        page = browser.submit(person.come_back, callback)
        until(waits if death.at else lambda: person.exchanges)
        until(lambda: standing(person) == "claimed")
        _end(stage, "CallbackFunction", page)
        said, row = person.told(page.result()), standing(person)
    assert ended(person, said, row, callback) == death.story


@pytest.mark.parametrize("at", ["own", "create the secret", "delete from the fallback", "settle"])
def test_28_a_sweeper_that_dies_is_followed_by_one_that_finishes(at: str, stage: Stage) -> None:
    """A token on its way from the fallback into the vault: wherever it dies, the next sweep goes on."""
    person = stage.person()
    callback = person.approved()
    with stage.proxy.breaking(away("create the secret", person)):
        said = person.told(person.come_back(callback))
    row = standing(person)
    with held(at, person) as waits, ThreadPoolExecutor(1) as clock:
        sweep = clock.submit(stage.sweep)
        until(waits)
        _end(stage, "SweeperFunction", sweep)
        assert sweep.result() is False
    assert row == "unstored"
    assert ended(person, said, "connected", callback) == SAVED


def test_28_a_relay_that_dies_before_it_has_marked_tells_the_same_event_again(stage: Stage) -> None:
    """At least once, and always with the same id."""
    person = stage.person()
    callback = person.approved()
    with held("mark", person) as waits:
        said = person.told(person.come_back(callback))
        until(waits)
        assert stage.kill("RelayFunction") > 0
    assert ended(person, said, standing(person), callback) == SAVED
    assert len(stage.inbox.of(person)) >= 1


@pytest.mark.parametrize("dies", [False, True], ids=["the vault is away", "it is killed at it"])
def test_28_an_older_token_never_replaces_a_newer_one(dies: bool, stage: Stage) -> None:
    """The same customer connects twice; the first token is on its way when the second comes."""
    first = stage.person()
    second = stage.person(username=first.username, customer_id=first.customer_id)
    first_callback, second_callback = first.approved(), second.approved()
    with stage.sweeping:  # neither is swept before both have come
        if dies:
            with held("create the secret", first) as waits, ThreadPoolExecutor(1) as browser:
                page = browser.submit(first.come_back, first_callback)
                until(waits)
                _end(stage, "CallbackFunction", page)
        else:
            with stage.proxy.breaking(away("create the secret", first)):
                assert first.told(first.come_back(first_callback)) == "connected"
        assert standing(first) == ("claimed" if dies else "unstored")
        assert second.told(second.come_back(second_callback)) == "connected"
        assert standing(second) == "unstored", "which token is the newer one is decided when the first is known"
    for person in (first, second, first):
        person.comes_to_rest()
    secret = stage.stack.client("secretsmanager").get_secret_value(SecretId=second.secret_name)["SecretString"]
    assert f'"flow_id":"{second.flow_id}"' in secret
    assert standing(second) == "connected"
    assert standing(first) == ("orphaned interrupted" if dies else "connected")
    assert (stage.told(first), stage.told(second)) == (("orphaned",) if dies else ("connected",), ("connected",))
    assert (first.exchanges, second.exchanges) == (1, 1)


def _end[T](stage: Stage, function: str, running: Future[T]) -> None:
    """Kill a function that is at work."""
    assert not running.done()
    assert stage.kill(function) > 0
