"""Invariants of the flow: a hypothesis state machine combines browsers, links, clocks, outages and Finch's answers.

It runs the pure flow on the fakes. tests/ports runs the same suite on the fakes and on the real adapters.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from finch_connect.domain.errors import FinchConnectError
from finch_connect.domain.flow import SETTLED, Flow, Status
from finch_connect.domain.grant import Declined, Exchange, Grant, NotSent, Unclear
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import flow_id_of, state_of
from finch_connect.flow.binding import CallbackRequest
from finch_connect.flow.callback import InProgress, Outcome
from finch_connect.flow.outbox import publish, unpublished_outcomes
from finch_connect.flow.start import Browser, Confirm, NotStartable, Redirect, SessionUnavailable, StartAnswer, start
from finch_connect.flow.sweep import sweep
from tests.unit.conftest import GRANT, REDIRECT_URI, World

CUSTOMERS = ("acme", "globex")
BROWSERS = ("phone", "desk", "attacker")
CONNECTIONS = ("3f0c9f3e-0000-4000-8000-000000000001", "3f0c9f3e-0000-4000-8000-000000000002")
PARTS = ("bus", "vault", "fallback", "client_secrets", "keys")


@dataclasses.dataclass(frozen=True)
class Trip:
    """A browser that was redirected to Finch, and the code with which it may return."""

    browser: str
    flow_id: str
    state: Secret
    code: str


class DiedError(BaseException):
    """The function's process ends here, and none of its later steps run."""


class ScriptedFinch:
    """Finch with one scripted answer for each code. A code works once, and every exchange is counted."""

    def __init__(self) -> None:
        self.script: dict[str, Exchange | DiedError] = {}
        self.exchanged: dict[str, int] = {}
        self.issued: dict[str, tuple[str, int]] = {}

    def exchange(self, *, code: Secret, redirect_uri: str, client_secret: Secret, deadline: object) -> Exchange:  # noqa: ARG002  # the code alone selects the answer
        text = code.reveal()
        self.exchanged[text] = self.exchanged.get(text, 0) + 1
        answer = self.script.get(text, Declined("invalid_grant", None))
        if self.exchanged[text] > 1 and not isinstance(answer, NotSent):
            return Declined("invalid_grant", None)
        if isinstance(answer, DiedError):
            raise answer
        if isinstance(answer, Grant):
            token = f"token-{len(self.issued):04}"
            self.issued[token] = (answer.connection_id or "", len(self.issued))
            return dataclasses.replace(answer, access_token=Secret(token))
        return answer

    def introspect(self, grant: Grant, *, deadline: object) -> Grant:  # noqa: ARG002  # never late
        return grant


class FlowMachine(RuleBasedStateMachine):
    """Several people, links and browsers at once; the invariants are checked after each step."""

    trips = Bundle("trips")
    pages = Bundle("pages")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.finch = ScriptedFinch()
        self.world.finch = self.finch  # type: ignore[assignment]  # the same protocol
        self.jar: dict[str, dict[str, Secret]] = {browser: {} for browser in BROWSERS}
        self.links: dict[tuple[str, str], LinkRequest] = {}
        self.codes = 0
        self.exchanges_of: dict[tuple[str, str], int] = {}
        self.owners: dict[str, str] = {}
        self.outcomes: set[str] = set()

    @initialize()
    def begin(self) -> None:
        """Create two links with a lifetime of one hour for each customer; one needs confirmation."""
        for customer in CUSTOMERS:
            for link, confirm in (("link-1", False), ("link-2", True)):
                expires = int(self.world.clock().timestamp()) + 3600
                self.links[customer, link] = LinkRequest(customer, link, expires, confirm, ("company", "directory"))

    def _note(self, row: Flow | None) -> None:
        if row is not None and row.status in SETTLED:
            self.outcomes.add(row.event_id)

    def _relay(self, before: dict[str, Flow]) -> None:
        """Do what the stream does: pass each changed row to the relay. An outage of the bus leaves it unpublished."""
        for flow_id, row in list(self.world.table.flows.items()):
            if before.get(flow_id) != row:
                try:
                    publish(list(unpublished_outcomes(before.get(flow_id), row)), self.world.relay_ports)
                except FinchConnectError:
                    continue

    @rule(
        trip=trips,
        connection=st.sampled_from(CONNECTIONS),
        echo=st.sampled_from([None, "right"]),
        kind=st.sampled_from(["grant"] * 5 + ["unclear", "dies"]),
    )
    def come_back_as_sent(self, trip: Trip, connection: str, echo: str | None, kind: str) -> None:
        """Return with the right code in the right browser, which is the usual case."""
        self.come_back(trip, trip, "its own", "its code", connection, echo, "sandbox", kind)

    @rule(
        trip=trips,
        connection=st.sampled_from(CONNECTIONS),
        step=st.sampled_from(["table.acquire_lease", "table.settle", "vault.put", "fallback.put"]),
        done=st.booleans(),
        vault_down=st.booleans(),
    )
    def come_back_and_die(self, trip: Trip, connection: str, step: str, done: bool, vault_down: bool) -> None:
        """Return as usual, but the function's process ends right before or right after a step."""
        part, _, name = step.partition(".")
        method = getattr(getattr(self.world, part), name)

        def dies(*arguments: object, **named: object) -> object:
            if done:
                method(*arguments, **named)
            raise DiedError

        was_down, self.world.vault.down = self.world.vault.down, vault_down or self.world.vault.down
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(getattr(self.world, part), name, dies)
            self.come_back(trip, trip, "its own", "its code", connection, None, "sandbox", "grant")
        self.world.vault.down = was_down

    def _script_finch(self, trip: Trip, connection: str, echo: str | None, client_type: str, kind: str) -> None:
        if trip.code in self.finch.script and trip.code in self.finch.exchanged:
            return
        owner = self.world.table.flows[trip.flow_id].customer_id
        customer = {"right": owner, "wrong": "somebody else"}.get(echo or "")
        grant = dataclasses.replace(
            GRANT, connection_id=connection, customer_id=customer, client_type=client_type, access_token=Secret("-")
        )
        answers: dict[str, Exchange | DiedError] = {
            "grant": grant,
            "declined": Declined("invalid_grant", "r"),
            "unclear": Unclear("timeout", "r"),
            "not sent": NotSent("unreachable"),
            "dies": DiedError(),
        }
        self.finch.script[trip.code] = answers[kind]

    def _rows(self) -> dict[str, Flow]:
        return dict(self.world.table.flows)

    @rule(
        target=trips,
        customer=st.sampled_from(CUSTOMERS),
        link=st.sampled_from(["link-1", "link-2"]),
        browser=st.sampled_from(BROWSERS),
        confirm=st.booleans(),
    )
    def open_link(self, customer: str, link: str, browser: str, confirm: bool) -> object:  # passed by name
        """Open a link; on the confirm page, confirm or leave."""
        if self.world.keys.down:  # the link cannot be verified
            return multiple()
        self.world.clock.now += timedelta(milliseconds=1)
        before, request = self._rows(), self.links[customer, link]
        flow_id = flow_id_of(customer, link)
        cookie = self.jar[browser].get(flow_id)
        answer = start(
            request,
            Browser(cookie, None, None, confirmed=False),
            REDIRECT_URI,
            self.world.connect_ports,
            self.world.config,
        )
        if isinstance(answer, Confirm):
            assert self._rows() == before, "the confirm page writes nothing"
            if not confirm:
                return multiple()
            form = Browser(cookie, answer.form_cookie, answer.form_nonce, confirmed=True)
            answer = start(request, form, REDIRECT_URI, self.world.connect_ports, self.world.config)
        return self._trip(answer, before, browser, flow_id)

    def _trip(self, answer: StartAnswer, before: dict[str, Flow], browser: str, flow_id: str) -> object:
        if isinstance(answer, NotStartable):
            assert self._rows() == before
            return multiple()
        assert isinstance(answer, Redirect | SessionUnavailable)
        self._relay(before)
        self.jar[browser][flow_id] = answer.cookie
        self.codes += 1
        return Trip(browser, flow_id, state_of(answer.cookie, flow_id), f"code-{self.codes:04}")

    @rule(
        target=pages,
        customer=st.sampled_from(CUSTOMERS),
        link=st.sampled_from(["link-1", "link-2"]),
        browser=st.sampled_from(BROWSERS),
    )
    def keep_page_open(self, customer: str, link: str, browser: str) -> object:
        """Open a link that asks first, and leave its page open."""
        self.world.clock.now += timedelta(milliseconds=1)
        request = dataclasses.replace(self.links[customer, link], confirm=True)
        opened = Browser(None, None, None, confirmed=False)
        answer = start(request, opened, REDIRECT_URI, self.world.connect_ports, self.world.config)
        assert isinstance(answer, Confirm)
        return browser, (customer, link), answer

    @rule(target=trips, page=pages, has_cookie=st.booleans(), presses=st.integers(1, 2))
    def press(self, page: tuple[str, tuple[str, str], Confirm], has_cookie: bool, presses: int) -> object:
        """Press the button of a page that was left open, once or twice, however old it is."""
        if self.world.keys.down:
            return multiple()
        self.world.clock.now += timedelta(milliseconds=1)
        (browser, key, asked), world = page, self.world
        before, cookie = self._rows(), self.jar[browser].get(asked.flow_id) if has_cookie else None
        form = Browser(cookie, asked.form_cookie, asked.form_nonce, confirmed=True)
        answers = [
            start(self.links[key], form, REDIRECT_URI, world.connect_ports, world.config) for _ in range(presses)
        ]
        cookies = [answer.cookie for answer in answers if isinstance(answer, Redirect | SessionUnavailable)]
        assert len(cookies) in {0, presses}, "a second press gets what the first one got"
        assert all(cookie == cookies[0] for cookie in cookies)
        if isinstance(answers[-1], Confirm):
            assert self._rows() == before, "a page that is too old is shown again, and nothing is written"
            return multiple()
        return self._trip(answers[-1], before, browser, asked.flow_id)

    @rule(
        trip=trips,
        other=trips,
        browser=st.sampled_from([*BROWSERS, "its own"]),
        brings=st.sampled_from(["its code", "other code", "no code", "error", "both"]),
        connection=st.sampled_from(CONNECTIONS),
        echo=st.sampled_from([None, "right", "wrong"]),
        client_type=st.sampled_from(["sandbox", "development"]),
        kind=st.sampled_from(["grant", "grant", "declined", "unclear", "not sent", "dies"]),
    )
    def come_back_oddly(self, **how: Any) -> None:
        """Return in any browser with any code, an error, both or neither."""
        self.come_back(**how)

    def come_back(
        self,
        trip: Trip,
        other: Trip,
        browser: str,
        brings: str,
        connection: str,
        echo: str | None,
        client_type: str,
        kind: str,
    ) -> None:
        """Open a trip's callback, in its browser or another, with its code or another's. The same trip may repeat.

        Finch's answer to the trip's code is scripted when the code is first used.
        """
        self._script_finch(trip, connection, echo, client_type, kind)
        who = trip.browser if browser == "its own" else browser
        codes = {"its code": trip.code, "both": trip.code, "other code": other.code}
        code = Secret(codes[brings]) if brings in codes else None
        request = CallbackRequest(
            trip.state, code, "access_denied" if brings in {"error", "both"} else None, self.jar[who]
        )
        before, exchanged = self._rows(), dict(self.finch.exchanged)
        cookie = self.jar[who].get(trip.flow_id)
        has_cookie = cookie is not None and state_of(cookie, trip.flow_id) == trip.state
        row = before.get(trip.flow_id)
        try:
            answer = self.world.callback(request)
        except DiedError:
            assert has_cookie
        except FinchConnectError:
            rows = {flow_id: dataclasses.replace(row, due_at=None) for flow_id, row in self._rows().items()}
            known = {flow_id: dataclasses.replace(row, due_at=None) for flow_id, row in before.items()}
            assert rows == known, "a request that is refused or must be repeated consumes nothing"
        else:
            assert isinstance(answer, Outcome | InProgress), "every request gets exactly one answer"
            assert has_cookie, "a browser never finishes another's flow"
        sent = sum(self.finch.exchanged.values()) - sum(exchanged.values())
        assert sent <= 1
        if sent:
            assert row is not None
            assert has_cookie
            assert row.status is Status.STARTED, "a code is exchanged only after its flow's state is claimed"
            answered = self.finch.script.get(code.reveal()) if code else None
            if not isinstance(answered, NotSent):
                attempt = (trip.flow_id, row.state_hash)
                self.exchanges_of[attempt] = self.exchanges_of.get(attempt, 0) + 1
        self._relay(before)

    @rule(trip=consumes(trips))
    def forget(self, trip: Trip) -> None:
        """Close a tab for good; its browser keeps the cookie."""

    @rule(minutes=st.sampled_from([1, 3, 10, 1500]))
    def time_passes(self, minutes: int) -> None:
        """Advance the clock, beyond grace periods and deadlines as well."""
        self.world.clock.now += timedelta(minutes=minutes)
        for key, request in self.links.items():  # the team signs the same link again with a later expiry
            expires = max(request.expires_at, int(self.world.clock().timestamp()) + 3600)
            self.links[key] = dataclasses.replace(request, expires_at=expires)

    @rule()
    def run_sweeper(self) -> None:
        """Sweep whatever is overdue."""
        before = self._rows()
        sweep(self.world.sweeper_ports, self.world.config)
        self._relay(before)

    @rule(which=st.sampled_from(PARTS), down=st.booleans())
    def outage(self, which: str, down: bool) -> None:  # passed by name
        """Start or end an outage of one AWS service."""
        getattr(self.world, which).down = down

    @invariant()
    def at_most_one_exchange_an_attempt(self) -> None:
        """A repeated callback does not exchange a code again."""
        assert all(number == 1 for number in self.exchanges_of.values())

    @invariant()
    def no_token_outside_vault_and_fallback(self) -> None:
        """No row and no event has a token."""
        seen = repr((self.world.table.flows, self.world.table.connections, self.world.bus.published))
        assert "token-" not in seen

    @invariant()
    def each_connection_has_one_owner_and_its_newest_token(self) -> None:
        """A connection's customer never changes, and its versions in the vault are in the order of the exchanges."""
        for connection_id, connection in self.world.table.connections.items():
            assert self.owners.setdefault(connection_id, connection.customer_id) == connection.customer_id
            versions = self.world.vault.secrets.get(f"finch/dev/connections/{connection_id}", {})
            documents = [json.loads(text.reveal()) for text in versions.values()]
            order = [self.finch.issued[document["access_token"]][1] for document in documents]
            assert order == sorted(order), "an older token never replaces a newer one"
            assert {document["customer_id"] for document in documents} <= {connection.customer_id}

    @invariant()
    def events_are_of_settled_flows_only(self) -> None:
        """Each event is of an outcome that a row really had."""
        for flow in self.world.table.flows.values():
            self._note(flow)
        for flow in self.world.table.settled_calls:
            self._note(flow)
        assert {flow.event_id for flow in self.world.bus.published} <= self.outcomes

    @invariant()
    def each_attempt_has_one_event_id(self) -> None:
        """Consumers deduplicate by the event id, so every delivery of an attempt's outcome must have the same one."""
        event_ids: dict[tuple[str, str], set[str]] = {}
        for flow in self.world.bus.published:
            event_ids.setdefault((flow.flow_id, flow.state_hash), set()).add(flow.event_id)
        assert all(len(ids) == 1 for ids in event_ids.values())

    def teardown(self) -> None:
        """End all outages and run the sweeper: then every flow is settled and published, and no token waits."""
        for part in PARTS:
            getattr(self.world, part).down = False
        for _ in range(4):
            self.world.clock.now += timedelta(days=2)
            sweep(self.world.sweeper_ports, self.world.config)
        published = {flow.event_id for flow in self.world.bus.published}
        rows = self.world.table.flows.values()
        assert all(row.status in SETTLED for row in rows), "nothing is stuck"
        assert all(row.event_id in published for row in rows), "each settled flow is published"
        assert self.world.fallback.documents == {}, "no token waits for ever"
        vaulted = {
            json.loads(text.reveal())["access_token"]
            for versions in self.world.vault.secrets.values()
            for text in versions.values()
        }
        settled = self.world.table.settled_calls
        explained = [flow for flow in settled if flow.reason in {"token_lost", "superseded", "interrupted"}]
        assert len(self.finch.issued.keys() - vaulted) <= len(explained), "a token not in the vault has a row's reason"
        stored = {flow.version_prefix for flow in rows if flow.secret_arn}
        versions = {version[:32] for versions in self.world.vault.secrets.values() for version in versions}
        assert versions <= stored | {flow.version_prefix for flow in settled if flow.reason == "token_lost"}, (
            "none is stray"
        )
        assert all(row.leased_until is None for row in self.world.table.connections.values()), "no lease lasts"


FlowMachine.TestCase.settings = settings(max_examples=2000, stateful_step_count=50, deadline=None, derandomize=True)
TestFlowMachine = FlowMachine.TestCase
