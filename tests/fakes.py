"""Fakes with memory for the ports: small, honest implementations that the ports suite holds to the real adapters."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from finch_connect.domain.connection import LEASE_MS, Connection, Leased, LeaseRefused, StoredSecret
from finch_connect.domain.errors import ServiceUnavailableError, TryAgainError
from finch_connect.domain.flow import (
    CLAIM_GRACE_MS,
    RESTARTABLE,
    Flow,
    NotPublished,
    NotWritten,
    StartRule,
    Status,
    Written,
)
from finch_connect.domain.grant import AlreadyConnected, Exchange, Grant, SessionOpened
from finch_connect.domain.jws import LinkKey
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.domain.secret import Secret
from finch_connect.flow.ports import DeadLetter, Deadline

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


class Down:
    """Something that can be out of order: while `down`, every call raises ServiceUnavailableError."""

    down = False

    def _check(self) -> None:
        if self.down:
            raise ServiceUnavailableError("down_in_this_test")


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


class FakeRandom:
    """Bytes that are different at each call and the same in each run."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, amount: int) -> bytes:
        self._calls += 1
        return hashlib.shake_256(str(self._calls).encode()).digest(amount)


class FakeFlowTable(Down):
    """`ports.FlowTable` and `ports.ConnectionTable` in two dicts."""

    def __init__(self) -> None:
        self.flows: dict[str, Flow] = {}
        self.connections: dict[str, Connection] = {}
        self.settled_calls: list[Flow] = []

    def start(self, flow: Flow, rule: StartRule) -> Written | NotWritten:
        self._check()
        standing = self.flows.get(flow.flow_id)
        if rule is StartRule.RESUME:
            holds = _is_same_start(standing, flow)
        else:
            over = RESTARTABLE | ({Status.STARTED} if rule is StartRule.TAKE_OVER else set())
            holds = standing is None or standing.status in over or _is_same_start(standing, flow)
        if not holds:
            return NotWritten(standing)
        return self._write(flow if standing is None else flow.replacing(standing))

    def claim(
        self, flow_id: str, *, state_hash: str, claim_id: str, code_hash: str | None, now: int
    ) -> Written | NotWritten:
        self._check()
        row = self.flows.get(flow_id)
        if row is None or row.state_hash != state_hash:
            return NotWritten(row)
        again = row.status is Status.CLAIMED and row.claim_id == claim_id
        if not again and (row.status is not Status.STARTED or row.deadline <= now):
            return NotWritten(row)
        facts = {"claimed_at": now, "claim_id": claim_id, "code_hash": code_hash, "due_at": now + CLAIM_GRACE_MS}
        return self._write(dataclasses.replace(row, status=Status.CLAIMED, **facts))  # type: ignore[arg-type]

    def release(self, claimed: Flow) -> Written | NotWritten:
        self._check()
        row = self.flows.get(claimed.flow_id)
        if row is None or not _unchanged(row, claimed, Status.CLAIMED):
            return NotWritten(row)
        return self._write(
            dataclasses.replace(
                row,
                status=Status.STARTED,
                due_at=row.due_at if row.unpublished else row.deadline,
                claimed_at=None,
                claim_id=None,
                code_hash=None,
            )
        )

    def settle(self, settled: Flow, *, was: Status, replaced: Flow | None = None) -> Written | NotWritten:
        self._check()
        row = self.flows.get(settled.flow_id)
        if row is None or not _unchanged(row, settled, was):
            return NotWritten(row)
        if replaced is not None and row.carried != replaced.carried:
            return NotWritten(row)
        self.settled_calls.append(settled)
        unpublished = row.unpublished if replaced is None else row.carried
        return self._write(dataclasses.replace(settled, code_hash=row.code_hash, unpublished=unpublished))

    def mark_published(self, flow: Flow, *, at: int) -> Written | NotWritten:
        self._check()
        row = self.flows.get(flow.flow_id)
        marked = None if row is None else row.published(flow, at=at)
        return NotWritten(row) if marked is None else self._write(marked)

    def postpone(self, started: Flow) -> Written | NotWritten:
        self._check()
        row = self.flows.get(started.flow_id)
        if row != started or started.status is not Status.STARTED:
            return NotWritten(row)
        return self._write(dataclasses.replace(started, due_at=started.deadline))

    def get(self, flow_id: str) -> Flow | None:
        self._check()
        return self.flows.get(flow_id)

    def due(self, now: int) -> Iterator[Flow]:
        self._check()
        overdue = [flow for flow in self.flows.values() if flow.due_at is not None and flow.due_at <= now]
        yield from sorted(overdue, key=lambda flow: flow.due_at or 0)

    def acquire_lease(self, connection: Connection, *, now: int) -> Leased | LeaseRefused:
        self._check()
        before = self.connections.get(connection.connection_id)
        if before is not None:
            same = before.flow_id == connection.flow_id and before.claimed_at <= connection.claimed_at
            free = before.leased_until is None and (before.stored_claim or 0) < connection.claimed_at
            if before.customer_id != connection.customer_id or not (same or free):
                return LeaseRefused(before)
        stored_claim = before.stored_claim if before else None
        self.connections[connection.connection_id] = dataclasses.replace(
            connection, leased_until=now + LEASE_MS, stored_claim=stored_claim
        )
        return Leased(before)

    def end_lease(self, connection_id: str, *, flow_id: str, claimed_at: int, stored: bool) -> None:
        self._check()
        row = self.connections.get(connection_id)
        if row is not None and (row.flow_id, row.claimed_at) == (flow_id, claimed_at):
            newest = claimed_at if stored else row.stored_claim
            self.connections[connection_id] = dataclasses.replace(row, leased_until=None, stored_claim=newest)

    def leases(self, now: int) -> Iterator[Connection]:
        self._check()
        leased = [row for row in self.connections.values() if row.leased_until is not None and row.leased_until <= now]
        yield from sorted(leased, key=lambda row: row.leased_until or 0)

    def _write(self, flow: Flow) -> Written:
        self.flows[flow.flow_id] = flow
        return Written(flow)


def _is_same_start(standing: Flow | None, flow: Flow) -> bool:
    return standing is not None and standing.status is Status.STARTED and standing.state_hash == flow.state_hash


def _unchanged(row: Flow, seen: Flow, was: Status) -> bool:
    facts = ("state_hash", "deadline", "claimed_at")
    return row.status is was and all(getattr(row, name) == getattr(seen, name) for name in facts)


class FakeVault(Down):
    """`ports.Vault`; `secrets` holds every secret's versions in order."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Secret]] = {}

    def put(self, name: str, text: Secret, *, version: str, exists: bool) -> StoredSecret:  # noqa: ARG002  # a hint only
        self._check()
        self.secrets.setdefault(name, {}).setdefault(version, text)
        return self._place(name, version)

    def find(self, name: str, *, version: str) -> StoredSecret | None:
        self._check()
        return self._place(name, version) if version in self.secrets.get(name, {}) else None

    @staticmethod
    def _place(name: str, version: str) -> StoredSecret:
        return StoredSecret(arn=f"arn:aws:secretsmanager:eu-central-1:000000000000:secret:{name}", version_id=version)


class FakeFallback(Down):
    """`ports.Fallback` in a dict."""

    def __init__(self) -> None:
        self.kept: dict[str, Secret] = {}

    def put(self, attempt: str, text: Secret) -> None:
        self._check()
        self.kept[attempt] = text

    def get(self, attempt: str) -> Secret | None:
        self._check()
        return self.kept.get(attempt)

    def delete(self, attempt: str) -> None:
        self._check()
        self.kept.pop(attempt, None)


class FakeClientSecrets(Down):
    """`ports.ClientSecrets`: a cached and a current value."""

    def __init__(self, text: str = "client-secret-1") -> None:
        self.cached = Secret(text)
        self.current = Secret(text)

    def read(self, *, fresh: bool = False) -> Secret:
        self._check()
        if fresh:
            self.cached = self.current
        return self.cached


class FakeLinkKeys(Down):
    """`ports.LinkKeys`: the last of `keys` is the current one."""

    def __init__(self) -> None:
        self.keys = [LinkKey("1", Secret("k" * 64))]

    def current(self) -> LinkKey:
        self._check()
        return self.keys[-1]

    def find(self, kid: str) -> LinkKey | None:
        self._check()
        return next((key for key in self.keys[-2:] if key.kid == kid), None)


@dataclass
class FakeFinch:
    """`ports.Finch`: answers come from `answers` in order, the last one again and again."""

    answers: list[Exchange]
    introspected: Grant | None = None
    exchanges: list[tuple[str, str, str]] = field(default_factory=list)

    def exchange(self, *, code: Secret, redirect_uri: str, client_secret: Secret, deadline: Deadline) -> Exchange:  # noqa: ARG002  # never late
        self.exchanges.append((code.reveal(), redirect_uri, client_secret.reveal()))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def introspect(self, grant: Grant, *, deadline: Deadline) -> Grant:  # noqa: ARG002  # never late
        return self.introspected or grant


class FakeSessions:
    """`ports.FinchSessions`; customers in `connected` already have that connection."""

    def __init__(self) -> None:
        self.connected: dict[str, str] = {}
        self.opened: list[tuple[str, str]] = []
        self.refuses = False
        self.url = "https://connect.example.com/authorize?session=5a8c"

    def open(
        self,
        request: LinkRequest,
        *,
        redirect_uri: str,  # noqa: ARG002  # the same for every session here
        minutes: int,  # noqa: ARG002  # sessions of this fake do not end
        client_secret: Secret,  # noqa: ARG002  # any will do
        deadline: Deadline,  # noqa: ARG002  # never late
    ) -> SessionOpened | AlreadyConnected:
        if self.refuses:
            raise TryAgainError("session_refused")
        if request.customer_id in self.connected:
            return AlreadyConnected(self.connected[request.customer_id])
        self.opened.append(("new", request.customer_id))
        return SessionOpened(self.url)

    def reauthenticate(
        self,
        request: LinkRequest,  # noqa: ARG002  # the connection says it all
        connection_id: str,
        *,
        redirect_uri: str,  # noqa: ARG002
        minutes: int,  # noqa: ARG002
        client_secret: Secret,  # noqa: ARG002
        deadline: Deadline,  # noqa: ARG002
    ) -> SessionOpened:
        self.opened.append(("reauthenticate", connection_id))
        return SessionOpened(self.url)


class FakeBus(Down):
    """`ports.Bus`; a flow whose id, or an outcome whose event's id, is in `refuses` is not taken."""

    def __init__(self) -> None:
        self.published: list[Flow] = []
        self.refuses: set[str] = set()

    def publish(self, flows: Sequence[Flow]) -> Sequence[NotPublished]:
        self._check()
        refused = [flow for flow in flows if self.refuses & {flow.flow_id, flow.event_id}]
        self.published += [flow for flow in flows if flow not in refused]
        return [NotPublished(flow, "RefusedInThisTest") for flow in refused]


class FakeDeadline:
    """`ports.Deadline` with a fixed rest, in seconds."""

    def __init__(self, seconds: float = 25.0) -> None:
        self.seconds = seconds
        self.reserved = 0.0

    def begin(self, seconds: float) -> None:
        self.seconds = seconds

    def remaining(self) -> float:
        return self.seconds - self.reserved

    @contextmanager
    def reserving(self, seconds: float) -> Iterator[None]:
        self.reserved += seconds
        try:
            yield
        finally:
            self.reserved -= seconds


class FakeDeadLetters(Down):
    """`ports.DeadLetters` in a list."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []

    def put(self, letter: DeadLetter) -> None:
        self._check()
        self.letters.append(letter)


def submit[T](work: Callable[[], T]) -> Future[T]:
    """`ports.Submit` that does the work at once, in this thread."""
    future = Future[T]()
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001  # as an executor: raised again by whoever asks for the result
        future.set_exception(error)
    return future
