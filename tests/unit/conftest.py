"""The flow on fakes: a `World` in which a test starts flows, calls back, publishes and sweeps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest

from finch_connect.config import Config, read
from finch_connect.domain.flow import ConnectMode, Flow, Status
from finch_connect.domain.grant import Grant
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import flow_id_of, state_of
from finch_connect.flow.binding import CallbackRequest
from finch_connect.flow.callback import Answer, callback
from finch_connect.flow.outbox import publish
from finch_connect.flow.ports import CallbackPorts, ConnectPorts, QuarantinePorts, RelayPorts, SweeperPorts
from finch_connect.flow.start import Browser, Redirect, StartAnswer, start
from finch_connect.flow.sweep import sweep
from tests import fake_finch, fakes, operator_fakes

ENVIRONMENT = {
    "STAGE": "dev",
    "TABLE_NAME": "flows",
    "BUS_NAME": "finch-connect-dev",
    "LINK_KEY_SECRET_ARN": "arn:aws:secretsmanager:eu-central-1:000000000000:secret:finch/dev/config/link-key-AbCdEf",
    "CLIENT_CREDENTIALS_SECRET_ARN": "arn:aws:secretsmanager:eu-central-1:000000000000:secret:finch/dev/config/c-AbCdE",
    "FINCH_CLIENT_ID": "client-1",
    "FINCH_API_URL": "https://api.example.com",
    "FINCH_CONNECT_URL": "https://connect.example.com",
    "FINCH_API_VERSION": "2020-09-17",
    "CONNECT_MODE": "static",
    "STATELESS_CALLBACKS": "on",
    "LINK_POLICY": "signed",
    "ALLOWED_PRODUCTS": "company directory individual",
    "ALLOWED_CLIENT_TYPES": "production sandbox",
    "ALLOWED_RETURN_URLS": "https://app.example.com/hr",
    "LINK_MAX_LIFETIME_SECONDS": "604800",
    "STATE_LIFETIME_SECONDS": "86400",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/dead-letters",
    "REQUEST_BUDGET_SECONDS": "27",
    "CALL_TIMEOUT_SECONDS": "3",
    "PUBLIC_URL": "https://connect.team.example.com",
}
REDIRECT_URI = "https://connect.team.example.com/callback"
CONNECTION = "3f0c9f3e-0000-4000-8000-000000000001"
SECRET_NAME = f"finch/dev/connections/{CONNECTION}"
GRANT = Grant(
    access_token=Secret("token-1"),
    finch_request_id="request-1",
    connection_id=CONNECTION,
    provider_id="gusto",
    client_type="sandbox",
    connection_type="provider",
    products=("company", "directory"),
)


@dataclass
class World:
    """A stack on fakes, and the steps that a test takes with it."""

    config: Config = field(default_factory=lambda: read(ENVIRONMENT))
    clock: fakes.FakeClock = field(default_factory=fakes.FakeClock)
    random: fakes.FakeRandom = field(default_factory=fakes.FakeRandom)
    table: fakes.FakeFlowTable = field(default_factory=fakes.FakeFlowTable)
    vault: fakes.FakeVault = field(default_factory=fakes.FakeVault)
    fallback: fakes.FakeFallback = field(default_factory=fakes.FakeFallback)
    keys: fakes.FakeLinkKeys = field(default_factory=fakes.FakeLinkKeys)
    client_secrets: fakes.FakeClientSecrets = field(default_factory=fakes.FakeClientSecrets)
    finch: fake_finch.FakeFinch = field(default_factory=lambda: fake_finch.FakeFinch([GRANT]))
    sessions: fake_finch.FakeSessions = field(default_factory=fake_finch.FakeSessions)
    bus: fakes.FakeBus = field(default_factory=fakes.FakeBus)
    dead_letters: fakes.FakeDeadLetters = field(default_factory=fakes.FakeDeadLetters)
    deadline: fakes.FakeDeadline = field(default_factory=fakes.FakeDeadline)
    sweep_seconds: float = 200.0

    def __post_init__(self) -> None:
        self.quarantine = operator_fakes.FakeQuarantine(self.vault, self.config.names)
        self.owners = operator_fakes.FakeOwners(self.table)

    def request(self, customer: str = "acme", link: str = "link-1", **claims: object) -> LinkRequest:
        """Return the request of a link that expires in ten minutes. `claims` are fields of LinkRequest."""
        expires = int(self.clock().timestamp()) + 600
        request = LinkRequest(customer, link, expires, confirm=False, products=("company", "directory"))
        return dataclasses.replace(request, **claims)  # type: ignore[arg-type]

    def start(self, request: LinkRequest, cookie: Secret | None = None) -> StartAnswer:
        """Open a link in a browser with this cookie, or without one."""
        browser = Browser(cookie=cookie, form_cookie=None, form_nonce=None, confirmed=False)
        return start(request, browser, REDIRECT_URI, self.connect_ports, self.config)

    def confirm(
        self, request: LinkRequest, form_cookie: Secret, form_nonce: Secret, cookie: Secret | None = None
    ) -> StartAnswer:
        """Send the confirm page's form."""
        browser = Browser(cookie=cookie, form_cookie=form_cookie, form_nonce=form_nonce, confirmed=True)
        return start(request, browser, REDIRECT_URI, self.connect_ports, self.config)

    def started(self, customer: str = "acme", link: str = "link-1", **claims: object) -> Redirect:
        """Start a flow and return the redirect to Finch."""
        answer = self.start(self.request(customer, link, **claims))
        assert isinstance(answer, Redirect)
        return answer

    def callback_request(
        self, redirect: Redirect, code: str | None = "code-1", error: str | None = None
    ) -> CallbackRequest:
        """Return the callback of the browser that was redirected, with its cookie and its state."""
        return CallbackRequest(
            state=state_of(redirect.cookie, redirect.flow_id),
            code=Secret(code) if code else None,
            error=error,
            cookies={redirect.flow_id: redirect.cookie},
        )

    def callback(self, request: CallbackRequest) -> Answer:
        """Handle a callback."""
        return callback(request, self.callback_ports, self.config)

    def finish(self, redirect: Redirect, **parameters: str | None) -> Flow:
        """Handle the callback of the browser that was redirected, and return the flow in the answer."""
        return self.callback(self.callback_request(redirect, **parameters)).flow

    def publish(self, flow: Flow) -> Flow:
        """Publish an outcome, as the relay does some milliseconds after the flow has settled."""
        assert publish([flow], self.relay_ports) == []
        return flow

    def sweep(self) -> dict[str, object]:
        """Sweep once and return the counts that are not zero, and the flows that are stuck."""
        done = sweep(self.sweeper_ports, self.config)
        counts = {status.value: done.count_of(status) for status in Status}
        counts |= {"stored": done.stored, "recovered": done.recovered, "published": done.published}
        return {name: value for name, value in {**counts, "stuck": done.stuck}.items() if value}

    def row(self, customer: str = "acme", link: str = "link-1") -> Flow:
        """Return the row of a link's flow."""
        return self.table.flows[flow_id_of(customer, link)]

    @property
    def connect_ports(self) -> ConnectPorts:
        return ConnectPorts(
            flows=self.table,
            keys=self.keys,
            client_secrets=self.client_secrets,
            sessions=self.sessions,
            clock=self.clock,
            random_bytes=self.random,
            deadline=self.deadline,
        )

    @property
    def callback_ports(self) -> CallbackPorts:
        return CallbackPorts(
            flows=self.table,
            connections=self.table,
            vault=self.vault,
            fallback=self.fallback,
            keys=self.keys,
            client_secrets=self.client_secrets,
            finch=self.finch,
            clock=self.clock,
            random_bytes=self.random,
            deadline=self.deadline,
            submit=fakes.submit,
        )

    @property
    def relay_ports(self) -> RelayPorts:
        return RelayPorts(
            flows=self.table,
            connections=self.table,
            bus=self.bus,
            dead_letters=self.dead_letters,
            clock=self.clock,
            read_stream_record=lambda _change: (None, None),
            submit=fakes.submit,
            deadline=self.deadline,
        )

    @property
    def sweeper_ports(self) -> SweeperPorts:
        return SweeperPorts(
            flows=self.table,
            connections=self.table,
            vault=self.vault,
            fallback=self.fallback,
            bus=self.bus,
            clock=self.clock,
            submit=fakes.submit,
            deadline=fakes.FakeDeadline(self.sweep_seconds),
        )

    @property
    def quarantine_ports(self) -> QuarantinePorts:
        return QuarantinePorts(
            flows=self.table,
            connections=self.table,
            owners=self.owners,
            vault=self.vault,
            quarantine=self.quarantine,
            clock=self.clock,
        )


@pytest.fixture
def world() -> World:
    """A stack whose services all work."""
    return World()


@pytest.fixture
def session_world(world: World) -> World:
    """A stack in session mode."""
    world.config = dataclasses.replace(world.config, connect_mode=ConnectMode.SESSION)
    return world
