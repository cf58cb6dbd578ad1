"""Tokens in quarantine whose row is gone, and connections that an operator gives to another customer."""

from __future__ import annotations

import dataclasses

import pytest

from finch_connect.domain.errors import DecisionRefusedError, ServiceUnavailableError
from finch_connect.domain.flow import Flow, Status
from finch_connect.flow.quarantine import discard, discard_left_over, quarantined, release
from tests.unit.conftest import GRANT, World

CONNECTION = GRANT.connection_id or ""
SECRET_NAME = f"finch/dev/connections/{CONNECTION}"


@pytest.fixture
def flow(world: World) -> Flow:
    """A flow of globex whose token is in quarantine, because its connection belongs to acme."""
    world.publish(world.finish(world.started("acme")))
    world.clock.forward(minutes=1)
    settled = world.publish(world.finish(world.started("globex")))
    assert (settled.status, settled.reason) == (Status.QUARANTINED, "owner_mismatch")
    return settled


def refused_release(world: World, flow: Flow, transfer_from: str | None = None) -> str:
    with pytest.raises(DecisionRefusedError) as caught:
        release(flow.flow_id, world.quarantine_ports, world.config.names, transfer_from=transfer_from)
    return caught.value.reason


def test_a_token_whose_row_is_gone_is_listed_and_can_be_discarded(world: World, flow: Flow) -> None:
    """It is billed, and whoever decides must find it. Whose connection it is cannot be known, so no release."""
    del world.table.flows[flow.flow_id]
    (waiting,) = quarantined(world.quarantine_ports)
    assert (waiting.flow_id, waiting.flow, waiting.is_left_over) == (flow.flow_id, None, True)
    assert waiting.secret.stored_at is not None
    assert refused_release(world, flow) == "row_missing"
    assert discard_left_over(flow.flow_id, world.quarantine_ports)
    assert list(quarantined(world.quarantine_ports)) == []
    assert world.quarantine.recoverable == {flow.flow_id}
    assert not discard_left_over(flow.flow_id, world.quarantine_ports)


def test_a_token_whose_flow_ended_in_another_way_can_be_discarded(world: World, flow: Flow) -> None:
    """A discard stopped before it deleted the secret, and then the link was used again. The row stays as it is."""
    world.quarantine.down = True
    with pytest.raises(ServiceUnavailableError):
        discard(flow.flow_id, world.quarantine_ports)
    world.quarantine.down = False
    redirect = world.started("globex")
    assert not discard_left_over(flow.flow_id, world.quarantine_ports), "a flow in progress may need it"
    denied = world.finish(redirect, code=None, error="access_denied")
    (waiting,) = quarantined(world.quarantine_ports)
    assert waiting.is_left_over
    assert discard_left_over(flow.flow_id, world.quarantine_ports)
    assert world.row("globex").event_id == denied.event_id


def test_a_flow_that_waits_for_a_decision_is_not_left_over(world: World, flow: Flow) -> None:
    """It is decided, so that its event follows."""
    assert not discard_left_over(flow.flow_id, world.quarantine_ports)
    assert [waiting.is_left_over for waiting in quarantined(world.quarantine_ports)] == [False]


def test_a_flow_whose_secret_was_deleted_by_hand_can_be_discarded(world: World, flow: Flow) -> None:
    """Its row has no TTL, so it would otherwise wait for a decision for ever."""
    world.quarantine.delete(flow.flow_id, recoverable=False)
    assert discard(flow.flow_id, world.quarantine_ports).status is Status.FAILED


def test_both_customers_of_a_transfer_get_an_event(world: World, flow: Flow) -> None:
    """The former owner's comes first, and it is published even if the release goes no further."""
    released = release(flow.flow_id, world.quarantine_ports, world.config.names, transfer_from="acme")
    assert released.status is Status.CONNECTED
    earlier = len(world.bus.published)
    world.clock.forward(minutes=3)
    assert world.sweep() == {"published": 2}
    transferred, established = world.bus.published[earlier:]
    assert (transferred.status, transferred.transferred_from, transferred.customer_id) == (
        Status.TRANSFERRED,
        "acme",
        "globex",
    )
    assert transferred.secret_arn is not None
    assert transferred.secret_arn.endswith(SECRET_NAME)
    assert established.event_id == released.event_id


def test_a_release_that_stops_after_the_transfer_is_published_and_can_be_finished(world: World, flow: Flow) -> None:
    """The former owner has lost the connection, so the event does not wait for the operator's second try."""
    put = world.vault.put

    def unavailable(*_: object, **__: object) -> object:
        raise ServiceUnavailableError("down_in_this_test")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.vault, "put", unavailable)
        with pytest.raises(ServiceUnavailableError):
            release(flow.flow_id, world.quarantine_ports, world.config.names, transfer_from="acme")
    assert world.vault.put == put
    world.clock.forward(minutes=3)
    assert world.sweep() == {"published": 1}
    assert world.bus.published[-1].status is Status.TRANSFERRED
    assert (world.row("globex").status, world.row("globex").due_at) == (Status.QUARANTINED, None)
    release(flow.flow_id, world.quarantine_ports, world.config.names, transfer_from="acme")
    world.clock.forward(minutes=3)
    assert world.sweep() == {"published": 1}
    assert [flow.status for flow in world.bus.published].count(Status.TRANSFERRED) == 1


def test_a_connection_whose_lease_is_in_use_is_not_taken(world: World, flow: Flow) -> None:
    """Its owner is signing in again at this moment. After that the same command works."""
    world.clock.forward(minutes=1)
    again = world.finish(world.started("acme", link="link-2"))  # not published, so its lease has not ended
    before = world.table.connections[CONNECTION]
    assert refused_release(world, flow, transfer_from="acme") == "connection_leased"
    assert world.table.connections[CONNECTION] == before
    assert world.row("globex").unpublished == ()
    world.publish(again)
    released = release(flow.flow_id, world.quarantine_ports, world.config.names, transfer_from="acme")
    assert released.status is Status.CONNECTED
    assert list(world.vault.secrets[SECRET_NAME])[-1].startswith(flow.version_prefix)


def test_a_release_while_its_quarantine_is_published_reads_the_row_again(world: World) -> None:
    """The relay marks the outcome between the operator's read and write. Nothing is lost and nothing is refused."""
    world.finch.answers = [dataclasses.replace(GRANT, client_type="development")]
    flow = world.finish(world.started())
    settle = world.table.settle

    def marked_first(settled: Flow, *, was: Status, replaced: Flow | None = None) -> object:
        patched.undo()
        world.publish(flow)
        return settle(settled, was=was, replaced=replaced)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.table, "settle", marked_first)
        released = release(flow.flow_id, world.quarantine_ports, world.config.names)
    assert (released.status, released.unpublished) == (Status.CONNECTED, ())
