"""An outcome that the bus has not taken yet stays in the row, whatever replaces it, until it is published."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.flow import MOST_UNPUBLISHED, PUBLISH_GRACE_MS, Flow, NotPublished, Status, epoch_ms
from finch_connect.flow.outbox import publish, unpublished_outcomes
from finch_connect.flow.quarantine import discard
from tests.unit.conftest import GRANT, World


def denied(world: World) -> Flow:
    """Open the link, deny at Finch, and return the outcome. Nothing is published."""
    return world.finish(world.started(), code=None, error="access_denied")


def published(world: World) -> list[str]:
    return [flow.status.value for flow in world.bus.published]


def sweep_after(world: World, **time: float) -> dict[str, object]:
    world.clock.forward(**time)
    return world.sweep()


def test_a_restart_during_an_outage_of_the_bus_loses_no_outcome(world: World) -> None:
    """The stream has given up, and only the row is left: the sweeper publishes the first outcome, then the second."""
    first = denied(world)
    world.clock.forward(seconds=5)
    second = world.finish(world.started())
    assert sweep_after(world, minutes=3) == {"published": 2}
    assert world.bus.published == [first, dataclasses.replace(second, unpublished=(first,))]
    assert len({flow.event_id for flow in world.bus.published}) == 2
    assert (world.row().unpublished, world.row().due_at) == ((), None)


def test_the_outcome_of_an_earlier_attempt_is_published_while_the_person_is_at_finch(world: World) -> None:
    """It does not wait for the new attempt's deadline, and the flow stays started and is not abandoned early."""
    first = denied(world)
    redirect = world.started()
    assert world.row().due_at == epoch_ms(world.clock()) + PUBLISH_GRACE_MS
    assert sweep_after(world, minutes=3) == {"published": 1}
    assert world.bus.published == [first]
    assert (world.row().status, world.row().unpublished) == (Status.STARTED, ())
    assert world.sweep() == {}
    assert world.row().due_at == world.row().deadline, "nothing is left to publish before it"
    assert world.finish(redirect).status is Status.CONNECTED


def test_the_relay_publishes_what_a_restart_replaced_and_the_row_forgets_it(world: World) -> None:
    """The stream has the restart's record: no sweep is needed."""
    first = denied(world)
    world.started()
    outcomes = list(unpublished_outcomes(first, world.row()))
    assert outcomes == [first]
    assert publish(outcomes, world.relay_ports) == []
    assert world.row().unpublished == ()


def test_an_outcome_that_is_published_late_is_removed_from_the_row_that_carries_it(world: World) -> None:
    """The relay had the first record when the link was opened again."""
    first = denied(world)
    world.started()
    assert publish([first], world.relay_ports) == []
    assert world.row().unpublished == ()
    assert world.row().published_at is None


def test_every_way_to_replace_a_row_keeps_what_it_has_not_published(world: World) -> None:
    """A new attempt, the same browser again, a takeover with the button, and a claim that is released."""
    first = denied(world)
    redirect = world.started()
    assert world.row().unpublished == (first,)
    world.start(world.request(), redirect.cookie)
    assert world.row().unpublished == (first,), "the same browser"
    world.client_secrets.down = True
    with pytest.raises(ServiceUnavailableError):
        world.finish(redirect)
    world.client_secrets.down = False
    assert (world.row().status, world.row().unpublished) == (Status.STARTED, (first,)), "a released claim"
    assert sweep_after(world, minutes=3) == {"published": 1}


def test_an_abandoned_attempt_is_published_after_the_one_that_it_replaced(world: World) -> None:
    """Its deadline passes while the bus is still away."""
    first = denied(world)
    world.started()
    world.bus.down = True
    assert sweep_after(world, days=2)["abandoned"] == 1
    assert world.row().unpublished == (first,)
    world.bus.down = False
    sweep_after(world, minutes=5)
    assert published(world) == ["denied", "abandoned"]


def test_while_the_bus_refuses_an_earlier_outcome_the_later_one_waits_in_the_row(world: World) -> None:
    """The order of one flow's events holds across attempts."""
    first = denied(world)
    world.clock.forward(seconds=5)
    world.finish(world.started())
    world.bus.refuses = {first.event_id}
    assert sweep_after(world, minutes=3) == {"stuck": [first.flow_id]}
    assert published(world) == []
    world.bus.refuses = set()
    assert sweep_after(world, minutes=5) == {"published": 2}
    assert published(world) == ["denied", "connected"]


def test_a_row_carries_a_bounded_number_of_outcomes_and_then_the_link_waits(world: World) -> None:
    """The page asks to try again in a minute. Once the bus has taken them, the same link works again."""
    for _ in range(MOST_UNPUBLISHED):
        denied(world)
        world.clock.forward(seconds=1)
    denied(world)
    with pytest.raises(ServiceUnavailableError) as caught:
        world.started()
    assert caught.value.reason == "outcomes_unpublished"
    assert sweep_after(world, minutes=3) == {"published": MOST_UNPUBLISHED + 1}
    world.started()


def test_a_decision_about_an_unpublished_quarantine_does_not_replace_its_event(world: World) -> None:
    """An operator discards during the outage: both events follow, in order."""
    world.finch.answers = [dataclasses.replace(GRANT, connection_id=None)]
    flow = world.finish(world.started())
    world.clock.forward(seconds=5)
    discard(flow.flow_id, world.quarantine_ports)
    assert sweep_after(world, minutes=3) == {"published": 2}
    assert published(world) == ["quarantined", "failed"]


def test_a_mistake_while_one_flow_is_published_does_not_change_the_order_of_its_outcomes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeper tries each flow by itself, and never a later outcome without the earlier one."""
    first = denied(world)
    world.clock.forward(seconds=5)
    world.finish(world.started())
    other = world.finish(world.started("globex"), code=None, error="access_denied")
    publish_all = world.bus.publish

    def with_a_mistake(flows: Sequence[Flow]) -> Sequence[NotPublished]:
        if any(flow.event_id == first.event_id for flow in flows):
            raise KeyError("a mistake")
        return publish_all(flows)

    monkeypatch.setattr(world.bus, "publish", with_a_mistake)
    assert sweep_after(world, minutes=3) == {"published": 1, "stuck": [first.flow_id]}
    assert world.bus.published == [other]
