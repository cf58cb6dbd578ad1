"""Where a granted token goes: to its connection, into quarantine, or into the fallback. It is never dropped."""

from __future__ import annotations

import dataclasses
import json

import pytest

from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.flow import Status
from finch_connect.domain.secret import Secret
from finch_connect.flow.sweep import sweep
from tests.unit.conftest import CONNECTION, GRANT, SECRET_NAME, World


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"customer_id": "globex"}, "customer_mismatch"),
        ({"client_type": "development"}, "client_type_mismatch"),
        ({"provider_id": "workday"}, "provider_mismatch"),
        ({"products": ("company", "ssn")}, "products_mismatch"),
        ({"connection_id": "../config/link-key"}, "connection_unknown"),
    ],
)
def test_an_answer_that_does_not_fit_its_request_is_quarantined(
    world: World, answer: dict[str, object], reason: str
) -> None:
    """Finch has no PKCE, so an injected code shows only in what the answer echoes."""
    world.finch.answers = [dataclasses.replace(GRANT, **answer)]  # type: ignore[arg-type]
    flow = world.finish(world.started(payroll_provider="gusto"))
    assert (flow.status, flow.reason) == (Status.QUARANTINED, reason)
    assert all("/quarantine/" in name for name in world.vault.secrets)
    assert world.table.connections == {}


def test_a_token_without_a_connection_is_quarantined(world: World) -> None:
    """Neither the exchange nor introspection names the connection, so the token has no secret under connections/."""
    world.finch.answers = [dataclasses.replace(GRANT, connection_id=None)]
    redirect = world.started()
    flow = world.finish(redirect)
    assert (flow.status, flow.reason) == (Status.QUARANTINED, "connection_unknown")
    assert list(world.vault.secrets) == [f"finch/dev/quarantine/{redirect.flow_id}"]


def test_a_reconnect_is_a_new_version_of_the_same_secret(world: World) -> None:
    """When a customer signs in again, Finch returns the same connection with another token."""
    world.publish(world.finish(world.started()))
    world.clock.forward(minutes=5)
    world.finch.answers = [dataclasses.replace(GRANT, access_token=Secret("token-2"))]
    flow = world.finish(world.started(link="link-2"))
    assert (flow.status, flow.reauthorized) == (Status.CONNECTED, True)
    assert len(world.vault.secrets[SECRET_NAME]) == 2
    assert world.row().reauthorized is False


def test_another_customers_connection_is_quarantined_and_untouched(world: World) -> None:
    """It may be an injected code, or an accountant who works for two customers. A person decides."""
    world.finish(world.started())
    world.clock.forward(minutes=5)
    flow = world.finish(world.started("globex"))
    assert (flow.status, flow.reason) == (Status.QUARANTINED, "owner_mismatch")
    assert len(world.vault.secrets[SECRET_NAME]) == 1
    assert world.table.connections[CONNECTION].customer_id == "acme"


def test_an_older_token_never_replaces_a_newer_one(world: World) -> None:
    """Of two flows of one customer, the one that was claimed last has the newest token."""
    early = world.started()
    world.table.claim(early.flow_id, state_hash=world.row().state_hash, claim_id="c-1", code_hash=None, now=0)
    world.publish(world.finish(world.started(link="link-2")))
    world.table.release(world.row())
    world.table.flows[early.flow_id] = dataclasses.replace(world.row(), status=Status.STARTED)
    world.clock.forward(hours=-1)
    flow = world.finish(early)
    assert (flow.status, flow.reason) == (Status.CONNECTED, "superseded")
    assert len(world.vault.secrets[SECRET_NAME]) == 1


def test_a_token_waits_while_another_claim_stores_one(world: World) -> None:
    """One customer signs in twice at once. In whatever order the claims store, the vault ends with the newer token."""
    first = world.finish(world.started())
    world.clock.forward(seconds=1)
    world.finch.answers = [dataclasses.replace(GRANT, access_token=Secret("token-2"))]
    second = world.finish(world.started(link="link-2"))
    assert second.status is Status.UNSTORED
    assert [one[:32] for one in world.vault.secrets[SECRET_NAME]] == [first.version_prefix]
    world.publish(first)
    sweep(world.sweeper_ports, world.config)
    row = world.row(link="link-2")
    assert (row.status, row.reauthorized) == (Status.CONNECTED, True)
    assert [one[:32] for one in world.vault.secrets[SECRET_NAME]] == [first.version_prefix, second.version_prefix]


def test_a_token_waits_in_the_fallback_while_the_vault_is_unavailable(world: World) -> None:
    """The person sees success, because the token is safe and the event follows."""
    world.vault.down = True
    redirect = world.started()
    flow = world.finish(redirect)
    assert flow.status is Status.UNSTORED
    assert json.loads(world.fallback.documents[world.row().attempt].reveal())["access_token"] == "token-1"


def test_a_mistake_in_the_code_after_the_exchange_does_not_lose_the_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token waits in the fallback, the error is raised for the log, and the same address then shows success."""
    redirect = world.started()
    with monkeypatch.context() as broken:
        broken.delattr(type(world.vault), "put")
        with pytest.raises(AttributeError):
            world.callback(world.callback_request(redirect))
    assert "token-1" in world.fallback.documents[world.row().attempt].reveal()
    assert world.finish(redirect).status is Status.UNSTORED


def test_a_token_that_may_be_in_the_fallback_is_not_reported_as_lost(world: World) -> None:
    """It was stored there, but the answer was lost. The person is asked to try again, and the sweeper finds it."""
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
    assert world.fallback.documents == {}


def test_a_token_that_neither_vault_nor_fallback_accepts_is_reported_as_lost(world: World) -> None:
    """Nothing else can be done. The flow is orphaned, and its reason raises an alarm."""
    world.vault.down = world.fallback.down = True
    flow = world.finish(world.started())
    assert (flow.status, flow.reason) == (Status.ORPHANED, "token_lost")
