"""Where the relay puts what it can never tell: an SQS queue, one message each, with the reason."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from finch_connect.adapters.aws import translated
from finch_connect.flow.ports import DeadLetter


class DeadLetterQueue:
    """Implements `ports.DeadLetters`. A message says where the record stood and why; the row itself is in the table."""

    def __init__(self, make_client: Callable[[], Any], queue_url: str) -> None:
        self._make_client = make_client  # hardly ever needed, so made when it is
        self._queue_url = queue_url

    def put(self, letter: DeadLetter) -> None:
        """See `ports.DeadLetters.put`."""
        with translated("SendMessage"):
            self._make_client().send_message(
                QueueUrl=self._queue_url, MessageBody=json.dumps(dataclasses.asdict(letter))
            )
