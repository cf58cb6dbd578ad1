"""What the callback does with a token: stored in order, waiting in the fallback, never dropped; and the time for it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.flow import Flow, NotWritten, Status, Written
from finch_connect.domain.secret import Secret
from finch_connect.flow.callback import Outcome
from finch_connect.flow.sweep import sweep
from tests.unit.conftest import GRANT, World

SECRET_NAME = f"finch/dev/connections/{GRANT.connection_id}"


def test_while_the_vault_is_away_the_token_waits_in_the_fallback(world: World) -> None:
    """The person sees success: the token is safe and the event follows."""
    world.vault.down = True
    redirect = world.started()
    flow = world.finish(redirect)
    assert flow.status is Status.UNSTORED
    assert json.loads(world.fallback.kept[world.row().attempt].reveal())["access_token"] == "token-1"


def test_a_mistake_of_ours_after_the_exchange_does_not_lose_the_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits in the fallback, the error goes on to the log, and the same address then says connected."""
    redirect = world.started()
    with monkeypatch.context() as broken:
        broken.delattr(type(world.vault), "put")
        with pytest.raises(AttributeError):
            world.callback(world.callback_request(redirect))
    assert "token-1" in world.fallback.kept[world.row().attempt].reveal()
    assert world.finish(redirect).status is Status.UNSTORED


def test_a_token_that_may_be_in_the_fallback_is_not_called_lost(world: World) -> None:
    """It was put, and the answer was lost: the person is told to try again, and the sweeper finds it."""
    world.vault.down = True
    redirect = world.started()
    put = world.fallback.put

    def put_and_lose_the_answer(attempt: str, text: Secret) -> None:
        put(attempt, text)
        raise ServiceUnavailableError("aws_unreachable", operation="PutParameter")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.fallback, "put", put_and_lose_the_answer)
        with pytest.raises(ServiceUnavailableError):
            world.callback(world.callback_request(redirect))
    world.vault.down = False
    world.clock.forward(minutes=3)
    sweep(world.sweeper_ports, world.config)
    assert world.finish(redirect).status is Status.CONNECTED
    assert world.fallback.kept == {}


def test_when_the_fallback_fails_too_the_row_says_that_the_token_is_lost(world: World) -> None:
    """Nothing can be done but to say so, to the person and to an operator."""
    world.vault.down = world.fallback.down = True
    flow = world.finish(world.started())
    assert (flow.status, flow.reason) == (Status.ORPHANED, "token_lost")


def test_while_another_claim_stores_a_token_waits(world: World) -> None:
    """Two logins of one customer at once: whichever store comes last, the vault ends with the newer token."""
    first = world.finish(world.started())
    world.clock.forward(seconds=1)
    world.finch.answers = [dataclasses.replace(GRANT, access_token=Secret("token-2"))]
    second = world.finish(world.started(link="link-2"))
    assert second.status is Status.UNSTORED
    assert list(world.vault.secrets[SECRET_NAME]) == [first.state_hash]
    world.publish(first)
    sweep(world.sweeper_ports, world.config)
    row = world.row(link="link-2")
    assert (row.status, row.reauthorized) == (Status.CONNECTED, True)
    assert list(world.vault.secrets[SECRET_NAME]) == [first.state_hash, second.state_hash]


def test_each_step_keeps_time_for_those_after_it(world: World) -> None:
    """A slow Finch must not use up what storing the token needs, nor a slow vault what the fallback needs."""
    left: dict[str, float] = {}

    def noting[**P, T](name: str, step: Callable[P, T]) -> Callable[P, T]:
        def noted(*arguments: P.args, **named: P.kwargs) -> T:
            left[name] = world.deadline.seconds - world.deadline.remaining()
            return step(*arguments, **named)

        return noted

    steps = [(world.table, "claim"), (world.finch, "exchange"), (world.table, "acquire_lease"), (world.vault, "put"),
             (world.fallback, "put"), (world.table, "settle")]  # fmt: skip
    redirect = world.started()
    with pytest.MonkeyPatch.context() as patched:
        for part, step in steps:
            patched.setattr(part, step, noting(f"{type(part).__name__}.{step}", getattr(part, step)))
        world.vault.down = True
        world.finish(redirect)
    assert left == {
        "FakeFlowTable.claim": 3.0,
        "FakeFinch.exchange": 12.0,
        "FakeFlowTable.acquire_lease": 6.0,
        "FakeVault.put": 6.0,
        "FakeFallback.put": 3.0,
        "FakeFlowTable.settle": 0.0,
    }


def test_taking_a_claim_back_has_the_time_that_was_kept_for_it(world: World) -> None:
    """A secret that cannot be read has used up the rest, and what the exchange would keep is not needed any more."""
    left: list[float] = []
    release = world.table.release

    def noted(claimed: Flow) -> Written | NotWritten:
        left.append(world.deadline.seconds - world.deadline.remaining())
        return release(claimed)

    redirect = world.started()
    world.client_secrets.down = True
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.table, "release", noted)
        with pytest.raises(ServiceUnavailableError):
            world.callback(world.callback_request(redirect))
    assert left == [0.0]


def test_an_answer_that_is_told_again_is_not_fresh(world: World) -> None:
    """So that each outcome is counted once, however often its page is opened."""
    redirect = world.started()
    first, again = (world.callback(world.callback_request(redirect)) for _ in range(2))
    assert isinstance(first, Outcome)
    assert isinstance(again, Outcome)
    assert (first.fresh, again.fresh) == (True, False)
