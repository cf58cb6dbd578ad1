"""What a person decides about a token in quarantine: release it to its connection, or discard it.

These are transitions of the flow, so they are here with the others, and have the same conditions. They run with an
operator's credentials, because no function may read a token, end an ownership or delete a secret.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from finch_connect.domain.connection import Connection, Leased
from finch_connect.domain.errors import DecisionRefusedError
from finch_connect.domain.flow import Flow, NotWritten, Status, epoch_ms
from finch_connect.domain.names import Names
from finch_connect.domain.secret import Secret
from finch_connect.flow import token_storage
from finch_connect.flow.ports import QuarantinePorts

DISCARDED = "discarded"
"""The reason of a flow whose token was discarded."""


def quarantined(ports: QuarantinePorts) -> Iterator[Flow]:
    """Yield the flows whose token is in quarantine. Raises ServiceUnavailableError."""
    for flow_id in ports.quarantine.flow_ids():
        flow = ports.flows.get(flow_id)
        if flow is not None:
            yield flow


def release(flow_id: str, ports: QuarantinePorts, names: Names, *, transfer_from: str | None = None) -> Flow:
    """Move a token from quarantine to its connection and return the flow, now connected. Its event follows.

    `transfer_from` is the customer who owns the connection and loses it. Every step can be repeated.

    Raises:
        DecisionRefusedError: the flow, its token or the connection's owner does not allow it. Nothing was changed.
        ServiceUnavailableError: AWS did not answer. Run it again.
    """
    flow = _flow(flow_id, ports)
    if flow.status is Status.CONNECTED:  # an earlier release did not reach its last step
        ports.quarantine.delete(flow_id, recoverable=False)
        return flow
    grant = token_storage.grant_in(_document(flow, ports))
    if grant.connection_id is None or flow.claimed_at is None:
        raise DecisionRefusedError("connection_unknown")
    connection = token_storage.connection_for(flow, grant, names.connection_secret(grant.connection_id))
    if transfer_from is not None:
        ports.owners.end_ownership(connection.connection_id, transfer_from)
    now = ports.clock()
    lease = ports.connections.acquire_lease(connection, now=epoch_ms(now))
    if not isinstance(lease, Leased):
        raise _lease_refused(connection, lease.current)
    released = token_storage.store_leased(flow, grant, connection, lease, ports, now)
    return _settle(released, ports, recoverable=False)


def discard(flow_id: str, ports: QuarantinePorts) -> Flow:
    """Give a token up and return the flow, now failed. Its link can start it again. Every step can be repeated.

    Nothing is disconnected at Finch, because the connection may belong to another customer. The secret can be restored
    for some days.

    Raises:
        DecisionRefusedError: the flow has no token in quarantine. Nothing was changed.
        ServiceUnavailableError: AWS did not answer. Run it again.
    """
    flow = _flow(flow_id, ports)
    if flow.status is Status.FAILED and flow.reason == DISCARDED:  # an earlier discard did not reach its last step
        ports.quarantine.delete(flow_id, recoverable=True)
        return flow
    _document(flow, ports)
    without_secret = dataclasses.replace(flow, secret_arn=None, secret_version_id=None)
    discarded = without_secret.settled(Status.FAILED, at=ports.clock(), reason=DISCARDED)
    return _settle(discarded, ports, recoverable=True)


def _flow(flow_id: str, ports: QuarantinePorts) -> Flow:
    flow = ports.flows.get(flow_id)
    if flow is None:
        raise DecisionRefusedError("flow_unknown", flow_id=flow_id)
    return flow


def _document(flow: Flow, ports: QuarantinePorts) -> Secret:
    """Return the text with a quarantined flow's token."""
    if flow.status is not Status.QUARANTINED:
        raise DecisionRefusedError("not_quarantined", flow_status=flow.status)
    text = ports.quarantine.read(flow.flow_id)
    if text is None:
        raise DecisionRefusedError("secret_missing")
    return text


def _settle(decided: Flow, ports: QuarantinePorts, *, recoverable: bool) -> Flow:
    """Write the decision if the row is still quarantined, then delete the secret in quarantine."""
    if isinstance(ports.flows.settle(decided, was=Status.QUARANTINED), NotWritten):
        raise DecisionRefusedError("decided_meanwhile")
    ports.quarantine.delete(decided.flow_id, recoverable=recoverable)
    return decided


def _lease_refused(wanted: Connection, current: Connection) -> DecisionRefusedError:
    facts = {"connection_id": wanted.connection_id, "customer_id": wanted.customer_id, "owner": current.customer_id}
    if current.customer_id != wanted.customer_id:
        return DecisionRefusedError("owner_mismatch", **facts)
    newer = (current.stored_granted_at or 0) >= wanted.granted_at
    return DecisionRefusedError("superseded" if newer else "connection_leased", **facts)
