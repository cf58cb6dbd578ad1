"""Finch over HTTP, against the simulator: every answer of the contract has its outcome, and a code is spent once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from finch_connect.adapters.finch import FinchApi
from finch_connect.adapters.transport import READ_TIMEOUT_SECONDS
from finch_connect.domain.errors import OperatorNeededError, TryAgainError
from finch_connect.domain.grant import AlreadyConnected, Declined, Exchange, Grant, NotSent, SessionOpened, Unclear
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.domain.secret import Secret
from local.simulator import Fault, Simulator
from local.simulator.store import AuthorizationRequest
from tests.fakes import FakeDeadline

REDIRECT_URI = "http://localhost:3000/callback"
ASKED = AuthorizationRequest(REDIRECT_URI, ("company", "directory"), "state-1")


class Waits:
    """Replaces `sleep`: records the seconds and does not wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    """A simulated Finch for this module alone."""
    with Simulator(client_id="client-1", client_secret="secret-1", redirect_uris=[REDIRECT_URI]) as running:
        yield running


@pytest.fixture
def simulator(server: Simulator) -> Simulator:
    """The simulated Finch, as if it had just started."""
    server.forget()
    return server


@pytest.fixture
def waits() -> Waits:
    """The waits between two requests."""
    return Waits()


@pytest.fixture
def api(simulator: Simulator, waits: Waits) -> FinchApi:
    """The adapter."""
    return FinchApi(simulator.url, "client-1", "2020-09-17", sleep=waits)


@pytest.fixture
def exchange(simulator: Simulator, api: FinchApi) -> Callable[..., Exchange]:
    """Exchange a fresh code, with some arguments changed."""

    def run(seconds: float = 25.0, **facts: Any) -> Exchange:
        code = simulator.store.connect(ASKED, "gusto", "smallco")
        given = {"code": Secret(code), "redirect_uri": REDIRECT_URI, "client_secret": Secret("secret-1"), **facts}
        return api.exchange(**given, deadline=FakeDeadline(seconds))

    return run


def test_a_code_becomes_a_grant(exchange: Callable[..., Exchange], simulator: Simulator) -> None:
    """The grant has everything that Finch says of it, and the request id."""
    grant = exchange()
    assert isinstance(grant, Grant)
    assert simulator.store.connection_of(grant.access_token.reveal()) is not None
    assert (grant.provider_id, grant.client_type, grant.products) == ("gusto", "sandbox", ("company", "directory"))
    assert grant.finch_request_id == simulator.calls_to("/auth/token")[0].request_id


def test_a_code_works_once(api: FinchApi, simulator: Simulator) -> None:
    """Finch refuses it the second time, which is a definite answer."""
    code = Secret(simulator.store.connect(ASKED, "gusto", "smallco"))
    given = {"code": code, "redirect_uri": REDIRECT_URI, "client_secret": Secret("secret-1")}
    assert isinstance(api.exchange(**given, deadline=FakeDeadline()), Grant)  # type: ignore[arg-type]
    again = api.exchange(**given, deadline=FakeDeadline())  # type: ignore[arg-type]
    assert isinstance(again, Declined)
    assert again.reason == "invalid_grant"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("gusto\u00a0eu", "gusto\u00a0eu"),
        ("\U0001f469\u200d\U0001f373", "\U0001f469\u200d\U0001f373"),
        *[("", None), (" ", None), ("gus\nto", None)],
        ("\u202egusto", None),
        ("gus\ud800to", None),
    ],
    ids=ascii,
)
def test_a_text_of_finch_follows_the_rule_for_every_text(
    exchange: Callable[..., Exchange], simulator: Simulator, text: str, read: str | None
) -> None:
    """Controls, surrogates and overrides make it absent, and so does a blank; other characters may be in a name."""
    simulator.faults.add(Fault("answer", answer={"provider_id": text}))
    grant = exchange()
    assert isinstance(grant, Grant)
    assert grant.provider_id == read


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"code": Secret("unknown")}, "invalid_grant"),
        ({"redirect_uri": "http://localhost:3000/other"}, "invalid_grant"),
        ({"client_secret": Secret("wrong")}, "invalid_client"),
        ({"redirect_uri": ""}, "invalid_request"),
    ],
)
def test_a_wrong_argument_is_declined(exchange: Callable[..., Exchange], facts: dict[str, Any], reason: str) -> None:
    """The reason follows from the status and the prefix of the error's name."""
    answer = exchange(**facts)
    assert isinstance(answer, Declined)
    assert answer.reason == reason
    assert answer.finch_request_id


@pytest.mark.parametrize(
    ("status", "name", "reason"),
    [
        (400, "invalid_grant", "invalid_grant"),
        (400, "bad_request", "bad_request"),
        (401, "invalid_client_error", "invalid_client"),
        (402, "payment_required", "payment_required"),
        (408, "client_connection_closed", "client_connection_closed"),
        (403, "something_new", "exchange_refused"),
        (404, "<script>", "exchange_refused"),
    ],
)
def test_every_4xx_is_a_definite_refusal(
    exchange: Callable[..., Exchange], simulator: Simulator, status: int, name: str, reason: str
) -> None:
    """The reason is one of this source code's own, whatever name Finch uses."""
    simulator.faults.add(Fault("error", status=status, name=name))
    answer = exchange()
    assert isinstance(answer, Declined)
    assert answer.reason == reason
    assert len(simulator.calls_to("/auth/token")) == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("error", status=500, name="server_error", processed=True), "server_error"),
        (Fault("error", status=502, name="bad_gateway_error"), "server_error"),
        (Fault("html", status=502), "server_error"),
        (Fault("html", status=200), "answer_without_token"),
        (Fault("broken_json"), "answer_without_token"),
        (Fault("answer", answer={"access_token": None}), "answer_without_token"),
        (Fault("answer", answer={"access_token": 7}), "answer_without_token"),
        (Fault("huge"), "answer_too_large"),
        (Fault("redirect"), "unexpected_status"),
        (Fault("reset_before"), "exchange_interrupted"),
        (Fault("reset_after"), "exchange_interrupted"),
    ],
)
def test_an_ambiguous_answer_is_unclear_and_not_retried(
    exchange: Callable[..., Exchange], simulator: Simulator, fault: Fault, reason: str
) -> None:
    """The code may have been spent, so it is not sent again."""
    simulator.faults.add(fault)
    answer = exchange()
    assert isinstance(answer, Unclear)
    assert answer.reason == reason
    assert len(simulator.calls_to("/auth/token")) == 1


def test_an_answer_that_drips_ends_with_the_budget(exchange: Callable[..., Exchange], simulator: Simulator) -> None:
    """Each byte arrives in time, but all of them together would not."""
    simulator.faults.add(Fault("drip", seconds=0.05))
    began = time.monotonic()
    answer = exchange(seconds=1.0)
    assert isinstance(answer, Unclear)
    assert answer.reason == "exchange_timeout"
    assert time.monotonic() - began < 5


def test_no_answer_within_the_budget_is_unclear(exchange: Callable[..., Exchange], simulator: Simulator) -> None:
    """Finch does not answer at all."""
    simulator.faults.add(Fault("delay", seconds=3))
    answer = exchange(seconds=0.5)
    assert isinstance(answer, Unclear)
    assert answer.reason == "exchange_timeout"


@pytest.mark.parametrize("status", [429, 503])
def test_the_code_is_sent_again_after_an_answer_that_it_was_not_processed(
    exchange: Callable[..., Exchange], simulator: Simulator, waits: Waits, status: int
) -> None:
    """It waits as long as Finch asks."""
    simulator.faults.add(Fault("error", status=status, name="rate_limit_exceeded_error", retry_after=2))
    assert isinstance(exchange(), Grant)
    assert waits.seconds == [2.0]


def test_a_rate_limit_that_does_not_end_is_declined(
    exchange: Callable[..., Exchange], simulator: Simulator, waits: Waits
) -> None:
    """The waits grow, and end."""
    simulator.faults.add(Fault("error", status=429, name="rate_limit_exceeded_error", times=None))
    answer = exchange()
    assert isinstance(answer, Declined)
    assert answer.reason == "rate_limited"
    assert waits.seconds == sorted(waits.seconds)
    assert len(simulator.calls_to("/auth/token")) == 4


def test_a_wait_past_the_budget_is_not_started(
    exchange: Callable[..., Exchange], simulator: Simulator, waits: Waits
) -> None:
    """Finch's penalty can be an hour."""
    simulator.faults.add(Fault("error", status=429, name="rate_limit_exceeded_error", retry_after=3600))
    assert isinstance(exchange(), Declined)
    assert waits.seconds == []


def test_without_time_nothing_is_sent(exchange: Callable[..., Exchange], simulator: Simulator) -> None:
    """The time was used up before, so the claim can be released."""
    assert isinstance(exchange(seconds=0), NotSent)
    assert simulator.calls == []


def test_nothing_is_sent_to_an_unreachable_finch(waits: Waits) -> None:
    """Without a connection no byte of the code has left."""
    api = FinchApi("http://127.0.0.1:9", "client-1", "2020-09-17", sleep=waits)
    answer = api.exchange(
        code=Secret("c"), redirect_uri=REDIRECT_URI, client_secret=Secret("s"), deadline=FakeDeadline()
    )
    assert isinstance(answer, NotSent)


def test_nothing_is_sent_without_tls(simulator: Simulator, waits: Waits) -> None:
    """The server does not speak TLS although its URL says https."""
    api = FinchApi(simulator.url.replace("http://", "https://"), "client-1", "2020-09-17", sleep=waits)
    answer = api.exchange(
        code=Secret("c"), redirect_uri=REDIRECT_URI, client_secret=Secret("s"), deadline=FakeDeadline()
    )
    assert isinstance(answer, NotSent)


def test_a_connection_that_opens_after_the_deadline_is_sent_nothing(simulator: Simulator, waits: Waits) -> None:
    """Name resolution has no timeout. When it is done, nobody may be waiting for the answer any more."""
    clock = count(step=15)  # seconds, each time it is read
    api = FinchApi(simulator.url, "client-1", "2020-09-17", sleep=waits, monotonic=lambda: next(clock))
    answer = api.exchange(
        code=Secret("c"), redirect_uri=REDIRECT_URI, client_secret=Secret("s"), deadline=FakeDeadline(25.0)
    )
    assert isinstance(answer, NotSent)
    assert simulator.calls == []


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that takes the request and sends one byte of its headers every tenth of a second, without end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                for byte in b"HTTP/1.1 200 OK\r\nX-Drip: " + b"x" * 10_000:
                    connection.send(bytes([byte]))
                    if over.wait(0.1):
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        over.set()
        thread.join()


def test_headers_that_drip_are_cut_at_the_deadline(dripping: str) -> None:
    """Each byte restarts a socket's timeout. The code was sent, so the outcome is unclear."""
    api = FinchApi(dripping, "client-1", "2020-09-17")
    begun = time.monotonic()
    answer = api.exchange(
        code=Secret("c"), redirect_uri=REDIRECT_URI, client_secret=Secret("s"), deadline=FakeDeadline(1.0)
    )
    assert answer == Unclear("exchange_timeout", None)
    assert time.monotonic() - begun < READ_TIMEOUT_SECONDS, "the socket's own timeout would come later than this"


def test_a_bare_token_is_completed_by_introspection(
    exchange: Callable[..., Exchange], api: FinchApi, simulator: Simulator
) -> None:
    """Only what the exchange did not say is added."""
    simulator.faults.add(Fault("bare"))
    bare = exchange()
    assert isinstance(bare, Grant)
    assert bare.connection_id is None
    whole = api.introspect(bare, deadline=FakeDeadline())
    assert whole.connection_id is not None
    assert (whole.provider_id, whole.access_token) == ("gusto", bare.access_token)


@pytest.mark.parametrize("kind", ["error", "html", "broken_json", "reset_before"])
def test_a_failed_introspection_changes_nothing(
    exchange: Callable[..., Exchange], api: FinchApi, simulator: Simulator, kind: str
) -> None:
    """The token is kept."""
    grant = exchange()
    assert isinstance(grant, Grant)
    simulator.faults.add(Fault(kind, path="/introspect"))
    assert api.introspect(grant, deadline=FakeDeadline()) == grant


@pytest.mark.parametrize("token", ["tok\nen", "tok€n"])
def test_a_token_that_no_header_can_carry_stays_a_grant(
    exchange: Callable[..., Exchange], api: FinchApi, simulator: Simulator, token: str
) -> None:
    """Introspection cannot send it. It is the connection's only token, so no error may lose it."""
    simulator.faults.add(Fault("answer", answer={"access_token": token}))
    grant = exchange()
    assert isinstance(grant, Grant)
    assert api.introspect(grant, deadline=FakeDeadline()) == grant


REQUEST = LinkRequest(
    "acme", "link-1", 0, confirm=False, products=("company",), customer_name="Acme Inc", sandbox="true"
)


def opened(
    api: FinchApi, request: LinkRequest = REQUEST, secret: str = "secret-1", seconds: float = 15.0
) -> SessionOpened | AlreadyConnected:
    return api.open(
        request,
        redirect_uri=REDIRECT_URI,
        minutes=60,
        client_secret=Secret(secret),
        deadline=FakeDeadline(seconds),
    )


def test_a_session_is_opened(api: FinchApi, simulator: Simulator) -> None:
    """Finch gets what the link asks for, and for how long."""
    answer = opened(api)
    assert isinstance(answer, SessionOpened)
    asked = simulator.store.session(answer.connect_url.partition("session=")[2])
    assert asked is not None
    assert (asked.customer_id, asked.products, asked.redirect_uri) == ("acme", ("company",), REDIRECT_URI)


def test_a_connected_customer_gets_the_connection_to_renew(api: FinchApi, simulator: Simulator) -> None:
    """Finch refuses a second session and names the connection, which can be re-authenticated."""
    simulator.store.connect(
        AuthorizationRequest(REDIRECT_URI, ("company",), None, customer_id="acme"), "gusto", "smallco"
    )
    known = opened(api)
    assert isinstance(known, AlreadyConnected)
    again = api.reauthenticate(
        REQUEST,
        known.connection_id,
        redirect_uri=REDIRECT_URI,
        minutes=60,
        client_secret=Secret("secret-1"),
        deadline=FakeDeadline(15.0),
    )
    assert again.connect_url.startswith(simulator.url)


@pytest.mark.parametrize("kind", ["error", "html", "broken_json", "reset_before", "huge"])
def test_a_session_that_finch_does_not_open_can_be_retried(api: FinchApi, simulator: Simulator, kind: str) -> None:
    """Nothing was spent, so the link works again."""
    simulator.faults.add(Fault(kind, path="/connect/sessions"))
    with pytest.raises(TryAgainError):
        opened(api)


def test_wrong_credentials_open_no_session(api: FinchApi) -> None:
    """The error has Finch's request id for the log, and nothing of the credentials."""
    with pytest.raises(OperatorNeededError, match="invalid_client") as caught:
        opened(api, secret="wrong")
    assert caught.value.fields["status"] == 401
    assert "wrong" not in f"{caught.value} {caught.value.fields}"


def test_without_time_no_session_is_requested(api: FinchApi, simulator: Simulator) -> None:
    """The person gets an answer before the function times out."""
    with pytest.raises(TryAgainError, match="no_time_left"):
        opened(api, seconds=0)
    assert simulator.calls == []
