"""A connection from the signed link to the event on the queue, in both forms of the redirect."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from local.browser import Browser
from local.engine import RunningStack
from local.simulator import Fault, Simulator
from tests.conftest import CLIENT_ID, CLIENT_SECRET, PATIENCE_SECONDS, Customer, Inbox, secret_content, secret_versions


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
    patience = time.monotonic() + PATIENCE_SECONDS
    while (row := customer.row()) is None or row.published_at is None:
        assert time.monotonic() < patience
        time.sleep(0.1)
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
    assert [told["detail-type"] for told in inbox.wait_for(customer, 2)] == [
        "Connection Denied",
        "Connection Established",
    ]


def test_an_expired_state_is_refused(customer: Customer, finch: Simulator) -> None:
    """TTL has not deleted the row yet; the deadline alone decides."""
    callback = customer.approved()
    table = customer.stack.outputs["TableName"]
    customer.stack.client("dynamodb").update_item(
        TableName=table,
        Key={"id": {"S": f"flow#{customer.flow_id}"}},
        UpdateExpression="SET deadline = :past",
        ExpressionAttributeValues={":past": {"N": "1"}},
    )
    assert customer.come_back(callback).status == 400
    assert customer.status() == "started"
    assert finch.calls_to("/auth/token") == []


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


def test_a_repeated_callback_answers_the_same_and_does_nothing(
    customer: Customer, inbox: Inbox, finch: Simulator
) -> None:
    """The back button."""
    callback = customer.approved()
    first = customer.receipt(customer.come_back(callback))
    again = customer.receipt(customer.come_back(callback))
    assert {**first, "iat": 0, "exp": 0} == {**again, "iat": 0, "exp": 0}
    (event,) = inbox.wait_for(customer)
    assert len(finch.calls_to("/auth/token")) == 1
    assert secret_versions(customer.stack, event["detail"]["secret_arn"]) == 1


def test_another_browser_cannot_finish_and_the_right_one_still_can(customer: Customer, finch: Simulator) -> None:
    """A callback that was forwarded, or forced on somebody (login CSRF)."""
    callback = customer.approved()
    refused = Browser().get(callback)
    assert refused.status == 400
    assert "open this very address there" in refused.text
    assert finch.calls_to("/auth/token") == []
    assert customer.status() == "started"
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"


def test_a_flow_is_taken_over_only_by_the_button(customer: Customer) -> None:
    """The person begins on the phone and goes on at the desk."""
    phone_callback = customer.approved()
    desk = dataclasses.replace(customer, browser=Browser())
    page = desk.browser.get(desk.link())
    assert page.status == 200
    assert "Acme Inc" in page.text
    assert (row := customer.row()) is not None
    form = {name: page.text.partition(f'name="{name}" value="')[2].partition('"')[0] for name in ("link", "form_nonce")}
    pressed = desk.browser.post(f"{desk.stack.public_url}/connect", form, {"Sec-Fetch-Site": "same-origin"})
    assert pressed.status == 303
    assert (taken := customer.row()) is not None
    assert taken.state_hash != row.state_hash
    assert customer.come_back(phone_callback).status == 400, "the phone's state is dead"
    assert pressed.location is not None
    assert desk.receipt(desk.come_back(desk.approve(pressed.location)))["status"] == "connected"
    assert desk.browser.get(desk.link()).status == 200, "used up: a page that says so"
    assert "connected" in desk.browser.get(desk.link()).text


def test_a_long_lived_link_asks_first_and_writes_nothing(customer: Customer) -> None:
    """Mail scanners open links."""
    page = customer.browser.get(customer.link(exp=int(time.time()) + 86_400))
    assert page.status == 200
    assert "<form" in page.text
    assert customer.row() is None


def test_a_reconnect_is_a_new_version_of_the_same_secret(
    a_customer: Callable[..., Customer], inbox: Inbox, finch: Simulator
) -> None:
    """Repeated logins give the same connection with another token."""
    first = a_customer()
    receipt = first.connect()
    (event,) = inbox.wait_for(first)
    again = a_customer(customer_id=first.customer_id)
    assert again.connect()["connection_id"] == receipt["connection_id"]
    (told,) = inbox.wait_for(again)
    assert told["detail-type"] == "Connection Reauthorized"
    assert told["detail"]["secret_arn"] == event["detail"]["secret_arn"]
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


def test_another_customers_connection_is_quarantined(
    a_customer: Callable[..., Customer], inbox: Inbox, finch: Simulator
) -> None:
    """An injected code, or an accountant with two customers: the first one's secret is not touched."""
    owner, other = a_customer(), a_customer()
    owner.connect()
    (event,) = inbox.wait_for(owner)
    assert other.connect()["status"] == "quarantined"
    (told,) = inbox.wait_for(other)
    assert told["detail-type"] == "Connection Quarantined"
    assert told["detail"]["reason"] in {"owner_mismatch", "customer_mismatch"}
    assert "/quarantine/" in told["detail"]["secret_arn"]
    assert secret_versions(owner.stack, event["detail"]["secret_arn"]) == 1
    assert finch.calls_to("/disconnect") == []


def test_twenty_callbacks_at_once_exchange_once(customer: Customer, inbox: Inbox, finch: Simulator) -> None:
    """Those that lose get a page that looks again, and then the same answer."""
    finch.faults.add(Fault("delay", seconds=1.0))
    callback = customer.approved()
    refused = f"{customer.stack.public_url}/callback"
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        # Twenty functions are woken first: else their cold starts, one after the other, would keep the callbacks apart.
        list(pool.map(lambda _: Browser().get(refused), range(20)))
        pages = list(pool.map(lambda _: customer.come_back(callback), range(20)))
    assert {page.status for page in pages} <= {202, 303}
    assert all(page.headers["Refresh"] == "2" for page in pages if page.status == 202)
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"
    (event,) = inbox.wait_for(customer)
    assert len(finch.calls_to("/auth/token")) == 1
    assert secret_versions(customer.stack, event["detail"]["secret_arn"]) == 1
    assert len(inbox.of(customer)) == 1


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
    refused = Browser().get(callback, accept)
    assert refused.headers["Content-Type"] == "application/problem+json"
    answer = customer.browser.get(callback, accept)
    assert answer.status == 200
    assert '"status": "connected"' in answer.text


def test_nothing_secret_leaves_the_vault(customer: Customer, inbox: Inbox, finch: Simulator) -> None:
    """Neither code, state, cookie, token, secret nor link is in a log (at DEBUG), a row or an event.

    One flow goes through twice, is refused once, and one code is declined.
    """
    stack = customer.stack
    link, callback = customer.link(), customer.approved()
    Browser().get(callback)
    customer.come_back(callback)
    customer.come_back(callback)
    (event,) = inbox.wait_for(customer)
    cookie = customer.browser.cookies(callback)[f"__Host-fc-{customer.flow_id}"]
    came = {name: values[0] for name, values in parse_qs(urlsplit(callback).query).items()}
    token = secret_content(stack, event["detail"]["secret_arn"])["access_token"]
    _, key = stack.link_key()
    functions = ("ConnectFunction", "CallbackFunction", "RelayFunction", "SweeperFunction")
    logs = [line for function in functions for line in stack.logs(function)]
    assert any(customer.flow_id in line for line in logs), "the logs are read, and have this flow"
    items = stack.client("dynamodb").scan(TableName=stack.outputs["TableName"])["Items"]
    seen = "\n".join([*logs, str(items), str(event)])
    secrets = [came["code"], came["state"], cookie, token, key, CLIENT_SECRET, link.partition("link=")[2], "Acme Inc"]
    assert [secret for secret in secrets if secret in seen] == []


def test_a_session_that_echoes_no_state_is_finished_by_the_customers_echo(
    session_stack: RunningStack, finch: Simulator
) -> None:
    """Nobody has verified that Finch echoes it in the session form."""
    finch.session_echoes_state = False
    customer = Customer(session_stack, finch)
    callback = customer.approved()
    assert "state=" not in callback
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"
