"""The bus takes some events and refuses others, in one and the same answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from local.server import Server, StartResponse
from tests.faults.harness import Harness, Person


class PickyBus(Server):
    """EventBridge that refuses the entries of some flows (AWS: PutEvents, FailedEntryCount) and passes on the rest."""

    def __init__(self, upstream: str) -> None:
        super().__init__("picky-bus", 0, self._wsgi)
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self.refused: set[str] = set()
        self.refusals = 0
        self._upstream = upstream

    def _wsgi(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))["Entries"]
        taken = [entry for entry in asked if json.loads(entry["Detail"])["flow_id"] not in self.refused]
        accepted = iter(self._pass_on(taken, environ) if taken else [])
        refusal = {"ErrorCode": "ThrottlingException", "ErrorMessage": "Refused on demand"}
        answers = [next(accepted) if entry in taken else refusal for entry in asked]
        self.refusals += len(asked) - len(taken)
        body = json.dumps({"FailedEntryCount": len(asked) - len(taken), "Entries": answers}).encode()
        start_response("200 OK", [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))])
        return [body]

    def _pass_on(self, entries: list[Any], environ: dict[str, Any]) -> list[Any]:
        headers = {"X-Amz-Target": "AWSEvents.PutEvents", "Content-Type": "application/x-amz-json-1.1"}
        headers["Authorization"] = environ["HTTP_AUTHORIZATION"]
        answer = requests.post(self._upstream, json={"Entries": entries}, headers=headers, timeout=60)
        return list(answer.json()["Entries"])


@pytest.fixture
def bus(harness: Harness) -> Iterator[PickyBus]:
    """The bus, picky, behind relay and sweeper; the stream brings nothing by itself."""
    with PickyBus(harness.proxy.url) as picky, harness.without_stream(), _bus_at(picky.url, harness):
        yield picky


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


def test_29_what_the_bus_refuses_comes_again_and_the_rest_does_not(harness: Harness, bus: PickyBus) -> None:
    """One batch: the relay names the refused record alone, the stream brings it again until it is told."""
    taken, refused = _connected(harness), _connected(harness)
    bus.refused.add(refused.flow_id)
    assert harness.bring(taken.item(), refused.item()) == [refused.flow_id]
    assert taken.is_at_rest()
    assert harness.bring(refused.item()) == [refused.flow_id]
    assert (harness.published(taken), harness.published(refused)) == (("connected",), ())
    assert refused.known_row().due_at is not None, "an operator and the sweeper can see it"
    bus.refused.clear()
    assert harness.bring(refused.item()) == []
    assert refused.is_at_rest()
    assert harness.published(refused) == ("connected",)
    assert bus.refusals == 2


def test_29_what_the_stream_gave_up_is_told_by_the_sweeper_once_the_bus_takes_it(
    harness: Harness, bus: PickyBus
) -> None:
    """Ten attempts, then the dead-letter queue and its alarm; the row is still there, and due."""
    person = _connected(harness)
    bus.refused.add(person.flow_id)
    for _ in range(2):
        person.time_passes()
    assert harness.published(person) == ()
    bus.refused.clear()
    person.comes_to_rest()
    assert harness.published(person) == ("connected",)


def test_29_a_later_outcome_waits_for_an_earlier_one_of_its_flow(harness: Harness, bus: PickyBus) -> None:
    """Denied, then connected by the same link: nobody hears of it the other way round."""
    person = harness.person()
    person.come_back(person.denied())
    denied = person.item()
    person.connect()
    bus.refused.add(person.flow_id)
    assert harness.bring(denied, person.item()) == [person.flow_id] * 2
    bus.refused.clear()
    assert harness.bring(denied, person.item()) == []
    assert harness.published(person) == ("denied", "connected")


def test_29_the_mapping_retries_and_then_dead_letters(harness: Harness) -> None:
    """As it is deployed: part of a batch again, ten times, and then a queue."""
    functions, resources = harness.stack.client("lambda"), harness.stack.deployed.resources
    (mapping,) = functions.list_event_source_mappings(FunctionName=resources["RelayFunction"])["EventSourceMappings"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["MaximumRetryAttempts"] == 10
    queue = resources["RelayDeadLetterQueue"].rpartition("/")[2]
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"].endswith(f":{queue}")
