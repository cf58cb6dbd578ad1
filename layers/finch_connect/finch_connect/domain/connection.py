"""A connection: who owns it, which claim may store its token, and where the token is stored."""

from __future__ import annotations

import re
from dataclasses import dataclass

CONNECTION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
"""The form of Finch's connection ids. They become part of a secret's name."""

LEASE_MS = 60_000
"""How long a claim may take to store a connection's token before the sweeper checks whether it did."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One row `connection#<connection_id>`: its owner, and the claim that stores or last stored its token.

    `flow_id` and `claimed_at` (epoch ms) name the claim. `granted_at` (epoch ms) orders tokens: it is the moment of
    Finch's answer, because a claim that had to retry may get a newer token than a later claim. `version` is how the id
    of the secret version begins that this claim stores. While it stores, the row is leased until `leased_until` (epoch
    ms), and no other claim stores. `stored_granted_at` is when the newest token that is known to be in the vault was
    granted.
    """

    connection_id: str
    customer_id: str
    flow_id: str
    claimed_at: int
    version: str
    secret_name: str
    provider_id: str | None
    products: tuple[str, ...] | None
    client_type: str | None = None
    finch_request_id: str | None = None
    granted_at: int = 0
    stored_granted_at: int | None = None
    leased_until: int | None = None

    def __post_init__(self) -> None:
        """Order a row that the version before wrote by its claim."""
        if not self.granted_at:
            object.__setattr__(self, "granted_at", self.claimed_at)


@dataclass(frozen=True, slots=True)
class Leased:
    """The connection is leased to this claim. `before` is the earlier row, if there was one."""

    before: Connection | None

    @property
    def is_reauthorization(self) -> bool:
        """Return whether the vault already holds a token of this connection."""
        return self.before is not None and self.before.stored_granted_at is not None


@dataclass(frozen=True, slots=True)
class LeaseRefused:
    """The lease was refused. `current` has another owner, a newer token, or a claim that is storing one."""

    current: Connection


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """Where a token was stored: the secret's ARN and the id of its version."""

    arn: str
    version_id: str
