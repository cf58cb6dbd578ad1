"""Conditions of writes: that a row still is as it was read. Each has its values beside it."""

from __future__ import annotations

from typing import Any

from finch_connect.adapters.items import value
from finch_connect.domain.flow import Flow, Status


def unchanged(flow: Flow, was: Status) -> dict[str, Any]:
    """Return the condition that a row still has the attempt, status, deadline and claim that were read."""
    condition = "#status = :was AND state_hash = :state_hash AND deadline = :deadline"
    values = {
        ":was": value("status", was),
        ":state_hash": value("state_hash", flow.state_hash),
        ":deadline": value("deadline", flow.deadline),
    }
    if flow.claimed_at is None:
        return {"condition": f"{condition} AND attribute_not_exists(claimed_at)", "values": values}
    values[":claimed_at"] = value("claimed_at", flow.claimed_at)
    return {"condition": f"{condition} AND claimed_at = :claimed_at", "values": values}


def same_outcomes(row: Flow) -> str:
    """Return the condition that a row still has the unpublished outcomes that were read. See `outcomes_held`."""
    own = "attribute_not_exists(published_at)" if row.published_at is None else "attribute_exists(published_at)"
    return f"{own} AND " + ("unpublished = :held" if row.unpublished else "attribute_not_exists(unpublished)")


def outcomes_held(row: Flow) -> dict[str, Any]:
    """Return the value that `same_outcomes` compares with."""
    return {":held": value("unpublished", row.unpublished)} if row.unpublished else {}


def mentions(condition: str, name: str) -> bool:
    """Return whether a condition has this placeholder. AWS refuses values that it does not use."""
    return name in condition.replace("(", " ").replace(")", " ").replace(",", " ").split()
