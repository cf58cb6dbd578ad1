"""The team's consumer stores each event once, and no message on the queue stops it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import EndpointConnectionError

from local.demo.inbox import Inbox

TIMEOUT_SECONDS = 10.0


class FakeQueue:
    """A fake of SQS for a consumer: a message stays until it is deleted, and the first `failures` calls fail."""

    def __init__(self, bodies: Iterable[str], failures: int = 0) -> None:
        self._lock = threading.Lock()
        self.messages = {str(number): body for number, body in enumerate(bodies)}
        self.failures = failures

    def receive_message(self, *, MaxNumberOfMessages: int, **_: Any) -> dict[str, Any]:  # noqa: N803  # AWS's name
        with self._lock:
            if self.failures:
                self.failures -= 1
                raise EndpointConnectionError(endpoint_url="https://queue")
            batch = list(self.messages.items())[:MaxNumberOfMessages]
        return {"Messages": [{"ReceiptHandle": handle, "Body": body} for handle, body in batch]}

    def delete_message(self, *, ReceiptHandle: str, **_: Any) -> None:  # noqa: N803  # AWS's name
        with self._lock:
            del self.messages[ReceiptHandle]


def event(event_id: str, second: int = 0) -> str:
    """Return a message's body with an event."""
    occurred = f"2026-01-15T12:00:{second:02}.000+00:00"
    detail = {"event_id": event_id, "flow_id": f"flow-of-{event_id}", "customer_id": "acme", "occurred_at": occurred}
    return json.dumps({"detail-type": "Connection Established", "detail": detail})


def received(inbox: Inbox) -> list[str]:
    return [one["detail"]["event_id"] for one in inbox.events()]


def test_an_event_that_is_delivered_twice_is_stored_once() -> None:
    """The bus delivers at least once. Both messages are deleted from the queue."""
    queue = FakeQueue([event("a"), event("a"), event("b")])
    with Inbox(queue, "https://queue") as inbox:
        assert inbox.wait_for("flow-of-b", TIMEOUT_SECONDS) is not None
    assert sorted(received(inbox)) == ["a", "b"]
    assert queue.messages == {}


def test_the_newest_event_is_the_one_that_happened_last() -> None:
    """The bus does not preserve order, so the order of arrival does not count."""
    with Inbox(FakeQueue([event("second", 2), event("first", 1)]), "https://queue") as inbox:
        assert inbox.wait_for("flow-of-first", TIMEOUT_SECONDS) is not None
    assert received(inbox) == ["second", "first"]


def test_a_message_that_is_not_an_event_stays_on_the_queue() -> None:
    """A redrive policy moves it to a dead-letter queue. The events behind it are received."""
    strange = ["not json", "[]", '{"detail": "text"}', '{"detail": {"event_id": "x"}}']
    queue = FakeQueue([*strange, event("a")])
    with Inbox(queue, "https://queue") as inbox:
        assert inbox.wait_for("flow-of-a", TIMEOUT_SECONDS) is not None
    assert received(inbox) == ["a"]
    assert list(queue.messages.values()) == strange


def test_a_queue_that_cannot_be_reached_is_polled_again() -> None:
    """One failed call does not end the consumer."""
    with Inbox(FakeQueue([event("a")], failures=1), "https://queue") as inbox:
        assert inbox.wait_for(None, TIMEOUT_SECONDS) is not None


def test_waiting_ends_when_no_event_arrives() -> None:
    """The result is None, without an error."""
    with Inbox(FakeQueue([]), "https://queue") as inbox:
        assert inbox.wait_for("flow-of-a", 0.01) is None


def test_leaving_the_inbox_ends_its_thread() -> None:
    """So nothing polls a queue that no longer exists."""
    with Inbox(FakeQueue([]), "https://queue"):
        assert "inbox" in [thread.name for thread in threading.enumerate()]
    assert "inbox" not in [thread.name for thread in threading.enumerate()]
