"""What the flow needs of the outside, as protocols. Adapters implement them, fakes with memory stand in for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from finch_connect.domain.connection import Connection, Leased, LeaseRefused, StoredSecret
from finch_connect.domain.flow import Flow, NotPublished, NotWritten, StartRule, Status, Written
from finch_connect.domain.grant import AlreadyConnected, Exchange, Grant, SessionOpened
from finch_connect.domain.jws import LinkKey
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.domain.secret import Secret

Clock = Callable[[], datetime]
"""Returns now: aware, UTC."""

RandomBytes = Callable[[int], bytes]
"""Returns that many bytes fit for secrets."""


ReadStreamRecord = Callable[[Mapping[str, Any]], tuple[Flow | None, Flow | None]]
"""Reads one change of the table's stream: the flow before and after; None where there is none.

Raises KeyError, TypeError or ValueError for a record that is no row of ours.
"""


class Deadline(Protocol):
    """How long this request may still take: one for all its calls."""

    def begin(self, seconds: float) -> None:
        """Start a request that has so many seconds."""
        ...

    def remaining(self) -> float:
        """Return the seconds that are left, less what is kept; 0 or less when there are none."""
        ...

    def reserving(self, seconds: float) -> AbstractContextManager[None]:
        """Within this block that much is kept for what has to follow."""
        ...


class FlowTable(Protocol):
    """The flows' rows. Every write is conditional and says which row stood against it.

    Each method raises ServiceUnavailableError when the table does not answer.
    """

    def start(self, flow: Flow, rule: StartRule) -> Written | NotWritten:
        """Put a `started` row if the rule allows it over what is there."""
        ...

    def claim(
        self, flow_id: str, *, state_hash: str, claim_id: str, code_hash: str | None, now: int
    ) -> Written | NotWritten:
        """Take `started -> claimed`, once: same state, deadline after `now` (epoch ms).

        `claim_id` is this request's own, so that a claim whose answer was lost is known again.
        """
        ...

    def release(self, claimed: Flow) -> Written | NotWritten:
        """Take this claim back to `started`: nothing of its code was sent."""
        ...

    def settle(self, settled: Flow, *, was: Status) -> Written | NotWritten:
        """Write an outcome over a row that is still what was read: attempt, claim, deadline, and status `was`."""
        ...

    def mark_published(self, flow: Flow, *, at: int) -> Written | NotWritten:
        """Note that this outcome was told to the bus (`at` epoch ms) if the row still is this attempt's outcome."""
        ...

    def get(self, flow_id: str) -> Flow | None:
        """Read one row, consistently."""
        ...

    def due(self, now: int) -> Iterator[Flow]:
        """Yield the rows whose `due_at` (epoch ms) has passed, the most overdue first, reading on as it goes.

        A row that is none of ours raises KeyError, TypeError or ValueError in its turn; the next turn goes on.
        """
        ...


class ConnectionTable(Protocol):
    """Who owns a connection. Raises ServiceUnavailableError when the table does not answer."""

    def acquire_lease(self, connection: Connection, *, now: int) -> Leased | LeaseRefused:
        """Write the owner and lease the row to this claim (`now`: epoch ms), again or for the first time.

        Only if there is no row, or it is the same customer's, leased to no other claim and without a newer token.
        """
        ...

    def end_lease(self, connection_id: str, *, flow_id: str, claimed_at: int, stored: bool) -> None:
        """Let others store again, if the row still is this claim's; `stored`: its token is in the vault."""
        ...

    def leases(self, now: int) -> Iterator[Connection]:
        """Yield the rows whose lease has passed (`now`: epoch ms): what holds them may have died."""
        ...


class Vault(Protocol):
    """Where tokens live. Nothing here can read one back."""

    def put(self, name: str, text: Secret, *, version: str, exists: bool) -> StoredSecret:
        """Store `text` as the current version of secret `name`; the same `version` (32-64 characters) again is one.

        `exists` is a hint that saves a round trip; a wrong one is harmless. Raises ServiceUnavailableError.
        """
        ...

    def find(self, name: str, *, version: str) -> StoredSecret | None:
        """Return where a version was stored, None if it was not. Raises ServiceUnavailableError."""
        ...


class Fallback(Protocol):
    """Where a token waits while the vault is away, by attempt. Each method raises ServiceUnavailableError."""

    def put(self, attempt: str, text: Secret) -> None:
        """Keep the text under this attempt of a flow; again is the same."""
        ...

    def get(self, attempt: str) -> Secret | None:
        """Return what is kept, or None."""
        ...

    def delete(self, attempt: str) -> None:
        """Forget it; also when it is not there."""
        ...


class ClientSecrets(Protocol):
    """Finch's client secret."""

    def read(self, *, fresh: bool = False) -> Secret:
        """Return it; `fresh` skips the cache. Raises ServiceUnavailableError."""
        ...


class LinkKeys(Protocol):
    """The keys that sign links and receipts. Each method raises ServiceUnavailableError."""

    def current(self) -> LinkKey:
        """Return the key that signs now."""
        ...

    def find(self, kid: str) -> LinkKey | None:
        """Return the current or previous key of that name, or None."""
        ...


class Finch(Protocol):
    """Finch's API, the part the callback needs."""

    def exchange(self, *, code: Secret, redirect_uri: str, client_secret: Secret, deadline: Deadline) -> Exchange:
        """Exchange an authorization code, once: a code that may have been processed is never posted again."""
        ...

    def introspect(self, grant: Grant, *, deadline: Deadline) -> Grant:
        """Return the grant with what `/introspect` adds; unchanged when it does not answer."""
        ...


class FinchSessions(Protocol):
    """Connect sessions (the newer form of the redirect). Each method raises TryAgainError when Finch refuses."""

    def open(
        self, request: LinkRequest, *, redirect_uri: str, minutes: int, client_secret: Secret, deadline: Deadline
    ) -> SessionOpened | AlreadyConnected:
        """Open a session for a new connection, living that many minutes."""
        ...

    def reauthenticate(
        self,
        request: LinkRequest,
        connection_id: str,
        *,
        redirect_uri: str,
        minutes: int,
        client_secret: Secret,
        deadline: Deadline,
    ) -> SessionOpened:
        """Open a session that renews an existing connection."""
        ...


EVENTS_AT_ONCE = 10
"""The bus takes as many in one call (AWS: PutEvents)."""


class Bus(Protocol):
    """The event bus."""

    def publish(self, flows: Sequence[Flow]) -> Sequence[NotPublished]:
        """Publish one event per flow and return those the bus did not take. Raises ServiceUnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something that can never be told, for a person to look at: where it stands in the stream, its key, and why."""

    sequence_number: str
    key: str
    reason: str


class DeadLetters(Protocol):
    """Where the relay puts what it can never tell."""

    def put(self, letter: DeadLetter) -> None:
        """Put a letter into the queue. Raises ServiceUnavailableError."""
        ...


class Submit(Protocol):
    """Runs a callable in another thread, as an executor's `submit` does."""

    def __call__[T](self, work: Callable[[], T], /) -> Future[T]:
        """Start the work and return at once."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectPorts:
    """What `GET /connect` and the confirm form need; `sessions` in the session form alone."""

    flows: FlowTable
    keys: LinkKeys
    client_secrets: ClientSecrets
    sessions: FinchSessions | None
    clock: Clock
    random_bytes: RandomBytes
    deadline: Deadline


@dataclass(frozen=True, slots=True)
class CallbackPorts:
    """What `GET /callback` needs."""

    flows: FlowTable
    connections: ConnectionTable
    vault: Vault
    fallback: Fallback
    keys: LinkKeys
    client_secrets: ClientSecrets
    finch: Finch
    clock: Clock
    random_bytes: RandomBytes
    submit: Submit
    deadline: Deadline


@dataclass(frozen=True, slots=True)
class RelayPorts:
    """What the relay needs."""

    flows: FlowTable
    connections: ConnectionTable
    bus: Bus
    dead_letters: DeadLetters
    clock: Clock
    read_stream_record: ReadStreamRecord
    submit: Submit
    deadline: Deadline


@dataclass(frozen=True, slots=True)
class SweeperPorts:
    """What the sweeper needs."""

    flows: FlowTable
    connections: ConnectionTable
    vault: Vault
    fallback: Fallback
    bus: Bus
    clock: Clock
    submit: Submit
    deadline: Deadline
