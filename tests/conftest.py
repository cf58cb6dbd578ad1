"""One emulator with one deployment of each form of the redirect, shared by all tests that need the real stack."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest
from moto import mock_aws

from cli.waiting import wait_for
from finch_connect.adapters.items import flow_of
from finch_connect.domain.flow import Flow
from finch_connect.domain.states import flow_id_of
from local.browser import Browser, Page
from local.engine import LocalStack, RunningStack
from local.engine.emulator import REGION
from local.simulator import Simulator
from local.simulator.person import approve, deny
from tests.canary import CANARIES, CLIENT_SECRET, CUSTOMER_EMAIL, CUSTOMER_NAME, Visitor
from tests.contracts import validate_event

pytest_plugins = ["tests.chromium"]

CLIENT_ID = "client-e2e"
TIMEOUT_SECONDS = 60.0

_DEPLOYED = {"local_stack", "harnesses", "faulty_harness"}
"""The fixtures that start an emulator: the one of this file, that of the faults and that of the load."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses a deployed stack, so that `pytest -m stack` and `-m "not stack"` select by it."""
    for item in items:
        if isinstance(item, pytest.Function) and not _DEPLOYED.isdisjoint(item.fixturenames):
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="session")
def local_stack() -> Iterator[LocalStack]:
    """The emulator with the built template. The functions' roles are enforced."""
    with LocalStack.start(auth=True) as running:
        yield running


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An in-memory AWS account, whatever account and endpoint the caller's environment names."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield


@pytest.fixture
def emulated_aws(monkeypatch: pytest.MonkeyPatch, local_stack: LocalStack) -> None:
    """Environment variables of an operator whose AWS account is the emulator."""
    account = {
        "ENDPOINT_URL": local_stack.endpoint_url,
        "DEFAULT_REGION": REGION,
        "ACCESS_KEY_ID": "test",
        "SECRET_ACCESS_KEY": "test",
    }
    for name, content in account.items():
        monkeypatch.setenv(f"AWS_{name}", content)


@pytest.fixture(scope="session")
def finch_server() -> Iterator[Simulator]:
    """The simulated Finch."""
    with Simulator(client_id=CLIENT_ID, client_secret=CLIENT_SECRET) as finch:
        yield finch


@pytest.fixture
def finch(finch_server: Simulator) -> Iterator[Simulator]:
    """The simulated Finch, as if it had just started. After the test, its tokens are added to the canaries."""
    finch_server.forget()
    finch_server.client_secret = CLIENT_SECRET
    yield finch_server
    for token in finch_server.store.tokens:
        CANARIES.add("token", token)


def deployed(local_stack: LocalStack, finch: Simulator, stage: str, mode: str, **more: str) -> RunningStack:
    """Deploy a separate stack that uses the simulated Finch."""
    stack = local_stack.deploy(
        stage=stage,
        client_secret=CLIENT_SECRET,
        parameters=lambda url: {
            **finch.parameters,
            "ConnectMode": mode,
            "LogLevel": "DEBUG",  # most is logged here, so leaks into the logs are found
            "AllowedProducts": "company directory individual",
            "AllowedReturnUrls": f"{url}/connected",
            **more,
        },
    )
    finch.redirect_uris.add(f"{stack.public_url}/callback")
    return stack


@pytest.fixture(scope="session")
def static_stack(local_stack: LocalStack, finch_server: Simulator) -> RunningStack:
    """A deployment that uses the static form of the redirect."""
    return deployed(local_stack, finch_server, "local", "static")


@pytest.fixture(scope="session")
def session_stack(local_stack: LocalStack, finch_server: Simulator) -> RunningStack:
    """A deployment that uses the session form, from the same build and in the same emulator."""
    return deployed(local_stack, finch_server, "session", "session")


@pytest.fixture(params=["static", "session"])
def stack(request: pytest.FixtureRequest, local_stack: LocalStack) -> RunningStack:
    """The stack of each form of the redirect: the test runs once with each.

    `local_stack` is named because pytest does not see what a fixture asks for at run time, and marks tests by it.
    """
    running: RunningStack = request.getfixturevalue(f"{request.param}_stack")
    return running


@dataclass
class Customer:
    """A customer with one link and one browser. Every test has its own customers."""

    stack: RunningStack
    finch: Simulator
    customer_id: str = field(default_factory=lambda: f"acme-{uuid.uuid4().hex[:8]}")
    link_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    browser: Browser = field(default_factory=Visitor)
    claims: dict[str, Any] = field(default_factory=dict)
    provider: str = "gusto"
    username: str = "smallco"

    @property
    def flow_id(self) -> str:
        """The id of the link's flow."""
        return flow_id_of(self.customer_id, self.link_id)

    def link(self, **claims: Any) -> str:
        """Return the link's URL, signed as a team's backend signs it. A claim of None is left out."""
        kid, key = self.stack.link_key()
        now = int(time.time())
        content: dict[str, Any] = {
            "aud": "finch-connect",
            "sub": self.customer_id,
            "jti": self.link_id,
            "iat": now,
            "exp": now + 600,
            "customer_name": CUSTOMER_NAME,
            "customer_email": CUSTOMER_EMAIL,
            "return_url": f"{self.stack.public_url}/connected",
            "nonce": "nonce-1",
            "metadata": {"plan": "gold"},
            **self.claims,
            **claims,
        }
        present = {name: value for name, value in content.items() if value is not None}
        signed = jwt.encode(present, key, algorithm="HS256", headers={"kid": kid})
        return f"{self.stack.public_url}/connect?link={signed}"

    def start(self, **claims: Any) -> str:
        """Open the link. Return the URL at Finch that it redirects to."""
        page = self.browser.get(self.link(**claims))
        assert page.status == 303, page.text
        assert page.location is not None
        return page.location

    def approved(self, **claims: Any) -> str:
        """Open the link and approve at Finch. Return the callback's URL, not yet opened."""
        return self.approve(self.start(**claims))

    def approve(self, authorize_url: str) -> str:
        """Approve at Finch. Return the callback's URL, not yet opened."""
        return approve(Browser(), authorize_url, username=self.username, provider=self.provider)

    def denied(self) -> str:
        """Open the link and refuse at Finch. Return the callback's URL, not yet opened."""
        return deny(Browser(), self.start())

    def come_back(self, callback: str, **headers: str) -> Page:
        """Open the callback's URL."""
        return self.browser.get(callback, headers)

    def connect(self) -> dict[str, Any]:
        """Connect from the link to the callback. Return the receipt's claims."""
        return self.receipt(self.come_back(self.approved()))

    def receipt(self, page: Page) -> dict[str, Any]:
        """Verify a redirect's receipt as a team's backend does. Return its claims."""
        assert page.status == 303, page.text
        assert page.location is not None
        kid, key = self.stack.link_key()
        receipt = page.location.partition("finch_receipt=")[2]
        assert jwt.get_unverified_header(receipt) == {"alg": "HS256", "typ": "finch-receipt+jwt", "kid": kid}
        claims: dict[str, Any] = jwt.decode(
            receipt, key, algorithms=["HS256"], audience="finch-receipt", issuer=self.stack.public_url
        )
        return claims

    def row(self) -> Flow | None:
        """Return the flow's row, or None."""
        key = {"id": {"S": f"flow#{self.flow_id}"}}
        table = self.stack.outputs["TableName"]
        item = self.stack.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
        return flow_of(item) if item else None

    def status(self) -> str:
        """Return the row's status, or `none` without a row."""
        row = self.row()
        return row.status.value if row else "none"


class Inbox:
    """The consumer's queue, which all tests share. Each event is validated against its contract."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self.events: list[dict[str, Any]] = []

    def of(self, customer: Customer) -> list[dict[str, Any]]:
        """Return the events of this customer's flow that have arrived."""
        for event in self._stack.received():
            validate_event(event)
            self.events.append(event)
        return [event for event in self.events if event["detail"]["flow_id"] == customer.flow_id]

    def wait_for(self, customer: Customer, number: int = 1) -> list[dict[str, Any]]:
        """Wait until that many events of the customer's flow have arrived, and return them."""
        wait_for(
            lambda: len(self.of(customer)) >= number,
            timeout=TIMEOUT_SECONDS,
            problem=lambda: f"expected {number} events, received {self.of(customer)}",
        )
        return self.of(customer)

    def distinct(self, customer: Customer, number: int) -> list[dict[str, Any]]:
        """Wait until that many different events have arrived, and return each once: an event may come again."""

        def received() -> dict[str, dict[str, Any]]:
            found: dict[str, dict[str, Any]] = {}
            for event in self.of(customer):
                found.setdefault(event["detail"]["event_id"], event)
            return found

        wait_for(
            lambda: len(received()) >= number,
            timeout=TIMEOUT_SECONDS,
            problem=lambda: f"expected {number} different events, received {self.of(customer)}",
        )
        return list(received().values())


_inboxes: dict[str, Inbox] = {}


@pytest.fixture
def inbox(stack: RunningStack) -> Inbox:
    """The consumer's queue of the stack."""
    return _inboxes.setdefault(stack.queue_url, Inbox(stack))


@pytest.fixture
def a_customer(stack: RunningStack, finch: Simulator) -> Callable[..., Customer]:
    """Return a function that makes customers of the stack."""
    return lambda **facts: Customer(stack, finch, **facts)


@pytest.fixture
def customer(a_customer: Callable[..., Customer]) -> Customer:
    """One customer."""
    return a_customer()


def query_of(callback: str) -> dict[str, str]:
    """Return a URL's query parameters."""
    return dict(parse_qsl(urlsplit(callback).query))


def secret_versions(stack: RunningStack, arn_or_name: str) -> int:
    """Return the number of versions of a secret: 0 if it does not exist."""
    client = stack.client("secretsmanager")
    try:
        return len(client.list_secret_version_ids(SecretId=arn_or_name, IncludeDeprecated=True)["Versions"])
    except client.exceptions.ResourceNotFoundException:
        return 0


def secret_content(stack: RunningStack, arn_or_name: str) -> dict[str, Any]:
    """Read a secret, as a consumer does."""
    content = stack.client("secretsmanager").get_secret_value(SecretId=arn_or_name)["SecretString"]
    return dict(json.loads(content))
