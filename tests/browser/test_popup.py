"""The popup of docs/links.md in a real Chromium: it keeps its opener from the link to the return page."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
from flask import Flask, redirect, request
from playwright.sync_api import Browser, Page, expect
from werkzeug.wrappers import Response

from cli.signing import sign_link, verify_receipt
from local.engine import RunningStack
from local.simulator import Simulator
from tests.template import ROOT

TIMEOUT_MS = 45_000
OPENER, RETURN_PAGE = re.findall(r"```html\n(.*?)```", (ROOT / "docs/links.md").read_text(), re.DOTALL)
"""The two pages of the document's example, as they are."""


@pytest.fixture
def app(static_stack: RunningStack, finch: Simulator) -> Iterator[str]:
    """Serve the example's pages and its backend at the stack's address, and return that address."""
    (kid, key), url = static_stack.link_key(), static_stack.public_url
    customer = f"popup-{uuid.uuid4().hex[:8]}"
    app = Flask(__name__)

    @app.get("/app")
    def opener() -> str:
        return f"<!doctype html>{OPENER}"

    @app.get("/start")
    def start() -> Response:
        return redirect(
            sign_link(
                connect_url=f"{url}/connect",
                kid=kid,
                key=key,
                customer_id=customer,
                customer_name="Acme Inc",
                nonce="n-1",
                return_url=f"{url}/connected",
                confirm=True,
            ),
            303,
        )

    @app.get("/connected")
    def connected() -> str:
        return f"<!doctype html>{RETURN_PAGE}"

    @app.post("/receipt")
    def receipt() -> str:
        text = request.get_data(as_text=True)
        return f"verified: {verify_receipt(text, key=key, issuer=url, customer_id=customer, nonce='n-1')['status']}"

    static_stack.api_gateway.serve_app(app)
    yield url
    static_stack.api_gateway.serve_app(None)


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """Open a window of a new visitor."""
    context = chromium.new_context()
    window = context.new_page()
    window.set_default_timeout(TIMEOUT_MS)
    yield window
    context.close()


def test_a_popup_keeps_its_opener_and_brings_the_receipt(page: Page, app: str) -> None:
    """It passes the confirm page, Finch and the callback, and is never taken for a closed window."""
    page.goto(f"{app}/app")
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Connect your payroll").click()
    popup = opened.value
    popup.set_default_timeout(TIMEOUT_MS)
    popup.get_by_role("button", name="Continue to Finch").wait_for()
    assert popup.evaluate("window.opener !== null"), "the confirm page is this stack's"
    popup.get_by_role("button", name="Continue to Finch").click()
    popup.get_by_role("button", name="Agree and continue").click()
    popup.get_by_role("button", name="Gusto").click()
    popup.get_by_label("User name").fill("smallco")
    popup.get_by_label("Password").fill("letmein")
    page.wait_for_timeout(600)
    assert page.get_by_role("status").text_content() == "", "the page looked twice whether the popup was closed"
    assert popup.evaluate("window.opener !== null"), "Finch's page comes after two redirects of this stack"
    with popup.expect_event("close"):
        popup.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("status")).to_have_text("verified: connected", timeout=TIMEOUT_MS)
