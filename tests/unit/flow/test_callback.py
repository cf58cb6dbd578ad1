"""The callback, step by step: refuse, claim, exchange, check, lease, store, settle."""

from __future__ import annotations

import dataclasses
import json

import pytest

from finch_connect.domain.errors import CallbackRefusedError, ServiceUnavailableError, TryAgainError
from finch_connect.domain.flow import ConnectMode, Status
from finch_connect.domain.grant import Declined, NotSent, Unclear
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import state_of
from finch_connect.flow.callback import CallbackRequest, InProgress
from tests.unit.conftest import GRANT, REDIRECT_URI, World

SECRET_NAME = f"finch/dev/connections/{GRANT.connection_id}"


def refused(world: World, request: CallbackRequest) -> str:
    """Bring a callback that must be refused; return the reason that is logged."""
    before = dict(world.table.flows)
    with pytest.raises(CallbackRefusedError) as caught:
        world.callback(request)
    assert world.table.flows == before, "a refusal consumes nothing"
    assert world.finch.exchanges == []
    return caught.value.reason


def test_a_connection_is_made(world: World) -> None:
    """The main job: the token is in the vault and the row says everything the event needs."""
    flow = world.finish(world.started())
    assert flow.status is Status.CONNECTED
    assert world.finch.exchanges == [("code-1", REDIRECT_URI, "client-secret-1")]
    (text,) = world.vault.secrets[SECRET_NAME].values()
    stored = json.loads(text.reveal())
    assert stored["access_token"] == "token-1"
    assert stored["customer_id"] == "acme"
    row = world.row()
    assert (row.status, row.connection_id, row.provider_id) == (Status.CONNECTED, GRANT.connection_id, "gusto")
    assert row.secret_arn is not None
    assert "token-1" not in repr(row)
    assert "code-1" not in repr(row)


def test_a_state_can_be_used_only_once(world: World) -> None:
    """The same callback again answers the same and does nothing."""
    redirect = world.started()
    first = world.finish(redirect)
    again = world.finish(redirect)
    assert again.status is first.status
    assert again.event_id == first.event_id
    assert len(world.finch.exchanges) == 1
    assert len(world.vault.secrets[SECRET_NAME]) == 1


def test_without_the_cookie_a_state_is_worth_nothing(world: World) -> None:
    """Another browser (login CSRF) is refused, and the right one can still finish."""
    redirect = world.started()
    request = world.callback_request(redirect)
    assert refused(world, dataclasses.replace(request, cookies={})) == "cookie_missing"
    assert world.finish(redirect).status is Status.CONNECTED


def test_another_flows_cookie_is_refused(world: World) -> None:
    """Each flow has a cookie of its own."""
    mine, other = world.started(), world.started(link="link-2")
    request = dataclasses.replace(world.callback_request(mine), cookies={mine.flow_id: other.cookie})
    assert refused(world, request) == "cookie_wrong"


def test_an_earlier_attempts_state_is_refused(world: World) -> None:
    """A state belongs to one attempt: after a denial and a new start, the old one is dead."""
    first = world.started()
    world.finish(first, code=None, error="access_denied")
    world.started()
    assert refused(world, world.callback_request(first)) == "state_of_another_attempt"


@pytest.mark.parametrize(
    "state", ["", "x", "a" * 66, "A" * 22 + "." + "A" * 44, "A" * 10_000, "A" * 22 + ".\n" + "A" * 42]
)
def test_a_malformed_state_is_refused(world: World, state: str) -> None:
    """Only what could be ours is looked at further."""
    request = CallbackRequest(state=Secret(state), code=Secret("code-1"), error=None, cookies={})
    assert refused(world, request) == "state_malformed"


def test_no_state_is_refused(world: World) -> None:
    """In the static form Finch always returns the state."""
    request = dataclasses.replace(world.callback_request(world.started()), state=None)
    assert refused(world, request) == "state_missing"


def test_a_flow_that_was_never_started_is_refused(world: World) -> None:
    """A cookie and a state that fit each other are worth nothing without a row."""
    redirect = world.started()
    world.table.flows.clear()
    assert refused(world, world.callback_request(redirect)) == "state_unknown"


def test_after_its_deadline_a_state_is_refused(world: World) -> None:
    """DynamoDB's TTL lags by days, so the claim looks at the deadline itself."""
    redirect = world.started()
    world.clock.forward(days=2)
    assert refused(world, world.callback_request(redirect)) == "state_expired"


@pytest.mark.parametrize("code", ["a b", "a\nb", "\u00e9", "x" * 513])
def test_a_malformed_code_is_refused_before_anything_is_spent(world: World, code: str) -> None:
    """What cannot be a code is not sent to Finch."""
    assert refused(world, world.callback_request(world.started(), code=code)) == "code_malformed"


def test_while_one_callback_runs_another_waits(world: World) -> None:
    """A double click: the second sees a page that looks again until the first has settled."""
    redirect = world.started()
    world.table.claim(redirect.flow_id, state_hash=world.row().state_hash, claim_id="c-1", code_hash=None, now=0)
    assert isinstance(world.callback(world.callback_request(redirect)), InProgress)
    assert world.finch.exchanges == []


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        ("access_denied", Status.DENIED, "access_denied"),
        ("cancelled", Status.DENIED, "access_denied"),
        ("server_error", Status.FAILED, "server_error"),
        ("<script>", Status.FAILED, "unknown_error"),
        ("", Status.FAILED, "unknown_error"),
    ],
)
def test_an_error_ends_the_flow_with_a_reason_of_ours(world: World, error: str, status: Status, reason: str) -> None:
    """Whatever the redirect says, row and event hold words from our own list."""
    flow = world.finish(world.started(), code=None, error=error)
    assert (flow.status, flow.reason) == (status, reason)
    assert world.finch.exchanges == []


def test_an_error_wins_over_a_code(world: World) -> None:
    """When both come, nothing is exchanged."""
    assert world.finish(world.started(), error="access_denied").status is Status.DENIED
    assert world.finch.exchanges == []


def test_neither_code_nor_error_fails_the_flow(world: World) -> None:
    """It was the right browser, so the state is spent; the link starts anew."""
    flow = world.finish(world.started(), code=None)
    assert (flow.status, flow.reason) == (Status.FAILED, "code_missing")


@pytest.mark.parametrize("broken", ["keys", "client_secrets"])
def test_what_fails_before_the_exchange_gives_the_claim_back(world: World, broken: str) -> None:
    """Nothing was spent, so the same address works again a minute later."""
    redirect = world.started()
    getattr(world, broken).down = True
    with pytest.raises(ServiceUnavailableError):
        world.callback(world.callback_request(redirect))
    assert world.row().status is Status.STARTED
    getattr(world, broken).down = False
    assert world.finish(redirect).status is Status.CONNECTED


def test_a_denial_needs_no_client_secret(world: World) -> None:
    """There is nothing to exchange, so nothing to wait for."""
    world.client_secrets.down = True
    assert world.finish(world.started(), code=None, error="access_denied").status is Status.DENIED


def test_a_code_that_was_not_sent_gives_the_claim_back(world: World) -> None:
    """Finch could not be reached at all: the code is still good."""
    redirect = world.started()
    world.finch.answers = [NotSent("finch_unreachable"), GRANT]
    with pytest.raises(TryAgainError):
        world.callback(world.callback_request(redirect))
    assert world.finish(redirect).status is Status.CONNECTED


def test_a_definite_no_fails_the_flow(world: World) -> None:
    """An expired or used code: the person starts again."""
    world.finch.answers = [Declined("invalid_grant", "request-2")]
    flow = world.finish(world.started())
    assert (flow.status, flow.reason, flow.finch_request_id) == (Status.FAILED, "invalid_grant", "request-2")


def test_an_unclear_answer_orphans_the_flow(world: World) -> None:
    """Finch may hold a connection that we have no token for: no second try, and an operator hears of it."""
    world.finch.answers = [Unclear("exchange_timeout", None)]
    flow = world.finish(world.started())
    assert (flow.status, flow.reason) == (Status.ORPHANED, "exchange_timeout")
    assert len(world.finch.exchanges) == 1


def test_rotated_client_credentials_are_read_again_once(world: World) -> None:
    """Finch refuses an old client secret without touching the code."""
    world.finch.answers = [Declined("invalid_client", None), GRANT]
    world.client_secrets.current = Secret("client-secret-2")
    assert world.finish(world.started()).status is Status.CONNECTED
    assert [secret for _, _, secret in world.finch.exchanges] == ["client-secret-1", "client-secret-2"]


def test_wrong_client_credentials_are_not_tried_twice(world: World) -> None:
    """The same secret again would be the same answer."""
    world.finch.answers = [Declined("invalid_client", None)]
    flow = world.finish(world.started())
    assert (flow.status, flow.reason) == (Status.FAILED, "invalid_client")
    assert len(world.finch.exchanges) == 1


def test_a_bare_token_is_completed_by_introspection(world: World) -> None:
    """The oldest documentation promises the access token and nothing else."""
    bare = dataclasses.replace(
        GRANT, connection_id=None, provider_id=None, client_type=None, connection_type=None, products=None
    )
    world.finch.answers, world.finch.introspected = [bare], GRANT
    flow = world.finish(world.started())
    assert (flow.status, flow.connection_id) == (Status.CONNECTED, GRANT.connection_id)


def test_a_token_whose_connection_nobody_names_is_quarantined(world: World) -> None:
    """It has no place under connections/, but it is not lost either."""
    world.finch.answers = [dataclasses.replace(GRANT, connection_id=None)]
    redirect = world.started()
    flow = world.finish(redirect)
    assert (flow.status, flow.reason) == (Status.QUARANTINED, "connection_unknown")
    assert list(world.vault.secrets) == [f"finch/dev/quarantine/{redirect.flow_id}"]


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
    """Without PKCE an injected code can only be seen from what the answer echoes."""
    world.finch.answers = [dataclasses.replace(GRANT, **answer)]  # type: ignore[arg-type]
    flow = world.finish(world.started(payroll_provider="gusto"))
    assert (flow.status, flow.reason) == (Status.QUARANTINED, reason)
    assert all("/quarantine/" in name for name in world.vault.secrets)
    assert world.table.connections == {}


def test_a_reconnect_is_a_new_version_of_the_same_secret(world: World) -> None:
    """Repeated logins give the same connection with another token."""
    world.publish(world.finish(world.started()))
    world.clock.forward(minutes=5)
    world.finch.answers = [dataclasses.replace(GRANT, access_token=Secret("token-2"))]
    flow = world.finish(world.started(link="link-2"))
    assert (flow.status, flow.reauthorized) == (Status.CONNECTED, True)
    assert len(world.vault.secrets[SECRET_NAME]) == 2
    assert world.row().reauthorized is False


def test_another_customers_connection_is_quarantined_and_untouched(world: World) -> None:
    """An injected code, or one accountant with two customers: a person decides."""
    world.finish(world.started())
    world.clock.forward(minutes=5)
    flow = world.finish(world.started("globex"))
    assert (flow.status, flow.reason) == (Status.QUARANTINED, "owner_mismatch")
    assert len(world.vault.secrets[SECRET_NAME]) == 1
    assert world.table.connections[GRANT.connection_id or ""].customer_id == "acme"


def test_an_older_token_never_replaces_a_newer_one(world: World) -> None:
    """Two flows of one customer: the one that was claimed last holds the newest token."""
    early = world.started()
    world.table.claim(early.flow_id, state_hash=world.row().state_hash, claim_id="c-1", code_hash=None, now=0)
    world.publish(world.finish(world.started(link="link-2")))
    world.table.release(world.row())
    world.table.flows[early.flow_id] = dataclasses.replace(world.row(), status=Status.STARTED)
    world.clock.forward(hours=-1)
    flow = world.finish(early)
    assert (flow.status, flow.reason) == (Status.CONNECTED, "superseded")
    assert len(world.vault.secrets[SECRET_NAME]) == 1


def test_if_the_sweeper_settled_first_its_outcome_holds(world: World) -> None:
    """A callback that took far too long answers with what the row says."""
    redirect = world.started()
    exchange = world.finch.exchange

    def slow_exchange(**arguments: object) -> object:
        world.table.flows[redirect.flow_id] = dataclasses.replace(world.row(), status=Status.ORPHANED)
        return exchange(**arguments)  # type: ignore[arg-type]

    world.finch.exchange = slow_exchange  # type: ignore[method-assign, assignment]
    assert world.finish(redirect).status is Status.ORPHANED


@pytest.fixture
def session_world(world: World) -> World:
    """A stack in session mode."""
    world.config = dataclasses.replace(world.config, connect_mode=ConnectMode.SESSION)
    return world


def test_without_an_echoed_state_the_one_live_session_is_taken_if_the_answer_names_its_customer(
    session_world: World,
) -> None:
    """Nobody has verified that Finch echoes a state here; the echo of the customer stands in for it."""
    redirect = session_world.started(customer_name="Acme Inc")
    session_world.finch.answers = [dataclasses.replace(GRANT, customer_id="acme")]
    request = dataclasses.replace(session_world.callback_request(redirect), state=None)
    assert session_world.callback(request).flow.status is Status.CONNECTED
    assert session_world.callback(request).flow.status is Status.CONNECTED, "a repeated callback hears the same"
    assert len(session_world.finch.exchanges) == 1


def test_without_an_echoed_state_an_answer_that_names_no_customer_is_quarantined(session_world: World) -> None:
    """Then nothing binds this code to this flow."""
    redirect = session_world.started(customer_name="Acme Inc")
    request = dataclasses.replace(session_world.callback_request(redirect), state=None)
    flow = session_world.callback(request).flow
    assert (flow.status, flow.reason) == (Status.QUARANTINED, "customer_mismatch")


def test_without_an_echoed_state_two_live_flows_are_refused(session_world: World) -> None:
    """Which of the two it is would be a guess."""
    one = session_world.started(customer_name="Acme Inc")
    two = session_world.started(link="link-2", customer_name="Acme Inc")
    cookies = {flow.flow_id: flow.cookie for flow in (one, two)}
    assert refused(session_world, CallbackRequest(None, Secret("code-1"), None, cookies)) == "state_missing"


def test_a_state_of_a_made_up_cookie_is_refused(world: World) -> None:
    """An attacker can make a cookie and a state that fit, but not the row's hash."""
    redirect = world.started()
    cookie = Secret("B" * 43)
    request = CallbackRequest(state_of(cookie, redirect.flow_id), Secret("code-1"), None, {redirect.flow_id: cookie})
    assert refused(world, request) == "state_of_another_attempt"
