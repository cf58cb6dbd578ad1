"""The owners of connections: a connection changes its customer only here, with an operator's credentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from finch_connect.adapters.aws import translated
from finch_connect.adapters.conditions import outcomes_held, same_outcomes
from finch_connect.adapters.items import DUE_PARTITION, connection_key, flow_key, value
from finch_connect.domain.flow import PUBLISH_GRACE_MS, Flow


@dataclass(frozen=True, slots=True)
class DynamoOwners:
    """Implements `ports.Owners` on the flow table."""

    client: Any
    table_name: str

    def transfer(self, flow: Flow, transfer: Flow) -> bool:
        """See `ports.Owners.transfer`. botocore adds the token that makes a repeated transaction one."""
        owner = {
            "Key": connection_key(transfer.connection_id or ""),
            # The new owner's token is ordered among the new owner's tokens only.
            "UpdateExpression": "SET customer_id = :to REMOVE stored_granted_at",
            "ConditionExpression": "customer_id = :from AND attribute_not_exists(due_at)",
            "ExpressionAttributeValues": {
                ":from": value("customer_id", transfer.transferred_from),
                ":to": value("customer_id", transfer.customer_id),
            },
        }
        event = {
            "Key": flow_key(flow.flow_id),
            "UpdateExpression": "SET unpublished = :unpublished, due = :due, due_at = :due_at",
            "ConditionExpression": f"#status = :was AND state_hash = :state_hash AND {same_outcomes(flow)}",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {
                ":unpublished": value("unpublished", (*flow.unpublished, transfer)),
                ":due": value("due", DUE_PARTITION),
                ":due_at": value("due_at", (transfer.settled_at or 0) + PUBLISH_GRACE_MS),
                ":was": value("status", flow.status),
                ":state_hash": value("state_hash", flow.state_hash),
                **outcomes_held(flow),
            },
        }
        with translated("TransactWriteItems"):
            try:
                self.client.transact_write_items(
                    TransactItems=[{"Update": {"TableName": self.table_name, **update}} for update in (owner, event)]
                )
            except ClientError as error:
                reasons: Any = error.response.get("CancellationReasons", [])  # not in the stubs
                if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
                    return False
                raise
        return True
