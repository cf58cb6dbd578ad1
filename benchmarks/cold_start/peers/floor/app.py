"""The floor: connect's two AWS calls, signed by hand, without an SDK and without connect's checks."""

import datetime as dt
import hashlib
import hmac
import json
import os
from http.client import HTTPSConnection
from urllib.parse import urlsplit

REGION, KEY, SECRET = (os.environ[f"AWS_{name}"] for name in ("REGION", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))


class Service:
    """One AWS service with a JSON protocol, on one persistent connection."""

    def __init__(self, name, target, version):
        self.name, self.target, self.version = name.replace("_", ""), target, version
        self.host = urlsplit(os.environ[f"AWS_ENDPOINT_URL_{name.upper()}"])
        self.connection = HTTPSConnection(self.host.netloc, timeout=5)

    def call(self, operation, **arguments):
        """Sign and send one request, and return the response."""
        body = json.dumps(arguments)
        now = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {"host": self.host.netloc, "x-amz-date": now, "x-amz-target": f"{self.target}.{operation}"}
        names, digest = ";".join(headers), hashlib.sha256(body.encode()).hexdigest()
        listed = "".join(f"{name}:{value}\n" for name, value in headers.items())
        asked = hashlib.sha256(f"POST\n/\n\n{listed}\n{names}\n{digest}".encode()).hexdigest()
        scope = f"{now[:8]}/{REGION}/{self.name}/aws4_request"
        key = f"AWS4{SECRET}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{asked}".encode(), hashlib.sha256).hexdigest()
        credential = f"Credential={KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
        sent = {
            **headers,
            "authorization": f"AWS4-HMAC-SHA256 {credential}",
            "content-type": f"application/x-amz-json-{self.version}",
        }
        self.connection.request("POST", "/", body, sent)
        return json.loads(self.connection.getresponse().read())


dynamodb = Service("dynamodb", "DynamoDB_20120810", "1.0")
secretsmanager = Service("secrets_manager", "secretsmanager", "1.1")
kept = {}


def handler(event, context):
    """Read the key once, put one row, then redirect."""
    if not kept:
        answer = secretsmanager.call("GetSecretValue", SecretId=os.environ["LINK_KEY_SECRET_ARN"])
        kept.update(json.loads(answer["SecretString"]))
    row = {"id": {"S": event["requestContext"]["requestId"]}, "link": {"S": event["queryStringParameters"]["link"]}}
    dynamodb.call("PutItem", TableName=os.environ["TABLE_NAME"], Item=row)
    return {"statusCode": 303, "headers": {"Location": "https://connect.example.com/"}, "body": ""}
