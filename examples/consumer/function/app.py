"""A consumer: for each connection reads its token from the vault and asks Finch for the company behind it."""

import json
from typing import Any

import boto3
from finch import Finch

SECRETS = boto3.client("secretsmanager")


def handler(event: dict[str, Any], _context: object) -> None:
    """Take SQS messages that hold events of the bus; one that raises is tried again, then put aside."""
    for message in event["Records"]:
        detail = json.loads(message["body"])["detail"]
        # Delivered at least once: what you do here must be the same when it is done twice (or remember `event_id`).
        if "secret_arn" not in detail:  # superseded: a newer connection of the same customer is on its way to you
            continue
        secret = SECRETS.get_secret_value(SecretId=detail["secret_arn"])["SecretString"]
        finch = Finch(access_token=json.loads(secret)["access_token"])
        company = finch.hris.company.retrieve()
        print(json.dumps({"customer_id": detail["customer_id"], "company_id": company.id}))
