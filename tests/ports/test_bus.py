"""The bus: an event has the row's data in the form of the contract."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from finch_connect.adapters.bus import EventBridgeBus, detail, detail_type
from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.flow import NotPublished, Status
from tests.contracts import validate_event
from tests.ports.test_flow_table import EVERYTHING, FLOW

OUTCOMES = {
    Status.CONNECTED: "Connection Established",
    Status.DENIED: "Connection Denied",
    Status.FAILED: "Connection Failed",
    Status.QUARANTINED: "Connection Quarantined",
    Status.ABANDONED: "Connection Abandoned",
    Status.ORPHANED: "Connection Orphaned",
}


@pytest.fixture
def queue(aws: None) -> Any:
    """Return a function that receives a consumer's new events. A rule puts every event of the bus into its queue."""
    events, sqs = boto3.client("events"), boto3.client("sqs")
    events.create_event_bus(Name="finch-connect-dev")
    url = sqs.create_queue(QueueName="consumer")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = json.dumps({"source": ["finch.connect"]})
    events.put_rule(Name="all", EventBusName="finch-connect-dev", EventPattern=pattern)
    events.put_targets(Rule="all", EventBusName="finch-connect-dev", Targets=[{"Id": "queue", "Arn": arn}])

    def received() -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                messages.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return messages

    return received


def test_a_published_event_arrives_in_the_form_of_the_contract(queue: Any) -> None:
    """It arrives through a rule on the bus in a consumer's queue."""
    bus = EventBridgeBus(boto3.client("events"), "finch-connect-dev")
    assert bus.publish([EVERYTHING]) == []
    (event,) = queue()
    assert (event["source"], event["detail-type"]) == ("finch.connect", "Connection Established")
    validate_event(event)
    assert event["detail"]["metadata"] == {"plan": "gold", "seats": 3}


def test_more_than_ten_outcomes_are_published_in_batches(queue: Any) -> None:
    """PutEvents accepts ten entries per call."""
    bus = EventBridgeBus(boto3.client("events"), "finch-connect-dev")
    flows = [dataclasses.replace(EVERYTHING, flow_id=f"{number:022d}") for number in range(23)]
    assert bus.publish(flows) == []
    assert len({event["detail"]["event_id"] for event in queue()}) == 23


@pytest.mark.parametrize("status", OUTCOMES)
def test_each_outcome_has_an_event_that_fits_its_contract(status: Status) -> None:
    """It fits with the most and with the least that a row may contain."""
    for flow in (EVERYTHING, FLOW):
        outcome = dataclasses.replace(flow, status=status, settled_at=3_000, reason="some_reason")
        if status in {Status.CONNECTED, Status.QUARANTINED} and flow is FLOW:
            continue  # these always have a connection or a secret
        assert detail_type(outcome) == OUTCOMES[status]
        validate_event({"detail-type": detail_type(outcome), "detail": detail(outcome)})


def test_a_reconnect_is_published_as_one() -> None:
    """Consumers that start a first sync on `Established` do not start it twice."""
    again = dataclasses.replace(EVERYTHING, reauthorized=True)
    assert detail_type(again) == "Connection Reauthorized"
    validate_event({"detail-type": detail_type(again), "detail": detail(again)})


def test_an_event_id_is_the_same_for_every_delivery_and_different_for_every_outcome() -> None:
    """Consumers deduplicate by it."""
    again = dataclasses.replace(EVERYTHING, published_at=9_999)
    assert detail(EVERYTHING)["event_id"] == detail(again)["event_id"]
    other_attempt = dataclasses.replace(EVERYTHING, state_hash="d" * 64)
    other_outcome = dataclasses.replace(EVERYTHING, status=Status.FAILED)
    ids = {detail(flow)["event_id"] for flow in (EVERYTHING, other_attempt, other_outcome)}
    assert len(ids) == 3


def test_an_entry_that_the_bus_refuses_is_returned_with_its_error_code(aws: None) -> None:
    """PutEvents answers 200 and may still refuse single entries (AWS: handling failures with PutEvents)."""
    client = boto3.client("events")
    other = dataclasses.replace(EVERYTHING, flow_id="g" * 22)
    entries = [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}, {"EventId": "1"}]
    with Stubber(client) as aws_answers:
        aws_answers.add_response("put_events", {"FailedEntryCount": 1, "Entries": entries})
        not_published = EventBridgeBus(client, "finch-connect-dev").publish([EVERYTHING, other])
    assert not_published == [NotPublished(EVERYTHING, "ThrottlingException")]


def test_an_unreachable_bus_is_an_error(aws: None) -> None:
    """The relay then has Lambda retry the records."""
    client = boto3.client("events", endpoint_url="http://127.0.0.1:9", config=None)
    with pytest.raises(ServiceUnavailableError):
        EventBridgeBus(client, "finch-connect-dev").publish([EVERYTHING])
