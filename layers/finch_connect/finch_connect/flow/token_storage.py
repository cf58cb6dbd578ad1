"""From a granted token to its place: the checks of the answer, the connection's owner, one secret per connection.

The callback does this at once and the sweeper does it later for a token that had to wait, so it stands here once.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Protocol

from finch_connect.config import Config
from finch_connect.domain.connection import Connection, Leased, StoredSecret
from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.flow import Flow, Status, epoch_ms
from finch_connect.domain.grant import Grant
from finch_connect.domain.secret import Secret
from finch_connect.flow.ports import ConnectionTable, Vault

DOCUMENT_VERSION = 1

_CONNECTION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


class StoragePorts(Protocol):
    """The part of the callback's and the sweeper's ports that token storage uses."""

    @property
    def connections(self) -> ConnectionTable:
        """Who owns a connection."""
        ...

    @property
    def vault(self) -> Vault:
        """Where tokens live."""
        ...


def store_grant(flow: Flow, grant: Grant, ports: StoragePorts, config: Config, now: datetime) -> Flow:
    """Check, own and store a granted token; return the flow with its outcome (connected or quarantined).

    Repeating it for the same flow and token changes nothing. Raises ServiceUnavailableError when the table or the
    vault does not answer, or another claim is storing a token of this connection: this one then has no place yet.
    """
    misfit = find_misfit(flow, grant, config)
    if misfit is not None or grant.connection_id is None or flow.claimed_at is None:
        return _quarantine(flow, grant, misfit or "connection_unknown", ports, config, now)

    name = _connection_name(grant.connection_id, config)
    lease = ports.connections.acquire_lease(connection_for(flow, grant.connection_id, grant, name), now=epoch_ms(now))
    if isinstance(lease, Leased):
        return _store(flow, grant, lease, name, ports, now)
    if lease.current.customer_id != flow.customer_id:
        return _quarantine(flow, grant, "owner_mismatch", ports, config, now)
    if (lease.current.stored_claim or 0) >= flow.claimed_at:
        # A later claim of the same customer has stored a newer token: this one is not stored over it.
        return flow.settled(Status.CONNECTED, at=now, reason="superseded", reauthorized=True, **_identity(grant))
    # Another claim is storing right now, or died at it: which token is the newer one is decided when that is known.
    raise ServiceUnavailableError("connection_leased", flow_id=flow.flow_id)


def connection_for(flow: Flow, connection_id: str, grant: Grant, secret_name: str) -> Connection:
    """Return the connection's row as this claimed flow would own it."""
    return Connection(
        connection_id=connection_id,
        customer_id=flow.customer_id,
        flow_id=flow.flow_id,
        claimed_at=flow.claimed_at or 0,
        version=flow.state_hash,
        secret_name=secret_name,
        provider_id=grant.provider_id,
        products=grant.products or (),
        client_type=grant.client_type,
        finch_request_id=grant.request_id,
    )


def connected_from_vault(flow: Flow, connection: Connection, stored: StoredSecret, now: datetime) -> Flow:
    """Return the flow as its own callback would have settled it, had it lived: its token is in the vault."""
    return flow.settled(
        Status.CONNECTED,
        at=now,
        reauthorized=connection.stored_claim is not None,
        connection_id=connection.connection_id,
        provider_id=connection.provider_id,
        client_type=connection.client_type,
        granted_products=connection.products or None,
        finch_request_id=connection.finch_request_id,
        secret_arn=stored.arn,
        secret_version_id=stored.version_id,
    )


def quarantined_from_vault(flow: Flow, ports: StoragePorts, config: Config, now: datetime) -> Flow | None:
    """Return the flow as quarantined if this attempt's token was put there, and None if it was not.

    What did not fit is not known any more: the reason says that the callback was interrupted.
    """
    stored = ports.vault.find(_quarantine_name(flow, config), version=flow.state_hash)
    if stored is None:
        return None
    where = {"secret_arn": stored.arn, "secret_version_id": stored.version_id}
    return flow.settled(Status.QUARANTINED, at=now, reason="interrupted", **where)


def is_stored(flow: Flow, ports: StoragePorts, config: Config) -> bool:
    """Tell whether this attempt's token is in its connection's secret, as far as the row names the connection."""
    if flow.connection_id is None:
        return False
    return ports.vault.find(_connection_name(flow.connection_id, config), version=flow.state_hash) is not None


def find_misfit(flow: Flow, grant: Grant, config: Config) -> str | None:  # noqa: PLR0911  # one line a check
    """Return why an answer does not fit the request it should answer, or None when it does.

    Finch knows neither PKCE nor a nonce, so an injected code can only be seen from what the answer echoes
    (RFC 9700 section 2.1.1); what Finch leaves out is not held against it.
    """
    if grant.connection_id is None or not _CONNECTION_ID.fullmatch(grant.connection_id):
        return "connection_unknown"
    if grant.customer_id is not None and grant.customer_id != flow.customer_id:
        return "customer_mismatch"
    if flow.requested_connection_id is not None and grant.connection_id != flow.requested_connection_id:
        return "connection_mismatch"
    if grant.client_type is not None and grant.client_type not in config.allowed_client_types:
        return "client_type_mismatch"
    if None not in (flow.payroll_provider, grant.provider_id) and grant.provider_id != flow.payroll_provider:
        return "provider_mismatch"
    if grant.products is not None and not set(grant.products) <= set(config.allowed_products):
        return "products_mismatch"
    return None


def document(flow: Flow, grant: Grant) -> Secret:
    """Return what is stored: JSON, byte-stable (sorted keys, no spaces), the token and what identifies it.

    `customer_id` is the team's own; `finch_customer_id` is what Finch echoed, when it did.
    """
    content = {
        "version": DOCUMENT_VERSION,
        "access_token": grant.access_token.reveal(),
        "connection_id": grant.connection_id,
        "customer_id": flow.customer_id,
        "finch_customer_id": grant.customer_id,
        "provider_id": grant.provider_id,
        "client_type": grant.client_type,
        "connection_type": grant.connection_type,
        "products": None if grant.products is None else list(grant.products),
        "entity_ids": list(grant.entity_ids),
        "finch_request_id": grant.request_id,
        "flow_id": flow.flow_id,
    }
    present = {name: value for name, value in content.items() if value is not None}
    return Secret(json.dumps(present, sort_keys=True, separators=(",", ":")))


def grant_in(text: Secret) -> Grant:
    """Return the grant that `document` wrote. Raises ValueError or KeyError for anything else."""
    content = json.loads(text.reveal())
    products = content.get("products")
    return Grant(
        access_token=Secret(content["access_token"]),
        request_id=content.get("finch_request_id"),
        connection_id=content.get("connection_id"),
        customer_id=content.get("finch_customer_id"),
        provider_id=content.get("provider_id"),
        client_type=content.get("client_type"),
        connection_type=content.get("connection_type"),
        products=None if products is None else tuple(products),
        entity_ids=tuple(content["entity_ids"]),
    )


def _store(flow: Flow, grant: Grant, lease: Leased, name: str, ports: StoragePorts, now: datetime) -> Flow:
    stored = ports.vault.put(name, document(flow, grant), version=flow.state_hash, exists=lease.before is not None)
    return flow.settled(
        Status.CONNECTED,
        at=now,
        reauthorized=lease.before is not None and lease.before.stored_claim is not None,
        secret_arn=stored.arn,
        secret_version_id=stored.version_id,
        **_identity(grant),
    )


def _quarantine(flow: Flow, grant: Grant, reason: str, ports: StoragePorts, config: Config, now: datetime) -> Flow:
    """Put the token aside for a person to decide. Nothing is disconnected: that could be the attacker's aim."""
    name = _quarantine_name(flow, config)
    stored = ports.vault.put(name, document(flow, grant), version=flow.state_hash, exists=False)
    return flow.settled(
        Status.QUARANTINED,
        at=now,
        reason=reason,
        secret_arn=stored.arn,
        secret_version_id=stored.version_id,
        **_identity(grant),
    )


def _connection_name(connection_id: str, config: Config) -> str:
    return f"{config.secrets_prefix}/connections/{connection_id}"


def _quarantine_name(flow: Flow, config: Config) -> str:
    return f"{config.secrets_prefix}/quarantine/{flow.flow_id}"


def _identity(grant: Grant) -> dict[str, object]:
    """Return what the row and the event say of a grant; a connection id that is none is left to the document."""
    known = grant.connection_id is not None and _CONNECTION_ID.fullmatch(grant.connection_id) is not None
    return {
        "connection_id": grant.connection_id if known else None,
        "provider_id": grant.provider_id,
        "client_type": grant.client_type,
        "granted_products": grant.products,
        "finch_request_id": grant.request_id,
    }
