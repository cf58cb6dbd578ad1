"""The team's consumer: each event once, and nothing on the queue ends it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import EndpointConnectionError

from local.demo.inbox import Inbox

TIMEOUT_SECONDS = 10.0


class FakeQueue:
    """SQS as far as a consumer sees it: what was received stays until it is deleted; failures come first."""

    def __init__(self, bodies: Iterable[str], failures: int = 0) -> None:
        self._lock = threading.Lock()
        self.messages = {str(number): body for number, body in enumerate(bodies)}
        self.failures = failures

    def receive_message(self, *, MaxNumberOfMessages: int, **_: Any) -> dict[str, Any]:  # noqa: N803  # AWS's name
        with self._lock:
            if self.failures:
                self.failures -= 1
                raise EndpointConnectionError(endpoint_url="https://queue")
            there = list(self.messages.items())[:MaxNumberOfMessages]
        return {"Messages": [{"ReceiptHandle": handle, "Body": body} for handle, body in there]}

    def delete_message(self, *, ReceiptHandle: str, **_: Any) -> None:  # noqa: N803  # AWS's name
        with self._lock:
            del self.messages[ReceiptHandle]


def event(event_id: str, second: int = 0) -> str:
    """Return an event as it lies on the queue."""
    occurred = f"2026-01-15T12:00:{second:02}.000+00:00"
    detail = {"event_id": event_id, "flow_id": f"flow-of-{event_id}", "customer_id": "acme", "occurred_at": occurred}
    return json.dumps({"detail-type": "Connection Established", "detail": detail})


def heard(inbox: Inbox) -> list[str]:
    return [one["detail"]["event_id"] for one in inbox.events()]


def test_an_event_that_comes_twice_is_heard_once() -> None:
    """The bus delivers at least once; both messages leave the queue."""
    queue = FakeQueue([event("a"), event("a"), event("b")])
    with Inbox(queue, "https://queue") as inbox:
        assert inbox.wait_for("flow-of-b", TIMEOUT_SECONDS) is not None
    assert sorted(heard(inbox)) == ["a", "b"]
    assert queue.messages == {}


def test_the_newest_event_is_the_one_that_happened_last() -> None:
    """The bus keeps no order, so the order of arrival says nothing."""
    with Inbox(FakeQueue([event("second", 2), event("first", 1)]), "https://queue") as inbox:
        assert inbox.wait_for("flow-of-first", TIMEOUT_SECONDS) is not None
    assert heard(inbox) == ["second", "first"]


def test_a_message_that_is_no_event_stays_and_stops_nothing() -> None:
    """It is for the queue's own dead-letter queue; the events behind it are heard."""
    strange = ["not json", "[]", '{"detail": "text"}', '{"detail": {"event_id": "x"}}']
    queue = FakeQueue([*strange, event("a")])
    with Inbox(queue, "https://queue") as inbox:
        assert inbox.wait_for("flow-of-a", TIMEOUT_SECONDS) is not None
    assert heard(inbox) == ["a"]
    assert list(queue.messages.values()) == strange


def test_a_queue_that_cannot_be_reached_is_asked_again() -> None:
    """For a moment, as every network."""
    with Inbox(FakeQueue([event("a")], failures=1), "https://queue") as inbox:
        assert inbox.wait_for(None, TIMEOUT_SECONDS) is not None


def test_waiting_ends_when_nothing_comes() -> None:
    """With nothing, and without an error."""
    with Inbox(FakeQueue([]), "https://queue") as inbox:
        assert inbox.wait_for("flow-of-a", 0.01) is None


def test_leaving_the_inbox_ends_its_thread() -> None:
    """So that nothing asks a queue that is gone."""
    with Inbox(FakeQueue([]), "https://queue"):
        assert "inbox" in [thread.name for thread in threading.enumerate()]
    assert "inbox" not in [thread.name for thread in threading.enumerate()]
