"""The outbox publishes an outcome without its metadata when the bus refuses it for good, instead of never."""

from __future__ import annotations

from typing import Any

import pytest

from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.flow import Flow, NotPublished
from finch_connect.flow.outbox import publish
from finch_connect.flow.sweep import sweep
from tests.unit.conftest import World


def denied(world: World, customer: str, **claims: Any) -> Flow:
    return world.finish(world.started(customer, **claims), code=None, error="access_denied")


def test_an_outcome_whose_metadata_the_bus_refuses_is_published_without_it(world: World) -> None:
    """The others of its batch keep theirs, and all rows are marked."""
    refused = denied(world, "acme", metadata={"score": float("nan")})
    accepted = denied(world, "globex", metadata={"plan": "gold"})
    world.bus.malformed.add(refused.flow_id)
    assert publish([refused, accepted], world.relay_ports) == []
    assert {flow.flow_id for flow in world.bus.published} == {refused.flow_id, accepted.flow_id}
    assert world.bus.without_metadata == [refused]
    assert all(flow.published_at is not None for flow in world.table.flows.values())


def test_the_sweeper_publishes_a_stuck_outcome_without_its_metadata(world: World) -> None:
    """A row that an earlier version wrote is no longer stuck in each sweep."""
    flow = denied(world, "acme", metadata={"score": float("nan")})
    world.bus.malformed.add(flow.flow_id)
    world.clock.forward(minutes=3)
    done = sweep(world.sweeper_ports, world.config)
    assert (done.published, done.stuck) == (1, [])


def test_an_outcome_that_is_refused_for_a_while_keeps_its_metadata(world: World) -> None:
    """A throttled event is the same event later."""
    flow = denied(world, "acme", metadata={"plan": "gold"})
    world.bus.refuses.add(flow.flow_id)
    assert publish([flow], world.relay_ports) == [NotPublished(flow, "RefusedInThisTest")]
    world.bus.refuses.clear()
    assert publish([flow], world.relay_ports) == []
    assert world.bus.without_metadata == []


def test_a_bus_that_goes_away_before_the_second_attempt_leaves_the_outcome_due(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events that it took before are marked, and the next delivery tries the other one again."""
    refused, accepted = denied(world, "acme", metadata={"plan": "gold"}), denied(world, "globex")
    world.bus.malformed.add(refused.flow_id)
    taken = world.bus.publish

    def once(flows: list[Flow], *, with_metadata: bool = True) -> object:
        if not with_metadata:
            raise ServiceUnavailableError("aws_unreachable")
        return taken(flows)

    monkeypatch.setattr(world.bus, "publish", once)
    assert publish([refused, accepted], world.relay_ports) == [NotPublished(refused, "MalformedDetail", permanent=True)]
    assert world.row("globex").published_at is not None
    assert world.row("acme").published_at is None
