"""Quotas and prices as AWS and Finch publish them: each number with its unit, its page, and how well it is confirmed.

Read in stored copies of the pages on the day in SEEN, so they may be older. Look again before you decide by them.
Regions differ: prices are US East (N. Virginia), quotas those of most regions, or of the region that is named.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

SEEN = "2026-11-25"


class Standing(enum.StrEnum):
    """Where a number was read."""

    PAGE = "the page itself"
    OLDER = "an older edition of the page"
    QUOTED = "quoted from the page by others"
    OPEN = "not confirmed"


@dataclass(frozen=True, slots=True)
class Quota:
    """One published quota. `adjustable` None: it grows by itself."""

    what: str
    value: float
    unit: str
    source: str
    standing: Standing
    adjustable: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """One published price: so many dollars for `per` of the thing; `unit` says it in words."""

    what: str
    dollars: float
    unit: str
    source: str
    standing: Standing = Standing.QUOTED
    per: float = 1


_LAMBDA = "AWS Lambda: Lambda scaling behavior"
_DYNAMODB = "Amazon DynamoDB: On-demand capacity mode"
_THROTTLED = "AWS re:Post: My on-demand DynamoDB table has throttling"
_SECRETS = "AWS Secrets Manager: quotas"
_EVENTS = "Amazon EventBridge: quotas"
_FINCH = "Finch: Rate Limits"

API_REQUESTS = Quota(
    "API Gateway, all APIs", 10_000, "requests/s", "Amazon API Gateway: quotas", Standing.PAGE, True,
    "2,500 in the newer regions, such as Milan, Spain and Zurich",
)  # fmt: skip
API_TIMEOUT = Quota(
    "API Gateway, integration of an HTTP API", 30, "s",
    "Amazon API Gateway: Quotas for HTTP APIs", Standing.PAGE, False,
)  # fmt: skip
LAMBDA_CONCURRENCY = Quota(
    "Lambda, concurrent executions", 1_000, "executions",
    "AWS Lambda: Scaling and concurrency in Lambda (operator guide)", Standing.PAGE, True,
    "shared by all functions of the account; new accounts may begin with less",
)  # fmt: skip
LAMBDA_GROWTH = Quota(
    "Lambda, new environments of one function", 1_000, "environments in 10 s", _LAMBDA, Standing.PAGE, False
)
TABLE_INITIAL = Quota(
    "DynamoDB, a new on-demand table", 4_000, "write units/s", _DYNAMODB, Standing.PAGE, None,
    "then twice the highest of before within 30 minutes; can be pre-warmed",
)  # fmt: skip
TABLE_QUOTA = Quota("DynamoDB, one table", 40_000, "write units/s", _DYNAMODB, Standing.PAGE, True)
PARTITION_WRITES = Quota(
    "DynamoDB, one partition", 1_000, "write units/s", _THROTTLED, Standing.PAGE, False,
    "of an index too; an index that cannot take a write throttles the table's write",
)  # fmt: skip
PARTITION_READS = Quota("DynamoDB, one partition", 3_000, "read units/s", _THROTTLED, Standing.PAGE, False)
SHARD_BATCHES = Quota(
    "Lambda, batches at once of one stream shard", 10, "batches",
    "AWS Lambda: Using AWS Lambda with Amazon DynamoDB", Standing.OLDER, False, "ParallelizationFactor; 1 unless set",
)  # fmt: skip
_NOT_SEEN = "whether AWS raises it was not seen; the rates next to it are not raised"
SECRET_COUNT = Quota(
    "Secrets Manager, secrets", 500_000, "secrets in a region", _SECRETS, Standing.OLDER, False, _NOT_SEEN
)
SECRET_CREATES = Quota("Secrets Manager, CreateSecret", 50, "requests/s", _SECRETS, Standing.OLDER, False, _NOT_SEEN)
SECRET_PUTS = Quota(
    "Secrets Manager, PutSecretValue and its like", 50, "requests/s", _SECRETS, Standing.PAGE, False,
    "for one secret not more than one in 10 minutes, sustained",
)  # fmt: skip
SECRET_READS = Quota("Secrets Manager, GetSecretValue", 10_000, "requests/s", _SECRETS, Standing.PAGE, False)
SECRET_VERSIONS = Quota(
    "Secrets Manager, versions of one secret", 100, "versions", _SECRETS, Standing.PAGE, False,
    "older ones are removed, but none younger than 24 hours",
)  # fmt: skip
PARAMETER_RATE = Quota(
    "Parameter Store, its calls together", 40, "requests/s",
    "AWS Systems Manager: Changing Parameter Store throughput", Standing.QUOTED, True,
    "the page counts PutParameter in, but names no number for it alone",
)  # fmt: skip
PARAMETER_COUNT = Quota(
    "Parameter Store, standard parameters", 10_000, "parameters in a region",
    "AWS Systems Manager: Managing parameter tiers", Standing.PAGE, False, "then advanced ones, up to 100,000",
)  # fmt: skip
PUT_EVENTS = Quota(
    "EventBridge, PutEvents in eu-central-1", 2_400, "requests/s", _EVENTS, Standing.PAGE, True,
    "10,000 in us-east-1, us-west-2 and eu-west-1; down to 400 elsewhere",
)  # fmt: skip
KMS_REQUESTS = Quota(
    "KMS, symmetric operations", 10_000, "requests/s", "AWS KMS: Request quotas", Standing.PAGE, True,
    "20,000 in Frankfurt, 100,000 in us-east-1, us-west-2 and eu-west-1",
)  # fmt: skip
LOG_PUTS = Quota(
    "CloudWatch Logs, PutLogEvents",
    5_000,
    "requests/s",
    "Amazon CloudWatch Logs: quotas",
    Standing.PAGE,
    True,
    "whether Lambda's own delivery counts is not said",
)
FINCH_WINDOW = Quota(
    "Finch, requests of one IP address", 1_000, "requests in 5 min", _FINCH, Standing.QUOTED, False,
    "then 60 minutes of refusals; no limit of its own is documented for the exchange",
)  # fmt: skip

QUOTAS = (
    API_REQUESTS, API_TIMEOUT, LAMBDA_CONCURRENCY, LAMBDA_GROWTH, TABLE_INITIAL, TABLE_QUOTA, PARTITION_WRITES,
    PARTITION_READS, SHARD_BATCHES, SECRET_COUNT, SECRET_CREATES, SECRET_PUTS, SECRET_READS, SECRET_VERSIONS,
    PARAMETER_RATE, PARAMETER_COUNT, PUT_EVENTS, KMS_REQUESTS, LOG_PUTS, FINCH_WINDOW,
)  # fmt: skip

_DYNAMODB_PRICES = "Amazon DynamoDB: Pricing for on-demand capacity"
_LAMBDA_PRICES = "AWS Lambda: Pricing"
_CLOUDWATCH_PRICES = "Amazon CloudWatch: Pricing"
_SECRETS_PRICES = "AWS Secrets Manager: Pricing"
_KMS_PRICES = "AWS KMS: Pricing"


def _price(what: str, dollars: float, unit: str, source: str, *, per: float = 1) -> Price:
    return Price(what, dollars, unit, source, per=per)


SECRET_MONTH = _price("a secret", 0.40, "a month", _SECRETS_PRICES)
SECRET_CALL = _price("Secrets Manager calls", 0.05, "for 10,000", _SECRETS_PRICES, per=10_000)
API_REQUEST = _price("HTTP API requests", 1.00, "for a million", "Amazon API Gateway: Pricing", per=1e6)
LAMBDA_REQUEST = _price("Lambda requests", 0.20, "for a million", _LAMBDA_PRICES, per=1e6)
LAMBDA_GB_SECOND = _price("Lambda on arm64", 0.0000133334, "a GB-second", _LAMBDA_PRICES)
WRITE_UNIT = _price("DynamoDB write units", 0.625, "for a million", _DYNAMODB_PRICES, per=1e6)
READ_UNIT = _price("DynamoDB read units", 0.125, "for a million", _DYNAMODB_PRICES, per=1e6)
STORAGE = _price("DynamoDB storage", 0.25, "a GB-month", _DYNAMODB_PRICES)
RECOVERY = Price("DynamoDB point-in-time recovery", 0.20, "a GB-month", _DYNAMODB_PRICES, Standing.OLDER)
STREAM_READ = Price("DynamoDB stream reads by Lambda", 0.0, "each", _DYNAMODB_PRICES, Standing.OPEN)
EVENT = _price("EventBridge custom events, up to 64 KB", 1.00, "for a million", "Amazon EventBridge: Pricing", per=1e6)
LOG_INGEST = _price("CloudWatch Logs ingestion", 0.50, "a GB", _CLOUDWATCH_PRICES)
LOG_STORAGE = _price("CloudWatch Logs storage", 0.03, "a GB-month", _CLOUDWATCH_PRICES)
METRIC = _price("CloudWatch custom metric", 0.30, "a month", _CLOUDWATCH_PRICES)
ALARM = _price("CloudWatch alarm", 0.10, "a month", _CLOUDWATCH_PRICES)
DASHBOARD = _price("CloudWatch dashboard", 3.00, "a month", _CLOUDWATCH_PRICES)
TRANSFER = _price("data out to the internet", 0.09, "a GB", "Amazon EC2: On-demand pricing, data transfer")
KMS_KEY = _price("a KMS key of your own", 1.00, "a month", _KMS_PRICES)
KMS_CALL = _price("KMS requests with a key of your own", 0.03, "for 10,000", _KMS_PRICES, per=10_000)
ADVANCED_PARAMETER = _price("an advanced parameter", 0.05, "a month", "AWS Systems Manager: Pricing")

PRICES = (
    SECRET_MONTH, SECRET_CALL, API_REQUEST, LAMBDA_REQUEST, LAMBDA_GB_SECOND, WRITE_UNIT, READ_UNIT, STORAGE, RECOVERY,
    STREAM_READ, EVENT, LOG_INGEST, LOG_STORAGE, METRIC, ALARM, DASHBOARD, TRANSFER, KMS_KEY, KMS_CALL,
    ADVANCED_PARAMETER,
)  # fmt: skip
