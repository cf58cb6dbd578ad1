"""In-memory implementations of the ports. The ports suite runs on them and on the real adapters."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from finch_connect.domain.connection import LEASE_MS, Connection, Leased, LeaseRefused, StoredSecret
from finch_connect.domain.errors import ServiceUnavailableError
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
from finch_connect.domain.jws import LinkKey
from finch_connect.domain.secret import Secret
from finch_connect.flow.ports import CachedLinkKeys, DeadLetter

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


class Service:
    """A service that a test can take down: while `down` is True, every call raises ServiceUnavailableError."""

    down = False

    def _check(self) -> None:
        if self.down:
            raise ServiceUnavailableError("down_in_this_test")


class FakeClock:
    """A clock that advances only when a test advances it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


class FakeRandom:
    """Random bytes: different in each call, and the same in each run."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, amount: int) -> bytes:
        self._calls += 1
        return hashlib.shake_256(str(self._calls).encode()).digest(amount)


class FakeFlowTable(Service):
    """`ports.FlowTable` and `ports.ConnectionTable` in two dicts."""

    def __init__(self) -> None:
        self.flows: dict[str, Flow] = {}
        self.connections: dict[str, Connection] = {}
        self.settled_calls: list[Flow] = []

    def start(self, flow: Flow, rule: StartRule, *, asked_at: int | None = None) -> Written | NotWritten:
        self._check()
        row = self.flows.get(flow.flow_id)
        allowed = _is_same_start(row, flow)
        if rule is not StartRule.RESUME and not allowed:
            replaceable = RESTARTABLE | ({Status.STARTED} if rule is StartRule.TAKE_OVER else set())
            late = rule is StartRule.TAKE_OVER and row is not None and row.started_at > (asked_at or 0)
            new = row is None or (row.status in replaceable and row.state_hash != flow.state_hash)
            allowed = new and not late
        if not allowed:
            return NotWritten(row)
        return self._write(flow if row is None else flow.replacing(row))

    def claim(
        self, flow_id: str, *, state_hash: str, claim_id: str, code_hash: str | None, now: int
    ) -> Written | NotWritten:
        self._check()
        row = self.flows.get(flow_id)
        if row is None or row.state_hash != state_hash:
            return NotWritten(row)
        repeated = row.status is Status.CLAIMED and row.claim_id == claim_id
        if not repeated and (row.status is not Status.STARTED or row.deadline <= now):
            return NotWritten(row)
        claim = {"claimed_at": now, "claim_id": claim_id, "code_hash": code_hash, "due_at": now + CLAIM_GRACE_MS}
        return self._write(dataclasses.replace(row, status=Status.CLAIMED, **claim))  # type: ignore[arg-type]

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
                searched_at=None,
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

    def mark_searched(self, flow: Flow, *, at: int, due_at: int) -> Written | NotWritten:
        self._check()
        row = self.flows.get(flow.flow_id)
        if row is None or not _unchanged(row, flow, flow.status):
            return NotWritten(row)
        return self._write(dataclasses.replace(row, searched_at=at, due_at=due_at))

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
            free = before.leased_until is None and (before.stored_granted_at or 0) < connection.granted_at
            if before.customer_id != connection.customer_id or not (same or free):
                return LeaseRefused(before)
        stored_granted_at = before.stored_granted_at if before else None
        self.connections[connection.connection_id] = dataclasses.replace(
            connection, leased_until=now + LEASE_MS, stored_granted_at=stored_granted_at
        )
        return Leased(before)

    def end_lease(self, connection_id: str, *, flow_id: str, claimed_at: int, stored: bool) -> None:
        self._check()
        row = self.connections.get(connection_id)
        if row is not None and (row.flow_id, row.claimed_at) == (flow_id, claimed_at):
            newest = row.granted_at if stored else row.stored_granted_at
            self.connections[connection_id] = dataclasses.replace(row, leased_until=None, stored_granted_at=newest)

    def leases(self, now: int) -> Iterator[Connection]:
        self._check()
        leased = [row for row in self.connections.values() if row.leased_until is not None and row.leased_until <= now]
        yield from sorted(leased, key=lambda row: row.leased_until or 0)

    def _write(self, flow: Flow) -> Written:
        self.flows[flow.flow_id] = flow
        return Written(flow)


def _is_same_start(row: Flow | None, flow: Flow) -> bool:
    return row is not None and row.status is Status.STARTED and row.state_hash == flow.state_hash


def _unchanged(row: Flow, read: Flow, was: Status) -> bool:
    fields = ("state_hash", "deadline", "claimed_at")
    return row.status is was and all(getattr(row, name) == getattr(read, name) for name in fields)


class FakeVault(Service):
    """`ports.Vault` in dicts: for each secret's name, its versions in order, and those that were superseded."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Secret]] = {}
        self.superseded: dict[str, dict[str, Secret]] = {}

    def put_superseded(self, name: str, text: Secret, *, version: str) -> None:
        self._check()
        self.superseded.setdefault(name, {})[version] = text

    def put(self, name: str, text: Secret, *, version: str, exists: bool) -> StoredSecret:  # noqa: ARG002  # only a hint
        self._check()
        self.secrets.setdefault(name, {}).setdefault(version, text)
        return self._stored(name, version)

    def find(self, name: str, *, version: str) -> StoredSecret | None:
        self._check()
        found = [known for known in self.secrets.get(name, {}) if known.startswith(version)]
        return self._stored(name, found[-1]) if found else None

    @staticmethod
    def _stored(name: str, version: str) -> StoredSecret:
        return StoredSecret(arn=f"arn:aws:secretsmanager:eu-central-1:000000000000:secret:{name}", version_id=version)


class FakeFallback(Service):
    """`ports.Fallback` in a dict: the document of each attempt."""

    def __init__(self) -> None:
        self.documents: dict[str, Secret] = {}

    def put(self, attempt: str, text: Secret) -> None:
        self._check()
        self.documents[attempt] = text

    def get(self, attempt: str) -> Secret | None:
        self._check()
        return self.documents.get(attempt)

    def delete(self, attempt: str) -> None:
        self._check()
        self.documents.pop(attempt, None)

    def attempts(self) -> Iterator[str]:
        self._check()
        return iter(list(self.documents))


class FakeClientSecrets(Service):
    """`ports.ClientSecrets` with a cached and a current value."""

    def __init__(self, text: str = "client-secret-1") -> None:
        self.cached = Secret(text)
        self.current = Secret(text)

    def read(self, *, fresh: bool = False) -> Secret:
        self._check()
        if fresh:
            self.cached = self.current
        return self.cached


class FakeLinkKeys(Service):
    """`ports.LinkKeys`. The last of `keys` is current, the one before it previous, created at `created` (epoch ms)."""

    def __init__(self) -> None:
        self.keys, self.created = [LinkKey("1", Secret("k" * 64))], 0
        self._cached = CachedLinkKeys((), complete_since=None)

    def current(self) -> LinkKey:
        self._check()
        self._cached = self._cached if self._cached.keys else CachedLinkKeys((self.keys[-1],), complete_since=None)
        return self.keys[-1]

    def cached(self) -> CachedLinkKeys:
        return self._cached

    def refresh(self) -> LinkKey:
        self._check()
        self._cached = CachedLinkKeys(tuple(self.keys[-2:]), self.created if len(self.keys) > 1 else 0)
        return self.keys[-1]

    def find(self, kid: str) -> LinkKey | None:
        self._check()
        return next((key for key in self.keys[-2:] if key.kid == kid), None)


class FakeBus(Service):
    """`ports.Bus`. It refuses flows whose flow id or event id is in `refuses`.

    The metadata of a flow whose id is in `malformed` has its event refused for good.
    """

    def __init__(self) -> None:
        self.published: list[Flow] = []
        self.without_metadata: list[Flow] = []
        self.refuses: set[str] = set()
        self.malformed: set[str] = set()

    def publish(self, flows: Sequence[Flow], *, with_metadata: bool = True) -> Sequence[NotPublished]:
        self._check()
        refused = [flow for flow in flows if self.refuses & {flow.flow_id, flow.event_id}]
        malformed = [flow for flow in flows if with_metadata and flow.metadata and flow.flow_id in self.malformed]
        taken = [flow for flow in flows if flow not in [*refused, *malformed]]
        self.published += taken
        self.without_metadata += [] if with_metadata else taken
        return [
            *(NotPublished(flow, "RefusedInThisTest") for flow in refused),
            *(NotPublished(flow, "MalformedDetail", permanent=True) for flow in malformed if flow not in refused),
        ]


class FakeDeadline:
    """`ports.Deadline` in which no time passes: `seconds` remain."""

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


class FakeDeadLetters(Service):
    """`ports.DeadLetters` in a list."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []

    def put(self, letter: DeadLetter) -> None:
        self._check()
        self.letters.append(letter)


def submit[T](work: Callable[[], T]) -> Future[T]:
    """Run the work at once, in this thread, as `ports.Submit`."""
    future = Future[T]()
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001  # as in an executor, `result` raises it
        future.set_exception(error)
    return future
