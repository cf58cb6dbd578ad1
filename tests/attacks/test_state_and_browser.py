"""Rows 1 to 9: a state works once, and only in the browser that started the flow."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from finch_connect.adapters.items import connection_key, flow_key, item_of
from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.domain.connection import LEASE_MS, Connection, LeaseRefused
from finch_connect.domain.flow import SETTLED, Flow, NotWritten, StartRule, Status
from finch_connect.domain.states import base64url
from local.engine import RunningStack
from local.simulator import Fault, Simulator
from tests.attacks.conftest import Untouched, refused
from tests.canary import Visitor
from tests.conftest import Customer, Inbox, query_of, secret_versions
from tests.flows import NOW, a_flow


def at_callback(customer: Customer, **query: str) -> str:
    """Return a callback URL with any query."""
    return f"{customer.stack.public_url}/callback?{urlencode(query)}"


@pytest.mark.parametrize("case", ["none", "empty", "unknown", "10 KB", "patched", "not ours"])
def test_01_a_missing_unknown_or_altered_state_is_refused(
    a_customer: Callable[..., Customer], untouched: Untouched, case: str
) -> None:
    """Afterwards the right state still finishes the flow."""
    customer, other = a_customer(), a_customer()
    callback, others = customer.approved(), other.approved()
    code, right, foreign = query_of(callback)["code"], query_of(callback).get("state", ""), query_of(others)["state"]
    states = {
        "empty": {"state": ""},
        "unknown": {"state": f"{base64url(secrets.token_bytes(16))}.{base64url(secrets.token_bytes(32))}"},
        "10 KB": {"state": right + "A" * 10_240},
        "patched": {"state": f"{right.partition('.')[0]}.{foreign.partition('.')[2]}"},
        "not ours": {"state": "xyz"},
    }
    # Without a state, the session form takes the browser's one live flow, so these cases use another browser.
    browser = Visitor() if case in {"none", "empty"} else customer.browser
    with untouched():
        assert refused(browser.get(at_callback(customer, code=code, **states.get(case, {}))))
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"


def test_02_the_right_state_in_another_browser_is_refused_and_consumes_nothing(
    customer: Customer, untouched: Untouched, finch: Simulator
) -> None:
    """This prevents login CSRF. The right browser then finishes with the same URL, as the page says."""
    callback = customer.approved()
    with untouched():
        page = Visitor().get(callback)
        assert refused(page)
        assert "within 10 minutes" in page.text
    assert customer.status() == "started"
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"
    assert len(finch.calls_to("/auth/token")) == 1


def test_03_another_flows_cookie_is_refused(a_customer: Callable[..., Customer], untouched: Untouched) -> None:
    """The browser has only another flow's cookie, under the name of this flow's cookie."""
    customer, other = a_customer(), a_customer()
    callback, foreign = customer.approved(), other.start()
    theirs = other.browser.cookies(foreign.replace("127.0.0.1", "localhost"))
    stolen = next(value for name, value in theirs.items() if name.endswith(other.flow_id))
    thief = Visitor()
    thief.set_cookie(callback, f"__Host-fc-{customer.flow_id}", stolen)
    with untouched():
        assert refused(thief.get(callback))
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"


def test_03_an_earlier_attempts_cookie_and_state_are_refused(customer: Customer, untouched: Untouched) -> None:
    """After a denial and a new start, only the new attempt's cookie with its state is accepted."""
    denied = customer.denied()
    name = f"__Host-fc-{customer.flow_id}"
    old_cookie, old_state = customer.browser.cookies(denied)[name], query_of(denied)["state"]
    assert customer.receipt(customer.come_back(denied))["status"] == "denied"
    callback = customer.approved()
    new_cookie = customer.browser.cookies(callback)[name]
    assert new_cookie != old_cookie
    code = query_of(callback)["code"]
    for cookie, state in [
        (old_cookie, query_of(callback)["state"]),
        (old_cookie, old_state),
        (new_cookie, old_state),
    ]:
        browser = Visitor()
        browser.set_cookie(callback, name, cookie)
        with untouched():
            assert refused(browser.get(at_callback(customer, code=code, state=state)))
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"


def test_04_a_repeated_callback_gets_the_same_answer_and_does_nothing(
    customer: Customer, inbox: Inbox, finch: Simulator, untouched: Untouched
) -> None:
    """The back button, a reload and a bookmark repeat it."""
    callback = customer.approved()
    first = customer.receipt(customer.come_back(callback))
    (event,) = inbox.wait_for(customer)
    with untouched():
        for _ in range(3):
            again = customer.receipt(customer.come_back(callback))
            assert {**first, "iat": 0, "exp": 0} == {**again, "iat": 0, "exp": 0}
    assert len(finch.calls_to("/auth/token")) == 1
    assert secret_versions(customer.stack, event["detail"]["secret_arn"]) == 1
    assert len(inbox.of(customer)) == 1


def test_05_twenty_callbacks_at_once_exchange_once(customer: Customer, inbox: Inbox, finch: Simulator) -> None:
    """The others get a page that refreshes by itself, and then the same answer."""
    finch.faults.add(Fault("delay", seconds=1.0))
    callback = customer.approved()
    anything = f"{customer.stack.public_url}/callback"
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        # Start twenty containers first. Otherwise their cold starts, one after the other, would separate the callbacks.
        list(pool.map(lambda _: Visitor().get(anything), range(20)))
        pages = list(pool.map(lambda _: customer.come_back(callback), range(20)))
    assert {page.status for page in pages} <= {202, 303}
    assert all(page.headers["Refresh"] == "2" for page in pages if page.status == 202)
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"
    (event,) = inbox.wait_for(customer)
    assert len(finch.calls_to("/auth/token")) == 1
    assert secret_versions(customer.stack, event["detail"]["secret_arn"]) == 1
    assert len(inbox.of(customer)) == 1


def test_06_a_state_past_its_deadline_is_refused_while_the_row_is_still_there(
    customer: Customer, untouched: Untouched
) -> None:
    """TTL may delete a row days late, so the deadline decides."""
    callback = customer.approved()
    customer.stack.client("dynamodb").update_item(
        TableName=customer.stack.outputs["TableName"],
        Key=flow_key(customer.flow_id),
        UpdateExpression="SET deadline = :past",
        ExpressionAttributeValues={":past": {"N": str(int(time.time() * 1000) - 1000)}},
    )
    with untouched():
        assert refused(customer.come_back(callback))
    assert customer.status() == "started"


def test_07_two_tabs_finish_in_reverse_order(a_customer: Callable[..., Customer], finch: Simulator) -> None:
    """Each flow has its own cookie, so neither tab overwrites the other's."""
    first = a_customer()
    second = a_customer(browser=first.browser, username="largeco")
    first_callback, second_callback = first.approved(), second.approved()
    assert second.receipt(second.come_back(second_callback))["status"] == "connected"
    assert first.receipt(first.come_back(first_callback))["status"] == "connected"
    assert len(finch.calls_to("/auth/token")) == 2


def test_08_a_state_of_another_stack_is_refused(
    static_stack: RunningStack, session_stack: RunningStack, finch: Simulator
) -> None:
    """It is refused although this browser has the cookies of both stacks (cookies ignore ports)."""
    elsewhere = Customer(session_stack, finch)
    callback = elsewhere.approved()
    brought_here = callback.replace(session_stack.public_url, static_stack.public_url)
    assert brought_here != callback
    assert refused(elsewhere.come_back(brought_here))
    assert finch.calls_to("/auth/token") == []
    assert elsewhere.receipt(elsewhere.come_back(callback))["status"] == "connected"


def put_flow(stack: RunningStack, status: Status) -> Flow:
    """Put a flow of no customer into the deployed table, in any status, and return it."""
    flow = a_flow(
        flow_id=base64url(secrets.token_bytes(16)),
        status=status,
        state_hash=secrets.token_hex(32),
        customer_id="row-9",
        redirect_uri=f"{stack.public_url}/callback",
        deadline=NOW + 60_000,
        claimed_at=None if status is Status.STARTED else NOW + 1,
        settled_at=NOW + 2 if status in SETTLED else None,
        reason="row_nine" if status in SETTLED else None,
        published_at=NOW,
    )
    stack.client("dynamodb").put_item(TableName=stack.outputs["TableName"], Item=item_of(flow))
    return flow


@pytest.fixture
def table(static_stack: RunningStack) -> DynamoFlowTable:
    """Return the real adapter on the deployed table."""
    return DynamoFlowTable(static_stack.client("dynamodb"), static_stack.outputs["TableName"])


@pytest.mark.parametrize("rule", list(StartRule))
@pytest.mark.parametrize("status", list(Status))
def test_09_a_start_replaces_only_rows_that_its_rule_allows(
    static_stack: RunningStack, table: DynamoFlowTable, rule: StartRule, status: Status
) -> None:
    """A put replaces the whole row, so only the condition protects it."""
    row = put_flow(static_stack, status)
    another = dataclasses.replace(row, status=Status.STARTED, state_hash="f" * 64, claimed_at=None)
    over = {Status.DENIED, Status.FAILED, Status.ABANDONED, Status.ORPHANED}
    allowed = {StartRule.NEW_ATTEMPT: over, StartRule.TAKE_OVER: over | {Status.STARTED}, StartRule.RESUME: set()}[rule]
    answer = table.start(another, rule, asked_at=row.started_at)
    stored = table.get(row.flow_id)
    assert stored is not None
    if status in allowed:
        assert stored.state_hash == another.state_hash
    else:
        assert answer == NotWritten(row)
        assert stored == row


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.STARTED])
def test_09_only_a_started_flow_can_be_claimed(
    static_stack: RunningStack, table: DynamoFlowTable, status: Status
) -> None:
    """Only the condition of the update prevents a second claim."""
    row = put_flow(static_stack, status)
    answer = table.claim(row.flow_id, state_hash=row.state_hash, claim_id="another", code_hash="c" * 64, now=NOW + 2)
    assert answer == NotWritten(row)
    assert table.get(row.flow_id) == row


def test_09_a_claim_needs_the_attempts_state_and_time_before_the_deadline(
    static_stack: RunningStack, table: DynamoFlowTable
) -> None:
    """Another attempt's hash, the deadline itself, and an unknown flow are refused. No row is created for the last."""
    row = put_flow(static_stack, Status.STARTED)
    for state_hash, now in [("0" * 64, NOW + 2), (row.state_hash, row.deadline)]:
        answer = table.claim(row.flow_id, state_hash=state_hash, claim_id="another", code_hash=None, now=now)
        assert answer == NotWritten(row)
    assert table.get(row.flow_id) == row
    nobody = base64url(secrets.token_bytes(16))
    assert table.claim(nobody, state_hash="0" * 64, claim_id="another", code_hash=None, now=NOW) == NotWritten(None)
    assert table.get(nobody) is None


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.CLAIMED])
def test_09_a_settle_writes_only_over_its_own_claim(
    static_stack: RunningStack, table: DynamoFlowTable, status: Status
) -> None:
    """Neither a settle nor a release replaces what the sweeper or another attempt wrote in the meantime."""
    row = put_flow(static_stack, status)
    mine = dataclasses.replace(row, status=Status.CLAIMED, claimed_at=NOW + 1)
    outcome = mine.settled(Status.FAILED, at=datetime.now(UTC), reason="row_nine")
    assert table.settle(outcome, was=Status.CLAIMED) == NotWritten(row)
    assert table.release(mine) == NotWritten(row)
    assert table.get(row.flow_id) == row


@pytest.mark.parametrize("fact", [{"claimed_at": NOW + 5}, {"state_hash": "0" * 64}, {"deadline": NOW + 7}])
def test_09_a_settle_of_another_claim_or_attempt_is_refused(
    static_stack: RunningStack, table: DynamoFlowTable, fact: dict[str, int]
) -> None:
    """The flow was released and claimed again, or started again: the older function's outcome no longer applies."""
    row = put_flow(static_stack, Status.CLAIMED)
    stale = dataclasses.replace(row, **fact)  # type: ignore[arg-type]
    assert table.settle(stale.settled(Status.CONNECTED, at=datetime.now(UTC)), was=Status.CLAIMED) == NotWritten(row)
    assert table.release(stale) == NotWritten(row)
    assert table.get(row.flow_id) == row


@pytest.mark.parametrize(
    "fact", [{"customer_id": "another", "claimed_at": NOW + 9}, {"flow_id": "B", "claimed_at": NOW - 1}]
)
def test_09_a_connection_is_leased_neither_to_another_customer_nor_to_an_older_claim(
    static_stack: RunningStack, table: DynamoFlowTable, fact: dict[str, int]
) -> None:
    """The lease's condition holds on the deployed table."""
    connection = Connection(secrets.token_hex(8), "owner", "A", NOW, "v" * 64, "finch/x", "gusto", ("company",))
    table.acquire_lease(connection, now=NOW)
    table.end_lease(connection.connection_id, flow_id="A", claimed_at=NOW, stored=True)
    current = dataclasses.replace(connection, stored_granted_at=NOW)
    key = {"TableName": static_stack.outputs["TableName"], "Key": connection_key(connection.connection_id)}
    before = static_stack.client("dynamodb").get_item(**key)["Item"]
    assert table.acquire_lease(dataclasses.replace(connection, **fact), now=NOW) == LeaseRefused(current)  # type: ignore[arg-type]
    assert static_stack.client("dynamodb").get_item(**key)["Item"] == before


def test_09_a_connection_is_leased_to_one_claim_at_a_time(static_stack: RunningStack, table: DynamoFlowTable) -> None:
    """Otherwise an older token could replace a newer one. A lease does not end by time, only by `end_lease`."""
    connection = Connection(secrets.token_hex(8), "owner", "A", NOW, "v" * 64, "finch/x", "gusto", ("company",))
    table.acquire_lease(connection, now=NOW)
    current = dataclasses.replace(connection, leased_until=NOW + LEASE_MS)
    later = dataclasses.replace(connection, flow_id="B", claimed_at=NOW + 9)
    assert table.acquire_lease(later, now=NOW + 10 * LEASE_MS) == LeaseRefused(current)
    table.end_lease(connection.connection_id, flow_id="B", claimed_at=NOW + 9, stored=True)
    assert table.acquire_lease(later, now=NOW) == LeaseRefused(current)
