"""A token that was left over in the fallback is found again, wherever it belongs."""

from __future__ import annotations

import dataclasses

import pytest

from finch_connect.domain.flow import Flow, Status
from finch_connect.flow.token_storage import document
from tests.unit.conftest import GRANT, SECRET_NAME, World


def left_over(world: World, flow: Flow, attempt: str | None = None) -> str:
    """Leave a token of a flow in the fallback, and return its attempt."""
    name = attempt or flow.attempt
    world.fallback.documents[name] = document(flow, GRANT)
    return name


def orphaned(world: World) -> Flow:
    """Return a flow that was reported as orphaned, because its token was not found."""
    world.vault.down = world.fallback.down = True
    flow = world.finish(world.started())
    world.vault.down = world.fallback.down = False
    assert (flow.status, flow.reason) == (Status.ORPHANED, "token_lost")
    return flow


def test_a_token_that_was_reported_lost_connects_its_flow_after_all(world: World) -> None:
    """The parameter was there, although an earlier read did not find it. The event follows."""
    flow = orphaned(world)
    left_over(world, flow)
    assert world.sweep()["stored"] == 1
    assert world.row().status is Status.CONNECTED
    assert world.row().published_at is None
    assert SECRET_NAME in world.vault.secrets
    assert world.fallback.documents == {}


def test_a_token_of_an_attempt_that_was_replaced_is_quarantined(world: World) -> None:
    """The link was used again, so the flow has another attempt. The token may be another person's consent."""
    flow = orphaned(world)
    attempt = left_over(world, flow)
    world.started()
    world.sweep()
    (name,) = world.vault.secrets
    assert name.startswith("finch/dev/quarantine/")
    assert flow.flow_id not in name
    assert attempt not in world.fallback.documents
    assert world.row().status is Status.STARTED


def test_a_token_without_a_row_is_quarantined(world: World) -> None:
    """TTL has removed the row, or the token was never a flow's own."""
    flow = orphaned(world)
    world.table.flows.clear()
    left_over(world, flow)
    world.sweep()
    assert list(world.vault.secrets) == [f"finch/dev/quarantine/{flow.flow_id}"]
    assert world.fallback.documents == {}


def test_a_token_that_is_already_stored_is_only_deleted(world: World) -> None:
    """The sweeper died between storing it and deleting it."""
    flow = world.finish(world.started())
    left_over(world, flow)
    world.sweep()
    assert list(world.vault.secrets) == [SECRET_NAME]
    assert world.fallback.documents == {}


@pytest.mark.parametrize("status", [Status.CLAIMED, Status.UNSTORED])
def test_the_token_of_an_open_flow_is_left_to_that_flow(world: World, status: Status) -> None:
    """It is not overdue yet, and its own step moves the token."""
    flow = orphaned(world)
    later = int(world.clock().timestamp() * 1000) + 600_000
    world.table.flows[flow.flow_id] = dataclasses.replace(flow, status=status, due_at=later)
    attempt = left_over(world, flow)
    world.sweep()
    assert attempt in world.fallback.documents


def test_a_fallback_that_cannot_be_listed_does_not_stop_a_sweep(world: World) -> None:
    """The next sweep lists it."""
    world.finish(world.started(), code=None, error="access_denied")
    world.fallback.down = True
    world.clock.forward(minutes=3)
    assert world.sweep() == {"published": 1}
