"""The outbox: publishes each flow's outcomes in their order, and ends the leases of connections that are stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.flow import Flow, NotPublished, Status, epoch_ms
from finch_connect.flow.ports import EVENTS_AT_ONCE, RelayPorts, SweeperPorts


def publish(flows: Sequence[Flow], ports: RelayPorts | SweeperPorts) -> Sequence[NotPublished]:
    """Publish each settled flow's outcome and mark its row. Return those that the bus refused.

    A later outcome of a flow is never published before an earlier one, so it waits behind one that was refused. If only
    the mark fails, the sweeper publishes the same event again, with the same `event_id`.
    """
    not_published: list[NotPublished] = []
    for batch in _batches(flows):
        waiting = {one.flow.flow_id: one for one in not_published}
        not_published += [
            dataclasses.replace(waiting[flow.flow_id], flow=flow) for flow in batch if flow.flow_id in waiting
        ]
        not_published += _publish([flow for flow in batch if flow.flow_id not in waiting], ports)
    return not_published


def _publish(batch: Sequence[Flow], ports: RelayPorts | SweeperPorts) -> Sequence[NotPublished]:
    """Publish at most one outcome of each flow. Their rows are written in parallel."""
    _in_parallel([partial(_end_lease, flow, ports) for flow in batch], ports)
    try:
        not_published = _put(batch, ports)
    except ServiceUnavailableError as error:
        return [NotPublished(flow, str(error.fields.get("aws_code") or error.reason)) for flow in batch]
    now, waiting = epoch_ms(ports.clock()), {one.flow.flow_id for one in not_published}
    published = [flow for flow in batch if flow.flow_id not in waiting]
    _in_parallel([partial(_mark, flow, now, ports) for flow in published], ports)
    return not_published


def _put(batch: Sequence[Flow], ports: RelayPorts | SweeperPorts) -> Sequence[NotPublished]:
    """Publish the events, and those that the bus refused for good once more, without their metadata.

    Metadata is the one free part of an event. An outcome without it is better than an outcome that is never published.
    """
    not_published = ports.bus.publish(batch)
    refused = {one.flow.flow_id: one for one in not_published if one.permanent and one.flow.metadata is not None}
    if not refused:
        return not_published
    try:
        again = ports.bus.publish([one.flow for one in refused.values()], with_metadata=False)
    except ServiceUnavailableError:
        return not_published  # the next delivery tries both again
    return [*(one for one in not_published if one.flow.flow_id not in refused), *again]


def _in_parallel(work: Sequence[Callable[[], None]], ports: RelayPorts | SweeperPorts) -> None:
    for future in [ports.submit(one) for one in work]:
        future.result()


def _mark(flow: Flow, now: int, ports: RelayPorts | SweeperPorts) -> None:
    with suppress(ServiceUnavailableError):
        ports.flows.mark_published(flow, at=now)


def _end_lease(flow: Flow, ports: RelayPorts | SweeperPorts) -> None:
    """End the lease, because the token is in the vault. If this fails, the sweeper ends it later."""
    if flow.status is not Status.CONNECTED or flow.connection_id is None or flow.claimed_at is None:
        return
    with suppress(ServiceUnavailableError):
        ports.connections.end_lease(flow.connection_id, flow_id=flow.flow_id, claimed_at=flow.claimed_at, stored=True)


def _batches(flows: Sequence[Flow]) -> Iterable[Sequence[Flow]]:
    """Split the flows into batches for one call each, in which no flow occurs twice."""
    batch: list[Flow] = []
    for flow in flows:
        if len(batch) == EVENTS_AT_ONCE or any(flow.flow_id == other.flow_id for other in batch):
            yield batch
            batch = []
        batch.append(flow)
    if batch:
        yield batch


def unpublished_outcomes(before: Flow | None, after: Flow | None) -> Iterable[Flow]:
    """Return the unpublished outcomes in one change of a row, which are those of the new image.

    A restart carries the outcomes that it replaces. One by the previous version of `connect`, during a deployment, does
    not, so they are also taken from the old image. A row that TTL removed has no unpublished outcome.
    """
    if after is None:
        return
    if before is not None and before.state_hash != after.state_hash:
        carried = {outcome.event_id for outcome in after.unpublished}
        yield from (outcome for outcome in before.outcomes if outcome.event_id not in carried)
    yield from after.outcomes
