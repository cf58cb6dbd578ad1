"""The sweeper: every few minutes, whatever is overdue. Nothing depends on TTL or on the stream's 24 hours."""

from collections.abc import Mapping
from typing import Any

from finch_connect import coldstart, wiring
from finch_connect.config import from_environment
from finch_connect.observability import count, log_unexpected, logger
from finch_connect.publishing import sweep

CONFIG = from_environment()
PORTS = wiring.sweeper_ports(CONFIG)
coldstart.ready()


def handler(_event: Mapping[str, Any], context: Any) -> dict[str, int]:
    """Move on what is overdue and return how much of each."""
    done = sweep(PORTS, CONFIG, wiring.LambdaDeadline(context))
    counts = {
        "abandoned": done.abandoned,
        "orphaned": done.orphaned,
        "placed": done.placed,
        "published": done.published,
        "stuck": len(done.stuck),
    }
    for name, number in counts.items():
        if number:
            count(f"Swept{name.capitalize()}", number)
    for error in done.unexpected:
        log_unexpected(error)
    logger.info("swept", extra={**counts, "stuck_flows": done.stuck[:20]})
    return counts
