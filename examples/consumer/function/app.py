"""A consumer: for each connection, read its token from Secrets Manager and fetch the company from Finch."""

import json
from typing import Any

import boto3
from finch import Finch

SECRETS = boto3.client("secretsmanager")


def handler(event: dict[str, Any], _context: object) -> None:
    """Handle SQS messages that hold events of the bus; SQS retries one that raises, then dead-letters it."""
    for message in event["Records"]:
        detail = json.loads(message["body"])["detail"]
        # Events are delivered at least once. Make what you do here idempotent, or remember each `event_id`.
        if "secret_arn" not in detail:  # superseded: the event of the customer's newer login has the token
            continue
        secret = SECRETS.get_secret_value(SecretId=detail["secret_arn"])["SecretString"]
        finch = Finch(access_token=json.loads(secret)["access_token"])
        company = finch.hris.company.retrieve()
        print(json.dumps({"customer_id": detail["customer_id"], "company_id": company.id}))
