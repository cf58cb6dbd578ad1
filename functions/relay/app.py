"""The relay: from the table's stream to the event bus. The row is the outbox; this only carries."""

from collections.abc import Mapping
from typing import Any

from finch_connect import coldstart, wiring
from finch_connect.config import from_environment
from finch_connect.errors import ServiceUnavailableError
from finch_connect.model import Flow
from finch_connect.observability import count, log_unexpected, logger
from finch_connect.publishing import publish, unpublished_outcomes

PORTS = wiring.relay_ports(from_environment())
coldstart.ready()


def handler(event: Mapping[str, Any], _context: Any) -> dict[str, list[dict[str, str]]]:
    """Publish what each record has to tell; name the records to be tried again (partial batch response)."""
    outcomes: list[tuple[str, Flow]] = []
    failed: list[str] = []
    for record in event["Records"]:
        sequence = record["dynamodb"]["SequenceNumber"]
        try:
            before, after = PORTS.images(record["dynamodb"])
            outcomes += [(sequence, flow) for flow in unpublished_outcomes(before, after)]
        except (KeyError, ValueError, TypeError) as error:  # a record that is no row of ours: aside, with its reason
            log_unexpected(error)
            failed.append(sequence)
    try:
        refused = publish([flow for _, flow in outcomes], PORTS)
        failed += [sequence for sequence, flow in outcomes if flow in refused]
    except ServiceUnavailableError as error:
        logger.warning("bus_unavailable", extra={"reason": error.reason, **error.fields})
        failed += [sequence for sequence, _ in outcomes]
    for sequence, flow in outcomes:
        if sequence not in failed:
            logger.info("published", flow_id=flow.flow_id, status=flow.status, event_id=flow.event_id)
    count("Published", len(outcomes) - len([sequence for sequence, _ in outcomes if sequence in failed]))
    return {"batchItemFailures": [{"itemIdentifier": sequence} for sequence in dict.fromkeys(failed)]}
