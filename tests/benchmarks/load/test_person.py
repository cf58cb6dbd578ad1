"""The simulated people do what the pages ask, and give up after some tries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

import jwt
import pytest

from benchmarks.load.person import MAX_TRIES, Customer, Intent, Journey, Person, Shown
from local.server import Server, StartResponse
from local.simulator import Simulator

KEY = "0123456789abcdef0123456789abcdef"

type Answer = tuple[int, dict[str, str], str]

CONFIRM: Answer = (
    200,
    {},
    '<input type="hidden" name="link" value="a&amp;b"><input type="hidden" name="form_nonce" value="n">',
)
TRY_AGAIN: Answer = (503, {"Retry-After": "5"}, "")
IN_PROGRESS: Answer = (202, {"Refresh": "2"}, "")


class Stack(Server):
    """A stack with prepared answers by route; the last answer of a route is repeated."""

    def __init__(self) -> None:
        super().__init__("stack", 0, self._wsgi)
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, str]] = []

    def _wsgi(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        route = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
        self.requests.append((route, body))
        answers = self.answers[route]
        status, headers, text = answers.pop(0) if len(answers) > 1 else answers[0]
        start_response(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
        return [text.encode()]


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A running stack with prepared answers."""
    with Stack() as running:
        yield running


@pytest.fixture
def finch(stack: Stack) -> Iterator[Simulator]:
    """Simulated Finch, and a stack whose link redirects to it and whose callback answers with a receipt."""
    with Simulator(redirect_uris=[f"{stack.url}/callback"]) as running:
        authorize_url = (
            f"{running.url}/authorize?client_id={running.client_id}&redirect_uri={stack.url}/callback&products=company"
        )
        stack.answers = {"GET /connect": [(303, {"Location": authorize_url}, "")], "GET /callback": [receipt(stack)]}
        yield running


def receipt(stack: Stack, status: str = "connected", customer_id: str = "acme") -> Answer:
    claims = {"aud": "finch-receipt", "iss": stack.url, "sub": customer_id, "iat": 1, "exp": 2**40, "jti": "event-1"}
    signed = jwt.encode({**claims, "status": status}, KEY, headers={"typ": "finch-receipt+jwt"})
    return 303, {"Location": f"{stack.url}/connected?finch_receipt={signed}"}, ""


def run(stack: Stack, intent: Intent = Intent.CONNECT) -> tuple[Journey, list[float]]:
    """Run one person without real waits; return the journey and the waits."""
    waits: list[float] = []
    customer = Customer("acme", "link-1", f"{stack.url}/connect?link=x", "smallco+1", intent)
    return Person(customer, key=KEY, issuer=stack.url, pause=waits.append).run(), waits


def test_a_person_is_shown_what_the_receipt_says(stack: Stack, finch: Simulator) -> None:
    """The receipt is verified as the team's backend does, and its status is the result."""
    journey, waits = run(stack)
    assert (journey.shown, journey.opened, journey.tries, waits) == (Shown.CONNECTED, True, 0, [])
    assert journey.seconds.keys() == {"link", "finch", "callback"}


def test_a_person_presses_the_button_of_the_confirm_page(stack: Stack, finch: Simulator) -> None:
    """The form's hidden fields are unescaped and sent."""
    stack.answers["POST /connect"] = stack.answers["GET /connect"]
    stack.answers["GET /connect"] = [CONFIRM]
    assert run(stack)[0].shown is Shown.CONNECTED
    assert ("POST /connect", "link=a%26b&form_nonce=n") in stack.requests


def test_a_person_waits_as_the_page_asks_and_tries_again(stack: Stack, finch: Simulator) -> None:
    """A 503 has the wait in Retry-After, and the page of a flow in progress has it in Refresh."""
    stack.answers["GET /callback"] = [TRY_AGAIN, IN_PROGRESS, receipt(stack, "orphaned")]
    journey, waits = run(stack)
    assert (journey.shown, journey.tries, waits) == (Shown.ORPHANED, 2, [5.0, 2.0])


@pytest.mark.parametrize(("page", "shown"), [(TRY_AGAIN, Shown.TRY_AGAIN), (IN_PROGRESS, Shown.IN_PROGRESS)])
def test_a_person_gives_up(stack: Stack, finch: Simulator, page: Answer, shown: Shown) -> None:
    """After MAX_TRIES requests the journey ends, so that a run ends."""
    stack.answers["GET /callback"] = [page]
    journey, waits = run(stack)
    assert (journey.shown, len(waits)) == (shown, MAX_TRIES - 1)
    assert [route for route, _ in stack.requests].count("GET /callback") == MAX_TRIES


def test_a_link_that_never_redirects_is_not_opened(stack: Stack, finch: Simulator) -> None:
    """The accounting then expects no row for it."""
    stack.answers["GET /connect"] = [TRY_AGAIN]
    journey, _ = run(stack)
    assert (journey.shown, journey.opened) == (Shown.TRY_AGAIN, False)


def test_some_people_decline_and_some_leave(stack: Stack, finch: Simulator) -> None:
    """A person who declines sends no code, and one who leaves never opens the callback."""
    run(stack, Intent.DECLINE)
    assert finch.store.codes == {}
    journey, _ = run(stack, Intent.LEAVE)
    assert journey.shown is Shown.LEFT
    assert [route for route, _ in stack.requests] == ["GET /connect", "GET /callback", "GET /connect"]


def test_a_refusal_is_an_unexpected_page(stack: Stack, finch: Simulator) -> None:
    """No person of a load run should be refused, so the accounting reports it."""
    stack.answers["GET /callback"] = [(400, {}, "")]
    assert run(stack)[0].shown is Shown.UNEXPECTED


def test_a_connection_error_is_no_answer(stack: Stack) -> None:
    """A broken connection ends the journey, but not the run."""
    stack.answers["GET /connect"] = [(303, {"Location": "http://127.0.0.1:9/authorize"}, "")]
    journey, _ = run(stack)
    assert (journey.shown, journey.opened) == (Shown.NO_ANSWER, True)
    assert json.dumps(journey.shown)
