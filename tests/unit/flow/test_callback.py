"""The callback, step by step: refuse, claim, exchange, check, settle, and the time that each step reserves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from finch_connect.domain.errors import CallbackRefusedError, ServiceUnavailableError, TryAgainError
from finch_connect.domain.flow import Flow, NotWritten, Status, Written
from finch_connect.domain.grant import Declined, NotSent, Unclear
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import state_of
from finch_connect.flow.binding import CallbackRequest
from finch_connect.flow.callback import InProgress, Outcome
from tests.unit.conftest import CONNECTION, GRANT, REDIRECT_URI, SECRET_NAME, World


def refused(world: World, request: CallbackRequest) -> str:
    """Handle a callback that must be refused, and return the reason for the log."""
    before = dict(world.table.flows)
    with pytest.raises(CallbackRefusedError) as caught:
        world.callback(request)
    assert world.table.flows == before, "a refusal consumes nothing"
    assert world.finch.exchanges == []
    return caught.value.reason


def test_a_connection_is_made(world: World) -> None:
    """The token is in the vault and nowhere in the row, and the row has everything that the event needs."""
    flow = world.finish(world.started())
    assert flow.status is Status.CONNECTED
    assert world.finch.exchanges == [("code-1", REDIRECT_URI, "client-secret-1")]
    (text,) = world.vault.secrets[SECRET_NAME].values()
    stored = json.loads(text.reveal())
    assert stored["access_token"] == "token-1"
    assert stored["customer_id"] == "acme"
    row = world.row()
    assert (row.status, row.connection_id, row.provider_id) == (Status.CONNECTED, CONNECTION, "gusto")
    assert row.secret_arn is not None
    assert "token-1" not in repr(row)
    assert "code-1" not in repr(row)


def test_a_state_can_be_used_only_once(world: World) -> None:
    """A repeated callback gets the same answer and changes nothing."""
    redirect = world.started()
    first = world.finish(redirect)
    again = world.finish(redirect)
    assert again.status is first.status
    assert again.event_id == first.event_id
    assert len(world.finch.exchanges) == 1
    assert len(world.vault.secrets[SECRET_NAME]) == 1


def test_a_repeated_answer_is_not_fresh(world: World) -> None:
    """Each outcome is counted once, however often its page is opened."""
    redirect = world.started()
    first, again = (world.callback(world.callback_request(redirect)) for _ in range(2))
    assert isinstance(first, Outcome)
    assert isinstance(again, Outcome)
    assert (first.fresh, again.fresh) == (True, False)


def test_a_state_is_refused_without_its_cookie(world: World) -> None:
    """Another browser is refused (login CSRF), and the right browser can still finish the flow."""
    redirect = world.started()
    request = world.callback_request(redirect)
    assert refused(world, dataclasses.replace(request, cookies={})) == "cookie_missing"
    assert world.finish(redirect).status is Status.CONNECTED


def test_another_flows_cookie_is_refused(world: World) -> None:
    """Each flow has its own cookie."""
    mine, other = world.started(), world.started(link="link-2")
    request = dataclasses.replace(world.callback_request(mine), cookies={mine.flow_id: other.cookie})
    assert refused(world, request) == "cookie_wrong"


def test_an_earlier_attempts_state_is_refused(world: World) -> None:
    """A state belongs to one attempt, so it is not valid after a denial and a new start."""
    first = world.started()
    world.finish(first, code=None, error="access_denied")
    world.started()
    assert refused(world, world.callback_request(first)) == "state_of_another_attempt"


def test_a_state_of_a_made_up_cookie_is_refused(world: World) -> None:
    """An attacker can make a cookie and a state that match each other, but they do not match the hash in the row."""
    redirect = world.started()
    cookie = Secret("B" * 43)
    request = CallbackRequest(state_of(cookie, redirect.flow_id), Secret("code-1"), None, {redirect.flow_id: cookie})
    assert refused(world, request) == "state_of_another_attempt"


@pytest.mark.parametrize(
    "state", ["", "x", "a" * 66, "A" * 22 + "." + "A" * 44, "A" * 10_000, "A" * 22 + ".\n" + "A" * 42]
)
def test_a_malformed_state_is_refused(world: World, state: str) -> None:
    """Only a text that has the form of a state is looked up."""
    request = CallbackRequest(state=Secret(state), code=Secret("code-1"), error=None, cookies={})
    assert refused(world, request) == "state_malformed"


def test_a_missing_state_is_refused(world: World) -> None:
    """In static mode, Finch always returns the state."""
    request = dataclasses.replace(world.callback_request(world.started()), state=None)
    assert refused(world, request) == "state_missing"


def test_a_flow_that_was_never_started_is_refused(world: World) -> None:
    """A cookie and a state that match each other are not enough without a row."""
    redirect = world.started()
    world.table.flows.clear()
    assert refused(world, world.callback_request(redirect)) == "state_unknown"


def test_a_state_is_refused_after_its_deadline(world: World) -> None:
    """DynamoDB's TTL deletes rows days late, so the claim checks the deadline itself."""
    redirect = world.started()
    world.clock.forward(days=2)
    assert refused(world, world.callback_request(redirect)) == "state_expired"


@pytest.mark.parametrize("code", ["a b", "a\nb", "\u00e9", "x" * 513])
def test_a_malformed_code_is_refused_before_anything_is_spent(world: World, code: str) -> None:
    """A text that cannot be a code is not sent to Finch."""
    assert refused(world, world.callback_request(world.started(), code=code)) == "code_malformed"


def test_a_second_callback_waits_while_the_first_one_runs(world: World) -> None:
    """After a double click, the second page refreshes until the first callback has settled the flow."""
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
def test_an_error_ends_the_flow_with_a_known_reason(world: World, error: str, status: Status, reason: str) -> None:
    """Whatever text the redirect has, the row and the event have a reason from the source code."""
    flow = world.finish(world.started(), code=None, error=error)
    assert (flow.status, flow.reason) == (status, reason)
    assert world.finch.exchanges == []


def test_an_error_overrides_a_code(world: World) -> None:
    """If the redirect has both, nothing is exchanged."""
    assert world.finish(world.started(), error="access_denied").status is Status.DENIED
    assert world.finch.exchanges == []


def test_a_callback_without_code_and_error_fails_the_flow(world: World) -> None:
    """The browser is the right one, so the state is consumed. The link can start the flow again."""
    flow = world.finish(world.started(), code=None)
    assert (flow.status, flow.reason) == (Status.FAILED, "code_missing")


@pytest.mark.parametrize("broken", ["keys", "client_secrets"])
def test_a_failure_before_the_exchange_releases_the_claim(world: World, broken: str) -> None:
    """Nothing was spent, so the same address works again a minute later."""
    redirect = world.started()
    getattr(world, broken).down = True
    with pytest.raises(ServiceUnavailableError):
        world.callback(world.callback_request(redirect))
    assert world.row().status is Status.STARTED
    getattr(world, broken).down = False
    assert world.finish(redirect).status is Status.CONNECTED


def test_a_denial_needs_no_client_secret(world: World) -> None:
    """There is no code to exchange."""
    world.client_secrets.down = True
    assert world.finish(world.started(), code=None, error="access_denied").status is Status.DENIED


def test_a_code_that_was_not_sent_releases_the_claim(world: World) -> None:
    """Finch could not be reached, so the code is still valid."""
    redirect = world.started()
    world.finch.answers = [NotSent("finch_unreachable"), GRANT]
    with pytest.raises(TryAgainError):
        world.callback(world.callback_request(redirect))
    assert world.finish(redirect).status is Status.CONNECTED


def test_a_declined_code_fails_the_flow(world: World) -> None:
    """The code has expired or was used, so the person has to start again."""
    world.finch.answers = [Declined("invalid_grant", "request-2")]
    flow = world.finish(world.started())
    assert (flow.status, flow.reason, flow.finch_request_id) == (Status.FAILED, "invalid_grant", "request-2")


def test_an_unclear_answer_orphans_the_flow(world: World) -> None:
    """Finch may have a connection for which the stack has no token. The code is not sent again."""
    world.finch.answers = [Unclear("exchange_timeout", None)]
    flow = world.finish(world.started())
    assert (flow.status, flow.reason) == (Status.ORPHANED, "exchange_timeout")
    assert len(world.finch.exchanges) == 1


def test_rotated_client_credentials_are_read_again_once(world: World) -> None:
    """Finch refuses the previous client secret without using the code, so a second exchange can succeed."""
    world.finch.answers = [Declined("invalid_client", None), GRANT]
    world.client_secrets.current = Secret("client-secret-2")
    assert world.finish(world.started()).status is Status.CONNECTED
    assert [secret for _, _, secret in world.finch.exchanges] == ["client-secret-1", "client-secret-2"]


def test_wrong_client_credentials_are_not_tried_twice(world: World) -> None:
    """The same secret would get the same answer."""
    world.finch.answers = [Declined("invalid_client", None)]
    flow = world.finish(world.started())
    assert (flow.status, flow.reason) == (Status.FAILED, "invalid_client")
    assert len(world.finch.exchanges) == 1


def test_a_bare_token_is_completed_by_introspection(world: World) -> None:
    """Finch's oldest documentation promises only the access token."""
    bare = dataclasses.replace(
        GRANT, connection_id=None, provider_id=None, client_type=None, connection_type=None, products=None
    )
    world.finch.answers, world.finch.introspected = [bare], GRANT
    flow = world.finish(world.started())
    assert (flow.status, flow.connection_id) == (Status.CONNECTED, CONNECTION)


def test_the_outcome_of_the_sweeper_holds_if_it_settled_first(world: World) -> None:
    """A callback that took too long answers with the row's outcome."""
    redirect = world.started()
    exchange = world.finch.exchange

    def slow_exchange(**arguments: object) -> object:
        world.table.flows[redirect.flow_id] = dataclasses.replace(world.row(), status=Status.ORPHANED)
        return exchange(**arguments)  # type: ignore[arg-type]

    world.finch.exchange = slow_exchange  # type: ignore[method-assign, assignment]
    assert world.finish(redirect).status is Status.ORPHANED


def test_without_an_echoed_state_the_one_live_session_is_taken_if_the_answer_names_its_customer(
    session_world: World,
) -> None:
    """Nobody has verified that Finch echoes a state in session mode. The echo of the customer is the proof instead."""
    redirect = session_world.started(customer_name="Acme Inc")
    session_world.finch.answers = [dataclasses.replace(GRANT, customer_id="acme")]
    request = dataclasses.replace(session_world.callback_request(redirect), state=None)
    assert session_world.callback(request).flow.status is Status.CONNECTED
    assert session_world.callback(request).flow.status is Status.CONNECTED, "a repeated callback gets the same answer"
    assert len(session_world.finch.exchanges) == 1


def test_without_an_echoed_state_two_live_flows_are_refused(session_world: World) -> None:
    """The callback could belong to either of them."""
    one = session_world.started(customer_name="Acme Inc")
    two = session_world.started(link="link-2", customer_name="Acme Inc")
    cookies = {flow.flow_id: flow.cookie for flow in (one, two)}
    assert refused(session_world, CallbackRequest(None, Secret("code-1"), None, cookies)) == "state_missing"


def test_each_step_reserves_time_for_the_steps_after_it(world: World) -> None:
    """A slow Finch must not use up the time to store the token, nor a slow vault the time for the fallback."""
    reserved: dict[str, float] = {}

    def recording[**P, T](name: str, step: Callable[P, T]) -> Callable[P, T]:
        def recorded(*arguments: P.args, **named: P.kwargs) -> T:
            reserved[name] = world.deadline.reserved
            return step(*arguments, **named)

        return recorded

    steps = [(world.table, "claim"), (world.finch, "exchange"), (world.table, "acquire_lease"), (world.vault, "put"),
             (world.fallback, "put"), (world.table, "settle")]  # fmt: skip
    redirect = world.started()
    with pytest.MonkeyPatch.context() as patched:
        for part, step in steps:
            patched.setattr(part, step, recording(f"{type(part).__name__}.{step}", getattr(part, step)))
        world.vault.down = True
        world.finish(redirect)
    assert reserved == {
        "FakeFlowTable.claim": 3.0,
        "FakeFinch.exchange": 12.0,
        "FakeFlowTable.acquire_lease": 6.0,
        "FakeVault.put": 6.0,
        "FakeFallback.put": 3.0,
        "FakeFlowTable.settle": 0.0,
    }


def test_the_release_of_a_claim_may_use_all_the_remaining_time(world: World) -> None:
    """Reading the secret may have used up the rest. Nothing is reserved for an exchange that will not happen."""
    reserved: list[float] = []
    release = world.table.release

    def recorded(claimed: Flow) -> Written | NotWritten:
        reserved.append(world.deadline.reserved)
        return release(claimed)

    redirect = world.started()
    world.client_secrets.down = True
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.table, "release", recorded)
        with pytest.raises(ServiceUnavailableError):
            world.callback(world.callback_request(redirect))
    assert reserved == [0.0]
