"""Rows 49 to 51: a proxy in front that hides the host, Finch's words for errors, and refusals for good."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.engine import RunningStack
from local.simulator import Fault, Simulator
from tests.attacks.conftest import headers_of
from tests.attacks.test_answers import HOSTILE, changed
from tests.conftest import Customer
from tests.template import ROOT

HIDDEN_HOST = "abc123.execute-api.eu-central-1.amazonaws.com"


def behind_a_proxy(stack: RunningStack, url: str) -> Any:
    """Open a URL of the stack through a proxy that does not pass its host on. Return the function's answer."""
    event = json.loads((ROOT / "events/connect.json").read_text())
    event["rawQueryString"] = urlsplit(url).query
    event["requestContext"]["domainName"] = event["headers"]["host"] = HIDDEN_HOST
    return stack.invoke("ConnectFunction", event)


def test_49_a_proxy_that_hides_the_host_causes_one_redirect(customer: Customer, finch: Simulator) -> None:
    """The redirect leads to the configured host and is served there, with its cookie, though the host is hidden."""
    first = behind_a_proxy(customer.stack, customer.link())
    moved = first["headers"]["Location"]
    assert moved.startswith(f"{customer.stack.public_url}/connect?link=")
    assert (first["statusCode"], first["cookies"], customer.status()) == (303, [], "none")
    second = behind_a_proxy(customer.stack, moved)
    assert second["statusCode"] == 303
    assert second["headers"]["Location"].startswith(finch.url)
    assert "moved" not in second["headers"]["Location"]
    assert len(second["cookies"]) == 1
    assert (row := customer.row()) is not None
    assert row.redirect_uri == f"{customer.stack.public_url}/callback"
    assert HIDDEN_HOST not in json.dumps(second)


def test_49_the_marker_changes_nothing_else(customer: Customer) -> None:
    """Whoever adds it to a link gets what the link gives, whatever its value is."""
    for value in ("1", "https://evil.example.com", "%0d%0aX-Reflected: 1"):
        page = customer.browser.get(f"{customer.link()}&moved={value}")
        assert page.status == 303
        assert "evil" not in page.text + repr(headers_of(page))
        assert "eflected" not in page.text + repr(headers_of(page))
    assert customer.connect()["status"] == "connected"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_50_hostile_text_in_the_place_of_an_error_is_kept_nowhere(customer: Customer, text: str) -> None:
    """Support sees that there was an error that is not a word, and nothing of it. No page shows it."""
    page = customer.come_back(changed(customer.approved(), remove="code", error=text))
    row = customer.row()
    if page.status == 303:  # a request that is too long is refused before it is read
        assert customer.receipt(page)["status"] == "failed"
        assert row is not None
        assert (row.reason, row.finch_error) == ("unknown_error", "unreadable")
    assert "eflected" not in repr(row) + page.text + repr(headers_of(page))
    assert not any("eflected" in line and customer.flow_id in line for line in customer.stack.logs("CallbackFunction"))


def test_50_a_code_in_the_place_of_an_error_is_kept_nowhere(customer: Customer) -> None:
    """A code is a UUID, so it would pass as a word."""
    callback = customer.approved()
    code = callback.partition("code=")[2].partition("&")[0]
    customer.come_back(changed(callback, remove="code", error=code))
    assert (row := customer.row()) is not None
    assert row.finch_error == "unreadable"
    assert not any(code in line for line in customer.stack.logs("CallbackFunction"))


def test_50_finchs_own_word_is_in_the_row_and_the_log_but_not_on_a_page(customer: Customer, finch: Simulator) -> None:
    """The redirect's error, and the name and code of the exchange's answer."""
    page = customer.come_back(changed(customer.approved(), remove="code", error="provider_went_away"))
    assert (row := customer.row()) is not None
    assert (row.reason, row.finch_error) == ("unknown_error", "provider_went_away")
    finch.faults.add(Fault("error", status=400, name="bad_request", finch_code="redirect_uri_unknown"))
    page = customer.come_back(customer.approved())
    assert (row := customer.row()) is not None
    assert (row.reason, row.finch_error) == ("bad_request", "bad_request.redirect_uri_unknown")
    logged = [line for line in customer.stack.logs("CallbackFunction") if customer.flow_id in line]
    assert any("redirect_uri_unknown" in line for line in logged)
    assert "redirect_uri_unknown" not in page.text + repr(headers_of(page))


def counted(stack: RunningStack, function: str, metric: str) -> int:
    """Return how many times a function counted a metric."""
    lines = [json.loads(line) for line in stack.logs(function) if f'"{metric}":[' in line.replace(" ", "")]
    return sum(int(line[metric][0]) for line in lines)


@pytest.mark.parametrize("name", ["bad_request", "payment_required_error", "unauthorized_client", "something_new"])
def test_51_what_finch_refuses_for_good_is_counted_and_not_offered_again(
    customer: Customer, finch: Simulator, name: str
) -> None:
    """The result page asks the person to contact the team, the receipt says so too, and an alarm's metric counts it."""
    before = counted(customer.stack, "CallbackFunction", "OperatorErrors")
    finch.faults.add(Fault("error", status=400, name=name))
    page = customer.come_back(customer.approved(return_url=None))
    assert customer.receipt(page)["retry"] is False
    assert page.location is not None
    result = customer.browser.get(page.location).text
    assert "fixed by trying again" in result
    assert "open your link again" not in result
    assert counted(customer.stack, "CallbackFunction", "OperatorErrors") == before + 1


def test_51_what_may_succeed_later_is_offered_again(customer: Customer, finch: Simulator) -> None:
    """A code that has expired is not a matter for an operator."""
    before = counted(customer.stack, "CallbackFunction", "OperatorErrors")
    finch.faults.add(Fault("error", status=400, name="invalid_grant_error"))
    page = customer.come_back(customer.approved(return_url=None))
    assert "retry" not in customer.receipt(page)
    assert page.location is not None
    assert "open your link again" in customer.browser.get(page.location).text
    assert counted(customer.stack, "CallbackFunction", "OperatorErrors") == before


@pytest.mark.parametrize("status", [400, 402, 403, 404])
def test_51_a_session_that_finch_refuses_for_good_is_counted_and_not_offered_again(
    session_stack: RunningStack, finch: Simulator, status: int
) -> None:
    """No `Retry-After` and no button. When an operator has fixed the cause, the same link works."""
    customer = Customer(session_stack, finch)
    before = counted(session_stack, "ConnectFunction", "OperatorErrors")
    finch.faults.add(Fault("error", path="/connect/sessions", status=status, name="bad_request"))
    page = customer.browser.get(customer.link())
    assert (page.status, "retry-after" in headers_of(page)) == (500, False)
    assert "fixed by trying again" in page.text
    assert "Try again" not in page.text
    assert counted(session_stack, "ConnectFunction", "OperatorErrors") == before + 1
    assert customer.connect()["status"] == "connected"


def test_25_a_preload_is_counted_so_that_it_raises_no_alarm(customer: Customer) -> None:
    """The alarm on answers with 5xx subtracts this metric."""
    before = counted(customer.stack, "ConnectFunction", "Preloaded")
    assert customer.browser.get(customer.link(), {"Sec-Purpose": "prefetch"}).status == 503
    assert counted(customer.stack, "ConnectFunction", "Preloaded") == before + 1
