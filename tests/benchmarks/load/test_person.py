"""The people of a load run do what the pages say, and not for ever."""

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
ONE_MOMENT: Answer = (202, {"Refresh": "2"}, "")


class Stack(Server):
    """A stack that answers what it is shown to, by route, the last answer for ever."""

    def __init__(self) -> None:
        super().__init__("stack", 0, self._wsgi)
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str]] = []

    def _wsgi(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        route = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
        self.asked.append((route, body))
        answers = self.answers[route]
        status, headers, text = answers.pop(0) if len(answers) > 1 else answers[0]
        start_response(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
        return [text.encode()]


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A stack of our own."""
    with Stack() as running:
        yield running


@pytest.fixture
def finch(stack: Stack) -> Iterator[Simulator]:
    """The simulated Finch, and a stack that leads there and comes back well."""
    with Simulator(redirect_uris=[f"{stack.url}/callback"]) as running:
        address = (
            f"{running.url}/authorize?client_id={running.client_id}&redirect_uri={stack.url}/callback&products=company"
        )
        stack.answers = {"GET /connect": [(303, {"Location": address}, "")], "GET /callback": [receipt(stack)]}
        yield running


def receipt(stack: Stack, status: str = "connected", customer_id: str = "acme") -> Answer:
    claims = {"aud": "finch-receipt", "iss": stack.url, "sub": customer_id, "iat": 1, "exp": 2**40, "jti": "event-1"}
    signed = jwt.encode({**claims, "status": status}, KEY, headers={"typ": "finch-receipt+jwt"})
    return 303, {"Location": f"{stack.url}/connected?finch_receipt={signed}"}, ""


def go(stack: Stack, intent: Intent = Intent.CONNECT) -> tuple[Journey, list[float]]:
    """Send a person, who waits in no time; return the journey and the waits."""
    waits: list[float] = []
    customer = Customer("acme", "link-1", f"{stack.url}/connect?link=x", "smallco+1", intent)
    return Person(customer, key=KEY, issuer=stack.url, pause=waits.append).go(), waits


def test_a_person_is_shown_what_the_receipt_says(stack: Stack, finch: Simulator) -> None:
    """Verified, as the team's backend does."""
    journey, waits = go(stack)
    assert (journey.shown, journey.opened, journey.tries, waits) == (Shown.CONNECTED, True, 0, [])
    assert journey.seconds.keys() == {"link", "finch", "callback"}


def test_a_person_presses_the_button_where_the_link_asks_first(stack: Stack, finch: Simulator) -> None:
    """With the form's hidden fields as they are meant."""
    stack.answers["POST /connect"] = stack.answers["GET /connect"]
    stack.answers["GET /connect"] = [CONFIRM]
    assert go(stack)[0].shown is Shown.CONNECTED
    assert ("POST /connect", "link=a%26b&form_nonce=n") in stack.asked


def test_a_person_waits_as_the_page_says_and_asks_again(stack: Stack, finch: Simulator) -> None:
    """503 says after how long, and the page of a flow that is being finished looks again by itself."""
    stack.answers["GET /callback"] = [TRY_AGAIN, ONE_MOMENT, receipt(stack, "orphaned")]
    journey, waits = go(stack)
    assert (journey.shown, journey.tries, waits) == (Shown.ORPHANED, 2, [5.0, 2.0])


@pytest.mark.parametrize(("page", "shown"), [(TRY_AGAIN, Shown.TRY_AGAIN), (ONE_MOMENT, Shown.BEING_FINISHED)])
def test_a_person_gives_up(stack: Stack, finch: Simulator, page: Answer, shown: Shown) -> None:
    """After a few times, so that a run ends."""
    stack.answers["GET /callback"] = [page]
    journey, waits = go(stack)
    assert (journey.shown, len(waits)) == (shown, MAX_TRIES - 1)
    assert [route for route, _ in stack.asked].count("GET /callback") == MAX_TRIES


def test_a_link_that_never_leads_on_opens_nothing(stack: Stack, finch: Simulator) -> None:
    """So no row is expected of it."""
    stack.answers["GET /connect"] = [TRY_AGAIN]
    journey, _ = go(stack)
    assert (journey.shown, journey.opened) == (Shown.TRY_AGAIN, False)


def test_some_people_decline_and_some_leave(stack: Stack, finch: Simulator) -> None:
    """As people do."""
    go(stack, Intent.DECLINE)
    assert finch.store.codes == {}
    journey, _ = go(stack, Intent.LEAVE)
    assert journey.shown is Shown.NOTHING
    assert [route for route, _ in stack.asked] == ["GET /connect", "GET /callback", "GET /connect"]


def test_a_refusal_is_anything_else(stack: Stack, finch: Simulator) -> None:
    """Nobody here has deserved one."""
    stack.answers["GET /callback"] = [(400, {}, "")]
    assert go(stack)[0].shown is Shown.ANYTHING_ELSE


def test_no_answer_is_said_too(stack: Stack) -> None:
    """A connection that breaks ends one journey, and not the run."""
    stack.answers["GET /connect"] = [(303, {"Location": "http://127.0.0.1:9/authorize"}, "")]
    journey, _ = go(stack)
    assert (journey.shown, journey.opened) == (Shown.NO_ANSWER, True)
    assert json.dumps(journey.shown)
