"""The names under which a stack keeps secrets and parameters. template.yaml grants access by the same prefixes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one deployment's secrets (Secrets Manager) and parameters (SSM Parameter Store)."""

    stage: str

    def connection_secret(self, connection_id: str) -> str:
        """Return the name of the secret that holds a connection's token."""
        return f"finch/{self.stage}/connections/{connection_id}"

    def quarantine_secret(self, flow_id: str) -> str:
        """Return the name of the secret that holds a flow's token in quarantine."""
        return f"finch/{self.stage}/quarantine/{flow_id}"

    @property
    def fallback_prefix(self) -> str:
        """Return the path of the parameters that hold tokens while the vault is away, one for each attempt."""
        return f"/finch/{self.stage}/unstored"
