"""Quotas and prices that AWS and Finch publish. Each has its unit, its source page and where the number was read.

The numbers were read from stored copies of the pages on the date in SEEN, and the copies may be older. Check the pages
before you base a decision on a number. Regions differ. Prices are for US East (N. Virginia). Quotas are those of most
regions unless a region is named.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

SEEN = "2026-11-25"


class Provenance(enum.StrEnum):
    """Where a number was read."""

    PAGE = "the page itself"
    OLDER = "an older edition of the page"
    QUOTED = "a quotation of the page elsewhere"
    UNCONFIRMED = "not confirmed"


@dataclass(frozen=True, slots=True)
class Quota:
    """One published quota. `adjustable` says whether AWS raises it; None means that it grows automatically."""

    what: str
    value: float
    unit: str
    source: str
    provenance: Provenance
    adjustable: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """One published price: `dollars` for `per` units. `unit` puts `per` into words."""

    what: str
    dollars: float
    unit: str
    source: str
    provenance: Provenance = Provenance.QUOTED
    per: float = 1


_LAMBDA = "AWS Lambda: Lambda scaling behavior"
_DYNAMODB = "Amazon DynamoDB: On-demand capacity mode"
_THROTTLED = "AWS re:Post: My on-demand DynamoDB table has throttling"
_SECRETS = "AWS Secrets Manager: quotas"
_EVENTS = "Amazon EventBridge: quotas"
_FINCH = "Finch: Rate Limits"

API_REQUESTS = Quota(
    "API Gateway, all APIs", 10_000, "requests/s", "Amazon API Gateway: quotas", Provenance.PAGE, True,
    "2,500 in newer regions such as Milan, Spain and Zurich",
)  # fmt: skip
API_TIMEOUT = Quota(
    "API Gateway, integration timeout of an HTTP API", 30, "s",
    "Amazon API Gateway: Quotas for HTTP APIs", Provenance.PAGE, False,
)  # fmt: skip
LAMBDA_CONCURRENCY = Quota(
    "Lambda, concurrent executions", 1_000, "executions",
    "AWS Lambda: Scaling and concurrency in Lambda (operator guide)", Provenance.PAGE, True,
    "shared by all functions of the account; new accounts may start with fewer",
)  # fmt: skip
LAMBDA_GROWTH = Quota(
    "Lambda, new environments of one function", 1_000, "environments per 10 s", _LAMBDA, Provenance.PAGE, False
)
TABLE_INITIAL = Quota(
    "DynamoDB, a new on-demand table", 4_000, "write units/s", _DYNAMODB, Provenance.PAGE, None,
    "then twice the previous peak within 30 minutes; can be pre-warmed",
)  # fmt: skip
TABLE_QUOTA = Quota("DynamoDB, one table", 40_000, "write units/s", _DYNAMODB, Provenance.PAGE, True)
PARTITION_WRITES = Quota(
    "DynamoDB, one partition", 1_000, "write units/s", _THROTTLED, Provenance.PAGE, False,
    "also for an index; an index that cannot accept a write throttles the write to the table",
)  # fmt: skip
PARTITION_READS = Quota("DynamoDB, one partition", 3_000, "read units/s", _THROTTLED, Provenance.PAGE, False)
SHARD_BATCHES = Quota(
    "Lambda, concurrent batches of one stream shard", 10, "batches",
    "AWS Lambda: Using AWS Lambda with Amazon DynamoDB", Provenance.OLDER, False, "ParallelizationFactor; 1 unless set",
)  # fmt: skip
_ADJUSTABLE_UNKNOWN = "the copy does not show whether AWS raises it; AWS does not raise the rates next to it"
SECRET_COUNT = Quota(
    "Secrets Manager, secrets", 500_000, "secrets per region", _SECRETS, Provenance.OLDER, False, _ADJUSTABLE_UNKNOWN
)
SECRET_CREATES = Quota(
    "Secrets Manager, CreateSecret", 50, "requests/s", _SECRETS, Provenance.OLDER, False, _ADJUSTABLE_UNKNOWN
)
SECRET_PUTS = Quota(
    "Secrets Manager, PutSecretValue and similar calls", 50, "requests/s", _SECRETS, Provenance.PAGE, False,
    "for one secret at most one write in 10 minutes, sustained",
)  # fmt: skip
SECRET_READS = Quota("Secrets Manager, GetSecretValue", 10_000, "requests/s", _SECRETS, Provenance.PAGE, False)
SECRET_VERSIONS = Quota(
    "Secrets Manager, versions of one secret", 100, "versions", _SECRETS, Provenance.PAGE, False,
    "older versions are removed, but none younger than 24 hours",
)  # fmt: skip
PARAMETER_RATE = Quota(
    "Parameter Store, all calls together", 40, "requests/s",
    "AWS Systems Manager: Changing Parameter Store throughput", Provenance.QUOTED, True,
    "the page includes PutParameter, but gives no separate number for it",
)  # fmt: skip
PARAMETER_COUNT = Quota(
    "Parameter Store, standard parameters", 10_000, "parameters per region",
    "AWS Systems Manager: Managing parameter tiers", Provenance.PAGE, False, "then advanced parameters, up to 100,000",
)  # fmt: skip
PUT_EVENTS = Quota(
    "EventBridge, PutEvents in eu-central-1", 2_400, "requests/s", _EVENTS, Provenance.PAGE, True,
    "10,000 in us-east-1, us-west-2 and eu-west-1; as low as 400 elsewhere",
)  # fmt: skip
KMS_REQUESTS = Quota(
    "KMS, symmetric operations", 10_000, "requests/s", "AWS KMS: Request quotas", Provenance.PAGE, True,
    "20,000 in Frankfurt, 100,000 in us-east-1, us-west-2 and eu-west-1",
)  # fmt: skip
LOG_PUTS = Quota(
    "CloudWatch Logs, PutLogEvents",
    5_000,
    "requests/s",
    "Amazon CloudWatch Logs: quotas",
    Provenance.PAGE,
    True,
    "the page does not say whether Lambda's own log delivery counts",
)
FINCH_WINDOW = Quota(
    "Finch, requests from one IP address", 1_000, "requests per 5 min", _FINCH, Provenance.QUOTED, False,
    "then requests are refused for 60 minutes; no separate limit is documented for the exchange",
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


SECRET_MONTH = _price("a secret", 0.40, "per month", _SECRETS_PRICES)
SECRET_CALL = _price("Secrets Manager calls", 0.05, "per 10,000", _SECRETS_PRICES, per=10_000)
API_REQUEST = _price("HTTP API requests", 1.00, "per million", "Amazon API Gateway: Pricing", per=1e6)
LAMBDA_REQUEST = _price("Lambda requests", 0.20, "per million", _LAMBDA_PRICES, per=1e6)
LAMBDA_GB_SECOND = _price("Lambda on arm64", 0.0000133334, "per GB-second", _LAMBDA_PRICES)
WRITE_UNIT = _price("DynamoDB write units", 0.625, "per million", _DYNAMODB_PRICES, per=1e6)
READ_UNIT = _price("DynamoDB read units", 0.125, "per million", _DYNAMODB_PRICES, per=1e6)
STORAGE = _price("DynamoDB storage", 0.25, "per GB-month", _DYNAMODB_PRICES)
RECOVERY = Price("DynamoDB point-in-time recovery", 0.20, "per GB-month", _DYNAMODB_PRICES, Provenance.OLDER)
STREAM_READ = Price("DynamoDB stream reads by Lambda", 0.0, "each", _DYNAMODB_PRICES, Provenance.UNCONFIRMED)
EVENT = _price("EventBridge custom events, up to 64 KB", 1.00, "per million", "Amazon EventBridge: Pricing", per=1e6)
LOG_INGEST = _price("CloudWatch Logs ingestion", 0.50, "per GB", _CLOUDWATCH_PRICES)
LOG_STORAGE = _price("CloudWatch Logs storage", 0.03, "per GB-month", _CLOUDWATCH_PRICES)
METRIC = _price("CloudWatch custom metric", 0.30, "per month", _CLOUDWATCH_PRICES)
ALARM = _price("CloudWatch alarm", 0.10, "per month", _CLOUDWATCH_PRICES)
DASHBOARD = _price("CloudWatch dashboard", 3.00, "per month", _CLOUDWATCH_PRICES)
TRANSFER = _price("data transfer out to the internet", 0.09, "per GB", "Amazon EC2: On-demand pricing, data transfer")
KMS_KEY = _price("a customer managed KMS key", 1.00, "per month", _KMS_PRICES)
KMS_CALL = _price("KMS requests with a customer managed key", 0.03, "per 10,000", _KMS_PRICES, per=10_000)
ADVANCED_PARAMETER = _price("an advanced parameter", 0.05, "per month", "AWS Systems Manager: Pricing")

PRICES = (
    SECRET_MONTH, SECRET_CALL, API_REQUEST, LAMBDA_REQUEST, LAMBDA_GB_SECOND, WRITE_UNIT, READ_UNIT, STORAGE, RECOVERY,
    STREAM_READ, EVENT, LOG_INGEST, LOG_STORAGE, METRIC, ALARM, DASHBOARD, TRANSFER, KMS_KEY, KMS_CALL,
    ADVANCED_PARAMETER,
)  # fmt: skip
