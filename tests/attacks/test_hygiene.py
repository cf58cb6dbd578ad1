"""Rows 30 to 32, 35 and 36: what holds for every answer, whatever the request."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from finch_connect.web.stylesheet import STYLE_HASH
from local.browser import Page
from local.engine import RunningStack
from local.engine.deploy import build
from local.simulator import Fault, Simulator
from tests.attacks.conftest import headers_of, refused
from tests.attacks.test_answers import changed
from tests.attacks.test_links import confirm
from tests.canary import Visitor
from tests.conftest import Customer, query_of
from tests.template import ROOT, load_template

type Visit = Callable[[Customer], Page]


def confirmed_by_another_site(customer: Customer) -> Page:
    """Open the confirm page and post its form from another site."""
    customer.browser.get(customer.link(confirm=True))
    return confirm(customer, {"link": "x", "form_nonce": "x"}, "cross-site")


def finish(customer: Customer, **headers: str) -> Page:
    """Run the whole flow and return the callback's answer."""
    return customer.come_back(customer.approved(), **headers)


def result(customer: Customer) -> Page:
    """Finish without a return URL and open the result page."""
    location = customer.come_back(customer.approved(return_url=None)).location
    assert location is not None
    return customer.browser.get(location)


def declined(customer: Customer) -> Page:
    """Come back with a code that Finch declines."""
    customer.finch.faults.add(Fault("error", status=400, name="invalid_request_error"))
    return finish(customer)


ANSWERS: dict[str, tuple[int, Visit]] = {
    "started": (303, lambda c: c.browser.get(c.link())),
    "asked first": (200, lambda c: c.browser.get(c.link(confirm=True))),
    "link refused": (400, lambda c: c.browser.get(c.link(aud="x"))),
    "link refused, as JSON": (400, lambda c: c.browser.get(c.link(aud="x"), {"Accept": "application/json"})),
    "form refused": (400, confirmed_by_another_site),
    "looking ahead": (503, lambda c: c.browser.get(c.link(), {"Sec-Purpose": "prefetch"})),
    "callback refused": (400, lambda c: Visitor().get(f"{c.stack.public_url}/callback?state=x")),
    "connected": (303, finish),
    "connected, as JSON": (200, lambda c: finish(c, Accept="application/json")),
    "denied": (303, lambda c: c.come_back(c.denied())),
    "failed": (303, declined),
    "result": (200, result),
    "result refused": (400, lambda c: Visitor().get(f"{c.stack.public_url}/callback/result?finch_receipt=x")),
}


def holds_all_headers(headers: dict[str, str], finch_url: str) -> bool:
    """Assert the headers of row 31, each with its whole value. Return True."""
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert "cross-origin-opener-policy" not in headers, "it would take a popup from the page that opened it"
    assert int(re.fullmatch(r"max-age=(\d+); includeSubDomains", headers["strict-transport-security"])[1]) > 31_536_000  # type: ignore[index]
    directives = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert directives == {
        "default-src": "'none'",
        "style-src": f"'{STYLE_HASH}'",
        "form-action": f"'self' {finch_url}",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    return True


@pytest.mark.parametrize("answer", ANSWERS)
def test_31_every_answer_has_all_headers(customer: Customer, answer: str) -> None:
    """No answer may be stored, framed or sniffed, send a referrer, run a script, or load from a third party."""
    status, visit = ANSWERS[answer]
    page = visit(customer)
    assert page.status == status
    assert holds_all_headers(headers_of(page), customer.finch.url)
    assert "<script" not in page.text
    assert re.findall(r"""(?:src|href)=["']?([^"'\s>]+)""", page.text) == []
    assert "@import" not in page.text
    assert "url(" not in page.text


@pytest.mark.parametrize("function", ["ConnectFunction", "CallbackFunction"])
@pytest.mark.parametrize(
    "event", [{}, {"requestContext": {"requestId": "r"}}, {"routeKey": "GET /x", "requestContext": 1}]
)
def test_31_an_internal_error_has_all_headers_too(
    static_stack: RunningStack, finch: Simulator, function: str, event: dict[str, Any]
) -> None:
    """An unexpected event gets a 500 page that reveals nothing about the error."""
    answer = static_stack.invoke(function, event)
    assert answer["statusCode"] == 500
    assert holds_all_headers({name.lower(): value for name, value in answer["headers"].items()}, finch.url)
    assert "Error" not in answer["body"]


def test_30_redirects_change_the_method_and_leak_nothing(customer: Customer) -> None:
    """Redirects are 302 or 303, never 307 or 308, and the final URL has neither code nor state."""
    asked = customer.browser.get(customer.link(confirm=True))
    form = {
        name: asked.text.partition(f'name="{name}" value="')[2].partition('"')[0] for name in ("link", "form_nonce")
    }
    confirmed = confirm(customer, form)
    assert confirmed.status in {302, 303}
    assert confirmed.location is not None
    assert form["link"] not in confirmed.location
    callback = customer.approve(confirmed.location)
    for page in (customer.come_back(callback), customer.come_back(callback)):
        assert page.status in {302, 303}
        assert page.location is not None
        assert query_of(page.location).keys() == {"finch_receipt"}
        assert all(value not in page.location for value in query_of(callback).values())


def test_30_the_result_pages_url_has_neither_code_nor_state(customer: Customer) -> None:
    """Without a return URL the flow ends on the result page, whose URL has only the receipt."""
    callback = customer.approved(return_url=None)
    page = customer.browser.get(callback, follow=True)
    assert page.status == 200
    assert query_of(page.url).keys() == {"finch_receipt"}
    assert all(value not in page.url for value in query_of(callback).values())


def cookies_of(page: Page) -> dict[str, Any]:
    """Return an answer's cookies with their attributes."""
    return {name: morsel for line in page.set_cookies for name, morsel in SimpleCookie(line).items()}


def test_32_each_cookie_is_host_bound_and_short_lived(customer: Customer) -> None:
    """Each cookie is `__Host-`, Secure, HttpOnly, Lax, without a domain, and ends ten minutes after the settle."""
    started, asked = customer.browser.get(customer.link()), Visitor().get(customer.link())
    assert started.location is not None
    callback = customer.approve(started.location)
    settled = customer.come_back(callback)
    again = customer.come_back(callback)
    random, tag = r"[A-Za-z0-9_-]{43}", r"[A-Za-z0-9_-]{22}"
    for page, name, longest, form in [
        (started, f"__Host-fc-{customer.flow_id}", 86_400, rf"{random}\.{tag}"),
        (asked, f"__Host-fcf-{customer.flow_id}", 3600, random),
        (settled, f"__Host-fc-{customer.flow_id}", 600, rf"{random}\.{tag}"),
        (again, f"__Host-fc-{customer.flow_id}", 600, rf"{random}\.{tag}"),
    ]:
        cookies = cookies_of(page)
        assert list(cookies) == [name]
        morsel = cookies[name]
        assert (morsel["secure"], morsel["httponly"], morsel["samesite"]) == (True, True, "Lax")
        assert (morsel["path"], morsel["domain"]) == ("/", "")
        assert 0 < int(morsel["max-age"]) <= longest
        assert re.fullmatch(form, morsel.value)


def test_32_stale_cookies_are_pruned_the_oldest_first(a_customer: Callable[..., Customer]) -> None:
    """A request's headers must stay under API Gateway's 10,240 bytes, however many links a person opens."""
    customer = a_customer()
    others = [a_customer(browser=customer.browser) for _ in range(40)]
    for other in others:
        other.start()
    cookies = customer.browser.cookies(customer.stack.public_url)
    remaining = [other for other in others if f"__Host-fc-{other.flow_id}" in cookies]
    assert len(remaining) < 40
    assert remaining == others[-len(remaining) :], "the oldest are deleted first"
    assert sum(len(name) + len(value) + 3 for name, value in cookies.items()) < 10_240 // 2
    assert customer.connect()["status"] == "connected"
    newest = others[-1]
    assert newest.receipt(newest.come_back(newest.approved()))["status"] in {"connected", "quarantined"}


def test_32_other_cookies_are_neither_deleted_nor_echoed(customer: Customer) -> None:
    """That includes cookies with the prefix `__Host-fc-` that do not name a flow."""
    for number in range(60):
        customer.browser.set_cookie(customer.stack.public_url, f"other-{number}", "x")
        customer.browser.set_cookie(customer.stack.public_url, f"__Host-fc-{number}", "x")
    page = customer.browser.get(customer.link())
    assert list(cookies_of(page)) == [f"__Host-fc-{customer.flow_id}"]


def test_35_unknown_expired_replayed_and_wrong_browser_get_the_same_answer(
    a_customer: Callable[..., Customer], customer: Customer
) -> None:
    """The answer does not reveal the cause."""
    finished, replaced = a_customer(), a_customer(username="largeco")
    used = finished.approved()
    finished.come_back(used)
    denied = replaced.denied()
    replaced.come_back(denied)
    replaced.start()
    url = f"{customer.stack.public_url}/callback"
    live = customer.approved()
    causes = {
        "unknown": Visitor().get(f"{url}?code=x&state={'A' * 22}.{'B' * 43}"),
        "malformed": Visitor().get(f"{url}?code=x&state=x"),
        "replayed elsewhere": Visitor().get(used),
        "wrong browser": Visitor().get(live),
        "of an earlier attempt": replaced.come_back(denied),
        "no cookie, no code": Visitor().get(changed(live, remove="code")),
        "code with a space": Visitor().get(changed(live, code="a b")),
        "too long": Visitor().get(f"{url}?state={quote('x' * 9000)}"),
        "not UTF-8": Visitor().get(f"{url}?state=%ff%fe"),
    }
    assert [cause for cause, page in causes.items() if not refused(page)] == []


def test_35_secrets_are_compared_in_constant_time() -> None:
    """Secrets are compared only through `hmac.compare_digest`.

    `Secret.__eq__` is that comparison, and no code compares what `reveal()` returns. The test reads the code, because
    a timing test would be noise.
    """
    package = ROOT / "layers/finch_connect/finch_connect"
    assert "hmac.compare_digest(" in (package / "domain/secret.py").read_text()
    for path in [*package.rglob("*.py"), *ROOT.glob("functions/*/app.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                compared = ast.unparse(node)
                assert "reveal()" not in compared or path.name == "secret.py", f"{path.name}: {compared}"


def test_36_a_flood_is_throttled_and_the_callback_has_its_own_limit() -> None:
    """Read from the built template, because the emulator ignores the throttling settings."""
    built = load_template(build())
    api = built["Resources"]["HttpApi"]["Properties"]
    rates = {"connect": api["DefaultRouteSettings"], "callback": api["RouteSettings"]["GET /callback"]}
    for name, limit in (("connect", "ConnectRateLimit"), ("callback", "CallbackRateLimit")):
        assert rates[name]["ThrottlingRateLimit"] == {"Ref": limit}
        assert rates[name]["ThrottlingBurstLimit"] == {"Ref": limit}
        assert 0 < built["Parameters"][limit]["Default"] <= 100


def test_36_the_access_log_has_neither_path_nor_query() -> None:
    """They would contain the code, the state and the link. Read from the built template."""
    built = load_template(build())
    logged = built["Resources"]["HttpApi"]["Properties"]["AccessLogSettings"]["Format"]
    assert set(re.findall(r"\$context\.([a-zA-Z.]+)", logged)) == {
        "requestId",
        "requestTimeEpoch",
        "routeKey",
        "status",
        "identity.sourceIp",
        "responseLatency",
        "integrationStatus",
        "error.responseType",
    }
    assert yaml.safe_load(logged).keys() >= {"requestId", "status", "latencyMs"}
