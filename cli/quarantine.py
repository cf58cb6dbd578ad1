"""Tokens that were set aside, for a person to decide: `make quarantine` lists them, releases one, or discards one.

The answer to the exchange did not fit the request (docs/architecture.md): it may be an injected code, or just an
accountant with two customers. The person who decides knows both; this tool does what was decided. Each step can be
repeated, and tokens are never shown.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

from cli.cloudformation import DeployedError, exit_code_of, outputs_of, parameters_of
from finch_connect.adapters.aws import code_of
from finch_connect.adapters.items import connection_key
from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.adapters.vault import SecretsManagerVault
from finch_connect.domain.connection import Connection, Leased, LeaseRefused
from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.flow import Flow, NotWritten, Status, epoch_ms, from_epoch_ms
from finch_connect.domain.secret import Secret
from finch_connect.flow import token_storage

DISCARDED = "discarded"
RECOVERY_DAYS = 7
"""A token that was discarded can be taken back for this long; AWS allows 7 to 30 days."""

_NEEDS = (
    "cloudformation:DescribeStacks, dynamodb:GetItem, UpdateItem and DeleteItem on the table, "
    "secretsmanager:ListSecrets, and Get, Create, Put and DeleteSecret under finch/<stage>/"
)


class UndecidedError(DeployedError):
    """It cannot be done as asked, and nothing was changed; the text says what can be done."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The quarantine of one stack, with the operator's own clients."""

    dynamodb: Any
    secrets: Any
    table_name: str
    stage: str
    kms_key_id: str | None = None

    def name_of(self, flow_id: str) -> str:
        """Return the name of the secret that holds a flow's token while it waits."""
        return f"finch/{self.stage}/quarantine/{flow_id}"

    def waiting(self) -> Iterator[Flow]:
        """Yield the flows whose tokens were set aside, as their secrets list them."""
        prefix = self.name_of("")
        pages = self.secrets.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [prefix]}])
        names = [secret["Name"] for page in pages for secret in page["SecretList"] if "DeletedDate" not in secret]
        for name in names:
            if name.startswith(prefix):
                flow = self._table.get(name.removeprefix(prefix))
                if flow is not None:
                    yield flow

    def release(self, flow_id: str, *, transfer_from: str | None = None) -> Flow:
        """Move a token to its connection and return the flow, now connected; its event follows.

        `transfer_from`: the customer who owns the connection so far and loses it. Raises UndecidedError.
        """
        flow, name = self._flow(flow_id), self.name_of(flow_id)
        if flow.status is Status.CONNECTED:  # an earlier release ended before its last step
            self._delete(name, at_once=True)
            return flow
        text = self._text(flow, name)
        grant = token_storage.grant_in(text)
        if grant.connection_id is None or flow.claimed_at is None:
            raise UndecidedError(f"{flow_id}: Finch named no connection, so there is nothing to release. Discard it.")
        secret_name = f"finch/{self.stage}/connections/{grant.connection_id}"
        lease = self._acquire_lease(
            token_storage.connection_for(flow, grant.connection_id, grant, secret_name), transfer_from
        )
        again = lease.before is not None and lease.before.stored_claim is not None
        vault = SecretsManagerVault(self.secrets, self.stage, self.kms_key_id)
        stored = vault.put(secret_name, text, version=flow.state_hash, exists=lease.before is not None)
        released = flow.settled(
            Status.CONNECTED,
            at=datetime.now(UTC),
            reauthorized=again,
            secret_arn=stored.arn,
            secret_version_id=stored.version_id,
        )
        self._settle(released)
        self._delete(name, at_once=True)
        return released

    def discard(self, flow_id: str) -> Flow:
        """Give a token up and return the flow, now failed, so that its link starts anew. Raises UndecidedError.

        Nothing is disconnected at Finch: the connection may well be somebody else's.
        """
        flow, name = self._flow(flow_id), self.name_of(flow_id)
        if not (flow.status is Status.FAILED and flow.reason == DISCARDED):
            self._text(flow, name)
            flow = dataclasses.replace(flow, secret_arn=None, secret_version_id=None)
            flow = flow.settled(Status.FAILED, at=datetime.now(UTC), reason=DISCARDED)
            self._settle(flow)
        self._delete(name, at_once=False)
        return flow

    @property
    def _table(self) -> DynamoFlowTable:
        return DynamoFlowTable(self.dynamodb, self.table_name)

    def _flow(self, flow_id: str) -> Flow:
        flow = self._table.get(flow_id)
        if flow is None:
            raise UndecidedError(f"There is no flow {flow_id} in {self.table_name}.")
        return flow

    def _text(self, flow: Flow, name: str) -> Secret:
        """Return a quarantined flow's secret; it is what this very attempt put there."""
        if flow.status is not Status.QUARANTINED:
            raise UndecidedError(f"{flow.flow_id} is {flow.status}: nothing of it waits for a decision.")
        try:
            answer = self.secrets.get_secret_value(SecretId=name)
        except ClientError as error:
            if code_of(error) in {"ResourceNotFoundException", "InvalidRequestException"}:
                raise UndecidedError(f"{flow.flow_id}: its secret {name} is gone.") from None
            raise
        return Secret(answer["SecretString"])

    def _acquire_lease(self, connection: Connection, transfer_from: str | None) -> Leased:
        if transfer_from is not None:
            self._give_up(connection.connection_id, transfer_from)
        lease = self._table.acquire_lease(connection, now=epoch_ms(datetime.now(UTC)))
        if isinstance(lease, Leased):
            return lease
        raise UndecidedError(_taken(lease, connection))

    def _give_up(self, connection_id: str, customer_id: str) -> None:
        """Let the owner go, if it is the one that the operator named. Its secret stays and gets another version."""
        try:
            self.dynamodb.delete_item(
                TableName=self.table_name,
                Key=connection_key(connection_id),
                ConditionExpression="attribute_not_exists(id) OR customer_id = :customer_id",
                ExpressionAttributeValues={":customer_id": {"S": customer_id}},
            )
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
            raise UndecidedError(f"{connection_id} does not belong to {customer_id}.") from None

    def _settle(self, outcome: Flow) -> None:
        if isinstance(self._table.settle(outcome, was=Status.QUARANTINED), NotWritten):
            raise UndecidedError(f"{outcome.flow_id} was decided by somebody else meanwhile. Look again.")

    def _delete(self, name: str, *, at_once: bool) -> None:
        """Delete a secret; also when that has happened already."""
        how = {"ForceDeleteWithoutRecovery": True} if at_once else {"RecoveryWindowInDays": RECOVERY_DAYS}
        try:
            self.secrets.delete_secret(SecretId=name, **how)
        except ClientError as error:
            if code_of(error) not in {"ResourceNotFoundException", "InvalidRequestException"}:
                raise


def _taken(lease: LeaseRefused, connection: Connection) -> str:
    current = lease.current
    if current.customer_id == connection.customer_id and (current.stored_claim or 0) < connection.claimed_at:
        return f"A token of {connection.connection_id} is being stored right now. Try again in some minutes."
    if current.customer_id == connection.customer_id:
        return f"{connection.customer_id} has signed in again since: a newer token is in the vault. Discard this one."
    return (
        f"{connection.connection_id} belongs to {current.customer_id}. If it is {connection.customer_id}'s from now "
        f"on, add TRANSFER_FROM={current.customer_id}; else discard it."
    )


def _line(flow: Flow) -> str:
    when = "" if flow.settled_at is None else from_epoch_ms(flow.settled_at).strftime("%Y-%m-%d %H:%M")
    return f"{flow.flow_id}  {when}  {flow.customer_id}  {flow.connection_id or '(no connection)'}  {flow.reason}"


def _do(given: argparse.Namespace, quarantine: Quarantine) -> None:
    if given.release:
        flow = quarantine.release(given.release, transfer_from=given.transfer_from)
        print(f"Released: {flow.customer_id} owns {flow.connection_id}, and an event says so.")
    elif given.discard:
        flow = quarantine.discard(given.discard)
        print(f"Discarded: {flow.customer_id}'s link starts anew while it lives. Nothing was disconnected at Finch.")
        print(f"Its secret can be restored for {RECOVERY_DAYS} days: {quarantine.name_of(flow.flow_id)}")
    else:
        lines = [_line(flow) for flow in quarantine.waiting()]
        print("\n".join(lines) or "Nothing is in quarantine.")


def main(arguments: Sequence[str] | None = None) -> int:
    """List, release or discard; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cli.quarantine", description="Tokens that were set aside.")
    decision = parser.add_mutually_exclusive_group()
    decision.add_argument("--release", metavar="FLOW_ID", help="make it the customer's connection")
    decision.add_argument("--discard", metavar="FLOW_ID", help="give the token up; the link starts anew")
    parser.add_argument("--transfer-from", metavar="CUSTOMER", help="who owns the connection so far, and loses it")
    parser.add_argument("--stack", default="finch-connect")
    parser.add_argument("--region")
    given = parser.parse_args(arguments)
    if given.transfer_from and not given.release:
        parser.error("--transfer-from goes with --release")
    return exit_code_of(lambda: _decide(given), given.stack, _NEEDS)


def _decide(given: argparse.Namespace) -> None:
    session = boto3.Session(region_name=given.region)
    parameters = parameters_of(session, given.stack)
    quarantine = Quarantine(
        dynamodb=session.client("dynamodb"),
        secrets=session.client("secretsmanager"),
        table_name=outputs_of(session, given.stack)["TableName"],
        stage=parameters["Stage"],
        kms_key_id=parameters.get("KmsKeyArn") or None,
    )
    try:
        _do(given, quarantine)
    except ServiceUnavailableError as error:
        raise UndecidedError(
            f"AWS refused ({error.fields.get('aws_code', error.reason)}): {_NEEDS} are needed."
        ) from None


if __name__ == "__main__":
    sys.exit(main())
