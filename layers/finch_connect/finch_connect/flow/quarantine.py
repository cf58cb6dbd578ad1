"""What a person decides about a token in quarantine: release it to its connection, or discard it.

These are transitions of the flow, so they are here with the others, and have the same conditions. They run with an
operator's credentials, because no function may read a token, end an ownership or delete a secret.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from finch_connect.domain.connection import Connection, Leased
from finch_connect.domain.errors import DecisionRefusedError, ServiceUnavailableError
from finch_connect.domain.flow import SETTLED, Flow, Status, Written, epoch_ms
from finch_connect.domain.names import Names
from finch_connect.domain.secret import Secret
from finch_connect.flow import token_storage
from finch_connect.flow.ports import QuarantinedSecret, QuarantinePorts

DISCARDED = "discarded"
"""The reason of a flow whose token was discarded."""


_TRIES = 3
"""How often a decision is adapted to a row whose outcome is published at the same time."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A token in quarantine. `flow` is its flow's row, also if that is no longer quarantined, or None without one."""

    secret: QuarantinedSecret
    flow: Flow | None

    @property
    def flow_id(self) -> str:
        """Return the id of the token's flow."""
        return self.secret.flow_id

    @property
    def is_left_over(self) -> bool:
        """Return whether no row waits for a decision, so that the secret can only be discarded."""
        return self.flow is None or self.flow.status is not Status.QUARANTINED


def quarantined(ports: QuarantinePorts) -> Iterator[Quarantined]:
    """Yield every token in quarantine. Raises ServiceUnavailableError."""
    for secret in ports.quarantine.secrets():
        yield Quarantined(secret, ports.flows.get(secret.flow_id))


def release(flow_id: str, ports: QuarantinePorts, names: Names, *, transfer_from: str | None = None) -> Flow:
    """Move a token from quarantine to its connection and return the flow, now connected. Its event follows.

    `transfer_from` is the customer who owns the connection and loses it. They get an event. Every step can be
    repeated.

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
    lease = _lease(flow, connection, ports, transfer_from)
    released = token_storage.store_leased(flow, grant, connection, lease, ports, ports.clock())
    return _settle(released, flow, ports, recoverable=False)


def discard(flow_id: str, ports: QuarantinePorts) -> Flow:
    """Give a token up and return the flow, now failed. Its link can start it again. Every step can be repeated.

    Nothing is disconnected at Finch, because the connection may belong to another customer. The secret can be restored
    for some days. A flow whose secret somebody has deleted by hand can be discarded as well.

    Raises:
        DecisionRefusedError: the flow has no token in quarantine. Nothing was changed.
        ServiceUnavailableError: AWS did not answer. Run it again.
    """
    flow = _flow(flow_id, ports)
    if _is_discarded(flow):  # an earlier discard did not reach its last step
        ports.quarantine.delete(flow_id, recoverable=True)
        return flow
    _check_quarantined(flow)
    without_secret = dataclasses.replace(flow, secret_arn=None, secret_version_id=None)
    discarded = without_secret.settled(Status.FAILED, at=ports.clock(), reason=DISCARDED)
    return _settle(discarded, flow, ports, recoverable=True)


def discard_left_over(flow_id: str, ports: QuarantinePorts) -> bool:
    """Delete a secret for which no row waits for a decision. Return False, and change nothing, if there is none.

    Its flow has no row any more, or another outcome. A flow in progress may still need it. The secret can be restored
    for some days. Raises ServiceUnavailableError.
    """
    flow = ports.flows.get(flow_id)
    if flow is not None and (flow.status not in SETTLED or flow.status is Status.QUARANTINED or _is_discarded(flow)):
        return False
    if ports.quarantine.read(flow_id) is None:
        return False
    ports.quarantine.delete(flow_id, recoverable=True)
    return True


def _is_discarded(flow: Flow) -> bool:
    return flow.status is Status.FAILED and flow.reason == DISCARDED


def _flow(flow_id: str, ports: QuarantinePorts) -> Flow:
    flow = ports.flows.get(flow_id)
    if flow is None:
        if ports.quarantine.read(flow_id) is not None:
            raise DecisionRefusedError("row_missing", flow_id=flow_id)
        raise DecisionRefusedError("flow_unknown", flow_id=flow_id)
    return flow


def _check_quarantined(flow: Flow) -> None:
    if flow.status is not Status.QUARANTINED:
        raise DecisionRefusedError("not_quarantined", flow_status=flow.status)


def _document(flow: Flow, ports: QuarantinePorts) -> Secret:
    """Return the text with a quarantined flow's token."""
    _check_quarantined(flow)
    text = ports.quarantine.read(flow.flow_id)
    if text is None:
        raise DecisionRefusedError("secret_missing")
    return text


def _lease(flow: Flow, connection: Connection, ports: QuarantinePorts, transfer_from: str | None) -> Leased:
    """Lease the connection to the flow, after taking it from the customer who was named if that one owns it."""
    now = ports.clock()
    lease = ports.connections.acquire_lease(connection, now=epoch_ms(now))
    if isinstance(lease, Leased):
        return lease
    owner = lease.current.customer_id
    if transfer_from is None or owner != transfer_from or owner == connection.customer_id:
        raise _lease_refused(connection, lease.current)
    stored = ports.vault.find(lease.current.secret_name, version=lease.current.version)
    transfer = flow.transferred(connection.connection_id, owner, None if stored is None else stored.arn, at=now)
    if not ports.owners.transfer(flow, transfer):
        row = ports.flows.get(flow.flow_id)
        if row is None or row.event_id != flow.event_id:
            raise DecisionRefusedError("decided_meanwhile")
        raise DecisionRefusedError("connection_leased", connection_id=connection.connection_id)
    lease = ports.connections.acquire_lease(connection, now=epoch_ms(now))
    if not isinstance(lease, Leased):
        raise _lease_refused(connection, lease.current)
    return lease


def _settle(decided: Flow, flow: Flow, ports: QuarantinePorts, *, recoverable: bool) -> Flow:
    """Write the decision if the row is still quarantined, then delete the secret in quarantine.

    Relay and sweeper may publish what the row holds at the same time. Then the row is read again.
    """
    read = flow
    for _ in range(_TRIES):
        written = ports.flows.settle(decided, was=Status.QUARANTINED, replaced=read)
        if isinstance(written, Written):
            ports.quarantine.delete(decided.flow_id, recoverable=recoverable)
            return written.flow
        if written.flow is None or written.flow.event_id != read.event_id:
            raise DecisionRefusedError("decided_meanwhile")
        read = written.flow
    raise ServiceUnavailableError("row_changes", flow_id=flow.flow_id)


def _lease_refused(wanted: Connection, current: Connection) -> DecisionRefusedError:
    facts = {"connection_id": wanted.connection_id, "customer_id": wanted.customer_id, "owner": current.customer_id}
    if current.customer_id != wanted.customer_id:
        return DecisionRefusedError("owner_mismatch", **facts)
    newer = (current.stored_granted_at or 0) >= wanted.granted_at
    return DecisionRefusedError("superseded" if newer else "connection_leased", **facts)
