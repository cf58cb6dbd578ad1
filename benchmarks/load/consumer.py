"""The team's consumer under load: it receives events in batches of ten and records when each one arrived."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli.waiting import wait_for
from local.polling import Polling

_WAIT_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of one event; `at` is epoch seconds."""

    event: dict[str, Any]
    at: float

    @property
    def detail(self) -> dict[str, Any]:
        """The event's `detail`."""
        detail: dict[str, Any] = self.event["detail"]
        return detail


class Consumer(Polling):
    """Polls the queue in a thread within its context, and keeps every delivery."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        super().__init__("consumer")
        self._sqs = sqs
        self._queue_url = queue_url
        self._deliveries: list[Delivery] = []

    def deliveries(self) -> list[Delivery]:
        """Return all deliveries so far, in the order of their arrival."""
        return list(self._deliveries)

    def wait_until_quiet(self, quiet_seconds: float, max_seconds: float) -> None:
        """Wait until no event has arrived for `quiet_seconds`, but no longer than `max_seconds`."""
        before, since = -1, time.monotonic()

        def is_quiet() -> bool:
            nonlocal before, since
            if len(self._deliveries) != before:
                before, since = len(self._deliveries), time.monotonic()
            return time.monotonic() - since >= quiet_seconds

        with contextlib.suppress(TimeoutError):
            wait_for(is_quiet, timeout=max_seconds)

    def _turn(self) -> None:
        # If the queue is unreachable, the next turn retries. Messages that were not deleted are delivered again.
        with contextlib.suppress(BotoCoreError, ClientError):
            self._receive()

    def _receive(self) -> None:
        messages = self._sqs.receive_message(
            QueueUrl=self._queue_url, WaitTimeSeconds=_WAIT_SECONDS, MaxNumberOfMessages=10
        ).get("Messages", [])
        now = time.time()
        self._deliveries += [Delivery(json.loads(message["Body"]), now) for message in messages]
        if messages:
            handles = [
                {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]} for index, message in enumerate(messages)
            ]
            self._sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=handles)
