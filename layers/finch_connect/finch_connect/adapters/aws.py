"""AWS clients as this product wants them, and the one translation of AWS's errors.

They are botocore's, which boto3's clients are too: boto3's own part (resources, S3 transfers) is never used here and
costs 20 ms of CPU to import on every cold start (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.flow.ports import Deadline

_ATTEMPTS = 3


def clients(deadline: Deadline, call_timeout: float) -> Callable[[str], Any]:
    """Return what makes a client of an AWS service, all of one session. `Any`: the caller's protocol types it.

    One attempt takes `call_timeout` seconds at most, a third of it to connect. botocore's own retries follow (no second
    loop stands around them), but neither an attempt nor the wait before one goes past the request's deadline.
    """
    session = get_session()
    hooks = _DeadlineHooks(deadline, call_timeout)
    session.register("before-call", hooks.before_call)
    session.register("needs-retry", hooks.before_retry)
    config = ClientConfig(
        connect_timeout=call_timeout / 3,
        read_timeout=call_timeout * 2 / 3,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        tcp_keepalive=True,
        parameter_validation=False,
        user_agent="finch-connect",  # composing botocore's own anew for each request is 14 % of a warm put
    )
    return lambda service: session.create_client(service, config=config)


class _DeadlineHooks:
    """Hears botocore's events and ends what would go past the deadline. Each raises ServiceUnavailableError."""

    def __init__(self, deadline: Deadline, call_timeout: float) -> None:
        self._deadline = deadline
        self._call_timeout = call_timeout

    def before_call(self, **event: Any) -> None:
        """Begin nothing that may take longer than there is."""
        if self._deadline.remaining() < self._call_timeout:
            raise ServiceUnavailableError("no_time_left", operation=event["model"].name)

    def before_retry(self, **event: Any) -> None:
        """Leave it at this failure when the longest wait that may follow, and another attempt, do not fit any more."""
        response, attempts = event["response"], event["attempts"]
        if attempts >= _ATTEMPTS or not _may_be_retried(response):
            return
        longest_wait = 2 ** (attempts - 1)  # seconds: the standard mode's backoff (AWS: retry behavior)
        if self._deadline.remaining() < longest_wait + self._call_timeout:
            what = {"operation": event["operation"].name, "cause": "no_time_left"}
            if response is None:
                raise ServiceUnavailableError("aws_unreachable", **what)
            raise ServiceUnavailableError("aws_refused", **what, aws_code=_failure(response))


def _may_be_retried(response: Any) -> bool:
    """Tell whether botocore may try again: no answer at all, a server's error, or a throttled call."""
    if response is None:
        return True
    throttled = any(word in _failure(response) for word in ("Throttl", "Exceeded", "InProgress"))
    return throttled or bool(response[0].status_code >= HTTPStatus.INTERNAL_SERVER_ERROR)


def _failure(response: Any) -> str:
    return "" if response is None else str(response[1].get("Error", {}).get("Code", ""))


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
    except KeyError as error:  # an answer that was cut off: botocore hands on what there is
        raise ServiceUnavailableError("aws_unreadable", operation=operation, missing=str(error)) from None


def code_of(error: ClientError) -> str:
    """Return AWS's error code, such as `ConditionalCheckFailedException`."""
    return str(error.response.get("Error", {}).get("Code", ""))
