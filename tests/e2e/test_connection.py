"""A connection from the signed link to the event on the queue, in both forms of the redirect."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from cli.waiting import wait_for
from local.engine import RunningStack
from local.simulator import Fault, Simulator
from tests.canary import Visitor
from tests.conftest import CLIENT_ID, TIMEOUT_SECONDS, Customer, Inbox, secret_content, secret_versions


def test_a_connection_is_stored_and_published(customer: Customer, inbox: Inbox, finch: Simulator) -> None:
    """The browser gets a receipt, the vault the token, and the queue the event."""
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


def test_the_row_is_marked_once_its_event_is_published(customer: Customer, inbox: Inbox) -> None:
    """A marked row is no longer due, so the sweeper leaves it alone."""
    customer.connect()
    inbox.wait_for(customer)
    row = wait_for(lambda: row if (row := customer.row()) and row.published_at else None, timeout=TIMEOUT_SECONDS)
    assert row.due_at is None


def test_the_static_form_sends_all_parameters(static_stack: RunningStack, finch: Simulator) -> None:
    """The authorize URL has all eight parameters, as Finch documents them."""
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
    """The parameters go to Finch's API; the browser takes only the session and the state."""
    customer = Customer(session_stack, finch)
    asked = parse_qs(urlsplit(customer.start()).query, strict_parsing=True)
    assert asked.keys() == {"session", "state"}
    assert len(finch.calls_to("/connect/sessions")) == 1


def test_a_denial_is_published_and_the_link_works_again(customer: Customer, inbox: Inbox, finch: Simulator) -> None:
    """Nothing is exchanged, and the same link can connect afterwards."""
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


def test_an_expired_code_fails_the_flow_and_the_link_works_again(
    customer: Customer, inbox: Inbox, finch: Simulator
) -> None:
    """A person may leave the tab open longer than a code is valid."""
    callback = customer.approved()
    for code in finch.store.codes.values():
        code.expires = 0
    assert customer.receipt(customer.come_back(callback))["status"] == "failed"
    (event,) = inbox.wait_for(customer)
    assert (event["detail-type"], event["detail"]["reason"]) == ("Connection Failed", "invalid_grant")
    assert customer.connect()["status"] == "connected"


def test_a_reconnect_stores_a_new_version_of_the_same_secret(
    a_customer: Callable[..., Customer], inbox: Inbox, finch: Simulator
) -> None:
    """Another login gives the same connection a new token."""
    first = a_customer()
    receipt = first.connect()
    (established,) = inbox.wait_for(first)
    again = a_customer(customer_id=first.customer_id)
    assert again.connect()["connection_id"] == receipt["connection_id"]
    (reauthorized,) = inbox.wait_for(again)
    assert reauthorized["detail-type"] == "Connection Reauthorized"
    assert reauthorized["detail"]["secret_arn"] == established["detail"]["secret_arn"]
    assert secret_versions(first.stack, established["detail"]["secret_arn"]) == 2
    stored = secret_content(first.stack, established["detail"]["secret_arn"])
    assert stored["flow_id"] == again.flow_id


def test_a_reconnect_restores_a_secret_that_is_scheduled_for_deletion(
    a_customer: Callable[..., Customer], inbox: Inbox, finch: Simulator
) -> None:
    """An operator may have deleted the secret before the customer connects again."""
    first = a_customer()
    first.connect()
    (event,) = inbox.wait_for(first)
    arn = event["detail"]["secret_arn"]
    first.stack.client("secretsmanager").delete_secret(SecretId=arn, RecoveryWindowInDays=7)
    again = a_customer(customer_id=first.customer_id)
    assert again.connect()["status"] == "connected"
    assert secret_content(first.stack, arn)["flow_id"] == again.flow_id


def test_the_sweeper_abandons_a_flow_that_nobody_finished(customer: Customer, inbox: Inbox) -> None:
    """A closed tab sends no callback, so only the sweeper can settle the flow."""
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
    assert customer.connect()["status"] == "connected", "an unexpired link works again"


def test_a_bare_token_is_completed_by_introspection(customer: Customer, inbox: Inbox, finch: Simulator) -> None:
    """Finch's oldest documentation promises nothing but the token."""
    finch.faults.add(Fault("bare"))
    assert customer.connect()["status"] == "connected"
    (event,) = inbox.wait_for(customer)
    assert event["detail"]["provider_id"] == "gusto"
    assert len(finch.calls_to("/introspect")) == 1


def test_an_unclear_answer_orphans_the_flow_and_publishes_it(
    customer: Customer, inbox: Inbox, finch: Simulator
) -> None:
    """The connection broke after the code was sent, so the code must not be sent again."""
    finch.faults.add(Fault("reset_after"))
    callback = customer.approved()
    assert customer.receipt(customer.come_back(callback))["status"] == "orphaned"
    (event,) = inbox.wait_for(customer)
    assert event["detail-type"] == "Connection Orphaned"
    assert len(finch.calls_to("/auth/token")) == 1


def test_a_rate_limited_exchange_is_retried_with_the_same_code(customer: Customer, finch: Simulator) -> None:
    """429 means that Finch processed nothing, so the code is still unused."""
    limit = {"status": 429, "name": "rate_limit_exceeded_error", "finch_code": "finch_api_ip_rl", "retry_after": 1}
    finch.faults.add(Fault("error", **limit))  # type: ignore[arg-type]
    assert customer.connect()["status"] == "connected"
    assert [call.status for call in finch.calls_to("/auth/token")] == [429, 200]


def test_without_a_return_url_the_result_page_shows_the_outcome(customer: Customer) -> None:
    """The result page needs only the receipt."""
    back = customer.come_back(customer.approved(return_url=None))
    assert back.location is not None
    assert back.location.startswith(f"{customer.stack.public_url}/callback/result?finch_receipt=")
    page = customer.browser.get(back.location)
    assert page.status == 200
    assert "You&#x27;re connected" in page.text or "You're connected" in page.text


def test_a_program_gets_json(customer: Customer) -> None:
    """Outcomes are JSON, and refusals are problem details."""
    callback = customer.approved()
    accept = {"Accept": "application/json"}
    refused = Visitor().get(callback, accept)
    assert refused.headers["Content-Type"] == "application/problem+json"
    answer = customer.browser.get(callback, accept)
    assert answer.status == 200
    assert '"status": "connected"' in answer.text


def test_a_session_without_an_echoed_state_is_finished_by_the_echoed_customer(
    session_stack: RunningStack, finch: Simulator
) -> None:
    """It is not verified that Finch echoes the state in the session form."""
    finch.session_echoes_state = False
    customer = Customer(session_stack, finch)
    callback = customer.approved()
    assert "state=" not in callback
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"
