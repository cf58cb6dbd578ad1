"""Fakes for the ports that only an operator's command uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from finch_connect.domain.flow import PUBLISH_GRACE_MS, Flow
from finch_connect.domain.names import Names
from finch_connect.domain.secret import Secret
from finch_connect.flow.ports import QuarantinedSecret
from tests.fakes import NOW, FakeFlowTable, FakeVault, Service


class FakeQuarantine(Service):
    """`ports.Quarantine` over the fake vault's secrets."""

    def __init__(self, vault: FakeVault, names: Names) -> None:
        self._vault = vault
        self._names = names
        self.recoverable: set[str] = set()

    def secrets(self) -> Iterator[QuarantinedSecret]:
        self._check()
        prefix = self._names.quarantine_secret("")
        found = [name.removeprefix(prefix) for name in self._vault.secrets if name.startswith(prefix)]
        return (QuarantinedSecret(flow_id, NOW) for flow_id in found)

    def read(self, flow_id: str) -> Secret | None:
        self._check()
        versions = self._vault.secrets.get(self._names.quarantine_secret(flow_id))
        return list(versions.values())[-1] if versions else None

    def delete(self, flow_id: str, *, recoverable: bool) -> None:
        self._check()
        if self._vault.secrets.pop(self._names.quarantine_secret(flow_id), None) is not None and recoverable:
            self.recoverable.add(flow_id)


class FakeOwners(Service):
    """`ports.Owners` over the fake table's connections."""

    def __init__(self, table: FakeFlowTable) -> None:
        self._table = table

    def transfer(self, flow: Flow, transfer: Flow) -> bool:
        self._check()
        owned = self._table.connections.get(transfer.connection_id or "")
        row = self._table.flows.get(flow.flow_id)
        if owned is None or owned.customer_id != transfer.transferred_from or owned.leased_until is not None:
            return False
        if row is None or row.event_id != flow.event_id or row.carried != flow.carried:
            return False
        self._table.connections[owned.connection_id] = dataclasses.replace(
            owned, customer_id=transfer.customer_id, stored_granted_at=None
        )
        due_at = (transfer.settled_at or 0) + PUBLISH_GRACE_MS
        unpublished = (*row.unpublished, transfer)
        self._table.flows[flow.flow_id] = dataclasses.replace(row, unpublished=unpublished, due_at=due_at)
        return True
