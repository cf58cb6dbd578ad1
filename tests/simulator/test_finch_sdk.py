"""Finch's own Python SDK works with the simulator, with strict response validation."""

from __future__ import annotations

from collections.abc import Iterator

import finch as finch_sdk
import pytest
from finch import Finch

from local.browser import Browser
from local.simulator import Simulator
from local.simulator.person import approve
from local.simulator.store import AuthorizationRequest

REDIRECT_URI = "http://localhost:3000/callback"
AUTHORIZATION = AuthorizationRequest(REDIRECT_URI, ("company", "directory"), None)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """A simulated Finch."""
    with Simulator(redirect_uris=[REDIRECT_URI]) as running:
        yield running


@pytest.fixture
def sdk(simulator: Simulator) -> Iterator[Finch]:
    """The SDK, configured as in an application."""
    simulator.forget()
    with Finch(
        base_url=simulator.url,
        client_id=simulator.client_id,
        client_secret=simulator.client_secret,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


def token_of(sdk: Finch, simulator: Simulator) -> str:
    code = simulator.store.connect(AUTHORIZATION, "gusto", "smallco")
    return sdk.access_tokens.create(code=code, redirect_uri=REDIRECT_URI).access_token


def test_a_code_is_exchanged(sdk: Finch, simulator: Simulator) -> None:
    """access_tokens.create accepts every field of the response in its type."""
    code = simulator.store.connect(AUTHORIZATION, "gusto", "smallco")
    answer = sdk.access_tokens.create(code=code, redirect_uri=REDIRECT_URI)
    assert (answer.provider_id, answer.client_type, answer.connection_type) == ("gusto", "sandbox", "provider")
    assert answer.products == ["company", "directory"]
    assert answer.connection_id in simulator.store.connections


def test_a_used_code_is_refused(sdk: Finch, simulator: Simulator) -> None:
    """The SDK raises its exception for 400."""
    code = simulator.store.connect(AUTHORIZATION, "gusto", "smallco")
    sdk.access_tokens.create(code=code, redirect_uri=REDIRECT_URI)
    with pytest.raises(finch_sdk.BadRequestError) as caught:
        sdk.access_tokens.create(code=code, redirect_uri=REDIRECT_URI)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["name"] == "invalid_grant_error"


def test_wrong_credentials_are_refused(sdk: Finch) -> None:
    """The SDK raises its exception for 401."""
    with pytest.raises(finch_sdk.AuthenticationError):
        sdk.access_tokens.create(code="c", redirect_uri=REDIRECT_URI, client_secret="wrong")


def test_a_token_is_introspected(sdk: Finch, simulator: Simulator) -> None:
    """account.introspect returns the token's connection."""
    code = simulator.store.connect(AUTHORIZATION, "gusto", "smallco")
    answer = sdk.access_tokens.create(code=code, redirect_uri=REDIRECT_URI)
    introspected = sdk.copy(access_token=answer.access_token).account.introspect()
    assert introspected.connection_id == answer.connection_id
    assert introspected.provider_id == "gusto"


def test_a_connection_is_disconnected_with_all_its_tokens(sdk: Finch, simulator: Simulator) -> None:
    """After account.disconnect, another token of the connection is refused too."""
    first, second = token_of(sdk, simulator), token_of(sdk, simulator)
    assert sdk.copy(access_token=first).account.disconnect().status == "success"
    with pytest.raises(finch_sdk.AuthenticationError):
        sdk.copy(access_token=second).account.introspect()


def test_a_session_is_opened_and_used(sdk: Finch, simulator: Simulator) -> None:
    """After connect.sessions.new, the person's approval and the exchange, the response names the customer."""
    session = sdk.connect.sessions.new(
        customer_id="acme",
        customer_name="Acme Inc",
        products=["company", "directory"],
        redirect_uri=REDIRECT_URI,
        sandbox="finch",
        minutes_to_expire=60,
        integration={"provider": "gusto", "auth_method": "credential"},
    )
    callback = approve(Browser(), session.connect_url)
    code = callback.partition("code=")[2].partition("&")[0]
    answer = sdk.access_tokens.create(code=code, redirect_uri=REDIRECT_URI)
    assert (answer.customer_id, answer.customer_name) == ("acme", "Acme Inc")


def test_a_connected_customer_reauthenticates(sdk: Finch, simulator: Simulator) -> None:
    """connect.sessions.new is refused and names the connection. connect.sessions.reauthenticate renews it."""
    authorization = AuthorizationRequest(REDIRECT_URI, ("company",), None, customer_id="acme", customer_name="Acme Inc")
    simulator.store.connect(authorization, "gusto", "smallco")
    with pytest.raises(finch_sdk.BadRequestError) as caught:
        sdk.connect.sessions.new(customer_id="acme", customer_name="Acme Inc", products=["company"])
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["finch_code"] == "connection_already_exists"
    known = caught.value.body["context"]["connection_id"]
    session = sdk.connect.sessions.reauthenticate(connection_id=known, redirect_uri=REDIRECT_URI)
    callback = approve(Browser(), session.connect_url)
    code = callback.partition("code=")[2].partition("&")[0]
    assert sdk.access_tokens.create(code=code, redirect_uri=REDIRECT_URI).connection_id == known


def test_the_sample_data_needs_a_token(sdk: Finch, simulator: Simulator) -> None:
    """So a consumer can see that the token it read from the vault works."""
    assert sdk.copy(access_token=token_of(sdk, simulator)).hris.company.retrieve().legal_name == "Smallco, Inc."
    with pytest.raises(finch_sdk.AuthenticationError):
        sdk.copy(access_token="made-up").hris.company.retrieve()
