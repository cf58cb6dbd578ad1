"""C, the baseline: one DynamoDB put through a bare boto3 client, and nothing else."""

import os
import time

import boto3

dynamodb = boto3.client("dynamodb")


def handler(event, context):
    """Put one row, then redirect."""
    row = {"id": {"S": event["requestContext"]["requestId"]}, "at": {"N": str(int(time.time()))}}
    dynamodb.put_item(TableName=os.environ["TABLE_NAME"], Item=row)
    return {"statusCode": 303, "headers": {"Location": "https://connect.example.com/"}, "body": ""}
