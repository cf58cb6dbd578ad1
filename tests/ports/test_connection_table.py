"""The connections' rows: a token is stored by one claim at a time, and only its owner's newest one is current."""

from __future__ import annotations

import dataclasses

from finch_connect.domain.connection import LEASE_MS, Connection, Leased, LeaseRefused
from finch_connect.flow.ports import ConnectionTable

MINE = Connection(
    connection_id="c-1",
    customer_id="acme",
    flow_id="f-1",
    claimed_at=2_000,
    version="a" * 64,
    secret_name="finch/dev/connections/c-1",
    provider_id="gusto",
    products=("company",),
    client_type="sandbox",
    finch_request_id="r-1",
)
LEASED = dataclasses.replace(MINE, leased_until=5_000 + LEASE_MS)
STORED = dataclasses.replace(MINE, stored_granted_at=2_000)
LATER = dataclasses.replace(MINE, flow_id="f-2", claimed_at=3_000, granted_at=3_000, version="b" * 64)


def stored(table: ConnectionTable, connection: Connection) -> None:
    """Lease a connection and store its token, as a successful flow does."""
    assert isinstance(table.acquire_lease(connection, now=5_000), Leased)
    table.end_lease(connection.connection_id, flow_id=connection.flow_id, claimed_at=connection.claimed_at, stored=True)


def test_a_new_connection_is_leased_to_its_first_claim(table: ConnectionTable) -> None:
    """The same claim gets the lease again, because the first answer may have been lost."""
    assert table.acquire_lease(MINE, now=5_000) == Leased(None)
    assert table.acquire_lease(MINE, now=5_000) == Leased(LEASED)


def test_a_later_claim_of_the_same_customer_gets_the_lease(table: ConnectionTable) -> None:
    """On a reconnect the newest token wins, and an older one never replaces it."""
    stored(table, MINE)
    assert table.acquire_lease(LATER, now=5_000) == Leased(STORED)
    table.end_lease("c-1", flow_id="f-2", claimed_at=3_000, stored=True)
    assert table.acquire_lease(MINE, now=5_000) == LeaseRefused(dataclasses.replace(LATER, stored_granted_at=3_000))


def test_an_earlier_claim_with_a_later_grant_gets_the_lease(table: ConnectionTable) -> None:
    """A claim that had to retry may get the newer token. What counts is the moment of Finch's answer."""
    stored(table, LATER)
    retried = dataclasses.replace(MINE, granted_at=4_000)
    assert isinstance(table.acquire_lease(retried, now=5_000), Leased)
    table.end_lease("c-1", flow_id="f-1", claimed_at=2_000, stored=True)
    refused = table.acquire_lease(LATER, now=5_000)
    assert isinstance(refused, LeaseRefused)
    assert refused.current.stored_granted_at == 4_000


def test_while_one_claim_has_the_lease_no_other_gets_it(table: ConnectionTable) -> None:
    """No later and no earlier claim gets it, however much time passes. Only `end_lease` ends a lease."""
    table.acquire_lease(MINE, now=5_000)
    earlier = dataclasses.replace(MINE, flow_id="f-0", claimed_at=1_000, granted_at=1_000)
    for other in (LATER, earlier):
        assert table.acquire_lease(other, now=9_999_999) == LeaseRefused(LEASED)
    table.end_lease("c-1", flow_id="f-1", claimed_at=2_000, stored=False)
    assert table.acquire_lease(earlier, now=5_000) == Leased(MINE), "nothing newer is stored"


def test_a_restarted_flow_takes_over_the_lease_of_its_earlier_attempt(table: ConnectionTable) -> None:
    """The earlier attempt has ended, or the flow could not have restarted. The earlier function is then too late."""
    table.acquire_lease(MINE, now=5_000)
    restarted = dataclasses.replace(MINE, claimed_at=4_000, granted_at=4_000)
    assert table.acquire_lease(restarted, now=5_000) == Leased(LEASED)
    assert isinstance(table.acquire_lease(MINE, now=5_000), LeaseRefused)


def test_only_the_leasing_claim_ends_a_lease(table: ConnectionTable) -> None:
    """Ending a lease that does not exist creates no row."""
    table.end_lease("c-1", flow_id="f-1", claimed_at=2_000, stored=True)
    assert list(table.leases(2**53)) == []
    table.acquire_lease(MINE, now=5_000)
    for flow_id, claimed_at in (("f-2", 2_000), ("f-1", 1_999)):
        table.end_lease("c-1", flow_id=flow_id, claimed_at=claimed_at, stored=True)
    assert list(table.leases(5_000 + LEASE_MS)) == [LEASED]


def test_expired_leases_are_found(table: ConnectionTable) -> None:
    """The sweeper reads them, because their functions may have died. Due flows are not among them."""
    table.acquire_lease(MINE, now=5_000)
    other = dataclasses.replace(MINE, connection_id="c-2")
    table.acquire_lease(other, now=4_000)
    assert list(table.leases(4_000 + LEASE_MS - 1)) == []
    found = [connection.connection_id for connection in table.leases(5_000 + LEASE_MS)]
    assert found == ["c-2", "c-1"]
    table.end_lease("c-2", flow_id="f-1", claimed_at=2_000, stored=False)
    assert list(table.leases(2**53)) == [LEASED]


def test_a_connection_never_changes_its_owner(table: ConnectionTable) -> None:
    """A later claim of another customer is refused, whether a token is stored or not."""
    other = dataclasses.replace(MINE, customer_id="globex", flow_id="f-2", claimed_at=9_000, granted_at=9_000)
    table.acquire_lease(MINE, now=5_000)
    assert table.acquire_lease(other, now=5_000) == LeaseRefused(LEASED)
    stored(table, MINE)
    assert table.acquire_lease(other, now=5_000) == LeaseRefused(STORED)


def test_what_finch_did_not_name_is_left_out(table: ConnectionTable) -> None:
    """An older application may get only a token and a connection. Values of an earlier answer are then removed."""
    stored(table, MINE)
    bare = dataclasses.replace(LATER, products=(), provider_id=None, client_type=None, finch_request_id=None)
    table.acquire_lease(bare, now=5_000)
    found = dataclasses.replace(bare, stored_granted_at=2_000, leased_until=5_000 + LEASE_MS)
    assert table.acquire_lease(bare, now=5_000) == Leased(found)
