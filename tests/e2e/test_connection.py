"""A connection from the signed link to the event on the queue, in both forms of the redirect."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from cli.waiting import wait_for
from local.engine import RunningStack
from local.simulator import Fault, Simulator
from tests.canary import Visitor
from tests.conftest import CLIENT_ID, TIMEOUT_SECONDS, Customer, Inbox, secret_content, secret_versions


def test_a_connection_is_made_and_told(customer: Customer, inbox: Inbox, finch: Simulator) -> None:
    """The main job: receipt to the browser, token to the vault, event to the queue."""
    receipt = customer.connect()
    assert (receipt["status"], receipt["sub"], receipt["nonce"]) == ("connected", customer.customer_id, "nonce-1")
    (event,) = inbox.wait_for(customer)
    assert event["detail-type"] == "Connection Established"
    assert event["detail"]["connection_id"] == receipt["connection_id"]
    assert event["detail"]["event_id"] == receipt["jti"]
    assert event["detail"]["metadata"] == {"plan": "gold"}
    stored = secret_content(customer.stack, event["detail"]["secret_arn"])
    assert finch.store.connection_of(stored["access_token"]) is not None
    assert stored["customer_id"] == customer.customer_id
    row = customer.row()
    assert row is not None
    assert row.status.value == "connected"
    assert stored["access_token"] not in repr((row, event))


def test_the_row_is_marked_when_its_event_is_out(customer: Customer, inbox: Inbox) -> None:
    """Then nothing remains to be done, and the sweeper has no business with it."""
    customer.connect()
    inbox.wait_for(customer)
    row = wait_for(lambda: row if (row := customer.row()) and row.published_at else None, timeout=TIMEOUT_SECONDS)
    assert row.due_at is None


def test_the_static_form_asks_finch_with_all_parameters(static_stack: RunningStack, finch: Simulator) -> None:
    """All eight, as Finch documents them."""
    customer = Customer(static_stack, finch)
    url = customer.start(
        products=["company", "directory"], category="hris", payroll_provider="gusto", sandbox=True, manual=True
    )
    asked = parse_qs(urlsplit(url).query, strict_parsing=True)
    assert asked.pop("state")[0].startswith(customer.flow_id + ".")
    assert asked == {
        "client_id": [CLIENT_ID],
        "redirect_uri": [f"{static_stack.public_url}/callback"],
        "products": ["company directory"],
        "category": ["hris"],
        "payroll_provider": ["gusto"],
        "sandbox": ["true"],
        "manual": ["true"],
    }


def test_the_session_form_opens_a_session(session_stack: RunningStack, finch: Simulator) -> None:
    """Finch has the rest; the browser gets a session and its state."""
    customer = Customer(session_stack, finch)
    asked = parse_qs(urlsplit(customer.start()).query, strict_parsing=True)
    assert asked.keys() == {"session", "state"}
    assert len(finch.calls_to("/connect/sessions")) == 1


def test_a_person_who_says_no_is_taken_at_their_word(customer: Customer, inbox: Inbox, finch: Simulator) -> None:
    """Denied, told, and nothing exchanged; then the same link starts anew."""
    receipt = customer.receipt(customer.come_back(customer.denied()))
    assert receipt["status"] == "denied"
    (event,) = inbox.wait_for(customer)
    assert (event["detail-type"], event["detail"]["reason"]) == ("Connection Denied", "access_denied")
    assert finch.calls_to("/auth/token") == []
    assert customer.connect()["status"] == "connected"
    assert [event["detail-type"] for event in inbox.wait_for(customer, 2)] == [
        "Connection Denied",
        "Connection Established",
    ]


def test_an_expired_code_fails_the_flow_and_the_link_starts_anew(
    customer: Customer, inbox: Inbox, finch: Simulator
) -> None:
    """Somebody left the tab open for longer than Finch keeps a code."""
    callback = customer.approved()
    for code in finch.store.codes.values():
        code.expires = 0
    assert customer.receipt(customer.come_back(callback))["status"] == "failed"
    (event,) = inbox.wait_for(customer)
    assert (event["detail-type"], event["detail"]["reason"]) == ("Connection Failed", "invalid_grant")
    assert customer.connect()["status"] == "connected"


def test_a_reconnect_is_a_new_version_of_the_same_secret(
    a_customer: Callable[..., Customer], inbox: Inbox, finch: Simulator
) -> None:
    """Repeated logins give the same connection with another token."""
    first = a_customer()
    receipt = first.connect()
    (event,) = inbox.wait_for(first)
    again = a_customer(customer_id=first.customer_id)
    assert again.connect()["connection_id"] == receipt["connection_id"]
    (event,) = inbox.wait_for(again)
    assert event["detail-type"] == "Connection Reauthorized"
    assert event["detail"]["secret_arn"] == event["detail"]["secret_arn"]
    assert secret_versions(first.stack, event["detail"]["secret_arn"]) == 2
    stored = secret_content(first.stack, event["detail"]["secret_arn"])
    assert stored["flow_id"] == again.flow_id


def test_a_secret_that_was_deleted_comes_back_with_the_reconnect(
    a_customer: Callable[..., Customer], inbox: Inbox, finch: Simulator
) -> None:
    """An operator deleted it; its deletion is pending when the customer connects again."""
    first = a_customer()
    first.connect()
    (event,) = inbox.wait_for(first)
    arn = event["detail"]["secret_arn"]
    first.stack.client("secretsmanager").delete_secret(SecretId=arn, RecoveryWindowInDays=7)
    again = a_customer(customer_id=first.customer_id)
    assert again.connect()["status"] == "connected"
    assert secret_content(first.stack, arn)["flow_id"] == again.flow_id


def test_a_flow_that_nobody_finished_is_abandoned_by_the_sweeper(customer: Customer, inbox: Inbox) -> None:
    """A closed tab never calls back."""
    customer.start()
    past = {":past": {"N": "1000"}}
    customer.stack.client("dynamodb").update_item(
        TableName=customer.stack.outputs["TableName"],
        Key={"id": {"S": f"flow#{customer.flow_id}"}},
        UpdateExpression="SET deadline = :past, due_at = :past",
        ExpressionAttributeValues=past,
    )
    assert customer.stack.invoke("SweeperFunction", {})["abandoned"] == 1
    (event,) = inbox.wait_for(customer)
    assert (event["detail-type"], event["detail"]["reason"]) == ("Connection Abandoned", "deadline_passed")
    assert customer.connect()["status"] == "connected", "the link, while it lives, starts anew"


def test_a_bare_token_is_completed_by_introspection(customer: Customer, inbox: Inbox, finch: Simulator) -> None:
    """All that the oldest documentation promises is the token."""
    finch.faults.add(Fault("bare"))
    assert customer.connect()["status"] == "connected"
    (event,) = inbox.wait_for(customer)
    assert event["detail"]["provider_id"] == "gusto"
    assert len(finch.calls_to("/introspect")) == 1


def test_an_unclear_answer_orphans_the_flow_and_tells_an_operator(
    customer: Customer, inbox: Inbox, finch: Simulator
) -> None:
    """The connection broke after the code was sent: never again with the same code."""
    finch.faults.add(Fault("reset_after"))
    callback = customer.approved()
    assert customer.receipt(customer.come_back(callback))["status"] == "orphaned"
    (event,) = inbox.wait_for(customer)
    assert event["detail-type"] == "Connection Orphaned"
    assert len(finch.calls_to("/auth/token")) == 1


def test_a_rate_limit_is_waited_out_with_the_same_code(customer: Customer, finch: Simulator) -> None:
    """429 says that nothing was processed."""
    limit = {"status": 429, "name": "rate_limit_exceeded_error", "finch_code": "finch_api_ip_rl", "retry_after": 1}
    finch.faults.add(Fault("error", **limit))  # type: ignore[arg-type]
    assert customer.connect()["status"] == "connected"
    assert [call.status for call in finch.calls_to("/auth/token")] == [429, 200]


def test_without_a_return_url_our_own_page_tells(customer: Customer) -> None:
    """And its address holds neither code nor state."""
    back = customer.come_back(customer.approved(return_url=None))
    assert back.location is not None
    assert back.location.startswith(f"{customer.stack.public_url}/callback/result?finch_receipt=")
    page = customer.browser.get(back.location)
    assert page.status == 200
    assert "You&#x27;re connected" in page.text or "You're connected" in page.text


def test_a_program_gets_json(customer: Customer) -> None:
    """Outcomes as JSON, refusals as problem details."""
    callback = customer.approved()
    accept = {"Accept": "application/json"}
    refused = Visitor().get(callback, accept)
    assert refused.headers["Content-Type"] == "application/problem+json"
    answer = customer.browser.get(callback, accept)
    assert answer.status == 200
    assert '"status": "connected"' in answer.text


def test_a_session_that_echoes_no_state_is_finished_by_the_customers_echo(
    session_stack: RunningStack, finch: Simulator
) -> None:
    """Nobody has verified that Finch echoes it in the session form."""
    finch.session_echoes_state = False
    customer = Customer(session_stack, finch)
    callback = customer.approved()
    assert "state=" not in callback
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"
