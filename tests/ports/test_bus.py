"""The bus: an event has the row's data in the form of the contract."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from finch_connect.adapters.bus import EventBridgeBus, detail, detail_type
from finch_connect.adapters.items import flow_of, item_of
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


@pytest.mark.parametrize("code", ["MalformedDetail", "InvalidArgument", "RedactionFailure"])
def test_an_entry_that_is_refused_for_what_it_says_is_refused_for_good(aws: None, code: str) -> None:
    """AWS lists these codes as not retryable. They blame the entry, and not the caller's permissions."""
    client = boto3.client("events")
    with Stubber(client) as aws_answers:
        aws_answers.add_response("put_events", {"FailedEntryCount": 1, "Entries": [{"ErrorCode": code}]})
        aws_answers.add_response("put_events", {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "NotAuthorized"}]})
        bus = EventBridgeBus(client, "finch-connect-dev")
        assert bus.publish([EVERYTHING]) == [NotPublished(EVERYTHING, code, permanent=True, retry=False)]
        assert bus.publish([EVERYTHING]) == [NotPublished(EVERYTHING, "NotAuthorized", retry=False)]


def test_one_entry_that_has_the_whole_request_refused_does_not_hold_up_the_others(aws: None) -> None:
    """Each is then tried alone, and only the one to blame is returned."""
    client = boto3.client("events")
    flows = [dataclasses.replace(EVERYTHING, flow_id=letter * 22) for letter in "abc"]
    with Stubber(client) as aws_answers:
        aws_answers.add_client_error("put_events", "ValidationException")
        aws_answers.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]})
        aws_answers.add_client_error("put_events", "ValidationException")
        aws_answers.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": "2"}]})
        not_published = EventBridgeBus(client, "finch-connect-dev").publish(flows)
    assert not_published == [NotPublished(flows[1], "ValidationException", permanent=True, retry=False)]


def deep() -> dict[str, Any]:
    content: Any = 1
    for _ in range(1000):
        content = [content]
    return {"deep": content}


@pytest.mark.parametrize(
    "metadata", [{"score": float("nan")}, {"id": 2**64}, {"text": "\ud800"}, deep()], ids=lambda bad: next(iter(bad))
)
def test_a_row_with_metadata_that_is_not_strict_json_can_be_published(queue: Any, metadata: dict[str, Any]) -> None:
    """An earlier version wrote it. The event goes out without it, and says so as its contract has it."""
    flow = flow_of(item_of(dataclasses.replace(EVERYTHING, metadata=metadata)))
    bus, other = (
        EventBridgeBus(boto3.client("events"), "finch-connect-dev"),
        dataclasses.replace(EVERYTHING, flow_id="o" * 22),
    )
    assert bus.publish([flow, other]) == [NotPublished(flow, "not_strict_json", permanent=True, retry=False)]
    assert bus.publish([flow], with_metadata=False) == []
    kept, without = queue()
    assert kept["detail"]["metadata"] == {"plan": "gold", "seats": 3}
    assert "metadata_omitted" not in kept["detail"]
    assert without["detail"]["metadata_omitted"] is True
    assert "metadata" not in without["detail"]
    validate_event(without)


def test_an_event_without_metadata_does_not_say_that_it_was_omitted() -> None:
    """There was none to leave out."""
    assert "metadata_omitted" not in detail(dataclasses.replace(EVERYTHING, metadata=None), with_metadata=False)


def test_metadata_goes_out_in_the_bytes_in_which_the_link_counted_it(queue: Any) -> None:
    """Not as escapes, which take three times as much."""
    flow = dataclasses.replace(EVERYTHING, metadata={"city": "K\u00f6ln \U0001f600"})
    with_stub = boto3.client("events")
    sent: list[str] = []
    with_stub.meta.events.register(
        "before-parameter-build.events.PutEvents", lambda params, **_: sent.append(params["Entries"][0]["Detail"])
    )
    assert EventBridgeBus(with_stub, "finch-connect-dev").publish([flow]) == []
    assert '{"city":"K\u00f6ln \U0001f600"}' in sent[0]
    assert queue()[0]["detail"]["metadata"] == flow.metadata


def test_an_unreachable_bus_is_an_error(aws: None) -> None:
    """The relay then has Lambda retry the records."""
    client = boto3.client("events", endpoint_url="http://127.0.0.1:9", config=None)
    with pytest.raises(ServiceUnavailableError):
        EventBridgeBus(client, "finch-connect-dev").publish([EVERYTHING])
