"""The relay and the sweeper: every outcome told, everything overdue moved on."""

from __future__ import annotations

import dataclasses

from finch_connect.model import Status
from finch_connect.publishing import publish, sweep, unpublished_outcomes
from finch_connect.secret import Secret
from tests.fakes import FakeDeadline
from tests.unit.conftest import GRANT, World


def swept(world: World) -> dict[str, object]:
    done = sweep(world.sweeper_ports, world.config, FakeDeadline(200))
    return {name: number for name, number in dataclasses.asdict(done).items() if number}


def test_an_outcome_is_published_once_and_marked(world: World) -> None:
    """Marked rows are due no more."""
    flow = world.finished(world.started())
    assert publish([flow], world.relay_ports) == []
    assert world.row().published_at is not None
    world.clock.forward(minutes=10)
    assert swept(world) == {}
    assert len(world.bus.published) == 1


def test_what_the_bus_refuses_is_named_and_stays_due(world: World) -> None:
    """The stream tries it again, and the sweeper after it."""
    one, two = world.finished(world.started()), world.finished(world.started("globex"))
    world.bus.refuses = {one.flow_id}
    assert publish([one, two], world.relay_ports) == [one]
    assert world.row().published_at is None
    world.bus.refuses = set()
    world.clock.forward(minutes=3)
    assert swept(world) == {"published": 1}


def test_a_mark_that_fails_is_no_failure(world: World) -> None:
    """The sweeper publishes the same event once more, with the same id."""
    flow = world.finished(world.started())
    world.table.down = True
    assert publish([flow], world.relay_ports) == []
    world.table.down = False
    world.clock.forward(minutes=3)
    assert swept(world) == {"published": 1}
    assert len({told.event_id for told in world.bus.published}) == 1


def test_only_a_change_that_has_something_to_tell_is_told(world: World) -> None:
    """Starts, claims, waiting tokens and marks are no news."""
    redirect = world.started()
    started = world.row()
    flow = world.finished(redirect)
    assert list(unpublished_outcomes(None, started)) == []
    assert list(unpublished_outcomes(started, dataclasses.replace(started, status=Status.CLAIMED))) == []
    assert list(unpublished_outcomes(started, dataclasses.replace(flow, status=Status.UNSTORED))) == []
    assert list(unpublished_outcomes(started, flow)) == [flow]
    assert list(unpublished_outcomes(flow, dataclasses.replace(flow, published_at=1))) == []
    assert list(unpublished_outcomes(flow, None)) == []


def test_a_restart_does_not_swallow_an_untold_outcome(world: World) -> None:
    """The row is replaced before the relay came: the old image still tells it."""
    redirect = world.started()
    denied = world.finished(redirect, code=None, error="access_denied")
    world.started()
    assert list(unpublished_outcomes(denied, world.row())) == [denied]
    told = dataclasses.replace(denied, published_at=1)
    assert list(unpublished_outcomes(told, world.row())) == []


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
    world.table.claim(redirect.flow_id, state_hash=world.row().state_hash, code_hash=None, now=now)
    assert swept(world) == {}, "it may still be running"
    world.clock.forward(minutes=3)
    assert swept(world) == {"orphaned": 1}
    assert (world.row().status, world.row().reason) == (Status.ORPHANED, "interrupted")


def test_a_waiting_token_is_moved_into_the_vault(world: World) -> None:
    """The event follows, and the fallback is empty again."""
    world.vault.down = True
    world.finished(world.started())
    assert world.bus.published == []
    assert swept(world) == {"stuck": [world.row().flow_id]}
    world.vault.down = False
    assert swept(world) == {"placed": 1}
    assert world.row().status is Status.CONNECTED
    assert world.row().secret_arn is not None
    assert world.fallback.kept == {}
    world.clock.forward(minutes=3)
    assert swept(world) == {"published": 1}


def test_a_move_that_died_half_way_is_finished(world: World) -> None:
    """The token is stored, the row not yet settled: again is the same."""
    world.vault.down = True
    redirect = world.started()
    world.finished(redirect)
    world.vault.down = False
    kept = dict(world.fallback.kept)
    swept(world)
    world.fallback.kept = kept
    world.table.flows[redirect.flow_id] = dataclasses.replace(world.row(), status=Status.UNSTORED, due_at=0)
    assert swept(world) == {"placed": 1}
    assert len(world.vault.secrets[f"finch/dev/connections/{GRANT.connection_id}"]) == 1
    assert world.row().reauthorized is False


def test_a_waiting_token_is_not_moved_over_a_newer_one(world: World) -> None:
    """The customer connected again meanwhile."""
    world.vault.down = True
    world.finished(world.started())
    world.vault.down = False
    world.clock.forward(minutes=1)
    world.finished(world.started(link="link-2"))
    assert swept(world) == {"placed": 1}
    assert (world.row().status, world.row().reason) == (Status.CONNECTED, "superseded")
    assert len(world.vault.secrets[f"finch/dev/connections/{GRANT.connection_id}"]) == 1


def test_a_waiting_token_that_is_gone_is_said_to_be_lost(world: World) -> None:
    """Somebody deleted the parameter: an operator has to know."""
    world.vault.down = True
    world.finished(world.started())
    world.vault.down = False
    world.fallback.kept.clear()
    swept(world)
    assert (world.row().status, world.row().reason) == (Status.ORPHANED, "token_lost")


def test_one_flow_that_is_stuck_does_not_hold_up_the_others(world: World) -> None:
    """It is left for the next sweep, and named in the log."""
    one, two = world.finished(world.started()), world.finished(world.started("globex"))
    world.bus.refuses = {one.flow_id}
    world.clock.forward(minutes=3)
    assert swept(world) == {"published": 1, "stuck": [one.flow_id]}
    assert [flow.flow_id for flow in world.bus.published] == [two.flow_id]


def test_a_mistake_of_ours_is_handed_on_and_holds_up_nobody(world: World) -> None:
    """The log has it; the other flows move on."""
    world.vault.down = True
    broken = world.finished(world.started())
    world.vault.down = False
    world.fallback.kept[broken.flow_id] = Secret("not what was kept")
    world.started("globex")
    world.clock.forward(hours=25)
    done = sweep(world.sweeper_ports, world.config, FakeDeadline(200))
    assert (done.abandoned, done.stuck) == (1, [broken.flow_id])
    assert [type(error).__name__ for error in done.unexpected] == ["JSONDecodeError"]


def test_a_sweep_without_time_left_begins_nothing(world: World) -> None:
    """The next one goes on."""
    world.started()
    world.clock.forward(hours=25)
    sweep(world.sweeper_ports, world.config, FakeDeadline(5))
    assert world.row().status is Status.STARTED
