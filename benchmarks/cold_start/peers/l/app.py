"""L: Finch's SDK and boto3 clients for the exchange, one secret and one row. This is less work than ours."""

import functools
import json
import os
import time

import boto3
from finch import Finch

dynamodb, secretsmanager = boto3.client("dynamodb"), boto3.client("secretsmanager")


@functools.cache
def finch():
    """Create Finch's client once per container."""
    secret = secretsmanager.get_secret_value(SecretId=os.environ["CLIENT_CREDENTIALS_SECRET_ARN"])["SecretString"]
    return Finch(
        client_id=os.environ["FINCH_CLIENT_ID"],
        client_secret=json.loads(secret)["client_secret"],
        base_url=os.environ["FINCH_API_URL"],
    )


def handler(event, context):
    """Exchange the code, store the token, write one row."""
    query = event["queryStringParameters"]
    token = finch().access_tokens.create(code=query["code"], redirect_uri="https://connect.example.com/callback")
    stored = secretsmanager.create_secret(
        Name=f"finch/bench/connections/{query['state']}", SecretString=json.dumps({"access_token": token.access_token})
    )
    row = {"id": {"S": query["state"]}, "secret": {"S": stored["ARN"]}, "at": {"N": str(int(time.time()))}}
    dynamodb.put_item(TableName=os.environ["TABLE_NAME"], Item=row)
    return {"statusCode": 303, "headers": {"Location": "https://app.example.com/hr/done"}, "body": ""}
