"""The relay: every outcome told, in order, once an attempt."""

from __future__ import annotations

import dataclasses

from finch_connect.domain.flow import NotPublished, Status
from finch_connect.flow.outbox import publish, unpublished_outcomes
from tests.unit.conftest import GRANT, World
from tests.unit.flow.test_sweep import swept


def test_an_outcome_is_published_once_and_marked(world: World) -> None:
    """Marked rows are due no more."""
    flow = world.finish(world.started())
    assert publish([flow], world.relay_ports) == []
    assert world.row().published_at is not None
    world.clock.forward(minutes=10)
    assert swept(world) == {}
    assert len(world.bus.published) == 1


def test_what_the_bus_refuses_is_named_and_stays_due(world: World) -> None:
    """The stream tries it again, and the sweeper after it."""
    one, two = world.finish(world.started()), world.finish(world.started("globex"))
    world.bus.refuses = {one.flow_id}
    assert publish([one, two], world.relay_ports) == [NotPublished(one, "RefusedInThisTest")]
    assert world.row().published_at is None
    world.bus.refuses = set()
    world.clock.forward(minutes=3)
    assert swept(world) == {"published": 1}


def test_a_mark_that_fails_is_no_failure(world: World) -> None:
    """The sweeper publishes the same event once more, with the same id."""
    flow = world.finish(world.started())
    world.table.down = True
    assert publish([flow], world.relay_ports) == []
    world.table.down = False
    world.clock.forward(minutes=3)
    assert swept(world) == {"published": 1}
    assert len({flow.event_id for flow in world.bus.published}) == 1


def test_only_a_change_that_has_something_to_tell_is_told(world: World) -> None:
    """Starts, claims, waiting tokens and marks are no news."""
    redirect = world.started()
    started = world.row()
    flow = world.finish(redirect)
    assert list(unpublished_outcomes(None, started)) == []
    assert list(unpublished_outcomes(started, dataclasses.replace(started, status=Status.CLAIMED))) == []
    assert list(unpublished_outcomes(started, dataclasses.replace(flow, status=Status.UNSTORED))) == []
    assert list(unpublished_outcomes(started, flow)) == [flow]
    assert list(unpublished_outcomes(flow, dataclasses.replace(flow, published_at=1))) == []
    assert list(unpublished_outcomes(flow, None)) == []


def test_a_restart_does_not_swallow_an_untold_outcome(world: World) -> None:
    """The row is replaced before the relay came: the old image still tells it."""
    redirect = world.started()
    denied = world.finish(redirect, code=None, error="access_denied")
    world.started()
    assert list(unpublished_outcomes(denied, world.row())) == [denied]
    published = dataclasses.replace(denied, published_at=1)
    world.table.mark_published(denied, at=1)
    assert list(unpublished_outcomes(published, world.row())) == []


def test_a_bus_that_is_away_takes_nothing(world: World) -> None:
    """All are named, so that the stream tries them again."""
    flow = world.finish(world.started())
    world.bus.down = True
    assert publish([flow], world.relay_ports) == [NotPublished(flow, "down_in_this_test")]
    assert world.row().published_at is None


def test_a_later_outcome_is_not_told_before_an_earlier_one(world: World) -> None:
    """Denied, then connected by the same link: while the bus refuses the first, the second waits too."""
    denied = world.finish(world.started(), code=None, error="access_denied")
    connected = world.finish(world.started())
    other = world.finish(world.started("globex"))
    world.bus.refuses = {denied.event_id}  # that one outcome alone: the later one would be taken
    not_published = publish([denied, connected, other], world.relay_ports)
    assert [one.flow for one in not_published] == [denied, connected]
    world.bus.refuses = set()
    assert publish([denied, connected], world.relay_ports) == []
    assert [flow.status for flow in world.bus.published if flow.flow_id == denied.flow_id] == ["denied", "connected"]


def test_a_connections_lease_ends_when_it_is_told(world: World) -> None:
    """From then on the next claim of that connection may store at once."""
    flow = world.finish(world.started())
    assert world.table.connections[GRANT.connection_id or ""].leased_until is not None
    publish([flow], world.relay_ports)
    row = world.table.connections[GRANT.connection_id or ""]
    assert (row.leased_until, row.stored_claim) == (None, flow.claimed_at)
