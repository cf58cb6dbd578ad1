"""Rows 37 to 39, and 9 for starts: buttons pressed twice, pages used late or again, and made-up cookies."""

from __future__ import annotations

import concurrent.futures
import copy
import dataclasses
import re
import secrets
import time
from collections.abc import Callable

import pytest

from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.domain.flow import NotWritten, StartRule, Status
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import base64url, cookie_name, state_of
from local.browser import Browser, Page
from local.engine import RunningStack
from local.simulator import Fault, Simulator
from tests.attacks.conftest import Untouched, nothing_happens, refused
from tests.attacks.test_links import confirm, form_of
from tests.attacks.test_state_and_browser import put_flow
from tests.conftest import Customer, query_of


def press_twice(customer: Customer, form: dict[str, str], pause: float) -> list[tuple[Browser, Page]]:
    """Press the confirm page's button twice, `pause` seconds apart.

    The second press is sent before the browser has the cookies of the first one's answer. Return both answers, each
    with the browser that keeps that answer's cookies.
    """
    presses = [dataclasses.replace(customer, browser=copy.deepcopy(customer.browser)) for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(confirm, presses[0], form)
        time.sleep(pause)
        second = pool.submit(confirm, presses[1], form)
        return [(presses[0].browser, first.result()), (presses[1].browser, second.result())]


@pytest.mark.parametrize("pause", [0.0, 0.02, 0.1, 0.3])
def test_37_a_button_pressed_twice_starts_one_attempt(a_customer: Callable[..., Customer], pause: float) -> None:
    """Both presses get the same state and cookie, so the login finishes whichever answer the browser keeps."""
    for kept, username in enumerate(("smallco", "largeco")):
        customer = a_customer(username=username)
        answers = press_twice(customer, form_of(customer.browser.get(customer.link(confirm=True))), pause)
        assert [page.status for _, page in answers] == [303, 303]
        assert len({query_of(page.location or "")["state"] for _, page in answers}) == 1, "one press, one state"
        browser, page = answers[kept]
        person = dataclasses.replace(customer, browser=browser)
        assert person.receipt(person.come_back(person.approve(page.location or "")))["status"] == "connected"


@pytest.mark.parametrize("cookie", ["kept", "ended"])
def test_37_a_page_from_before_the_end_of_an_attempt_never_brings_it_back(
    customer: Customer, untouched: Untouched, cookie: str
) -> None:
    """Its button shows the page again, and that page's button starts a new attempt with a new state.

    A state that was used again could give two outcomes one event id.
    """
    form = form_of(customer.browser.get(customer.link(confirm=True)))
    ended = confirm(customer, form).location or ""
    callback = customer.approve(ended).replace("code=", "nothing=")
    assert customer.receipt(customer.come_back(callback))["status"] == "failed"
    if cookie == "ended":
        customer.browser.set_cookie(callback, cookie_name(customer.flow_id), "")
    with untouched():
        asked_again = confirm(customer, form)
        assert asked_again.status == 200
    (_, first), (browser, second) = press_twice(customer, form_of(asked_again), 0.0)
    states = {query_of(page.location or "")["state"] for page in (first, second)}
    assert len(states) == 1
    assert query_of(ended)["state"] not in states
    person = dataclasses.replace(customer, browser=browser)
    assert person.receipt(person.come_back(person.approve(second.location or "")))["status"] == "connected"


@pytest.mark.parametrize("status", [Status.STARTED, Status.DENIED, Status.FAILED, Status.ABANDONED, Status.ORPHANED])
def test_09_a_start_brings_back_no_attempt(static_stack: RunningStack, status: Status) -> None:
    """An ended attempt's state is never started again, and a page replaces no attempt that is later than itself."""
    table = DynamoFlowTable(static_stack.client("dynamodb"), static_stack.outputs["TableName"])
    row = put_flow(static_stack, status)
    another = dataclasses.replace(row, status=Status.STARTED, state_hash="f" * 64, claimed_at=None)
    assert table.start(another, StartRule.TAKE_OVER, asked_at=row.started_at - 1) == NotWritten(row)
    if status is not Status.STARTED:
        again = dataclasses.replace(row, status=Status.STARTED, claimed_at=None)
        for rule in (StartRule.NEW_ATTEMPT, StartRule.TAKE_OVER):
            assert table.start(again, rule, asked_at=row.started_at + 1) == NotWritten(row)
    assert table.get(row.flow_id) == row


def test_38_a_page_left_open_for_longer_than_its_cookie_is_shown_again(
    customer: Customer, untouched: Untouched
) -> None:
    """The link lives for days, so the person is asked again, and the second press works."""
    form = form_of(customer.browser.get(customer.link(exp=int(time.time()) + 86_400)))
    customer.browser.forget_cookies()  # as a browser does after an hour
    with untouched():
        page = confirm(customer, form)
        assert page.status == 200
    assert confirm(customer, form_of(page)).status == 303


def test_38_a_page_whose_cookie_ended_and_was_replaced_is_shown_again(customer: Customer, untouched: Untouched) -> None:
    """The link was opened in another tab after an hour, which set a new form cookie."""
    link = customer.link(exp=int(time.time()) + 86_400)
    form = form_of(customer.browser.get(link))
    old = f"{int(form['form_nonce'].partition('.')[0]) - 3_601_000}.{form['form_nonce'].partition('.')[2]}"
    with untouched():
        page = confirm(customer, {**form, "form_nonce": old})
        assert page.status == 200
    assert confirm(customer, form_of(page)).status == 303


@pytest.mark.parametrize("form_cookie", ["kept", "ended"])
def test_38_a_late_form_of_another_site_is_refused(customer: Customer, untouched: Untouched, form_cookie: str) -> None:
    """Neither a missing cookie nor a made-up time helps another site, nor a time to come."""
    form = form_of(customer.browser.get(customer.link(confirm=True)))
    if form_cookie == "ended":
        customer.browser.forget_cookies()
    with untouched():
        for site in ("cross-site", "same-site", "none"):
            assert refused(confirm(customer, form, site))
        if form_cookie == "kept":
            later = f"{int(time.time() * 1000) + 3_600_000}.{form['form_nonce'].partition('.')[2]}"
            for nonce in (later, f"{int(time.time() * 1000)}.{'A' * 43}"):
                assert refused(confirm(customer, {**form, "form_nonce": nonce}))


def try_again(customer: Customer, page: Page) -> Page:
    """Press a page's `Try again`, be it a link or a form's button."""
    assert "Try again" in page.text
    if "<form" in page.text:
        return confirm(customer, form_of(page))
    assert 'href=""' in page.text
    return customer.browser.get(page.url)


@pytest.mark.parametrize("by", ["link", "button"])
def test_38_try_again_works_after_finch_opened_no_session(
    session_stack: RunningStack, finch: Simulator, by: str
) -> None:
    """After a POST the address has no link, so the page posts the form again. It starts no second attempt."""
    customer = Customer(session_stack, finch)
    finch.faults.add(Fault("error", path="/connect/sessions", times=2, status=503))
    page = customer.browser.get(customer.link(confirm=True if by == "button" else None))
    if by == "button":
        page = confirm(customer, form_of(page))
    assert page.status == 503
    row = customer.row()
    page = try_again(customer, page)
    assert page.status == 503
    page = try_again(customer, page)
    assert page.status == 303
    assert row is not None
    assert (again := customer.row()) is not None
    assert again.state_hash == row.state_hash
    assert customer.receipt(customer.come_back(customer.approve(page.location or "")))["status"] == "connected"


def made_up(stack: RunningStack, tag: str) -> Page:
    """Bring a cookie and a state that fit each other, as anyone can make them."""
    flow_id = base64url(secrets.token_bytes(16))
    cookie = Secret(f"{base64url(secrets.token_bytes(32))}.{tag}")
    callback = f"{stack.public_url}/callback?code=x&state={state_of(cookie, flow_id).reveal()}"
    browser = Browser()
    browser.set_cookie(callback, cookie_name(flow_id), cookie.reveal())
    return browser.get(callback)


def refusals(stack: RunningStack, reason: str) -> int:
    """Return how often the callback logged this reason."""
    return sum(bool(re.search(rf'"reason": ?"{reason}"', line)) for line in stack.logs("CallbackFunction"))


def test_39_a_made_up_cookie_is_refused_without_a_call(session_stack: RunningStack, finch: Simulator) -> None:
    """The first one in a while makes the function read the link keys again. Until they are old, no other costs a call.

    A genuine cookie is accepted by the same functions.
    """
    customer = Customer(session_stack, finch)
    callback = customer.approved()
    tag = customer.browser.cookies(callback)[cookie_name(customer.flow_id)].partition(".")[2]
    with nothing_happens(session_stack, finch):
        assert all(refused(made_up(session_stack, tag)) for _ in range(3))  # each warm function reads its keys
        asked, spared = refusals(session_stack, "state_unknown"), refusals(session_stack, "cookie_made_up")
        assert all(refused(made_up(session_stack, one)) for one in (tag, "A" * 22) for _ in range(4))
        assert refusals(session_stack, "cookie_made_up") - spared >= 6
        assert refusals(session_stack, "state_unknown") - asked <= 2
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"
