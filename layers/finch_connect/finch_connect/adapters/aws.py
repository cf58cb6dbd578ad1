"""AWS clients with this product's settings, and the one translation of AWS's errors.

They are botocore's clients, as boto3's are. boto3 adds resources and S3 transfers, which are not used here and cost
20 ms of CPU to import on every cold start (docs/performance.md).
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
    """Return a function that makes a client of an AWS service. All clients share one session.

    One attempt takes at most `call_timeout` seconds, a third of them to connect. botocore's own retries follow, without
    a second loop around them. Neither an attempt nor the wait before it may go past the request's deadline.
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
        user_agent="finch-connect",  # composing botocore's own for each request takes 14 % of a warm put
    )
    return lambda service: session.create_client(service, config=config)


class _DeadlineHooks:
    """Handlers of botocore's events. Each raises ServiceUnavailableError for what would go past the deadline."""

    def __init__(self, deadline: Deadline, call_timeout: float) -> None:
        self._deadline = deadline
        self._call_timeout = call_timeout

    def before_call(self, **event: Any) -> None:
        """Refuse a call that may take longer than the time that remains."""
        if self._deadline.remaining() < self._call_timeout:
            raise ServiceUnavailableError("no_time_left", operation=event["model"].name)

    def before_retry(self, **event: Any) -> None:
        """Refuse a retry if the longest wait before it and another attempt do not fit into the time that remains."""
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
    """Return whether botocore may retry: no answer, a server error, or a throttled call."""
    if response is None:
        return True
    throttled = any(word in _failure(response) for word in ("Throttl", "Exceeded", "InProgress"))
    return throttled or bool(response[0].status_code >= HTTPStatus.INTERNAL_SERVER_ERROR)


def _failure(response: Any) -> str:
    return "" if response is None else str(response[1].get("Error", {}).get("Code", ""))


@contextmanager
def translated(operation: str) -> Iterator[None]:
    """Turn botocore's exceptions into ServiceUnavailableError with the operation and AWS's error code only.

    AWS's messages are dropped, because they may quote what was sent.
    """
    try:
        yield
    except ClientError as error:
        raise ServiceUnavailableError("aws_refused", operation=operation, aws_code=code_of(error)) from None
    except BotoCoreError as error:
        raise ServiceUnavailableError("aws_unreachable", operation=operation, cause=type(error).__name__) from None
    except KeyError as error:  # a truncated answer: botocore returns as much as it has
        raise ServiceUnavailableError("aws_unreadable", operation=operation, missing=str(error)) from None


def code_of(error: ClientError) -> str:
    """Return AWS's error code, such as `ConditionalCheckFailedException`."""
    return str(error.response.get("Error", {}).get("Code", ""))
