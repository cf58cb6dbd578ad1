"""What Finch refuses: its own word is kept, and what only an operator can fix is not offered again."""

from __future__ import annotations

import dataclasses

import pytest

from finch_connect.domain import jws
from finch_connect.domain.errors import OPERATOR_REASONS, OperatorNeededError, TryAgainError
from finch_connect.domain.flow import ConnectMode, Flow, Status
from finch_connect.domain.grant import AlreadyConnected, Declined, Exchange, NotSent, SessionOpened, Unclear
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.domain.secret import Secret
from finch_connect.flow import links
from finch_connect.flow.callback import Outcome
from finch_connect.flow.ports import Deadline
from finch_connect.flow.start import Redirect, SessionUnavailable
from tests import fake_finch
from tests.unit.conftest import World


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Declined("payment_required", "request-1", "payment_required_error"), Status.FAILED),
        (Unclear("server_error", "request-1", "bad_gateway_error"), Status.ORPHANED),
    ],
)
def test_the_exchanges_error_is_in_the_row(world: World, answer: Exchange, status: Status) -> None:
    """Next to the reason, which is a word of this source code, and Finch's request id."""
    world.finch.answers = [answer]
    world.finish(world.started())
    row = world.row()
    assert (row.status, row.finch_request_id) == (status, "request-1")
    assert row.finch_error == getattr(answer, "finch_error")  # noqa: B009  # the union has members without it


@pytest.mark.parametrize(
    ("error", "status", "reason", "kept"),
    [
        ("access_denied", Status.DENIED, "access_denied", "access_denied"),
        ("user_denied", Status.DENIED, "access_denied", "user_denied"),
        ("something_new", Status.FAILED, "unknown_error", "something_new"),
        ("<script>", Status.FAILED, "unknown_error", "unreadable"),
    ],
)
def test_the_redirects_error_is_in_the_row(world: World, error: str, status: Status, reason: str, kept: str) -> None:
    """Finch documents no parameter for errors, so support has to see which word came."""
    world.finish(world.started(), code=None, error=error)
    row = world.row()
    assert (row.status, row.reason, row.finch_error) == (status, reason, kept)


def test_a_later_outcome_keeps_nothing_of_an_earlier_error(world: World) -> None:
    """The link is opened again and connects."""
    world.publish(world.finish(world.started(), code=None, error="access_denied"))
    world.finish(world.started())
    assert (world.row().status, world.row().finch_error) == (Status.CONNECTED, None)


def test_the_error_of_a_rotation_that_could_not_be_tried_is_kept(world: World) -> None:
    """Finch refused the old client secret, and the second request was not sent."""
    world.finch.answers = [Declined("invalid_client", "request-1", "invalid_client_error"), NotSent("no_time_left")]
    redirect = world.started()
    world.client_secrets.current = Secret("secret-2")
    world.finish(redirect)
    assert (world.row().reason, world.row().finch_error) == ("no_time_left", "invalid_client_error")


def receipt_of(flow: Flow, world: World) -> links.Receipt:
    """Sign a flow's receipt and verify it again."""
    key = world.keys.current()
    signed = links.sign_receipt(flow, key, issuer="https://connect.team.example.com", now=world.clock())
    assert ("retry" in jws.claims_of(jws.parse(signed), key.key)) == (flow.reason in OPERATOR_REASONS)
    return links.verify_receipt(signed, world.keys, world.clock())


@pytest.mark.parametrize("reason", sorted(OPERATOR_REASONS))
def test_a_receipt_says_that_trying_again_cannot_help(world: World, reason: str) -> None:
    """The result page and the team's own page can then say so."""
    world.finch.answers = [Declined(reason, None)]
    answer = world.callback(world.callback_request(world.started()))
    assert isinstance(answer, Outcome)
    assert not receipt_of(answer.flow, world).retry


@pytest.mark.parametrize("reason", ["invalid_grant", "rate_limited", "finch_unavailable", "client_connection_closed"])
def test_what_may_succeed_later_can_be_tried_again(world: World, reason: str) -> None:
    """An expired code, and limits of Finch that pass."""
    world.finch.answers = [Declined(reason, None)]
    assert receipt_of(world.finish(world.started()), world).retry


class StrictSessions(fake_finch.FakeSessions):
    """Connect sessions that accept one client secret."""

    def __init__(self, accepted: str) -> None:
        super().__init__()
        self.accepted = accepted

    def open(
        self, request: LinkRequest, *, redirect_uri: str, minutes: int, client_secret: Secret, deadline: Deadline
    ) -> SessionOpened | AlreadyConnected:
        if client_secret.reveal() != self.accepted:
            raise OperatorNeededError("invalid_client", status=401)
        return super().open(
            request, redirect_uri=redirect_uri, minutes=minutes, client_secret=client_secret, deadline=deadline
        )


@pytest.fixture
def session_world(world: World) -> World:
    """A world in which links open Connect sessions."""
    world.config = dataclasses.replace(world.config, connect_mode=ConnectMode.SESSION)
    return world


def test_a_session_is_opened_with_a_rotated_client_secret(session_world: World) -> None:
    """The secret in the cache is old. Nobody has to wait for five minutes."""
    session_world.sessions = StrictSessions("secret-2")
    session_world.client_secrets.current = Secret("secret-2")
    assert isinstance(session_world.start(session_world.request(customer_name="Acme Inc")), Redirect)


def test_a_session_that_finch_refuses_for_good_is_no_promise(session_world: World) -> None:
    """The browser keeps its cookie: when an operator has fixed the cause, the same link works."""
    session_world.sessions = StrictSessions("another")
    answer = session_world.start(session_world.request(customer_name="Acme Inc"))
    assert isinstance(answer, SessionUnavailable)
    assert (answer.error.reason, answer.error.status) == ("invalid_client", 500)
    assert "can't be fixed by trying again" in answer.error.sentence
    session_world.sessions.accepted = session_world.client_secrets.read().reveal()
    again = session_world.start(session_world.request(customer_name="Acme Inc"), cookie=answer.cookie)
    assert isinstance(again, Redirect)


def test_a_session_url_elsewhere_needs_an_operator(session_world: World) -> None:
    """`FinchConnectUrl` is another than the one that Finch uses, and stays so."""
    session_world.sessions.url = "https://elsewhere.example.com/authorize?session=1"
    answer = session_world.start(session_world.request(customer_name="Acme Inc"))
    assert isinstance(answer, SessionUnavailable)
    assert isinstance(answer.error, OperatorNeededError)
    assert not isinstance(answer.error, TryAgainError)
