"""The relay: from the table's stream to the event bus. The row is the outbox."""

from collections.abc import Mapping
from typing import Any

from finch_connect import coldstart, wiring
from finch_connect.config import from_environment
from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.flow import Flow, epoch_ms
from finch_connect.flow.deadline import seconds_of
from finch_connect.flow.outbox import publish, unpublished_outcomes
from finch_connect.flow.ports import DeadLetter
from finch_connect.observability import count, logger, measure

PORTS = wiring.relay_ports(from_environment())
coldstart.ready()


def handler(event: Mapping[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Publish the outcomes in these records. Return the records to be tried again (partial batch response).

    Lambda delivers every record from the first of these on again, also those that succeeded. So a record that no retry
    can mend is not among them: its row stays due, and the sweeper tries it every few minutes.
    """
    PORTS.deadline.begin(seconds_of(context))
    outcomes: list[tuple[str, Flow]] = []
    failed: list[str] = []
    for record in event["Records"]:
        sequence = record["dynamodb"]["SequenceNumber"]
        try:
            before, after = PORTS.read_stream_record(record["dynamodb"])
            outcomes += [(sequence, flow) for flow in unpublished_outcomes(before, after)]
        except (KeyError, ValueError, TypeError) as error:  # not a row of this table, and it never will be
            failed += _dead_letter(record["dynamodb"], type(error).__name__)
    distinct: dict[str, Flow] = {}  # an outcome may be in several records, until it has left its row
    for _, flow in outcomes:
        distinct.setdefault(flow.event_id, flow)
    not_published = publish(list(distinct.values()), PORTS)
    waiting = [one.flow for one in not_published]
    retried = {one.flow.event_id for one in not_published if one.retry}
    failed += [sequence for sequence, flow in outcomes if flow.event_id in retried]
    published = [flow for flow in distinct.values() if flow not in waiting]
    for flow in published:
        logger.info("published", flow_id=flow.flow_id, status=flow.status, event_id=flow.event_id)
        measure("PublishLag", epoch_ms(PORTS.clock()) - (flow.settled_at or flow.started_at))
    if not_published:
        reasons = sorted({one.reason for one in not_published})
        facts = {"flow_ids": [flow.flow_id for flow in waiting], "reasons": reasons}
        logger.warning("not_published", extra={**facts, "left_to_sweeper": len(waiting) - len(retried)})
    count("Published", len(published))
    return {"batchItemFailures": [{"itemIdentifier": sequence} for sequence in dict.fromkeys(failed)]}


def _dead_letter(change: Mapping[str, Any], why: str) -> list[str]:
    """Put a record that can never be published into the dead-letter queue. Return it as failed if that is impossible.

    A retry would only delay the records after it in its shard.
    """
    sequence, key = change["SequenceNumber"], str(change.get("Keys", {}).get("id", {}).get("S", ""))
    logger.error("dead_lettered", extra={"sequence_number": sequence, "reason": f"unreadable_{why}"})
    count("DeadLettered")
    try:
        PORTS.dead_letters.put(DeadLetter(sequence, key, f"unreadable: {why}"))
    except ServiceUnavailableError:
        return [sequence]
    return []
