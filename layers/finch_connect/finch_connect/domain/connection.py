"""A connection: who owns it, which claim may store its token, and where the token went."""

from __future__ import annotations

from dataclasses import dataclass

LEASE_MS = 60_000
"""How long a claim may take to store a connection's token before the sweeper looks whether it did."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One row `connection#<connection_id>`: who owns it, and the claim that stores or last stored its token.

    `claimed_at` orders tokens: the later claim was exchanged later, so its token is the newer one. `version` is the
    secret version that this claim stores. While it may be at that, the row is leased (`leased_until`, epoch ms) and no
    other claim stores; `stored_claim` is the claim of the newest token that is known to be in the vault.
    """

    connection_id: str
    customer_id: str
    flow_id: str
    claimed_at: int
    version: str
    secret_name: str
    provider_id: str | None
    products: tuple[str, ...]
    client_type: str | None = None
    finch_request_id: str | None = None
    stored_claim: int | None = None
    leased_until: int | None = None


@dataclass(frozen=True, slots=True)
class Leased:
    """The connection is this customer's and leased to this claim; `before` is the earlier row, if any."""

    before: Connection | None


@dataclass(frozen=True, slots=True)
class LeaseRefused:
    """The connection's row refused: another customer's, a newer token is stored, or another claim is storing one."""

    current: Connection


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """Where a token went: the secret's ARN and the version it became."""

    arn: str
    version_id: str
