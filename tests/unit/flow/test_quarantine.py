"""Decisions about a token in quarantine: what each one changes, and what each one refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from finch_connect.domain.errors import DecisionRefusedError, ServiceUnavailableError
from finch_connect.domain.flow import Flow, Status
from finch_connect.flow.quarantine import discard, quarantined, release
from tests.unit.conftest import CONNECTION, GRANT, SECRET_NAME, World


@pytest.fixture
def flow(world: World) -> Flow:
    """A flow whose token is in quarantine, because its connection belongs to another customer."""
    world.publish(world.finish(world.started("acme")))
    world.clock.forward(minutes=1)
    settled = world.publish(world.finish(world.started("globex")))
    assert (settled.status, settled.reason) == (Status.QUARANTINED, "owner_mismatch")
    return settled


def refused(decide: Callable[[], Flow]) -> str:
    with pytest.raises(DecisionRefusedError) as caught:
        decide()
    return caught.value.reason


def test_a_quarantined_flow_is_listed_until_it_is_decided(world: World, flow: Flow) -> None:
    """The list is what an operator decides from."""
    assert [one.flow_id for one in quarantined(world.quarantine_ports)] == [flow.flow_id]
    discard(flow.flow_id, world.quarantine_ports)
    assert list(quarantined(world.quarantine_ports)) == []


def test_a_release_stores_the_token_under_its_connection(world: World, flow: Flow) -> None:
    """The flow is connected and unpublished, its secret in quarantine is gone, and the connection has a new owner."""
    released = release(flow.flow_id, world.quarantine_ports, world.config.names, transfer_from="acme")
    assert (released.status, released.reason, released.published_at) == (Status.CONNECTED, None, None)
    assert world.row("globex") == dataclasses.replace(released, code_hash=world.row("globex").code_hash)
    assert list(world.vault.secrets) == [SECRET_NAME]
    assert list(world.vault.secrets[SECRET_NAME])[-1].startswith(flow.version_prefix)
    assert world.table.connections[CONNECTION].customer_id == "globex"
    assert world.quarantine.recoverable == set()


def test_a_release_can_be_repeated(world: World, flow: Flow) -> None:
    """A repetition returns the same flow, and stores nothing again."""
    first = release(flow.flow_id, world.quarantine_ports, world.config.names, transfer_from="acme")
    versions = dict(world.vault.secrets[SECRET_NAME])
    again = release(flow.flow_id, world.quarantine_ports, world.config.names)
    assert again.event_id == first.event_id
    assert world.vault.secrets[SECRET_NAME] == versions


@pytest.mark.parametrize("step", ["vault", "quarantine"])
def test_a_release_that_was_interrupted_is_finished_by_the_next_one(world: World, flow: Flow, step: str) -> None:
    """Every step can be repeated, so nothing is half decided for good."""
    getattr(world, step).down = True
    with pytest.raises(ServiceUnavailableError):
        release(flow.flow_id, world.quarantine_ports, world.config.names, transfer_from="acme")
    getattr(world, step).down = False
    released = release(flow.flow_id, world.quarantine_ports, world.config.names, transfer_from="acme")
    assert released.status is Status.CONNECTED
    assert list(world.vault.secrets) == [SECRET_NAME]


def test_a_connection_is_only_taken_from_the_owner_that_was_named(world: World, flow: Flow) -> None:
    """Without a name, or with a wrong one, the owner keeps the connection."""
    names, ports = world.config.names, world.quarantine_ports
    assert refused(lambda: release(flow.flow_id, ports, names)) == "owner_mismatch"
    assert refused(lambda: release(flow.flow_id, ports, names, transfer_from="umbrella")) == "owner_mismatch"
    assert world.table.connections[CONNECTION].customer_id == "acme"
    assert world.row("globex").status is Status.QUARANTINED


def test_a_newer_token_of_the_same_customer_is_not_replaced(world: World) -> None:
    """The customer has signed in again since."""
    world.finch.answers = [dataclasses.replace(GRANT, client_type="development"), GRANT]
    old = world.finish(world.started())
    world.clock.forward(minutes=1)
    world.publish(world.finish(world.started(link="link-2")))
    assert refused(lambda: release(old.flow_id, world.quarantine_ports, world.config.names)) == "superseded"


def test_a_release_waits_for_a_claim_that_is_storing(world: World) -> None:
    """Which token is newer is not known before the other claim has stored its own, or its lease has ended."""
    world.finch.answers = [dataclasses.replace(GRANT, client_type="development"), GRANT]
    old = world.finish(world.started())
    world.finish(world.started(link="link-2"))  # not published, so its lease has not ended
    reason = refused(lambda: release(old.flow_id, world.quarantine_ports, world.config.names))
    assert reason == "connection_leased"


def test_a_token_without_a_connection_can_only_be_discarded(world: World) -> None:
    """Finch named no connection, so there is no secret to which it could be released."""
    world.finch.answers = [dataclasses.replace(GRANT, connection_id=None)]
    flow = world.finish(world.started())
    ports = world.quarantine_ports
    assert refused(lambda: release(flow.flow_id, ports, world.config.names)) == "connection_unknown"
    assert discard(flow.flow_id, ports).status is Status.FAILED


def test_a_discard_gives_the_token_up_and_can_be_repeated(world: World, flow: Flow) -> None:
    """The flow has failed without a secret, the secret can be restored, and the owner's token is untouched."""
    for _ in range(2):
        discarded = discard(flow.flow_id, world.quarantine_ports)
        assert (discarded.status, discarded.reason, discarded.secret_arn) == (Status.FAILED, "discarded", None)
    assert list(world.vault.secrets) == [SECRET_NAME]
    assert world.quarantine.recoverable == {flow.flow_id}
    assert world.started("globex").flow_id == flow.flow_id, "the link starts the flow again"


@pytest.mark.parametrize("decide", ["release", "discard"])
def test_only_a_flow_in_quarantine_can_be_decided(world: World, flow: Flow, decide: str) -> None:
    """An unknown flow, a flow that ended in another way, and a secret that is gone are refused."""

    def run(flow_id: str) -> Flow:
        if decide == "release":
            return release(flow_id, world.quarantine_ports, world.config.names)
        return discard(flow_id, world.quarantine_ports)

    denied = world.finish(world.started("umbrella"), code=None, error="access_denied")
    assert refused(lambda: run("nobody")) == "flow_unknown"
    assert refused(lambda: run(denied.flow_id)) == "not_quarantined"
    if decide == "release":
        world.quarantine.delete(flow.flow_id, recoverable=False)
        assert refused(lambda: run(flow.flow_id)) == "secret_missing"


def test_two_operators_do_not_overwrite_each_other(world: World, flow: Flow) -> None:
    """The row's condition decides: the second decision is refused and changes nothing."""
    read = world.table.get

    def decided_meanwhile(flow_id: str) -> object:
        text = read(flow_id)
        discard_now = dataclasses.replace(flow, secret_arn=None).settled(
            Status.FAILED, at=world.clock(), reason="discarded"
        )
        world.table.settle(discard_now, was=Status.QUARANTINED)
        return text

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.table, "get", decided_meanwhile)
        assert refused(lambda: discard(flow.flow_id, world.quarantine_ports)) == "decided_meanwhile"
    assert world.row("globex").reason == "discarded"
