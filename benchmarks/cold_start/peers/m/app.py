"""M: the same work as U, in FastAPI behind Mangum."""

import hashlib
import hmac
import json
import os
import time

import boto3
import jwt
import requests
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from fastapi import FastAPI, Request, Response
from mangum import Mangum
from pydantic import BaseModel

logger, tracer, metrics = Logger(), Tracer(), Metrics(namespace="Bench")
app = FastAPI()
dynamodb, secretsmanager = boto3.client("dynamodb"), boto3.client("secretsmanager")
TABLE = os.environ["TABLE_NAME"]


class Token(BaseModel):
    """Finch's token response."""

    access_token: str
    connection_id: str
    client_type: str
    provider_id: str
    products: list[str]
    customer_id: str | None = None


def update(key, changes, condition, **values):
    """Update a row under a condition."""
    names = {f"#{name}": name for name in changes}
    return dynamodb.update_item(
        TableName=TABLE,
        Key={"id": {"S": key}},
        UpdateExpression="SET " + ", ".join(f"#{name} = :set_{name}" for name in changes),
        ConditionExpression=condition,
        ExpressionAttributeNames=names,
        ExpressionAttributeValues={f":set_{name}": value for name, value in changes.items()} | values,
        ReturnValues="ALL_NEW",
    )["Attributes"]


@app.get("/callback")
@tracer.capture_method
def callback(request: Request, code: str, state: str):
    """Claim, exchange, lease, store, settle, and redirect with a receipt."""
    flow_id = state.partition(".")[0]
    mac = hmac.new(request.cookies[f"__Host-fc-{flow_id}"].encode(), flow_id.encode(), hashlib.sha256).hexdigest()
    logger.info("callback", extra={"flow_id": flow_id, "mac": hashlib.sha256(mac.encode()).hexdigest()})
    now = str(int(time.time() * 1000))
    row = update(
        f"flow#{flow_id}",
        {"status": {"S": "claimed"}, "claimed_at": {"N": now}},
        "#status = :started AND state_hash = :state_hash AND deadline > :now",
        **{
            ":started": {"S": "started"},
            ":state_hash": {"S": hashlib.sha256(state.encode()).hexdigest()},
            ":now": {"N": now},
        },
    )
    credentials = parameters.get_secret(os.environ["CLIENT_CREDENTIALS_SECRET_ARN"], transform="json")
    link_key = parameters.get_secret(os.environ["LINK_KEY_SECRET_ARN"], transform="json")
    answer = requests.post(
        f"{os.environ['FINCH_API_URL']}/auth/token",
        json={
            "client_id": os.environ["FINCH_CLIENT_ID"],
            "client_secret": credentials["client_secret"],
            "code": code,
            "redirect_uri": row["redirect_uri"]["S"],
        },
        timeout=20,
        allow_redirects=False,
    )
    answer.raise_for_status()
    token = Token.model_validate(answer.json())
    customer_id = row["customer_id"]["S"]
    update(
        f"connection#{token.connection_id}",
        {"customer_id": {"S": customer_id}, "flow_id": {"S": flow_id}, "claimed_at": {"N": now}},
        "attribute_not_exists(id) OR #customer_id = :set_customer_id",
    )
    stored = secretsmanager.create_secret(
        Name=f"finch/bench/connections/{token.connection_id}",
        SecretString=json.dumps({"access_token": token.access_token, "customer_id": customer_id}),
    )
    update(
        f"flow#{flow_id}",
        {"status": {"S": "connected"}, "settled_at": {"N": now}, "secret_arn": {"S": stored["ARN"]}},
        "claimed_at = :set_settled_at",
    )
    metrics.add_metric(name="Connected", unit=MetricUnit.Count, value=1)
    seconds = int(time.time())
    receipt = jwt.encode(
        {
            "aud": "finch-receipt",
            "sub": customer_id,
            "jti": flow_id,
            "iat": seconds,
            "exp": seconds + 300,
            "status": "connected",
            "connection_id": token.connection_id,
        },
        link_key["key"],
        algorithm="HS256",
        headers={"kid": link_key["kid"], "typ": "finch-receipt+jwt"},
    )
    location = f"{row['return_url']['S']}?finch_receipt={receipt}"
    return Response(status_code=303, headers={"Location": location, "Cache-Control": "no-store"})


serve = Mangum(app, lifespan="off")


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event, context):
    """Route the event."""
    return serve(event, context)
