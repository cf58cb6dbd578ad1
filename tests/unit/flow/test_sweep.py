"""The sweeper: everything overdue moved on, wherever a function died or a service was away."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import pytest

from finch_connect.domain.flow import Flow, NotPublished, Status
from finch_connect.domain.secret import Secret
from finch_connect.flow.sweep import sweep
from tests.unit import conftest
from tests.unit.conftest import GRANT, World

CONNECTION = GRANT.connection_id or ""
SECRET_NAME = f"finch/dev/connections/{CONNECTION}"


def swept(world: World) -> dict[str, object]:
    """Sweep once; return what was done, without what was not."""
    done = sweep(world.sweeper_ports, world.config)
    counts = {status.value: done.count_of(status) for status in Status}
    facts = {"stored": done.stored, "recovered": done.recovered, "published": done.published, "stuck": done.stuck}
    return {name: number for name, number in {**counts, **facts}.items() if number}


class DiedError(BaseException):
    """The function's process ends here."""


def died_at(world: World, part: object, step: str, *, done: bool) -> None:
    """Let a callback's process die at a step: before it, or right after it was done."""
    whole: Callable[..., object] = getattr(part, step)

    def dies(*arguments: object, **named: object) -> object:
        if done:
            whole(*arguments, **named)
        raise DiedError

    redirect = world.started()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(part, step, dies)
        with pytest.raises(DiedError):
            world.finish(redirect)
    assert world.row().status is Status.CLAIMED


def test_a_flow_that_nobody_finished_is_abandoned(world: World) -> None:
    """A closed tab never calls back: only the deadline tells. Then the link starts anew."""
    world.started()
    world.clock.forward(hours=25)
    assert swept(world) == {"abandoned": 1}
    assert (world.row().status, world.row().reason) == (Status.ABANDONED, "deadline_passed")
    world.clock.forward(minutes=3)
    assert swept(world) == {"published": 1}


def test_a_claim_that_nobody_finished_is_orphaned(world: World) -> None:
    """The function died somewhere after the claim: Finch may hold a connection."""
    redirect = world.started()
    now = int(world.clock().timestamp() * 1000)
    world.table.claim(redirect.flow_id, state_hash=world.row().state_hash, claim_id="c-1", code_hash=None, now=now)
    assert swept(world) == {}, "it may still be running"
    world.clock.forward(minutes=3)
    assert swept(world) == {"orphaned": 1}
    assert (world.row().status, world.row().reason) == (Status.ORPHANED, "interrupted")


def test_a_callback_that_died_after_it_stored_is_connected(world: World) -> None:
    """The token is in the vault, so the event follows: as if the function had lived."""
    died_at(world, world.table, "settle", done=False)
    world.clock.forward(minutes=3)
    assert swept(world) == {"connected": 1, "recovered": 1}
    row = world.row()
    assert (row.connection_id, row.provider_id, row.granted_products) == (CONNECTION, "gusto", GRANT.products)
    assert (row.client_type, row.finch_request_id, row.reauthorized) == ("sandbox", "request-1", False)
    assert row.secret_arn is not None
    world.publish(row)
    assert world.table.connections[CONNECTION].leased_until is None


@pytest.mark.parametrize(("step", "done"), [("acquire_lease", False), ("acquire_lease", True)])
def test_a_callback_that_died_before_it_stored_is_orphaned(world: World, step: str, done: bool) -> None:
    """Finch has a connection that nobody holds a token for. The connection's next claim may store again."""
    died_at(world, world.table, step, done=done)
    world.clock.forward(minutes=3)
    assert swept(world) == {"orphaned": 1}
    assert (world.row().status, world.row().reason) == (Status.ORPHANED, "interrupted")
    swept(world)
    assert world.finish(world.started(link="link-2")).status is Status.CONNECTED


def test_a_callback_that_died_after_the_fallback_is_placed(world: World) -> None:
    """The row says claimed, but the token waits: it is looked for before anything is called orphaned."""
    world.vault.down = True
    died_at(world, world.fallback, "put", done=True)
    world.vault.down = False
    world.clock.forward(minutes=3)
    assert swept(world) == {"connected": 1, "stored": 1}
    assert world.fallback.kept == {}


def test_a_callback_that_died_after_it_set_a_token_aside_is_quarantined(world: World) -> None:
    """It is not called orphaned while its token waits for a decision."""
    world.finch.answers = [dataclasses.replace(GRANT, client_type="development")]
    died_at(world, world.table, "settle", done=False)
    world.clock.forward(minutes=3)
    assert swept(world) == {"quarantined": 1, "recovered": 1}
    assert (world.row().reason, world.row().secret_arn is not None) == ("interrupted", True)


@pytest.mark.parametrize("away", ["vault", "fallback"])
def test_a_flow_is_not_orphaned_while_nobody_can_look_for_its_token(world: World, away: str) -> None:
    """It stays overdue until the vault or the fallback answers again."""
    died_at(world, world.table, "settle", done=False)
    getattr(world, away).down = True
    world.clock.forward(minutes=3)
    assert swept(world) == {"stuck": [world.row().flow_id]}
    assert world.row().status is Status.CLAIMED
    getattr(world, away).down = False
    assert swept(world) == {"connected": 1, "recovered": 1}


@pytest.mark.parametrize(("part", "step"), [("table", "settle"), ("fallback", "delete")])
@pytest.mark.parametrize("done", [False, True])
def test_a_sweeper_that_died_while_it_moved_a_token_is_followed_by_one_that_finishes(
    world: World, part: str, step: str, done: bool
) -> None:
    """At every step: nothing stays in the fallback, there is one version, and the outcome is told once."""
    world.vault.down = True
    world.finish(world.started())
    world.vault.down = False

    def dies(*arguments: object, **named: object) -> object:
        if done:
            whole(*arguments, **named)
        raise DiedError

    whole = getattr(getattr(world, part), step)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(getattr(world, part), step, dies)
        with pytest.raises(DiedError):
            swept(world)
    for _ in range(3):
        world.clock.forward(minutes=5)
        swept(world)
    assert world.row().status is Status.CONNECTED
    assert world.fallback.kept == {}
    assert len(world.vault.secrets[SECRET_NAME]) == 1
    assert [flow.event_id for flow in world.bus.published] == [world.row().event_id]


def test_what_an_earlier_attempt_left_in_the_fallback_is_not_this_ones(world: World) -> None:
    """The row says which attempt; a token of another one would be the wrong person's consent."""
    world.vault.down = True
    died_at(world, world.fallback, "put", done=True)
    early = world.row()
    world.table.flows[early.flow_id] = dataclasses.replace(
        early.settled(Status.ORPHANED, at=world.clock()), due_at=None, published_at=1
    )
    world.vault.down = False
    died_at(world, world.finch, "exchange", done=False)
    world.clock.forward(minutes=3)
    assert swept(world) == {"orphaned": 1}


def test_an_outcome_that_cannot_be_told_holds_up_none_of_its_batch(world: World) -> None:
    """A mistake of ours about one flow: it is named and logged, and the others are told."""
    flows = [world.finish(world.started(f"customer-{n}"), code=None, error="access_denied") for n in range(3)]
    whole = world.bus.publish

    def stumbles(batch: Sequence[Flow]) -> Sequence[NotPublished]:
        if flows[1].flow_id in {flow.flow_id for flow in batch}:
            raise TypeError("a mistake of ours")
        return whole(batch)

    world.clock.forward(minutes=3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.bus, "publish", stumbles)
        done = sweep(world.sweeper_ports, world.config)
    assert (done.published, done.stuck) == (2, [flows[1].flow_id])
    assert [type(error) for error in done.unexpected] == [TypeError]


@pytest.mark.parametrize("of", ["due", "leases"])
def test_a_row_that_cannot_be_read_holds_up_none(world: World, of: str) -> None:
    """It is logged at each sweep, and what comes behind it moves on."""
    world.started()
    world.clock.forward(hours=25)
    whole = getattr(world.table, of)

    def with_poison(now: int) -> Iterator[object]:
        def read(row: object) -> object:
            if row is None:
                raise KeyError("state_hash")
            return row

        return map(read, [None, *whole(now)])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.table, of, with_poison)
        done = sweep(world.sweeper_ports, world.config)
    assert [type(error) for error in done.unexpected] == [KeyError]
    assert world.row().status is Status.ABANDONED


def test_untold_outcomes_are_told_ten_at_a_time(world: World) -> None:
    """The bus takes ten in one call; what is left over is told too, each once and each flow's in order."""
    for number in range(25):
        world.finish(world.started(f"customer-{number}"), code=None, error="access_denied")
    calls: list[int] = []
    whole = world.bus.publish

    def noted(flows: Sequence[Flow]) -> Sequence[NotPublished]:
        calls.append(len(flows))
        return whole(flows)

    world.clock.forward(minutes=3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.bus, "publish", noted)
        assert swept(world) == {"published": 25}
    assert calls == [10, 10, 5]
    assert len({flow.event_id for flow in world.bus.published}) == 25


def test_a_waiting_token_is_moved_into_the_vault(world: World) -> None:
    """The event follows, and the fallback is empty again."""
    world.vault.down = True
    world.finish(world.started())
    assert world.bus.published == []
    assert swept(world) == {"stuck": [world.row().flow_id]}
    world.vault.down = False
    assert swept(world) == {"connected": 1, "stored": 1}
    assert world.row().status is Status.CONNECTED
    assert world.row().secret_arn is not None
    assert world.fallback.kept == {}
    world.clock.forward(minutes=3)
    assert swept(world) == {"published": 1}


def test_a_move_that_died_half_way_is_finished(world: World) -> None:
    """The token is stored, the row not yet settled: again is the same."""
    world.vault.down = True
    redirect = world.started()
    world.finish(redirect)
    world.vault.down = False
    kept = dict(world.fallback.kept)
    swept(world)
    world.fallback.kept = kept
    world.table.flows[redirect.flow_id] = dataclasses.replace(world.row(), status=Status.UNSTORED, due_at=0)
    assert swept(world) == {"connected": 1, "stored": 1}
    assert len(world.vault.secrets[f"finch/dev/connections/{GRANT.connection_id}"]) == 1
    assert world.row().reauthorized is False


def test_a_waiting_token_is_not_moved_over_a_newer_one(world: World) -> None:
    """The customer connected again meanwhile."""
    world.vault.down = True
    world.finish(world.started())
    world.vault.down = False
    world.clock.forward(minutes=1)
    world.table.end_lease(CONNECTION, flow_id=world.row().flow_id, claimed_at=world.row().claimed_at or 0, stored=False)
    world.publish(world.finish(world.started(link="link-2")))
    assert swept(world) == {"connected": 1, "stored": 1}
    assert (world.row().status, world.row().reason) == (Status.CONNECTED, "superseded")
    assert len(world.vault.secrets[f"finch/dev/connections/{GRANT.connection_id}"]) == 1


def test_a_waiting_token_that_is_gone_is_said_to_be_lost(world: World) -> None:
    """Somebody deleted the parameter: an operator has to know."""
    world.vault.down = True
    world.finish(world.started())
    world.vault.down = False
    world.fallback.kept.clear()
    swept(world)
    assert (world.row().status, world.row().reason) == (Status.ORPHANED, "token_lost")


def test_one_flow_that_is_stuck_does_not_hold_up_the_others(world: World) -> None:
    """It is left for the next sweep, and named in the log."""
    one, two = world.finish(world.started()), world.finish(world.started("globex"))
    world.bus.refuses = {one.flow_id}
    world.clock.forward(minutes=3)
    assert swept(world) == {"published": 1, "stuck": [one.flow_id]}
    assert [flow.flow_id for flow in world.bus.published] == [two.flow_id]


def test_a_mistake_of_ours_is_handed_on_and_holds_up_nobody(world: World) -> None:
    """The log has it; the other flows move on."""
    world.vault.down = True
    broken = world.finish(world.started())
    world.vault.down = False
    world.fallback.kept[broken.attempt] = Secret("not what was kept")
    world.started("globex")
    world.clock.forward(hours=25)
    done = sweep(world.sweeper_ports, world.config)
    assert (done.count_of(Status.ABANDONED), done.stuck) == (1, [broken.flow_id])
    assert [type(error).__name__ for error in done.unexpected] == ["JSONDecodeError"]


def test_a_sweep_without_time_left_begins_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one goes on."""
    world.started()
    world.clock.forward(hours=25)
    monkeypatch.setattr(conftest, "SWEEP_SECONDS", 5.0)
    assert swept(world) == {}
    assert world.row().status is Status.STARTED
