"""AWS clients as this product wants them, and the one translation of AWS's errors.

They are botocore's, which boto3's clients are too: boto3's own part (resources, S3 transfers) is never used here and
costs 20 ms of CPU to import on every cold start (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from finch_connect.errors import ServiceUnavailableError

_CLIENT_CONFIG = ClientConfig(
    connect_timeout=2,
    read_timeout=4,
    retries={"mode": "standard", "max_attempts": 3},
    tcp_keepalive=True,
    parameter_validation=False,
    user_agent="finch-connect",  # botocore's own is composed anew for each request: a tenth of a warm put
)
"""Short timeouts and botocore's own retries: no second retry loop stands around them. Seconds."""


def clients() -> Callable[[str], Any]:
    """Return what makes a client of an AWS service, all of one session. `Any`: the caller's protocol types it."""
    session = get_session()
    return lambda service: session.create_client(service, config=_CLIENT_CONFIG)


@contextmanager
def translated(operation: str) -> Iterator[None]:
    """Turn what botocore raises into ServiceUnavailableError that names the operation and AWS's error code alone.

    AWS's messages are dropped: they may quote what was sent.
    """
    try:
        yield
    except ClientError as error:
        raise ServiceUnavailableError("aws_refused", operation=operation, aws_code=code_of(error)) from None
    except BotoCoreError as error:
        raise ServiceUnavailableError("aws_unreachable", operation=operation, cause=type(error).__name__) from None


def code_of(error: ClientError) -> str:
    """Return AWS's error code, such as `ConditionalCheckFailedException`."""
    return str(error.response.get("Error", {}).get("Code", ""))
