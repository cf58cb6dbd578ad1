"""Tokens in quarantine, for a person to decide: `make quarantine` lists them, releases one, or discards one.

Finch's answer did not fit the request (docs/architecture.md). The cause may be an injected code, or an accountant with
two customers. The person who decides knows both, and this tool carries out the decision. Every step can be repeated,
and no token is ever shown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

from cli.cloudformation import DeployedError, add_stack_arguments, exit_code_of, outputs_of, parameters_of
from finch_connect.adapters.aws import code_of, translated
from finch_connect.adapters.owners import DynamoOwners
from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.adapters.vault import SecretsManagerVault
from finch_connect.domain.errors import DecisionRefusedError, ServiceUnavailableError
from finch_connect.domain.flow import from_epoch_ms
from finch_connect.domain.names import Names
from finch_connect.domain.secret import Secret
from finch_connect.flow.ports import QuarantinedSecret, QuarantinePorts
from finch_connect.flow.quarantine import Quarantined, discard, discard_left_over, quarantined, release

RECOVERY_DAYS = 7
"""How long a discarded token can be restored. AWS allows 7 to 30 days."""

_GONE = {"ResourceNotFoundException", "InvalidRequestException"}
_NEEDS = (
    "cloudformation:DescribeStacks, dynamodb:GetItem and UpdateItem on the table, "
    "secretsmanager:ListSecrets, and Describe, Get, Create, Put and DeleteSecret under finch/<stage>/"
)
REFUSALS = {
    "flow_unknown": "There is no flow {flow_id}. `make quarantine` lists those in quarantine.",
    "row_missing": (
        "Flow {flow_id} has no row any more, so nothing says whose connection it is. Its token can only be discarded."
    ),
    "not_quarantined": "Flow {flow_id} is {flow_status}, so it has no token in quarantine.",
    "secret_missing": "The secret with the token of flow {flow_id} has been deleted. Please discard the flow.",
    "connection_unknown": "Finch named no connection for flow {flow_id}, so its token can only be discarded.",
    "owner_mismatch": (
        "Connection {connection_id} belongs to {owner}. If it belongs to {customer_id} from now on, add "
        "TRANSFER_FROM={owner}. If not, discard the token."
    ),
    "superseded": (
        "{customer_id} has signed in again since, and a newer token is in the vault. Please discard this one."
    ),
    "connection_leased": (
        "Another token of {connection_id} is being stored now. Nothing was changed. Try again in a few minutes."
    ),
    "decided_meanwhile": "Somebody else has decided about flow {flow_id} meanwhile. List the quarantine again.",
}
"""What each refusal means, and what to do."""


@dataclass(frozen=True, slots=True)
class SecretsManagerQuarantine:
    """Implements `ports.Quarantine` with an operator's credentials."""

    client: Any
    names: Names

    def secrets(self) -> Iterator[QuarantinedSecret]:
        """See `ports.Quarantine.secrets`."""
        prefix = self.names.quarantine_secret("")
        with translated("ListSecrets"):
            pages = self.client.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [prefix]}])
            listed = [secret for page in pages for secret in page["SecretList"] if "DeletedDate" not in secret]
        return (
            QuarantinedSecret(one["Name"].removeprefix(prefix), one.get("LastChangedDate") or one.get("CreatedDate"))
            for one in listed
            if one["Name"].startswith(prefix)
        )

    def read(self, flow_id: str) -> Secret | None:
        """See `ports.Quarantine.read`."""
        with translated("GetSecretValue"):
            try:
                answer = self.client.get_secret_value(SecretId=self.names.quarantine_secret(flow_id))
            except ClientError as error:
                if code_of(error) in _GONE:
                    return None
                raise
            return Secret(answer["SecretString"])

    def delete(self, flow_id: str, *, recoverable: bool) -> None:
        """See `ports.Quarantine.delete`."""
        how = {"RecoveryWindowInDays": RECOVERY_DAYS} if recoverable else {"ForceDeleteWithoutRecovery": True}
        with translated("DeleteSecret"):
            try:
                self.client.delete_secret(SecretId=self.names.quarantine_secret(flow_id), **how)
            except ClientError as error:
                if code_of(error) not in _GONE:
                    raise


def quarantine_ports(
    dynamodb: Any, secrets_manager: Any, table_name: str, names: Names, kms_key_id: str | None
) -> QuarantinePorts:
    """Wire the decision to one stack, with an operator's own clients."""
    table = DynamoFlowTable(dynamodb, table_name)
    return QuarantinePorts(
        flows=table,
        connections=table,
        owners=DynamoOwners(dynamodb, table_name),
        vault=SecretsManagerVault(secrets_manager, names.stage, kms_key_id),
        quarantine=SecretsManagerQuarantine(secrets_manager, names),
        clock=lambda: datetime.now(UTC),
    )


def _line(waiting: Quarantined) -> str:
    flow, when = waiting.flow, waiting.secret.stored_at
    if flow is not None and flow.settled_at is not None and not waiting.is_left_over:
        when = from_epoch_ms(flow.settled_at)
        facts = [flow.customer_id, flow.connection_id or "(no connection)", str(flow.reason)]
    else:
        facts = ["(no row)" if flow is None else f"(the flow is {flow.status})", "left over: it can only be discarded"]
    shown = "(time unknown)  " if when is None else when.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    return "  ".join([waiting.flow_id, shown, *facts])


def _decide(given: argparse.Namespace, ports: QuarantinePorts, names: Names) -> None:
    if given.release:
        flow = release(given.release, ports, names, transfer_from=given.transfer_from)
        print(f"Released. {flow.customer_id} owns {flow.connection_id}, and an event follows.")
    elif given.discard:
        if discard_left_over(given.discard, ports):
            print("Discarded. No flow was waiting for it. Finch was not asked to disconnect.")
        else:
            owner = discard(given.discard, ports).customer_id
            print(f"Discarded. {owner} can use the link again while it lives. Finch was not asked to disconnect.")
        print(f"The secret can be restored for {RECOVERY_DAYS} days: {names.quarantine_secret(given.discard)}")
    else:
        lines = [_line(waiting) for waiting in quarantined(ports)]
        print("\n".join(lines) or "Nothing is in quarantine.")


def _run(given: argparse.Namespace) -> None:
    session = boto3.Session(region_name=given.region)
    parameters = parameters_of(session, given.stack)
    names = Names(parameters["Stage"])
    ports = quarantine_ports(
        session.client("dynamodb"),
        session.client("secretsmanager"),
        outputs_of(session, given.stack)["TableName"],
        names,
        parameters.get("KmsKeyArn") or None,
    )
    try:
        _decide(given, ports, names)
    except DecisionRefusedError as error:
        flow_id = given.release or given.discard
        raise DeployedError(REFUSALS[error.reason].format(**{"flow_id": flow_id, **error.fields})) from None
    except ServiceUnavailableError as error:
        cause = error.fields.get("aws_code", error.reason)
        raise DeployedError(f"AWS refused ({cause}). Your credentials need {_NEEDS}.") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """List, release or discard. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cli.quarantine", description="Tokens in quarantine.")
    decision = parser.add_mutually_exclusive_group()
    decision.add_argument("--release", metavar="FLOW_ID", help="make it the customer's connection")
    decision.add_argument("--discard", metavar="FLOW_ID", help="give the token up, so that the link can be used again")
    parser.add_argument("--transfer-from", metavar="CUSTOMER", help="who owns the connection now, and loses it")
    add_stack_arguments(parser)
    given = parser.parse_args(arguments)
    if given.transfer_from and not given.release:
        parser.error("--transfer-from needs --release")
    return exit_code_of(lambda: _run(given), given.stack, _NEEDS)


if __name__ == "__main__":
    sys.exit(main())
