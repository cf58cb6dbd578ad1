"""What the flow needs from outside, as protocols. Adapters implement them, and so do the tests' fakes."""

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
"""Returns the current time: aware, UTC."""

RandomBytes = Callable[[int], bytes]
"""Returns as many random bytes, fit for secrets."""

ReadStreamRecord = Callable[[Mapping[str, Any]], tuple[Flow | None, Flow | None]]
"""Returns the flow before and after one change in the table's stream, each None if there is none.

Raises KeyError, TypeError or ValueError for a record that is not a row of this table.
"""


class Deadline(Protocol):
    """How long this request may still take. All its calls share it."""

    def begin(self, seconds: float) -> None:
        """Start a request that has this many seconds."""
        ...

    def remaining(self) -> float:
        """Return the seconds that remain, without those reserved. 0 or less means that none remain."""
        ...

    def reserving(self, seconds: float) -> AbstractContextManager[None]:
        """Reserve this much, within the block, for the steps after it."""
        ...


class FlowTable(Protocol):
    """The flows' rows. Every write is conditional and returns the row that it met.

    Each method raises ServiceUnavailableError when the table does not answer.
    """

    def start(self, flow: Flow, rule: StartRule, *, asked_at: int | None = None) -> Written | NotWritten:
        """Put a `started` row if the rule allows it to replace the present row.

        The new row carries the outcomes that the replaced row has not published yet, because they have no other place.
        `asked_at` (epoch ms) is when the page was made on which the person confirmed. Without it, TAKE_OVER replaces
        no row.
        """
        ...

    def claim(
        self, flow_id: str, *, state_hash: str, claim_id: str, code_hash: str | None, now: int
    ) -> Written | NotWritten:
        """Move `started -> claimed`, once, if the state is the same and the deadline is after `now` (epoch ms).

        `claim_id` is unique to this request. With it, a retry recognizes its own claim when the answer was lost.
        """
        ...

    def release(self, claimed: Flow) -> Written | NotWritten:
        """Move this claim back to `started`, because no byte of its code was sent."""
        ...

    def settle(self, settled: Flow, *, was: Status, replaced: Flow | None = None) -> Written | NotWritten:
        """Write an outcome if the row still has the attempt, claim and deadline that were read, and status `was`.

        `replaced` is the row that was read, if it already has an outcome. What it has not published is carried along,
        and the row must still have published as much as when it was read.
        """
        ...

    def mark_searched(self, flow: Flow, *, at: int, due_at: int) -> Written | NotWritten:
        """Note that this flow's token was not found (`at`), and search again from `due_at` on (both epoch ms)."""
        ...

    def mark_published(self, flow: Flow, *, at: int) -> Written | NotWritten:
        """Note that this outcome was published (`at`: epoch ms), if the row still holds it, also in `unpublished`.

        Once nothing is open, the row leaves the index of what is due, and gets its TTL.
        """
        ...

    def postpone(self, started: Flow) -> Written | NotWritten:
        """Make a `started` row due at its deadline, because it has nothing left to publish before."""
        ...

    def get(self, flow_id: str) -> Flow | None:
        """Return one row, read consistently, or None."""
        ...

    def due(self, now: int) -> Iterator[Flow]:
        """Yield the rows whose `due_at` is before `now` (epoch ms), the most overdue first, page by page.

        A row that cannot be read raises KeyError, TypeError or ValueError in its turn. The next turn continues.
        """
        ...


class ConnectionTable(Protocol):
    """Who owns a connection, and who stores its token. Raises ServiceUnavailableError."""

    def acquire_lease(self, connection: Connection, *, now: int) -> Leased | LeaseRefused:
        """Write the owner and lease the row to this claim (`now`: epoch ms). A repetition by the same claim succeeds.

        It is refused if the row has another owner, is leased to another claim, or has a newer token.
        """
        ...

    def end_lease(self, connection_id: str, *, flow_id: str, claimed_at: int, stored: bool) -> None:
        """End this claim's lease, if the row still has it. `stored` is True if its token is in the vault."""
        ...

    def leases(self, now: int) -> Iterator[Connection]:
        """Yield the rows whose lease has expired (`now`: epoch ms). The function that held it may have died."""
        ...


class Vault(Protocol):
    """Where tokens are stored. Nothing here can read one."""

    def put(self, name: str, text: Secret, *, version: str, exists: bool) -> StoredSecret:
        """Store `text` as the current version of a secret. A `version` (32-64 characters) is stored once.

        `exists` is a hint that saves a round trip. A wrong hint is harmless. Raises ServiceUnavailableError.
        """
        ...

    def put_superseded(self, name: str, text: Secret, *, version: str) -> None:
        """Store `text` as a version of secret `name` that is not the current one. Raises ServiceUnavailableError."""
        ...

    def find(self, name: str, *, version: str) -> StoredSecret | None:
        """Return where a version was stored whose id begins with `version`, or None. Raises ServiceUnavailableError."""
        ...


class Fallback(Protocol):
    """Where a token waits while the vault is unavailable. Each method raises ServiceUnavailableError."""

    def put(self, attempt: str, text: Secret) -> None:
        """Keep the text under this attempt of a flow. It may be repeated."""
        ...

    def get(self, attempt: str) -> Secret | None:
        """Return the text, or None."""
        ...

    def delete(self, attempt: str) -> None:
        """Delete the text. Does nothing if there is none."""
        ...

    def attempts(self) -> Iterator[str]:
        """Yield the attempts that have a text here."""
        ...


class ClientSecrets(Protocol):
    """Finch's client secret."""

    def read(self, *, fresh: bool = False) -> Secret:
        """Return the secret. `fresh` ignores the cache. Raises ServiceUnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class CachedLinkKeys:
    """The link keys that are known without a call.

    `complete_since` (epoch ms): every key that was current since then is in `keys`. None if one may be missing.
    """

    keys: tuple[LinkKey, ...]
    complete_since: int | None


class LinkKeys(Protocol):
    """The keys that sign links and receipts. `current`, `find` and `refresh` raise ServiceUnavailableError."""

    def current(self) -> LinkKey:
        """Return the key that signs."""
        ...

    def find(self, kid: str) -> LinkKey | None:
        """Return the current or the previous key with this `kid`, or None."""
        ...

    def cached(self) -> CachedLinkKeys:
        """Return what is known without a call. Keys are complete for some seconds after a refresh only."""
        ...

    def refresh(self) -> LinkKey:
        """Read the current and the previous key, at most every few seconds, and return the key that signs."""
        ...


class Finch(Protocol):
    """The part of Finch's API that the callback needs."""

    def exchange(self, *, code: Secret, redirect_uri: str, client_secret: Secret, deadline: Deadline) -> Exchange:
        """Exchange an authorization code. A code that Finch may have processed is never posted again."""
        ...

    def introspect(self, grant: Grant, *, deadline: Deadline) -> Grant:
        """Return the grant with what `/introspect` adds, or unchanged if that does not answer."""
        ...


class FinchSessions(Protocol):
    """Connect sessions, the newer form of the redirect.

    Each method raises TryAgainError when Finch does not open one now, and OperatorNeededError when it never will.
    """

    def open(
        self, request: LinkRequest, *, redirect_uri: str, minutes: int, client_secret: Secret, deadline: Deadline
    ) -> SessionOpened | AlreadyConnected:
        """Open a session for a new connection. It lives for as many minutes."""
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
        """Open a session that re-authenticates an existing connection."""
        ...


EVENTS_AT_ONCE = 10
"""The most events that the bus takes in one call (AWS: PutEvents)."""


class Bus(Protocol):
    """The event bus."""

    def publish(self, flows: Sequence[Flow], *, with_metadata: bool = True) -> Sequence[NotPublished]:
        """Publish one event for each flow and return those that the bus refused. Raises ServiceUnavailableError.

        An event without its metadata says that it was left out.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A change in the stream that can never be published, for a person to examine."""

    sequence_number: str
    key: str
    reason: str


class DeadLetters(Protocol):
    """The queue for what the relay can never publish."""

    def put(self, letter: DeadLetter) -> None:
        """Put a letter into the queue. Raises ServiceUnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class QuarantinedSecret:
    """What is known of a secret in quarantine without its flow's row: whose it is, and when it was stored."""

    flow_id: str
    stored_at: datetime | None


class Quarantine(Protocol):
    """The tokens in quarantine, for an operator. Each method raises ServiceUnavailableError."""

    def secrets(self) -> Iterator[QuarantinedSecret]:
        """Yield the secrets in quarantine, whether their flow has a row or not."""
        ...

    def read(self, flow_id: str) -> Secret | None:
        """Return the document with a flow's token, or None if there is none."""
        ...

    def delete(self, flow_id: str, *, recoverable: bool) -> None:
        """Delete it, at once or with a time in which it can be restored. Does nothing if there is none."""
        ...


class Owners(Protocol):
    """The owners of connections, for an operator. Raises ServiceUnavailableError."""

    def transfer(self, flow: Flow, transfer: Flow) -> bool:
        """Give a connection to the customer of a quarantined flow, and put the event about it into that flow's row.

        Both happen at once or not at all. Returns False, and changes nothing, unless `transfer.transferred_from` owns
        the connection, no claim has a lease on it, and the flow's row is as it was read.
        """
        ...


class Submit(Protocol):
    """Runs a callable in another thread, as an executor's `submit` does."""

    def __call__[T](self, work: Callable[[], T], /) -> Future[T]:
        """Start the work and return at once."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectPorts:
    """What `GET /connect` and the confirm form need. `sessions` is None in the static form."""

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


@dataclass(frozen=True, slots=True)
class QuarantinePorts:
    """What an operator needs to decide about a token in quarantine."""

    flows: FlowTable
    connections: ConnectionTable
    owners: Owners
    vault: Vault
    quarantine: Quarantine
    clock: Clock
