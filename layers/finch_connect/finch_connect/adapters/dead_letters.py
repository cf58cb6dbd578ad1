"""The relay's dead-letter queue in SQS: one message with the reason for each change that cannot be published."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from finch_connect.adapters.aws import translated
from finch_connect.flow.ports import DeadLetter


class DeadLetterQueue:
    """Implements `ports.DeadLetters`. The row stays in the table; the message has its key and the reason."""

    def __init__(self, make_client: Callable[[], Any], queue_url: str) -> None:
        self._make_client = make_client  # rarely needed, so made when it is
        self._queue_url = queue_url

    def put(self, letter: DeadLetter) -> None:
        """See `ports.DeadLetters.put`."""
        with translated("SendMessage"):
            self._make_client().send_message(
                QueueUrl=self._queue_url, MessageBody=json.dumps(dataclasses.asdict(letter))
            )
