"""The team's consumer under load: takes events off the queue in tens and notes when it saw each."""

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
class Seen:
    """One delivery of one event; `at` is epoch seconds."""

    event: dict[str, Any]
    at: float

    @property
    def detail(self) -> dict[str, Any]:
        """The event's own part."""
        detail: dict[str, Any] = self.event["detail"]
        return detail


class Consumer(Polling):
    """Polls the queue in a thread until it is left; keeps every delivery."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        super().__init__("consumer")
        self._sqs = sqs
        self._queue_url = queue_url
        self._seen: list[Seen] = []

    def seen(self) -> list[Seen]:
        """Return all deliveries so far, in the order in which they came."""
        return list(self._seen)

    def settle(self, quiet_seconds: float, most_seconds: float) -> None:
        """Wait until nothing came for a while, at most so long."""
        before, since = -1, time.monotonic()

        def is_quiet() -> bool:
            nonlocal before, since
            if len(self._seen) != before:
                before, since = len(self._seen), time.monotonic()
            return time.monotonic() - since >= quiet_seconds

        with contextlib.suppress(TimeoutError):
            wait_for(is_quiet, timeout=most_seconds)

    def _turn(self) -> None:
        # A queue that cannot be reached for a moment is asked again; what was not deleted comes again.
        with contextlib.suppress(BotoCoreError, ClientError):
            self._take()

    def _take(self) -> None:
        messages = self._sqs.receive_message(
            QueueUrl=self._queue_url, WaitTimeSeconds=_WAIT_SECONDS, MaxNumberOfMessages=10
        ).get("Messages", [])
        now = time.time()
        self._seen += [Seen(json.loads(message["Body"]), now) for message in messages]
        if messages:
            handles = [
                {"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]} for place, message in enumerate(messages)
            ]
            self._sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=handles)
