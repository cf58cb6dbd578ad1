"""Where a granted token goes: the checks of Finch's answer, the connection's lease, one secret for each connection.

The callback uses it at once. The sweeper uses it later, for a token that had to wait in the fallback.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from finch_connect.config import Config
from finch_connect.domain.connection import CONNECTION_ID, Connection, Leased, StoredSecret
from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.flow import Flow, Status, epoch_ms
from finch_connect.domain.grant import Grant
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import flow_id_of
from finch_connect.flow.ports import ConnectionTable, Vault

DOCUMENT_VERSION = 1
SECRET_BYTES = 65_536
FALLBACK_BYTES = 8_192
"""The most that a secret and a parameter of the fallback hold (AWS: quotas of Secrets Manager and Parameter Store)."""


class StoragePorts(Protocol):
    """The ports of the callback, the sweeper and the operator that token storage uses."""

    @property
    def connections(self) -> ConnectionTable:
        """Who owns a connection, and which claim stores its token."""
        ...

    @property
    def vault(self) -> Vault:
        """Where tokens are stored."""
        ...


def find_misfit(flow: Flow, grant: Grant, config: Config) -> str | None:  # noqa: PLR0911  # one line for each check
    """Return why an answer does not fit the request that it answers, or None if it fits.

    Finch has neither PKCE nor a nonce, so an injected code shows only in what the answer echoes (RFC 9700 section
    2.1.1). What Finch leaves out is not held against the answer.
    """
    if grant.connection_id is None or not CONNECTION_ID.fullmatch(grant.connection_id):
        return "connection_unknown"
    if grant.customer_id is not None and grant.customer_id != flow.customer_id:
        return "customer_mismatch"
    if flow.requested_connection_id is not None and grant.connection_id != flow.requested_connection_id:
        return "connection_mismatch"
    if grant.client_type is not None and grant.client_type not in config.allowed_client_types:
        return "client_type_mismatch"
    if None not in (flow.payroll_provider, grant.provider_id) and grant.provider_id != flow.payroll_provider:
        return "provider_mismatch"
    if grant.products is not None and not _products(grant.products) <= _products(flow.products):
        return "products_mismatch"
    return None


def _products(names: Iterable[str]) -> set[str]:
    """Return the products as a set. Finch's deprecated `deduction` is an alias of `benefits` (Finch docs: products)."""
    return {"benefits" if name == "deduction" else name for name in names}


def store_grant(
    flow: Flow, grant: Grant, misfit: str | None, ports: StoragePorts, config: Config, now: datetime
) -> Flow:
    """Store a granted token under its connection, or in quarantine if there is a `misfit` or another owner.

    Returns the flow with its outcome, connected or quarantined. A repetition with the same flow and token changes
    nothing. Raises ServiceUnavailableError when the table or the vault does not answer, or while another claim is
    storing a token of this connection.
    """
    if misfit is not None or grant.connection_id is None or flow.claimed_at is None:
        return quarantine(flow, grant, misfit or "connection_unknown", ports, config, now)

    connection = connection_for(flow, grant, config.names.connection_secret(grant.connection_id))
    lease = ports.connections.acquire_lease(connection, now=epoch_ms(now))
    if isinstance(lease, Leased):
        return store_leased(flow, grant, connection, lease, ports, now)
    if lease.current.customer_id != flow.customer_id:
        return quarantine(flow, grant, "owner_mismatch", ports, config, now)
    if (lease.current.stored_granted_at or 0) >= connection.granted_at:
        # A newer token of the same customer is stored. This one is kept as a version that is not the current one.
        text = document(flow, grant)
        ports.vault.put_superseded(connection.secret_name, text, version=_version(flow, text))
        return flow.settled(Status.CONNECTED, at=now, reason="superseded", reauthorized=True, **_outcome(grant))
    # Another claim is storing, or its function died. Which token is newer is decided when that is known.
    raise ServiceUnavailableError("connection_leased", flow_id=flow.flow_id)


def store_leased(
    flow: Flow, grant: Grant, connection: Connection, lease: Leased, ports: StoragePorts, now: datetime
) -> Flow:
    """Store the token of a leased connection and return the connected flow. Raises ServiceUnavailableError."""
    text, exists = document(flow, grant), lease.before is not None
    stored = ports.vault.put(connection.secret_name, text, version=_version(flow, text), exists=exists)
    return flow.settled(
        Status.CONNECTED, at=now, reauthorized=lease.is_reauthorization, **_outcome(grant), **_secret(stored)
    )


def connection_for(flow: Flow, grant: Grant, secret_name: str) -> Connection:
    """Return the connection's row as this claimed flow would own it. Raises ValueError if the grant names none."""
    if grant.connection_id is None or flow.claimed_at is None:
        raise ValueError("a connection belongs to a claimed flow whose grant names it")
    return Connection(
        connection_id=grant.connection_id,
        customer_id=flow.customer_id,
        flow_id=flow.flow_id,
        claimed_at=flow.claimed_at,
        version=flow.version_prefix,
        secret_name=secret_name,
        provider_id=grant.provider_id,
        products=grant.products,
        client_type=grant.client_type,
        finch_request_id=grant.finch_request_id,
        granted_at=grant.granted_at or flow.claimed_at,
    )


def connected_from_vault(flow: Flow, connection: Connection, stored: StoredSecret, now: datetime) -> Flow:
    """Return the flow as its own callback would have settled it after it stored the token."""
    reauthorized = connection.stored_granted_at is not None
    return flow.settled(Status.CONNECTED, at=now, reauthorized=reauthorized, **_outcome(connection), **_secret(stored))


def quarantined_from_vault(flow: Flow, ports: StoragePorts, config: Config, now: datetime) -> Flow | None:
    """Return the flow as quarantined if this attempt's token is in quarantine, else None.

    The callback died before it wrote what did not fit, so the reason is `interrupted`.
    """
    stored = ports.vault.find(config.names.quarantine_secret(flow.flow_id), version=flow.version_prefix)
    if stored is None:
        return None
    return flow.settled(Status.QUARANTINED, at=now, reason="interrupted", **_secret(stored))


def is_stored(flow: Flow, ports: StoragePorts, config: Config) -> bool:
    """Return whether this attempt's token is in its connection's secret. False if the row names no connection."""
    if flow.connection_id is None:
        return False
    name = config.names.connection_secret(flow.connection_id)
    return ports.vault.find(name, version=flow.version_prefix) is not None


def unstored(flow: Flow, grant: Grant, now: datetime) -> Flow:
    """Return the flow as settled while its token waits in the fallback."""
    return flow.settled(Status.UNSTORED, at=now, **_outcome(grant))


def document(flow: Flow, grant: Grant, *, limit: int = SECRET_BYTES) -> Secret:
    """Return the text that is stored: JSON with the token and what identifies it, in at most `limit` bytes.

    It is byte-stable (sorted keys, no spaces, ASCII). `customer_id` is the team's own, `finch_customer_id` is Finch's
    echo. If not all entity ids fit, the first ones are kept, and `entity_count` says how many there are.
    """
    whole = _written(flow, grant)
    if len(whole) <= limit:
        return Secret(whole)
    count = grant.entity_count or len(grant.entity_ids)
    left = limit - len(_written(flow, dataclasses.replace(grant, entity_ids=(), entity_count=count)))
    kept = list[str]()
    for entity_id in grant.entity_ids:
        left -= len(json.dumps(entity_id)) + 1  # and a comma
        if left < 0:
            break
        kept.append(entity_id)
    return Secret(_written(flow, dataclasses.replace(grant, entity_ids=tuple(kept), entity_count=count)))


def _written(flow: Flow, grant: Grant) -> str:
    facts = {"entity_ids": [], **grant.facts}
    content: Mapping[str, object] = {
        **facts,
        "version": DOCUMENT_VERSION,
        "access_token": grant.access_token.reveal(),
        "customer_id": flow.customer_id,
        "finch_customer_id": facts.get("customer_id"),
        "finch_request_id": grant.finch_request_id,
        "flow_id": flow.flow_id,
        "granted_at": grant.granted_at,
    }
    present = {name: value for name, value in content.items() if value is not None}
    return json.dumps(present, sort_keys=True, separators=(",", ":"))


def grant_in(text: Secret) -> Grant:
    """Return the grant in a text that `document` wrote. Raises ValueError or KeyError for any other text."""
    content = json.loads(text.reveal())
    facts = {**content, "customer_id": content.get("finch_customer_id")}
    grant = Grant.from_facts(Secret(content["access_token"]), content.get("finch_request_id"), facts)
    return dataclasses.replace(grant, granted_at=content.get("granted_at"))


def quarantine(flow: Flow, grant: Grant, reason: str, ports: StoragePorts, config: Config, now: datetime) -> Flow:
    """Quarantine the token until a person decides. Nothing is disconnected, because that may be the attacker's aim."""
    name = config.names.quarantine_secret(flow.flow_id)
    text = document(flow, grant)
    stored = ports.vault.put(name, text, version=_version(flow, text), exists=False)
    return flow.settled(Status.QUARANTINED, at=now, reason=reason, **_outcome(grant), **_secret(stored))


def quarantine_leftover(attempt: str, row: Flow | None, text: Secret, ports: StoragePorts, config: Config) -> None:
    """Quarantine a token of an attempt that has ended, unless it is already in the vault.

    `row` is the flow's row, which may have another attempt by now, or None.
    """
    known = row is not None and row.attempt == attempt
    if row is not None and known and (is_stored(row, ports, config) or _is_quarantined(row, ports, config)):
        return
    flow_id, _, _ = attempt.partition(".")
    name = config.names.quarantine_secret(flow_id if row is None else flow_id_of("", attempt))
    version = hashlib.sha256(text.reveal().encode()).hexdigest()
    ports.vault.put(name, text, version=version, exists=False)


def _is_quarantined(flow: Flow, ports: StoragePorts, config: Config) -> bool:
    name = config.names.quarantine_secret(flow.flow_id)
    return ports.vault.find(name, version=flow.version_prefix) is not None


def _outcome(source: Grant | Connection) -> dict[str, object]:
    """Return what a flow's row and its event say of a connection. A malformed connection id stays in the document."""
    known = source.connection_id is not None and CONNECTION_ID.fullmatch(source.connection_id) is not None
    return {
        "connection_id": source.connection_id if known else None,
        "provider_id": source.provider_id,
        "client_type": source.client_type,
        "granted_products": source.products,
        "finch_request_id": source.finch_request_id,
    }


def _version(flow: Flow, text: Secret) -> str:
    """Return the version id (64 characters) for this text of this attempt.

    It depends on the text, because AWS refuses a repeated ClientRequestToken with another text for ever.
    """
    return flow.version_prefix + hashlib.sha256(text.reveal().encode()).hexdigest()[:32]


def _secret(stored: StoredSecret) -> dict[str, object]:
    return {"secret_arn": stored.arn, "secret_version_id": stored.version_id}
