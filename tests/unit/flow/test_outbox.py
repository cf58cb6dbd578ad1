"""The outbox: the relay publishes each outcome once, in order, and marks it."""

from __future__ import annotations

import dataclasses

from finch_connect.domain.flow import NotPublished, Status
from finch_connect.flow.outbox import publish, unpublished_outcomes
from tests.unit.conftest import CONNECTION, World


def test_an_outcome_is_published_once_and_marked(world: World) -> None:
    """A marked row is no longer due."""
    flow = world.finish(world.started())
    assert publish([flow], world.relay_ports) == []
    assert world.row().published_at is not None
    world.clock.forward(minutes=10)
    assert world.sweep() == {}
    assert len(world.bus.published) == 1


def test_an_outcome_that_the_bus_refuses_is_returned_and_stays_due(world: World) -> None:
    """The stream retries it, and the sweeper after that."""
    one, two = world.finish(world.started()), world.finish(world.started("globex"))
    world.bus.refuses = {one.flow_id}
    assert publish([one, two], world.relay_ports) == [NotPublished(one, "RefusedInThisTest")]
    assert world.row().published_at is None
    world.bus.refuses = set()
    world.clock.forward(minutes=3)
    assert world.sweep() == {"published": 1}


def test_an_outcome_that_could_not_be_marked_is_published_again(world: World) -> None:
    """The relay succeeds all the same, and the sweeper publishes the same event with the same id."""
    flow = world.finish(world.started())
    world.table.down = True
    assert publish([flow], world.relay_ports) == []
    world.table.down = False
    world.clock.forward(minutes=3)
    assert world.sweep() == {"published": 1}
    assert len({flow.event_id for flow in world.bus.published}) == 1


def test_only_a_new_outcome_is_published(world: World) -> None:
    """Starts, claims, tokens in the fallback and marks have no event."""
    redirect = world.started()
    started = world.row()
    flow = world.finish(redirect)
    assert list(unpublished_outcomes(None, started)) == []
    assert list(unpublished_outcomes(started, dataclasses.replace(started, status=Status.CLAIMED))) == []
    assert list(unpublished_outcomes(started, dataclasses.replace(flow, status=Status.UNSTORED))) == []
    assert list(unpublished_outcomes(started, flow)) == [flow]
    assert list(unpublished_outcomes(flow, dataclasses.replace(flow, published_at=1))) == []
    assert list(unpublished_outcomes(flow, None)) == []


def test_a_restart_does_not_lose_an_unpublished_outcome(world: World) -> None:
    """The row is replaced before the relay has run, so the outcome is published from the old image."""
    redirect = world.started()
    denied = world.finish(redirect, code=None, error="access_denied")
    world.started()
    assert list(unpublished_outcomes(denied, world.row())) == [denied]
    published = dataclasses.replace(denied, published_at=1)
    world.table.mark_published(denied, at=1)
    assert list(unpublished_outcomes(published, world.row())) == []


def test_every_outcome_is_returned_while_the_bus_is_unavailable(world: World) -> None:
    """The stream then retries all of them."""
    flow = world.finish(world.started())
    world.bus.down = True
    assert publish([flow], world.relay_ports) == [NotPublished(flow, "down_in_this_test")]
    assert world.row().published_at is None


def test_a_later_outcome_is_not_published_before_an_earlier_one(world: World) -> None:
    """One link was denied and then connected. While the bus refuses the first outcome, the second one waits."""
    denied = world.finish(world.started(), code=None, error="access_denied")
    connected = world.finish(world.started())
    other = world.finish(world.started("globex"))
    world.bus.refuses = {denied.event_id}  # only this outcome: the bus would accept the later one
    not_published = publish([denied, connected, other], world.relay_ports)
    assert [one.flow for one in not_published] == [denied, connected]
    world.bus.refuses = set()
    assert publish([denied, connected], world.relay_ports) == []
    assert [flow.status for flow in world.bus.published if flow.flow_id == denied.flow_id] == ["denied", "connected"]


def test_a_connections_lease_ends_when_its_outcome_is_published(world: World) -> None:
    """The connection's next claim may then store at once."""
    flow = world.finish(world.started())
    assert world.table.connections[CONNECTION].leased_until is not None
    publish([flow], world.relay_ports)
    row = world.table.connections[CONNECTION]
    assert (row.leased_until, row.stored_granted_at) == (None, flow.claimed_at)
