"""A flow and its statuses: one link's way through Finch Connect.

All times in rows are whole epoch milliseconds, except `expires`: DynamoDB's TTL needs epoch seconds.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from finch_connect.domain.errors import ServiceUnavailableError


class Status(enum.StrEnum):
    """The status of a flow: `started -> claimed -> (settled)`. docs/architecture.md has all transitions."""

    STARTED = "started"
    CLAIMED = "claimed"
    UNSTORED = "unstored"
    CONNECTED = "connected"
    DENIED = "denied"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    ABANDONED = "abandoned"
    ORPHANED = "orphaned"
    TRANSFERRED = "transferred"
    """Never a row's own status: only `Flow.unpublished` has it, for the customer who lost a connection."""


SETTLED = frozenset(
    {
        Status.CONNECTED,
        Status.DENIED,
        Status.FAILED,
        Status.QUARANTINED,
        Status.ABANDONED,
        Status.ORPHANED,
    }
)
"""Final for this attempt. Each is published once."""

RESTARTABLE = frozenset({Status.DENIED, Status.FAILED, Status.ABANDONED, Status.ORPHANED})
"""From these, the same link may start the flow again."""


class ConnectMode(enum.StrEnum):
    """How the browser is sent to Finch: with a static authorize URL, or with a Connect session made through the API."""

    STATIC = "static"
    SESSION = "session"


class StartRule(enum.StrEnum):
    """Which rows a start may replace. The table enforces it with a condition."""

    NEW_ATTEMPT = "new_attempt"
    """No row, or a flow that ended without a connection."""
    RESUME = "resume"
    """The same browser again: the flow is `started` with the same state."""
    TAKE_OVER = "take_over"
    """A person confirmed: as NEW_ATTEMPT, or a flow that is `started` in any browser. Only over an attempt that is not
    later than the page that asked, so that a page used again never brings back an attempt that has ended."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One row `flow#<flow_id>`, which is also the outbox of the flow's event.

    It holds hashes and ids only, never a code, a state, a cookie, a token or a secret. `reason` is a word of this
    source code, `finch_error` one of Finch's (`errors.error_word`).

    `unpublished` are outcomes that have no other row: those of attempts that this row has replaced, and a transfer.
    `expires` (epoch seconds) is when the row may be deleted. It becomes the row's TTL once `may_expire` is true.
    """

    flow_id: str
    status: Status
    state_hash: str
    mode: ConnectMode
    customer_id: str
    redirect_uri: str
    started_at: int
    deadline: int
    expires: int
    products: tuple[str, ...]
    unpublished: tuple[Flow, ...] = ()
    due_at: int | None = None
    payroll_provider: str | None = None
    requested_connection_id: str | None = None
    return_url: str | None = None
    nonce: str | None = None
    metadata: Mapping[str, object] | None = None
    claimed_at: int | None = None
    claim_id: str | None = None
    searched_at: int | None = None
    code_hash: str | None = None
    settled_at: int | None = None
    reason: str | None = None
    finch_error: str | None = None
    connection_id: str | None = None
    provider_id: str | None = None
    client_type: str | None = None
    granted_products: tuple[str, ...] | None = None
    secret_arn: str | None = None
    secret_version_id: str | None = None
    finch_request_id: str | None = None
    reauthorized: bool | None = None
    transferred_from: str | None = None
    published_at: int | None = None

    @property
    def event_id(self) -> str:
        """Return the event's id: SHA-256 over flow, attempt and status, 32 hex digits. Each delivery has the same."""
        material = f"{self.flow_id}\0{self.state_hash}\0{self.status}"
        return hashlib.sha256(material.encode()).hexdigest()[:32]

    @property
    def version_prefix(self) -> str:
        """Return how the ids of all secret versions of this attempt begin. The rest depends on the stored text."""
        return self.state_hash[:32]

    @property
    def attempt(self) -> str:
        """Return the name of this attempt, so that nothing an earlier attempt left behind is taken for this one's."""
        return f"{self.flow_id}.{self.state_hash[:16]}"

    @property
    def outcomes(self) -> tuple[Flow, ...]:
        """Return the outcomes in this row that are not published yet, in the order in which they happened."""
        own = (self,) if self.status in SETTLED and self.published_at is None else ()
        return tuple(sorted((*self.unpublished, *own), key=lambda outcome: outcome.settled_at or 0))

    @property
    def carried(self) -> tuple[Flow, ...]:
        """Return these outcomes as the row that replaces this one holds them."""
        return tuple(dataclasses.replace(outcome, unpublished=()) for outcome in self.outcomes)

    @property
    def may_expire(self) -> bool:
        """Return whether nothing is open: the outcome is published, and no token waits for a person's decision."""
        return self.published_at is not None and not self.unpublished and self.status is not Status.QUARANTINED

    def replacing(self, row: Flow) -> Flow:
        """Return this new attempt with what the row that it replaces has not published yet. It is then due soon.

        Raises ServiceUnavailableError when the row would hold too much. The link works again once the bus does.
        """
        if not row.outcomes:
            return self
        if len(row.outcomes) > MOST_UNPUBLISHED:
            raise ServiceUnavailableError("outcomes_unpublished", flow_id=self.flow_id)
        soon = min(self.deadline, self.started_at + PUBLISH_GRACE_MS)
        return dataclasses.replace(self, unpublished=row.carried, due_at=soon)

    def published(self, outcome: Flow, *, at: int) -> Flow | None:
        """Return this row after an outcome of it was published (`at`: epoch ms), or None if it does not hold it."""
        waiting = tuple(other for other in self.unpublished if other.event_id != outcome.event_id)
        own = outcome.event_id == self.event_id and self.status in {*SETTLED, Status.TRANSFERRED}
        if not own and waiting == self.unpublished:
            return None
        published_at = at if own else self.published_at
        done = published_at is not None and not waiting
        return dataclasses.replace(
            self, unpublished=waiting, published_at=published_at, due_at=None if done else self.due_at
        )

    def transferred(self, connection_id: str, owner: str, secret_arn: str | None, *, at: datetime) -> Flow:
        """Return what is published for the customer who loses a connection to this quarantined flow's customer."""
        return dataclasses.replace(
            self,
            status=Status.TRANSFERRED,
            settled_at=epoch_ms(at),
            due_at=None,
            published_at=None,
            unpublished=(),
            reason=None,
            connection_id=connection_id,
            transferred_from=owner,
            secret_arn=secret_arn,
            secret_version_id=None,
        )

    def settled(self, status: Status, *, at: datetime, **facts: object) -> Flow:
        """Return this flow with its outcome, still unpublished.

        `facts` are some of OUTCOME_FIELDS. The flow is due at once if its token is not stored yet, else in two minutes,
        when the relay should have published the outcome. Nothing of an earlier outcome's reason or error remains.
        """
        moment = epoch_ms(at)
        due = moment if status is Status.UNSTORED else moment + PUBLISH_GRACE_MS
        known = {"reason": None, "finch_error": None, "published_at": None} | facts
        return dataclasses.replace(self, status=status, settled_at=moment, due_at=due, **known)  # type: ignore[arg-type]  # mypy cannot follow ** into replace


OUTCOME_FIELDS = (
    "status",
    "settled_at",
    "due_at",
    "reason",
    "finch_error",
    "connection_id",
    "provider_id",
    "client_type",
    "granted_products",
    "finch_request_id",
    "secret_arn",
    "secret_version_id",
    "reauthorized",
)
"""The fields of an outcome: what `settled` sets, and what the row and the event say of it."""

MOST_UNPUBLISHED = 10
"""How many unpublished outcomes a row carries into a new attempt. A row has at most 400 KB (AWS: DynamoDB quotas)."""

PUBLISH_GRACE_MS = 120_000
"""How long the relay has before the sweeper publishes a settled flow."""

CLAIM_GRACE_MS = 120_000
"""How long a claim may run before the sweeper takes over. Longer than any function's timeout and any lease."""


SEARCH_GRACE_MS = 240_000
"""How long a token that was not found is searched for again, before its flow is reported as orphaned."""


@dataclass(frozen=True, slots=True)
class Written:
    """A conditional write succeeded. `flow` is the row as it is now."""

    flow: Flow


@dataclass(frozen=True, slots=True)
class NotWritten:
    """The condition of a write failed. `flow` is the row that it met, or None if there is none."""

    flow: Flow | None


@dataclass(frozen=True, slots=True)
class NotPublished:
    """An outcome that the bus did not take. `reason` is AWS's error code or one of the reasons in this source code.

    `permanent` is True if the bus refused what the event says, and would refuse the same event each time. Without
    `retry` it may succeed only after somebody has acted, so the stream is not asked to deliver it again.
    """

    flow: Flow
    reason: str
    permanent: bool = False
    retry: bool = True


def epoch_ms(moment: datetime) -> int:
    """Return an aware datetime as whole epoch milliseconds.

    >>> epoch_ms(datetime(2026, 1, 1, tzinfo=UTC))
    1767225600000
    """
    return int(moment.timestamp() * 1000)


def from_epoch_ms(milliseconds: int) -> datetime:
    """Return epoch milliseconds as an aware UTC datetime."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
