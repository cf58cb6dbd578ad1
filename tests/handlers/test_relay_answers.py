"""What the relay reports to the stream as failed: only what a retry can mend."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from finch_connect.adapters.items import item_of
from finch_connect.domain.flow import Flow, Status
from tests.fakes import NOW
from tests.handlers.container import Context, handler_of
from tests.handlers.test_events import Account, account  # noqa: F401  # a fixture
from tests.ports.test_flow_table import EVERYTHING


def record(sequence: str, flow: Flow) -> dict[str, Any]:
    keys = {"id": {"S": f"flow#{flow.flow_id}"}}
    return {"dynamodb": {"SequenceNumber": sequence, "Keys": keys, "NewImage": item_of(flow)}}


def outcome(letter: str) -> Flow:
    settled = dataclasses.replace(EVERYTHING, flow_id=letter * 22).settled(Status.DENIED, at=NOW)
    return dataclasses.replace(settled, secret_arn=None, secret_version_id=None)


@pytest.mark.parametrize(
    ("code", "failed"),
    [
        ("ThrottlingException", ["2"]),
        ("InternalFailure", ["2"]),
        ("MalformedDetail", []),
        ("NotAuthorizedForSourceException", []),
        ("InvalidArgument", []),
    ],
)
def test_a_record_that_no_retry_can_mend_is_left_to_the_sweeper(
    account: Account,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    failed: list[str],
) -> None:
    """Reported as failed, it would have everything after it in its shard delivered again, up to ten times."""
    flows = [outcome("a"), outcome("b"), outcome("c")]
    for flow in flows:
        account.dynamodb.put_item(TableName="flows", Item=item_of(flow))
    handler = handler_of("relay")
    bus = handler.__globals__["PORTS"].bus
    answers = [{"EventId": "1"}, {"ErrorCode": code, "ErrorMessage": "no"}, {"EventId": "3"}]
    # An event that is refused for what it says is published once more, alone and without its metadata.
    refusing = {3: answers, 1: answers[1:2]}
    put_events = lambda *, Entries: {"FailedEntryCount": 1, "Entries": refusing[len(Entries)]}  # noqa: E731, N803  # boto3's name
    monkeypatch.setattr(bus._client, "put_events", put_events)
    event = {"Records": [record(str(number), flow) for number, flow in enumerate(flows, start=1)]}
    assert handler(event, Context()) == {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}
    assert [row.flow_id[0] for row in account.rows() if row.published_at is None] == ["b"]
    (open_row,) = [row for row in account.rows() if row.published_at is None]
    assert open_row.due_at is not None, "the sweeper finds it"


def test_an_outcome_in_two_records_of_a_batch_is_published_once(
    account: Account,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A denial, and the restart that carries it. If it fails, both records are delivered again."""
    denied = outcome("a")
    restarted = dataclasses.replace(
        EVERYTHING, flow_id=denied.flow_id, state_hash="b" * 64, status=Status.STARTED, published_at=None
    ).replacing(denied)
    account.dynamodb.put_item(TableName="flows", Item=item_of(restarted))
    handler, sent = handler_of("relay"), list[int]()
    bus = handler.__globals__["PORTS"].bus
    answers = [{"ErrorCode": "ThrottlingException", "ErrorMessage": "no"}, {"EventId": "1"}]

    def put_events(Entries: list[Any]) -> Any:  # noqa: N803  # botocore's name
        sent.append(len(Entries))
        return {"Entries": [answers.pop(0)]}

    monkeypatch.setattr(bus._client, "put_events", put_events)
    event = {"Records": [record("1", denied), record("2", restarted)]}
    assert handler(event, Context()) == {"batchItemFailures": [{"itemIdentifier": "1"}, {"itemIdentifier": "2"}]}
    assert handler(event, Context()) == {"batchItemFailures": []}
    assert sent == [1, 1]
    (row,) = account.rows()
    assert row.unpublished == ()
