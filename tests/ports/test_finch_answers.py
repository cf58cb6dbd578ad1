"""Finch's answers by status, against the simulator: every 2xx counts, and a refusal keeps Finch's own word for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from finch_connect.adapters.finch import FinchApi
from finch_connect.domain.errors import OperatorNeededError, TryAgainError
from finch_connect.domain.grant import AlreadyConnected, Declined, Exchange, Grant, SessionOpened, Unclear
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.domain.secret import Secret
from local.simulator import Fault, Simulator
from local.simulator.store import AuthorizationRequest
from tests.fakes import FakeDeadline

REDIRECT_URI = "http://localhost:3000/callback"
REQUEST = LinkRequest("acme", "link-1", 0, confirm=False, products=("company",), customer_name="Acme Inc")


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    """A simulated Finch of this module's own."""
    with Simulator(client_id="client-1", client_secret="secret-1", redirect_uris=[REDIRECT_URI]) as running:
        yield running


@pytest.fixture
def simulator(server: Simulator) -> Simulator:
    """The simulated Finch, as if just started."""
    server.forget()
    return server


@pytest.fixture
def api(simulator: Simulator) -> FinchApi:
    """The adapter."""
    return FinchApi(simulator.url, "client-1", "2020-09-17", sleep=lambda _: None)


@pytest.fixture
def exchange(simulator: Simulator, api: FinchApi) -> Callable[[], Exchange]:
    """Return a function that exchanges a fresh code."""

    def run() -> Exchange:
        code = Secret(
            simulator.store.connect(AuthorizationRequest(REDIRECT_URI, ("company",), "s"), "gusto", "smallco")
        )
        secret = Secret("secret-1")
        return api.exchange(code=code, redirect_uri=REDIRECT_URI, client_secret=secret, deadline=FakeDeadline())

    return run


def opened(api: FinchApi) -> SessionOpened | AlreadyConnected:
    """Open a Connect session."""
    return api.open(
        REQUEST, redirect_uri=REDIRECT_URI, minutes=60, client_secret=Secret("secret-1"), deadline=FakeDeadline()
    )


@pytest.mark.parametrize("status", [201, 202, 299])
def test_any_2xx_that_carries_what_is_needed_counts(
    exchange: Callable[[], Exchange], api: FinchApi, simulator: Simulator, status: int
) -> None:
    """Finch documents 200; a token, a connection or a session in another success is one all the same."""
    simulator.faults.add(Fault("status", status=status))
    grant = exchange()
    assert isinstance(grant, Grant)
    simulator.faults.add(Fault("status", path="/introspect", status=status))
    bare = Grant(grant.access_token, None)
    assert api.introspect(bare, deadline=FakeDeadline()).connection_id == grant.connection_id
    simulator.faults.add(Fault("status", path="/connect/sessions", status=status))
    assert isinstance(opened(api), SessionOpened)


def test_a_2xx_without_a_token_is_unclear(exchange: Callable[[], Exchange], simulator: Simulator) -> None:
    """Finch may have a connection."""
    simulator.faults.add(Fault("error", status=202, name="accepted"))
    assert exchange() == Unclear("answer_without_token", simulator.calls[-1].request_id, "accepted")


@pytest.mark.parametrize("status", [400, 409, 422])
def test_an_existing_connection_is_recognized_by_its_name(api: FinchApi, simulator: Simulator, status: int) -> None:
    """Whichever 4xx it comes with."""
    context = {"connection_id": "connection-1"}
    simulator.faults.add(
        Fault(
            "error",
            path="/connect/sessions",
            status=status,
            name="bad_request",
            finch_code="connection_already_exists",
            context=context,
        )
    )
    assert opened(api) == AlreadyConnected("connection-1")


@pytest.mark.parametrize(
    ("name", "finch_code", "kept"),
    [
        ("bad_request", None, "bad_request"),
        ("bad_request", "redirect_uri_not_allowed", "bad_request.redirect_uri_not_allowed"),
        ("<script>", None, "unreadable"),
        ("x" * 65, None, "unreadable"),
        ("", None, None),
    ],
)
def test_finchs_own_word_for_a_refusal_is_kept(
    exchange: Callable[[], Exchange],
    api: FinchApi,
    simulator: Simulator,
    name: str,
    finch_code: str | None,
    kept: str | None,
) -> None:
    """By its name and code, and only if they are words. So it is for a session."""
    simulator.faults.add(Fault("error", status=400, name=name, finch_code=finch_code))
    answer = exchange()
    assert isinstance(answer, Declined)
    assert answer.finch_error == kept
    simulator.faults.add(Fault("error", path="/connect/sessions", status=400, name=name, finch_code=finch_code))
    with pytest.raises(OperatorNeededError) as caught:
        opened(api)
    assert caught.value.fields["finch_error"] == kept


@pytest.mark.parametrize(
    ("status", "name", "reason"),
    [
        (400, "bad_request", "bad_request"),
        (401, "invalid_client_error", "invalid_client"),
        (401, "something_new", "invalid_client"),
        (402, "payment_required", "payment_required"),
        (403, "unauthorized_client", "unauthorized_client"),
        (403, "something_new", "session_declined"),
        (404, "not_found_error", "session_declined"),
        (422, "", "session_declined"),
    ],
)
def test_a_4xx_of_a_session_needs_an_operator(
    api: FinchApi, simulator: Simulator, status: int, name: str, reason: str
) -> None:
    """The same request is refused every time: an unregistered redirect URI, an unpaid bill."""
    simulator.faults.add(Fault("error", path="/connect/sessions", status=status, name=name))
    with pytest.raises(OperatorNeededError, match=reason):
        opened(api)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (408, "client_connection_closed_error"),
        (425, "too_early"),
        (429, "rate_limit_exceeded_error"),
        (403, "rate_limit_exceeded_error"),
        (500, "bad_request"),
        (503, "server_error"),
        (307, "moved"),
    ],
)
def test_a_session_that_may_be_opened_later_is_to_be_tried_again(
    api: FinchApi, simulator: Simulator, status: int, name: str
) -> None:
    """Limits that pass, and errors of Finch's own."""
    simulator.faults.add(Fault("error", path="/connect/sessions", status=status, name=name))
    with pytest.raises(TryAgainError, match="session_refused"):
        opened(api)
