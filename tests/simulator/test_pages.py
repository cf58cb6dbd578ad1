"""The pages that a person sees at Finch, over HTTP, and the rules of codes and sessions."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from local.browser import Browser
from local.simulator import Simulator
from local.simulator.person import approve, deny
from local.simulator.store import CODE_SECONDS, AuthorizationRequest

REDIRECT_URI = "http://localhost:3000/callback"


class Clock:
    """A clock in epoch seconds that a test moves by hand."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The simulator's clock."""
    return Clock()


@pytest.fixture(scope="module")
def simulator(clock: Clock) -> Iterator[Simulator]:
    """A simulated Finch with the test's clock."""
    with Simulator(redirect_uris=[REDIRECT_URI], clock=clock) as running:
        yield running


def authorize(simulator: Simulator, **changed: str | None) -> str:
    given = {
        "client_id": simulator.client_id,
        "redirect_uri": REDIRECT_URI,
        "products": "company directory",
        "state": "state-1",
        **changed,
    }
    return f"{simulator.url}/authorize?{urlencode({name: value for name, value in given.items() if value is not None})}"


def answers(callback: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(callback).query)


def test_a_person_who_agrees_returns_with_a_code_and_the_state(simulator: Simulator) -> None:
    """The person goes through consent, provider and login."""
    callback = approve(Browser(), authorize(simulator))
    assert callback.startswith(REDIRECT_URI + "?")
    assert answers(callback)["state"] == ["state-1"]
    assert answers(callback)["code"][0] in simulator.store.codes


def test_a_person_who_refuses_returns_without_a_code(simulator: Simulator) -> None:
    """Finch does not document the parameters of a denial, so these are OAuth's."""
    callback = answers(deny(Browser(), authorize(simulator)))
    assert (callback["error"], callback["state"]) == (["access_denied"], ["state-1"])
    assert "code" not in callback


def test_the_consent_page_describes_the_requested_products(simulator: Simulator) -> None:
    """It lists no other product."""
    page = Browser().get(authorize(simulator), follow=True)
    assert "Directory: who works there" in page.text
    assert "Pay statements" not in page.text


def test_a_given_provider_skips_the_choice(simulator: Simulator) -> None:
    """With payroll_provider, consent leads straight to the login."""
    browser = Browser()
    consent = browser.get(authorize(simulator, payroll_provider="gusto")).location
    assert consent is not None
    location = browser.post(consent, {"allow": "yes"}).location
    assert location is not None
    assert location.endswith("/login/gusto")


@pytest.mark.parametrize(("manual", "shown"), [("true", True), ("false", False), (None, False)])
def test_assisted_providers_are_shown_on_request(simulator: Simulator, manual: str | None, shown: bool) -> None:
    """They are shown with manual=true and not otherwise."""
    consent = Browser().get(authorize(simulator, manual=manual)).location
    assert consent is not None
    assert ("(assisted)" in Browser().get(f"{consent}/provider").text) is shown


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "other"},
        {"redirect_uri": "http://localhost:3000/other"},
        {"products": ""},
        {"category": "crm"},
        {"payroll_provider": "unheard-of"},
        {"sandbox": "yes"},
        {"manual": "perhaps"},
    ],
)
def test_a_wrong_parameter_gets_a_page_and_no_redirect(simulator: Simulator, changed: dict[str, str]) -> None:
    """In particular, nobody is redirected to a URL that is not registered."""
    page = Browser().get(authorize(simulator, **changed))
    assert (page.status, page.location) == (400, None)


def test_a_wrong_login_shows_the_login_page_again(simulator: Simulator) -> None:
    """The page says that the login is wrong."""
    consent = Browser().get(authorize(simulator, payroll_provider="gusto")).location
    page = Browser().post(f"{consent}/login/gusto", {"username": "smallco", "password": "wrong"})
    assert (page.status, page.location) == (401, None)
    assert "Please try again" in page.text


def test_a_code_lives_ten_minutes(simulator: Simulator, clock: Clock) -> None:
    """It is valid one second before its end and not at its end."""
    authorization = AuthorizationRequest(REDIRECT_URI, ("company",), None)
    good, late = (simulator.store.connect(authorization, "gusto", "smallco") for _ in range(2))
    clock.now += CODE_SECONDS - 1
    assert simulator.store.redeem(good, REDIRECT_URI) is not None
    clock.now += 1
    assert simulator.store.redeem(late, REDIRECT_URI) is None


def test_a_session_ends_after_its_minutes(simulator: Simulator, clock: Clock) -> None:
    """A session of one minute opens before the minute is over and not after it."""
    session_id = simulator.store.open_session(AuthorizationRequest(REDIRECT_URI, ("company",), None), minutes=1)
    assert Browser().get(f"{simulator.url}/authorize?session={session_id}").status == 302
    clock.now += 60
    assert Browser().get(f"{simulator.url}/authorize?session={session_id}").status == 400


def test_the_same_login_is_the_same_connection_with_another_token(simulator: Simulator) -> None:
    """As Finch documents. Another login is another connection, and older tokens stay valid."""
    authorization = AuthorizationRequest(REDIRECT_URI, ("company",), None)
    tokens = []
    for username in ("smallco", "smallco", "largeco"):
        redeemed = simulator.store.redeem(simulator.store.connect(authorization, "rippling", username), REDIRECT_URI)
        assert redeemed is not None
        tokens.append(redeemed[0])
    connections = [simulator.store.connection_of(token) for token in tokens]
    assert connections[0] == connections[1] != connections[2]
    assert len(set(tokens)) == 3


def test_an_exchange_must_be_json_with_an_api_version(simulator: Simulator) -> None:
    """A form-encoded exchange or one without Finch-API-Version is refused; other integrations made both mistakes."""
    url = f"{simulator.url}/auth/token"
    assert requests.post(url, data={"code": "x"}, timeout=5).json()["name"] == "bad_request"
    assert requests.post(url, json={"code": "x"}, timeout=5).status_code == 400
    answer = requests.post(url, json={"code": "x"}, headers={"Finch-API-Version": "2020-09-17"}, timeout=5)
    assert (answer.status_code, answer.json()["name"]) == (401, "invalid_request_error")
    assert answer.headers["Finch-Request-Id"]


def test_faults_can_be_turned_on_with_curl(simulator: Simulator) -> None:
    """For a person who wants to see what a customer sees. An unknown kind is refused."""
    control = f"{simulator.url}/_simulator/faults"
    assert requests.post(control, json={"kind": "error", "status": 503}, timeout=5).status_code == 200
    assert requests.post(f"{simulator.url}/auth/token", json={}, timeout=5).status_code == 503
    unknown = requests.post(control, json={"kind": "magic"}, timeout=5)
    assert unknown.status_code == 400
    assert "no such fault" in unknown.json()["error"]
    assert requests.delete(control, timeout=5).status_code == 200
