"""The sweeper: moves on whatever is overdue, every few minutes. So nothing depends on TTL or the stream's 24 hours."""

from collections.abc import Mapping
from typing import Any

from finch_connect import coldstart, wiring
from finch_connect.config import from_environment
from finch_connect.domain.flow import Status
from finch_connect.flow.deadline import seconds_of
from finch_connect.flow.sweep import sweep
from finch_connect.observability import count, count_outcome, log_unexpected, logger

CONFIG = from_environment()
PORTS = wiring.sweeper_ports(CONFIG)
coldstart.ready()


def handler(_event: Mapping[str, Any], context: Any) -> dict[str, int]:
    """Move on what is overdue, and return how many flows of each kind."""
    PORTS.deadline.begin(seconds_of(context))
    done = sweep(PORTS, CONFIG)
    counts = {
        "abandoned": done.count_of(Status.ABANDONED),
        "orphaned": done.count_of(Status.ORPHANED),
        "stored": done.stored,
        "recovered": done.recovered,
        "published": done.published,
        "stuck": len(done.stuck),
    }
    for name, number in counts.items():
        if number:
            count(f"Swept{name.capitalize()}", number)
    for flow in done.settled:
        logger.info("settled", flow_id=flow.flow_id, status=flow.status, reason=flow.reason)
        if flow.status in {Status.CONNECTED, Status.QUARANTINED} or flow.reason == "token_lost":
            count_outcome(flow.status, flow.reason)  # the others are counted above
    for error in done.unexpected:
        log_unexpected(error)
    count("Swept")
    count("Preloaded", 0)  # so that the alarm that subtracts this metric always has data to subtract
    logger.info("swept", extra={**counts, "stuck_flows": done.stuck[:20]})
    return counts
