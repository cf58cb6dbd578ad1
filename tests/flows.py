"""Rows of flows, for tests that need one and do not start it."""

from __future__ import annotations

from typing import Any

from finch_connect.domain.flow import ConnectMode, Flow, Status

NOW = 1_800_000_000_000
"""Epoch ms: when these flows were started."""


def a_flow(**facts: Any) -> Flow:
    """Return a `started` flow that lives ten minutes. `facts` are fields of Flow, and replace its own."""
    started_at = facts.get("started_at", NOW)
    usual: dict[str, Any] = {
        "flow_id": "S" * 22,
        "status": Status.STARTED,
        "state_hash": "5" * 64,
        "mode": ConnectMode.STATIC,
        "customer_id": "acme",
        "redirect_uri": "https://connect.example.com/callback",
        "started_at": started_at,
        "deadline": started_at + 600_000,
        "expires": started_at // 1000 + 86_400,
        "products": ("company",),
    }
    return Flow(**usual | facts)
