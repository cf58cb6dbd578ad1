"""A person's way through the pages in a real Chromium, from the app's button to the connection in its list."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cli.signing import sign_link, verify_receipt
from local.demo.app import create_app
from local.demo.inbox import Inbox
from local.engine import RunningStack
from local.simulator import Simulator

TIMEOUT_MS = 45_000


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """Open a window of a new visitor. Afterwards its console must have no errors, e.g. of the CSP or the styles."""
    context = chromium.new_context()
    window = context.new_page()
    window.set_default_timeout(TIMEOUT_MS)
    errors: list[str] = []
    window.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield window
    context.close()
    assert [text for text in errors if "Failed to load resource" not in text] == []


@pytest.fixture(scope="module")
def inbox(static_stack: RunningStack) -> Iterator[Inbox]:
    """Run the app's event consumer on a queue that only it reads."""
    with Inbox(static_stack.client("sqs"), static_stack.subscribe("northwind")) as running:
        yield running


@pytest.fixture
def northwind(static_stack: RunningStack, finch: Simulator, inbox: Inbox) -> Iterator[str]:
    """Serve the SaaS team's app at the stack's address and return its URL."""
    kid, key = static_stack.link_key()
    url = static_stack.public_url
    app = create_app(
        sign=lambda customer, name, nonce: sign_link(
            connect_url=f"{url}/connect",
            kid=kid,
            key=key,
            customer_id=customer,
            customer_name=name,
            nonce=nonce,
            return_url=f"{url}/connected",
        ),
        verify=lambda receipt, customer, nonce: verify_receipt(
            receipt, key=key, issuer=url, customer_id=customer, nonce=nonce
        ),
        events=inbox.events,
    )
    static_stack.api_gateway.serve_app(app)
    yield url
    static_stack.api_gateway.serve_app(None)


def log_in_at_the_provider(page: Page) -> None:
    page.get_by_role("button", name="Agree and continue").click()
    page.get_by_role("button", name="Gusto").click()
    page.get_by_label("User name").fill("smallco")
    page.get_by_label("Password").fill("letmein")
    page.get_by_role("button", name="Sign in").click()


def test_a_customer_connects_their_payroll(page: Page, northwind: str, tmp_path: Path) -> None:
    """The app's button leads to Finch and back, and the event adds the connection to the app's list."""
    page.goto(northwind)
    page.get_by_role("button", name="Connect your payroll").click()
    log_in_at_the_provider(page)
    expect(page.get_by_role("status")).to_have_text("Your payroll is connected.")
    expect(page.get_by_text("finch/local/connections/")).to_be_visible(timeout=TIMEOUT_MS)
    assert page.url == f"{northwind}/"
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies() if cookie["name"].startswith("__Host-fc-")}
    (cookie,) = cookies.values()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, True, "Lax", "/")
    assert cookie["expires"] < time.time() + 601


def test_a_person_who_declines_returns_to_the_app(page: Page, northwind: str) -> None:
    """The app shows the denial, and the same button starts again."""
    page.goto(northwind)
    page.get_by_label("Logged in as").select_option("globex")
    page.get_by_role("button", name="Switch").click()
    page.get_by_role("button", name="Connect your payroll").click()
    page.get_by_role("button", name="Don’t allow").click()
    expect(page.get_by_role("status")).to_contain_text("You chose not to connect.")
    expect(page.get_by_text("Connection Denied")).to_be_visible(timeout=TIMEOUT_MS)
    page.get_by_role("button", name="Connect your payroll").click()
    expect(page.get_by_role("button", name="Agree and continue")).to_be_visible()


def test_a_link_from_a_mail_asks_before_it_starts(page: Page, static_stack: RunningStack, finch: Simulator) -> None:
    """The confirm page names the customer, and its Content-Security-Policy lets its button lead to Finch."""
    kid, key = static_stack.link_key()
    link = sign_link(
        connect_url=f"{static_stack.public_url}/connect",
        kid=kid,
        key=key,
        customer_id="mail-customer",
        customer_name="Initech & Söhne <b>GmbH</b>",
        lifetime_seconds=86_400,
    )
    page.goto(link)
    expect(page.get_by_text("Initech & Söhne <b>GmbH</b>")).to_be_visible()
    page.get_by_role("button", name="Continue to Finch").click()
    log_in_at_the_provider(page)
    expect(page.get_by_role("heading", name="You're connected")).to_be_visible()
    assert "code=" not in page.url
    assert "state=" not in page.url
    page.goto(link)
    page.get_by_role("button", name="Continue to Finch").click()
    expect(page.get_by_role("heading", name="You're connected")).to_be_visible()


def test_a_button_pressed_twice_leads_through_the_login(
    page: Page, static_stack: RunningStack, finch: Simulator
) -> None:
    """The browser sends the form twice and follows the last answer, whose state is the one that counts."""
    kid, key = static_stack.link_key()
    for number, gap in enumerate((0, 100, 250)):
        link = sign_link(
            connect_url=f"{static_stack.public_url}/connect",
            kid=kid,
            key=key,
            customer_id="hasty-customer",
            customer_name=f"Initech {number}",
            lifetime_seconds=86_400,
        )
        page.goto(link)
        page.get_by_role("button", name="Continue to Finch").click(click_count=2, delay=gap, no_wait_after=True)
        log_in_at_the_provider(page)
        expect(page.get_by_role("heading", name="You're connected")).to_be_visible()


def test_a_callback_in_another_browser_shows_what_to_do(page: Page, static_stack: RunningStack) -> None:
    """The page explains it in plain words, and the Content-Security-Policy allows the page's style."""
    page.goto(f"{static_stack.public_url}/callback?code=x&state={'A' * 22}.{'B' * 43}")
    expect(page.get_by_text("within 10 minutes")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('main')).borderRadius") == "16px"
