"""The team's consumer: reads the queue that is subscribed to the bus, and stores its events."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.polling import Polling

_WAIT_SECONDS = 1
_REST_SECONDS = 0.3
_NEEDED = frozenset({"event_id", "occurred_at", "customer_id", "flow_id"})


class Inbox(Polling):
    """Polls an SQS queue in a thread until its context ends. Delivery is at least once; `event_id` drops duplicates.

    A message that is not a valid event stays on the queue, so that a redrive policy moves it to a dead-letter queue.
    """

    def __init__(self, sqs: Any, queue_url: str) -> None:
        super().__init__("inbox", _REST_SECONDS)
        self._sqs = sqs
        self._queue_url = queue_url
        self._events: dict[str, dict[str, Any]] = {}
        self._changed = threading.Condition()

    def events(self) -> list[dict[str, Any]]:
        """Return all events so far, newest first. `occurred_at` decides, because the bus does not preserve order."""
        with self._changed:
            return sorted(self._events.values(), key=lambda event: str(event["detail"]["occurred_at"]), reverse=True)

    def wait_for(self, flow_id: str | None, seconds: float) -> dict[str, Any] | None:
        """Wait at most `seconds` for an event of a flow (None: of any flow). Return None if there was none."""

        def found() -> dict[str, Any] | None:
            matching = (event for event in self._events.values() if flow_id in {None, event["detail"]["flow_id"]})
            return next(matching, None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None, timeout=seconds)
            return found()

    def _turn(self) -> None:
        # If the queue cannot be reached for a moment, the next turn retries. The thread must not end unnoticed.
        with contextlib.suppress(BotoCoreError, ClientError):
            self._take()

    def _take(self) -> None:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url, WaitTimeSeconds=_WAIT_SECONDS, MaxNumberOfMessages=10
        )
        for message in answer.get("Messages", []):
            event = _event(message["Body"])
            if event is None:
                continue
            with self._changed:
                self._events.setdefault(event["detail"]["event_id"], event)
                self._changed.notify_all()
            self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])


def _event(body: str) -> dict[str, Any] | None:
    """Return a message's event, or None for anything else."""
    try:
        event = json.loads(body)
    except ValueError:
        return None
    detail = event.get("detail") if isinstance(event, dict) else None
    if not isinstance(detail, dict) or not detail.keys() >= _NEEDED or "detail-type" not in event:
        return None
    return dict(event)
