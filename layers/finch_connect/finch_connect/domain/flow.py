"""The words of the domain: a flow and its statuses, a connection, a grant, and what the flow answers.

All times in rows are whole epoch milliseconds, but `expires`, which DynamoDB's TTL wants in epoch seconds.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime


class Status(enum.StrEnum):
    """Where a flow stands. `started -> claimed -> (settled)`; see docs/architecture.md for the transitions."""

    STARTED = "started"
    CLAIMED = "claimed"
    UNSTORED = "unstored"
    CONNECTED = "connected"
    DENIED = "denied"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    ABANDONED = "abandoned"
    ORPHANED = "orphaned"


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
"""Final for this attempt; each is told to the bus once."""

RESTARTABLE = frozenset({Status.DENIED, Status.FAILED, Status.ABANDONED, Status.ORPHANED})
"""The same link may start the flow anew from these."""


class ConnectMode(enum.StrEnum):
    """How the person is sent to Finch: a static authorize URL, or a Connect session made by API."""

    STATIC = "static"
    SESSION = "session"


class StartRule(enum.StrEnum):
    """Over which row a start may write itself; the table's condition holds it."""

    NEW_ATTEMPT = "new_attempt"
    """No row, or one that ended without a connection."""
    RESUME = "resume"
    """The same browser again: `started` with the same state."""
    TAKE_OVER = "take_over"
    """A person pressed the button: as NEW_ATTEMPT, or `started` by any browser."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One row `flow#<flow_id>`: one link's way through Finch Connect, and the outbox of its event.

    Holds hashes and ids only: never a code, a state, a cookie, a token or a secret.
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
    due_at: int | None = None
    payroll_provider: str | None = None
    requested_connection_id: str | None = None
    return_url: str | None = None
    nonce: str | None = None
    metadata: Mapping[str, object] | None = None
    claimed_at: int | None = None
    claim_id: str | None = None
    code_hash: str | None = None
    settled_at: int | None = None
    reason: str | None = None
    connection_id: str | None = None
    provider_id: str | None = None
    client_type: str | None = None
    granted_products: tuple[str, ...] | None = None
    secret_arn: str | None = None
    secret_version_id: str | None = None
    finch_request_id: str | None = None
    reauthorized: bool | None = None
    published_at: int | None = None

    @property
    def event_id(self) -> str:
        """The same for every delivery of one outcome: SHA-256 over flow, attempt and status, 32 hex digits."""
        material = f"{self.flow_id}\0{self.state_hash}\0{self.status}"
        return hashlib.sha256(material.encode()).hexdigest()[:32]

    @property
    def attempt(self) -> str:
        """Names this attempt of the flow: what an earlier one left behind is never taken for this one's."""
        return f"{self.flow_id}.{self.state_hash[:16]}"

    def settled(self, status: Status, *, at: datetime, **facts: object) -> Flow:
        """Return this flow with its outcome, still to be told: due in two minutes unless that is seen to happen.

        An earlier outcome's reason does not outlive it.
        """
        moment = epoch_ms(at)
        due = moment if status is Status.UNSTORED else moment + PUBLISH_GRACE_MS
        known = {"reason": None, "published_at": None} | facts
        return dataclasses.replace(self, status=status, settled_at=moment, due_at=due, **known)  # type: ignore[arg-type]  # mypy cannot follow ** into replace


PUBLISH_GRACE_MS = 120_000
"""How long the relay has before the sweeper publishes a settled flow itself."""

CLAIM_GRACE_MS = 120_000
"""How long a claim may run before the sweeper looks after it: past any function's timeout and any lease."""


@dataclass(frozen=True, slots=True)
class Written:
    """A conditional write that held, and the row as it stands now."""

    flow: Flow


@dataclass(frozen=True, slots=True)
class NotWritten:
    """A conditional write that did not hold, and the row that stood against it (None: there is none)."""

    flow: Flow | None


@dataclass(frozen=True, slots=True)
class NotPublished:
    """An outcome that the bus did not take, and why, in AWS's code or a word of ours."""

    flow: Flow
    reason: str


def epoch_ms(moment: datetime) -> int:
    """Return an aware datetime as whole epoch milliseconds.

    >>> epoch_ms(datetime(2026, 1, 1, tzinfo=UTC))
    1767225600000
    """
    return int(moment.timestamp() * 1000)


def from_epoch_ms(milliseconds: int) -> datetime:
    """Return epoch milliseconds as an aware UTC datetime."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
