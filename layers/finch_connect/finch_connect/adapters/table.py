"""The flow table in DynamoDB: each write has the condition that makes it safe.

A put replaces and an update creates, so only the conditions enforce the rules of the transitions. botocore repeats a
write whose answer was lost, so each condition also accepts the row that the same write has left.
`ReturnValuesOnConditionCheckFailure` returns the row that a failed write met, without another read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from finch_connect.adapters.aws import code_of, translated
from finch_connect.adapters.conditions import mentions, outcomes_held, same_outcomes, unchanged
from finch_connect.adapters.items import (
    DUE_PARTITION,
    KEPT_UNTIL,
    LEASE_PARTITION,
    TTL,
    Item,
    connection_key,
    connection_of,
    flow_key,
    flow_of,
    item_of,
    lease_of,
    value,
)
from finch_connect.domain.connection import LEASE_MS, Connection, Leased, LeaseRefused
from finch_connect.domain.flow import (
    CLAIM_GRACE_MS,
    OUTCOME_FIELDS,
    RESTARTABLE,
    Flow,
    NotWritten,
    StartRule,
    Status,
    Written,
)

DUE_INDEX = "due"

_NAMES = {"#status": "status"}  # a reserved word
_STATUSES: Mapping[str, Mapping[str, str]] = {f":{status}": {"S": str(status)} for status in Status}
_SAME = "#status = :started AND state_hash = :state_hash"
_ENDED = "#status IN (" + ", ".join(sorted(f":{status}" for status in RESTARTABLE)) + ")"
_NEW = f"attribute_not_exists(id) OR ({_ENDED} AND state_hash <> :state_hash)"
_NOT_LATER = "(attribute_not_exists(id) OR started_at <= :asked_at)"
_START_CONDITIONS = {
    StartRule.NEW_ATTEMPT: f"{_NEW} OR ({_SAME})",
    StartRule.RESUME: _SAME,
    StartRule.TAKE_OVER: f"({_SAME}) OR (({_NEW} OR #status = :started) AND {_NOT_LATER})",
}
_NOTHING_UNPUBLISHED = (
    "attribute_not_exists(unpublished) AND (attribute_not_exists(id) OR attribute_exists(published_at)"
    " OR #status = :started)"
)
"""What a start may replace without carrying it along."""

_TRIES = 3
"""How often a write is adapted to the row that it met."""

_MAY_BE_UNKNOWN = ("provider_id", "client_type", "products", "finch_request_id")
"""What Finch may leave out of an answer. It is then removed from the connection's row, where it may be old."""


_STORED = "SET stored_granted_at = if_not_exists(granted_at, :claimed_at) "
"""Rows that were leased by the version before have no `granted_at`."""


class DynamoFlowTable:
    """Implements `ports.FlowTable` and `ports.ConnectionTable` on one table."""

    def __init__(self, client: Any, table_name: str) -> None:
        self._client = client
        self._table = table_name

    def start(self, flow: Flow, rule: StartRule, *, asked_at: int | None = None) -> Written | NotWritten:
        """See `ports.FlowTable.start`."""
        asked = asked_at or 0
        written = self._start(flow, f"({_START_CONDITIONS[rule]}) AND {_NOTHING_UNPUBLISHED}", asked, {})
        for _ in range(_TRIES):
            met = written.flow if isinstance(written, NotWritten) else None
            if met is None or not met.outcomes:
                break
            attempt = flow.replacing(met)
            same = f"#status = :replaced AND state_hash = :replaced_hash AND {same_outcomes(met)}"
            mine = f"{_SAME} AND unpublished = :carried"  # a repetition meets the row that it has written
            values = {
                ":replaced": value("status", met.status),
                ":replaced_hash": value("state_hash", met.state_hash),
                ":carried": value("unpublished", attempt.unpublished),
                **outcomes_held(met),
            }
            written = self._start(attempt, f"({_START_CONDITIONS[rule]}) AND (({same}) OR ({mine}))", asked, values)
        return written

    def _start(self, flow: Flow, condition: str, asked_at: int, values: Mapping[str, Any]) -> Written | NotWritten:
        known = {
            **_STATUSES,
            ":state_hash": value("state_hash", flow.state_hash),
            ":asked_at": value("started_at", asked_at),
            **values,
        }
        return self._write(
            self._client.put_item,
            flow,
            Item=item_of(flow),
            ConditionExpression=condition,
            ExpressionAttributeNames=_NAMES,
            ExpressionAttributeValues={name: typed for name, typed in known.items() if mentions(condition, name)},
        )

    def claim(
        self, flow_id: str, *, state_hash: str, claim_id: str, code_hash: str | None, now: int
    ) -> Written | NotWritten:
        """See `ports.FlowTable.claim`."""
        changes = {
            "status": Status.CLAIMED,
            "claimed_at": now,
            "claim_id": claim_id,
            "due_at": now + CLAIM_GRACE_MS,
        }
        if code_hash is not None:
            changes["code_hash"] = code_hash
        return self._update(
            flow_id,
            changes,
            condition=(
                "state_hash = :state_hash AND "
                "((#status = :was AND deadline > :now) OR (#status = :set_status AND claim_id = :set_claim_id))"
            ),
            values={
                ":was": value("status", Status.STARTED),
                ":state_hash": value("state_hash", state_hash),
                ":now": value("deadline", now),
            },
        )

    def release(self, claimed: Flow) -> Written | NotWritten:
        """See `ports.FlowTable.release`."""
        return self._update(
            claimed.flow_id,
            # What it still has to publish is due before its deadline.
            {"status": Status.STARTED, "due_at": claimed.due_at if claimed.unpublished else claimed.deadline},
            remove=("claimed_at", "claim_id", "code_hash", "searched_at"),
            **unchanged(claimed, Status.CLAIMED),
        )

    def settle(self, settled: Flow, *, was: Status, replaced: Flow | None = None) -> Written | NotWritten:
        """See `ports.FlowTable.settle`."""
        outcome = {name: getattr(settled, name) for name in OUTCOME_FIELDS}
        changes = {name: content for name, content in outcome.items() if content is not None}
        # An outcome that replaces one (a release from quarantine) keeps nothing of it, and is published again.
        gone = tuple(name for name in outcome if name not in changes)
        as_read = unchanged(settled, was)
        if replaced is not None:
            if replaced.outcomes:
                changes["unpublished"] = replaced.carried
            as_read["condition"] += f" AND {same_outcomes(replaced)}"
            as_read["values"] |= outcomes_held(replaced)
        return self._update(
            settled.flow_id,
            {**changes, "due": DUE_PARTITION, KEPT_UNTIL: settled.expires},
            remove=(*gone, "published_at", TTL),
            **as_read,
        )

    def mark_searched(self, flow: Flow, *, at: int, due_at: int) -> Written | NotWritten:
        """See `ports.FlowTable.mark_searched`."""
        changes = {"searched_at": at, "due_at": due_at}
        return self._update(flow.flow_id, changes, **unchanged(flow, flow.status))

    def mark_published(self, flow: Flow, *, at: int) -> Written | NotWritten:
        """See `ports.FlowTable.mark_published`."""
        # Usually the row holds this outcome alone. If not (a transfer never is), the write returns the row that it met.
        alone = dataclasses.replace(flow, unpublished=(), published_at=None)
        written = self._mark(alone, flow, at)
        for _ in range(_TRIES):
            met = written.flow if isinstance(written, NotWritten) else None
            if met is None or met.published(flow, at=at) is None:
                break
            written = self._mark(met, flow, at)
        return written

    def _mark(self, row: Flow, outcome: Flow, at: int) -> Written | NotWritten:
        """Note that an outcome was published, if the row is as it was read."""
        marked = row.published(outcome, at=at)
        if marked is None:
            return NotWritten(row)
        contents = {
            "published_at": marked.published_at,
            "unpublished": marked.unpublished or None,
            TTL: marked.expires if marked.may_expire else None,
        }
        gone = [name for name, content in contents.items() if content is None]
        return self._update(
            row.flow_id,
            {name: content for name, content in contents.items() if content is not None},
            remove=(*gone, *(("due", "due_at") if marked.due_at is None else ())),
            condition=f"#status = :was AND state_hash = :state_hash AND {same_outcomes(row)}",
            values={
                ":was": value("status", row.status),
                ":state_hash": value("state_hash", row.state_hash),
                **outcomes_held(row),
            },
        )

    def postpone(self, started: Flow) -> Written | NotWritten:
        """See `ports.FlowTable.postpone`."""
        return self._update(
            started.flow_id,
            {"due_at": started.deadline},
            condition=(
                "#status = :was AND state_hash = :state_hash AND deadline = :set_due_at AND " + same_outcomes(started)
            ),
            values={
                ":was": value("status", Status.STARTED),
                ":state_hash": value("state_hash", started.state_hash),
                **outcomes_held(started),
            },
        )

    def get(self, flow_id: str) -> Flow | None:
        """See `ports.FlowTable.get`."""
        with translated("GetItem"):
            item = self._client.get_item(TableName=self._table, Key=flow_key(flow_id), ConsistentRead=True).get("Item")
        return flow_of(item) if item else None

    def due(self, now: int) -> Iterator[Flow]:
        """See `ports.FlowTable.due`."""
        return map(flow_of, self._overdue(DUE_PARTITION, now))

    def acquire_lease(self, connection: Connection, *, now: int) -> Leased | LeaseRefused:
        """See `ports.ConnectionTable.acquire_lease`."""
        item = lease_of(connection, until=now + LEASE_MS)
        values = {f":{name}": typed for name, typed in item.items()}
        gone = [name for name in _MAY_BE_UNKNOWN if name not in item]
        try:
            with translated("UpdateItem"):
                before = self._conditional(
                    self._client.update_item,
                    Key=connection_key(connection.connection_id),
                    UpdateExpression=_set(values) + _remove(gone),
                    ConditionExpression=(
                        "attribute_not_exists(id) OR (customer_id = :customer_id AND "
                        "((flow_id = :flow_id AND claimed_at <= :claimed_at) OR (attribute_not_exists(due_at) AND "
                        "(attribute_not_exists(stored_granted_at) OR stored_granted_at < :granted_at))))"
                    ),
                    ExpressionAttributeNames=_NAMES,
                    ExpressionAttributeValues=values,
                    ReturnValues="ALL_OLD",
                ).get("Attributes")
        except _ConditionFailedError as failed:
            return LeaseRefused(connection_of(failed.item))
        return Leased(connection_of(before) if before else None)

    def end_lease(self, connection_id: str, *, flow_id: str, claimed_at: int, stored: bool) -> None:
        """See `ports.ConnectionTable.end_lease`."""
        claim = value("claimed_at", claimed_at)
        with translated("UpdateItem"), suppress(_ConditionFailedError):
            self._conditional(
                self._client.update_item,
                Key=connection_key(connection_id),
                UpdateExpression=(_STORED if stored else "") + "REMOVE due, due_at",
                ConditionExpression="flow_id = :flow_id AND claimed_at = :claimed_at",
                ExpressionAttributeValues={":flow_id": {"S": flow_id}, ":claimed_at": claim},
            )

    def leases(self, now: int) -> Iterator[Connection]:
        """See `ports.ConnectionTable.leases`."""
        return map(connection_of, self._overdue(LEASE_PARTITION, now))

    def _overdue(self, partition: str, now: int) -> Iterator[Item]:
        """Yield what is overdue in one partition of the sparse index, the most overdue first, page by page."""
        query = {
            "TableName": self._table,
            "IndexName": DUE_INDEX,
            "KeyConditionExpression": "due = :due AND due_at <= :now",
            "ExpressionAttributeValues": {":due": {"S": partition}, ":now": value("due_at", now)},
        }
        while True:
            with translated("Query"):
                page = self._client.query(**query)
                items = page["Items"]
            yield from items
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _update(
        self,
        flow_id: str,
        changes: Mapping[str, Any],
        *,
        condition: str,
        values: Mapping[str, Any],
        remove: tuple[str, ...] = (),
    ) -> Written | NotWritten:
        """Change one flow's row under a condition, and return the row after the change."""
        written = {f":set_{name}": value(name, content) for name, content in changes.items()}
        return self._write(
            self._client.update_item,
            None,
            Key=flow_key(flow_id),
            UpdateExpression=_set(written) + _remove(remove),
            ConditionExpression=condition,
            ExpressionAttributeNames=_NAMES,
            ExpressionAttributeValues={**values, **written},
            ReturnValues="ALL_NEW",
        )

    def _write(self, operation: Callable[..., Any], flow: Flow | None, **arguments: Any) -> Written | NotWritten:
        name = "PutItem" if flow else "UpdateItem"
        try:
            with translated(name):
                answer = self._conditional(operation, **arguments)
                item = item_of(flow) if flow else answer["Attributes"]
        except _ConditionFailedError as failed:
            return NotWritten(flow_of(failed.item) if failed.item else None)
        return Written(flow or flow_of(item))

    def _conditional(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        """Run a conditional write. A failed condition raises an exception with the row that it met."""
        try:
            return operation(TableName=self._table, ReturnValuesOnConditionCheckFailure="ALL_OLD", **arguments)
        except ClientError as error:
            if code_of(error) == "ConditionalCheckFailedException":
                item: Any = error.response.get("Item")  # not in the stubs
                raise _ConditionFailedError(item or {}) from None
            raise


class _ConditionFailedError(Exception):
    """A write's condition failed. `item` is the row that it met, or empty if there is none."""

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.item = item


def _set(values: Mapping[str, Any]) -> str:
    """Return the expression that sets each attribute to its value, `:status` or `:set_status` for `status`."""
    pairs = [(name.removeprefix(":").removeprefix("set_"), name) for name in values]
    if not pairs:
        return ""
    return "SET " + ", ".join(f"{f'#{name}' if f'#{name}' in _NAMES else name} = {value}" for name, value in pairs)


def _remove(names: Sequence[str]) -> str:
    return f" REMOVE {', '.join(names)}" if names else ""
