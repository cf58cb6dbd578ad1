"""The bus accepts some events of a request and refuses others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from local.server import Server, StartResponse
from tests.faults.harness import Harness, Person


class RefusingBus(Server):
    """EventBridge that refuses the entries of some flows (AWS: PutEvents, FailedEntryCount) and forwards the rest.

    Those in `refused` may be retried. Those in `malformed` are refused each time they carry metadata.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__("refusing-bus", 0, self._wsgi)
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self.refused: set[str] = set()
        self.malformed: set[str] = set()
        self.refusals = 0
        self._upstream = upstream

    def _wsgi(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        entries = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))["Entries"]
        codes = [self._refusal(json.loads(entry["Detail"])) for entry in entries]
        accepted = [entry for entry, code in zip(entries, codes, strict=True) if code is None]
        answers = iter(self._forward(accepted, environ) if accepted else [])
        results = [
            next(answers) if code is None else {"ErrorCode": code, "ErrorMessage": "Refused on demand"}
            for code in codes
        ]
        refused = len(entries) - len(accepted)
        self.refusals += refused
        body = json.dumps({"FailedEntryCount": refused, "Entries": results}).encode()
        start_response("200 OK", [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))])
        return [body]

    def _refusal(self, detail: dict[str, Any]) -> str | None:
        if detail["flow_id"] in self.refused:
            return "ThrottlingException"
        return "MalformedDetail" if "metadata" in detail and detail["flow_id"] in self.malformed else None

    def _forward(self, entries: list[Any], environ: dict[str, Any]) -> list[Any]:
        headers = {"X-Amz-Target": "AWSEvents.PutEvents", "Content-Type": "application/x-amz-json-1.1"}
        headers["Authorization"] = environ["HTTP_AUTHORIZATION"]
        answer = requests.post(self._upstream, json={"Entries": entries}, headers=headers, timeout=60)
        return list(answer.json()["Entries"])


@pytest.fixture
def bus(harness: Harness) -> Iterator[RefusingBus]:
    """The refusing bus, in use by relay and sweeper; the emulator's stream is off."""
    with RefusingBus(harness.proxy.url) as refusing, harness.without_stream(), _bus_at(refusing.url, harness):
        yield refusing


@contextmanager
def _bus_at(url: str, harness: Harness) -> Iterator[None]:
    publishers = ("RelayFunction", "SweeperFunction")
    harness.reconfigure(publishers, AWS_ENDPOINT_URL_EVENTBRIDGE=url)
    yield
    harness.reconfigure(publishers, AWS_ENDPOINT_URL_EVENTBRIDGE=harness.proxy.url)


def _connected(harness: Harness) -> Person:
    person = harness.person()
    person.connect()
    return person


def test_29_only_the_events_that_the_bus_refused_are_retried(harness: Harness, bus: RefusingBus) -> None:
    """The relay reports only the refused record of a batch. The stream then delivers from there on again."""
    accepted, refused = _connected(harness), _connected(harness)
    bus.refused.add(refused.flow_id)
    assert harness.deliver(accepted.item(), refused.item()) == [refused.flow_id]
    assert accepted.is_finished()
    assert harness.deliver(refused.item()) == [refused.flow_id]
    assert (harness.published(accepted), harness.published(refused)) == (("connected",), ())
    assert refused.known_row().due_at is not None, "the row stays due for the sweeper, and operators can see it"
    bus.refused.clear()
    assert harness.deliver(refused.item()) == []
    assert refused.is_finished()
    assert harness.published(refused) == ("connected",)
    assert bus.refusals == 2


def test_29_the_sweeper_publishes_what_the_stream_gave_up_once_the_bus_accepts_it(
    harness: Harness, bus: RefusingBus
) -> None:
    """After ten retries the record goes to the dead-letter queue and its alarm fires; the row stays due."""
    person = _connected(harness)
    bus.refused.add(person.flow_id)
    for _ in range(2):
        person.let_time_pass()
    assert harness.published(person) == ()
    bus.refused.clear()
    person.wait_until_finished()
    assert harness.published(person) == ("connected",)


def test_29_a_later_outcome_waits_for_an_earlier_one_of_its_flow(harness: Harness, bus: RefusingBus) -> None:
    """A flow is denied, then connected by the same link; its events are never published in the other order."""
    person = harness.person()
    person.come_back(person.denied())
    denied = person.item()
    person.connect()
    bus.refused.add(person.flow_id)
    assert harness.deliver(denied, person.item()) == [person.flow_id] * 2
    bus.refused.clear()
    assert harness.deliver(denied, person.item()) == []
    assert harness.published(person) == ("denied", "connected")


def test_29_an_event_that_is_refused_for_good_is_published_without_its_metadata(
    harness: Harness, bus: RefusingBus
) -> None:
    """EventBridge would refuse the same event each time, so the relay says at once what it can say."""
    malformed, other = _connected(harness), _connected(harness)
    bus.malformed.add(malformed.flow_id)
    assert harness.deliver(malformed.item(), other.item()) == []
    assert malformed.is_finished()
    assert (harness.published(malformed), harness.published(other)) == (("connected",), ("connected",))
    assert bus.refusals == 1


def test_29_a_restart_during_an_outage_of_the_bus_loses_no_outcome(harness: Harness, bus: RefusingBus) -> None:
    """The stream has given up. The row alone keeps the denial, which is published before the later outcome."""
    person = harness.person()
    bus.refused.add(person.flow_id)
    person.come_back(person.denied())
    person.connect()
    assert harness.published(person) == ()
    assert [outcome.status for outcome in person.known_row().outcomes] == ["denied", "connected"]
    bus.refused.clear()
    person.wait_until_finished()
    assert harness.published(person) == ("denied", "connected")
    assert person.known_row().unpublished == ()


def test_29_the_mapping_retries_and_then_dead_letters(harness: Harness) -> None:
    """The deployed mapping retries from the first failed record on, ten times, and then uses the dead-letter queue."""
    functions, resources = harness.stack.client("lambda"), harness.stack.deployed.resources
    (mapping,) = functions.list_event_source_mappings(FunctionName=resources["RelayFunction"])["EventSourceMappings"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["MaximumRetryAttempts"] == 10
    queue = resources["RelayDeadLetterQueue"].rpartition("/")[2]
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"].endswith(f":{queue}")
