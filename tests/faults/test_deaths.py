"""Functions are killed between two of their steps; the stream, the clock and the person go on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.faults.conftest import Director
from tests.faults.deaths import DEATHS, Death, end, held
from tests.faults.harness import Stage, until
from tests.faults.scenarios import SAVED, Story, away, ended, standing
from tests.faults.setup import Scene


@pytest.mark.parametrize("cell", DEATHS, ids=lambda death: death.name.replace(" ", "_"))
def test_28_a_callback_that_dies_is_finished_or_told_as_orphaned(cell: Death, director: Director) -> None:
    """Wherever it dies: a token that is anywhere gets to its place, and one that is nowhere is told so."""
    assert director.story(cell) == cell.story


def _sweeper_dies(at: str, stage: Stage) -> Story:
    person = stage.person()
    callback = person.approved()
    with stage.proxy.breaking(away("create the secret", person)):
        said = person.told(person.come_back(callback))
    assert standing(person) == "unstored"
    with held(at, person) as waits, ThreadPoolExecutor(1) as clock:
        sweep = clock.submit(stage.sweep)
        until(waits)
        end(stage, "SweeperFunction", sweep)
        assert sweep.result() is False
    return ended(person, said, "connected", callback)


_SWEEPS = [
    Scene(f"sweeper dies at {at}", partial(_sweeper_dies, at), SAVED, alone=True)
    for at in ("own", "create the secret", "delete from the fallback", "settle")
]


@pytest.mark.parametrize("cell", _SWEEPS, ids=lambda scene: scene.name.replace(" ", "_"))
def test_28_a_sweeper_that_dies_is_followed_by_one_that_finishes(cell: Scene, director: Director) -> None:
    """A token on its way from the fallback into the vault: wherever it dies, the next sweep goes on."""
    assert director.story(cell) == cell.story


def _relay_dies(stage: Stage) -> Story:
    person = stage.person()
    callback = person.approved()
    with held("mark", person) as waits:
        said = person.told(person.come_back(callback))
        until(waits)
        assert stage.kill("RelayFunction") > 0
    return ended(person, said, standing(person), callback)


@pytest.mark.parametrize("cell", [Scene("relay dies", _relay_dies, SAVED, alone=True)], ids=["relay"])
def test_28_a_relay_that_dies_before_it_has_marked_tells_the_same_event_again(cell: Scene, director: Director) -> None:
    """At least once, and always with the same id."""
    assert director.story(cell) == cell.story


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
                end(stage, "CallbackFunction", page)
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
