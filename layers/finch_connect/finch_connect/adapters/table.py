"""The flow table in DynamoDB: each write carries the condition that makes it safe.

A put replaces and an update creates, so it is these conditions that hold the rules of the transitions.
`ReturnValuesOnConditionCheckFailure` brings the row that stood against a write without another read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from finch_connect.adapters.aws import code_of, translated
from finch_connect.adapters.items import (
    DUE_PARTITION,
    Item,
    connection_key,
    connection_of,
    flow_key,
    flow_of,
    item_of,
    value,
)
from finch_connect.model import (
    CLAIM_GRACE_MS,
    RESTARTABLE,
    Connection,
    Flow,
    NotOwned,
    NotWritten,
    Owned,
    StartRule,
    Status,
    Written,
)

DUE_INDEX = "due"

_NAMES = {"#status": "status"}  # a reserved word
_STATUSES: Mapping[str, Mapping[str, str]] = {f":{status}": {"S": str(status)} for status in Status}
_NEW = "attribute_not_exists(id) OR #status IN (" + ", ".join(sorted(f":{status}" for status in RESTARTABLE)) + ")"
_START_CONDITIONS = {
    StartRule.NEW_ATTEMPT: _NEW,
    StartRule.RESUME: "#status = :started AND state_hash = :state_hash",
    StartRule.TAKE_OVER: f"{_NEW} OR #status = :started",
}
_OUTCOME_FIELDS = (
    "status",
    "settled_at",
    "due_at",
    "reason",
    "connection_id",
    "provider_id",
    "client_type",
    "granted_products",
    "secret_arn",
    "secret_version_id",
    "finch_request_id",
    "reauthorized",
)


class DynamoFlowTable:
    """Implements `ports.FlowTable` and `ports.ConnectionTable` on one table."""

    def __init__(self, client: Any, table_name: str) -> None:
        self._client = client
        self._table = table_name

    def start(self, flow: Flow, rule: StartRule) -> Written | NotWritten:
        """See `ports.FlowTable.start`."""
        condition = _START_CONDITIONS[rule]
        values = {name: typed for name, typed in _STATUSES.items() if _mentions(condition, name)}
        if rule is StartRule.RESUME:
            values |= {":state_hash": {"S": flow.state_hash}}
        return self._write(
            self._client.put_item,
            flow,
            Item=item_of(flow),
            ConditionExpression=condition,
            ExpressionAttributeNames=_NAMES,
            ExpressionAttributeValues=values,
        )

    def claim(self, flow_id: str, *, state_hash: str, code_hash: str | None, now: int) -> Written | NotWritten:
        """See `ports.FlowTable.claim`."""
        changes = {"status": Status.CLAIMED, "claimed_at": now, "due_at": now + CLAIM_GRACE_MS}
        if code_hash is not None:
            changes["code_hash"] = code_hash
        return self._update(
            flow_id,
            changes,
            condition="#status = :was AND state_hash = :state_hash AND deadline > :now",
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
            {"status": Status.STARTED, "due_at": claimed.deadline},
            remove=("claimed_at", "code_hash"),
            **_unchanged(claimed, Status.CLAIMED),
        )

    def settle(self, settled: Flow, *, was: Status) -> Written | NotWritten:
        """See `ports.FlowTable.settle`."""
        outcome = {name: getattr(settled, name) for name in _OUTCOME_FIELDS}
        changes = {name: content for name, content in outcome.items() if content is not None}
        # An outcome over an outcome (a release from quarantine) is told anew, and keeps nothing of the one before.
        gone = tuple(name for name in outcome if name not in changes)
        return self._update(
            settled.flow_id,
            {**changes, "due": DUE_PARTITION},
            remove=(*gone, "published_at"),
            **_unchanged(settled, was),
        )

    def mark_published(self, flow: Flow, *, at: int) -> Written | NotWritten:
        """See `ports.FlowTable.mark_published`."""
        return self._update(
            flow.flow_id,
            {"published_at": at},
            remove=("due", "due_at"),
            condition="#status = :was AND state_hash = :state_hash",
            values={
                ":was": value("status", flow.status),
                ":state_hash": value("state_hash", flow.state_hash),
            },
        )

    def get(self, flow_id: str) -> Flow | None:
        """See `ports.FlowTable.get`."""
        with translated("GetItem"):
            item = self._client.get_item(TableName=self._table, Key=flow_key(flow_id), ConsistentRead=True).get("Item")
        return flow_of(item) if item else None

    def due(self, now: int) -> Iterator[Flow]:
        """See `ports.FlowTable.due`."""
        query = {
            "TableName": self._table,
            "IndexName": DUE_INDEX,
            "KeyConditionExpression": "due = :due AND due_at <= :now",
            "ExpressionAttributeValues": {":due": {"S": DUE_PARTITION}, ":now": value("due_at", now)},
        }
        while True:
            with translated("Query"):
                page = self._client.query(**query)
            yield from map(flow_of, page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def own(self, connection: Connection) -> Owned | NotOwned:
        """See `ports.ConnectionTable.own`."""
        changes = {
            "customer_id": connection.customer_id,
            "flow_id": connection.flow_id,
            "claimed_at": connection.claimed_at,
            "secret_name": connection.secret_name,
            "provider_id": connection.provider_id,
            "products": connection.products,
            "status": "active",
        }
        values = {f":{name}": value(name, content) for name, content in changes.items() if content is not None}
        try:
            with translated("UpdateItem"):
                before = self._conditional(
                    self._client.update_item,
                    Key=connection_key(connection.connection_id),
                    UpdateExpression="SET " + ", ".join(f"{_name(name[1:])} = {name}" for name in values),
                    ConditionExpression=(
                        "attribute_not_exists(id) OR "
                        "(customer_id = :customer_id AND (claimed_at < :claimed_at OR flow_id = :flow_id))"
                    ),
                    ExpressionAttributeNames=_NAMES,
                    ExpressionAttributeValues=values,
                    ReturnValues="ALL_OLD",
                ).get("Attributes")
        except _ConditionFailedError as failed:
            return NotOwned(connection_of(failed.item))
        return Owned(connection_of(before) if before else None)

    def _update(
        self,
        flow_id: str,
        changes: Mapping[str, Any],
        *,
        condition: str,
        values: Mapping[str, Any],
        remove: tuple[str, ...] = (),
    ) -> Written | NotWritten:
        """Change one flow's row under a condition, and return it as it then is."""
        sets = ", ".join(f"{_name(name)} = :set_{name}" for name in changes)
        removes = f" REMOVE {', '.join(remove)}" if remove else ""
        written = {f":set_{name}": value(name, content) for name, content in changes.items()}
        return self._write(
            self._client.update_item,
            None,
            Key=flow_key(flow_id),
            UpdateExpression=f"SET {sets}{removes}",
            ConditionExpression=condition,
            ExpressionAttributeNames=_NAMES if "#status" in sets + condition else {},
            ExpressionAttributeValues={**values, **written},
            ReturnValues="ALL_NEW",
        )

    def _write(self, operation: Callable[..., Any], flow: Flow | None, **arguments: Any) -> Written | NotWritten:
        name = "PutItem" if flow else "UpdateItem"
        try:
            with translated(name):
                answer = self._conditional(operation, **arguments)
        except _ConditionFailedError as failed:
            return NotWritten(flow_of(failed.item) if failed.item else None)
        return Written(flow or flow_of(answer["Attributes"]))

    def _conditional(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        """Run a conditional write; a failed condition becomes an exception that carries the row it met."""
        try:
            return operation(TableName=self._table, ReturnValuesOnConditionCheckFailure="ALL_OLD", **arguments)
        except ClientError as error:
            if code_of(error) == "ConditionalCheckFailedException":
                item: Any = error.response.get("Item")  # not in the stubs
                raise _ConditionFailedError(item or {}) from None
            raise


class _ConditionFailedError(Exception):
    """A write's condition did not hold; `item` is the row it met, empty when there is none."""

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.item = item


def _unchanged(flow: Flow, was: Status) -> dict[str, Any]:
    """Return the condition that a row still is what was read: the same attempt, status, deadline and claim."""
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


def _name(attribute: str) -> str:
    return f"#{attribute}" if f"#{attribute}" in _NAMES else attribute


def _mentions(condition: str, name: str) -> bool:
    return name in condition.replace("(", " ").replace(")", " ").replace(",", " ").split()
