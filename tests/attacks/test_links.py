"""Rows 10 to 16: only links that the team signed start a flow, and only within what the stack allows."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

import jwt
import pytest

from finch_connect.adapters.items import flow_key
from finch_connect.domain.states import base64url
from local.browser import Page
from local.engine import RunningStack
from local.simulator import Simulator
from tests.attacks.conftest import Untouched, nothing_happens, refused
from tests.canary import Visitor
from tests.conftest import Customer, query_of


def open_link(customer: Customer, link: str, headers: dict[str, str] | None = None) -> Page:
    """Open a link unchanged in the customer's browser."""
    return customer.browser.get(f"{customer.stack.public_url}/connect?{urlencode({'link': link})}", headers)


def claims_of(customer: Customer, **claims: Any) -> dict[str, Any]:
    """Return the claims of a valid link, with some of them replaced."""
    signed = customer.link(**claims).partition("link=")[2]
    return dict(jwt.decode(signed, options={"verify_signature": False}))


def by_hand(header: dict[str, Any], claims: dict[str, Any], key: str | None) -> str:
    """Return a JWT with any header, signed with HMAC-SHA256 under `key`, or unsigned if `key` is None."""
    parts = [base64url(json.dumps(part).encode()) for part in (header, claims)]
    mac = b"" if key is None else hmac.new(key.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, base64url(mac)])


FORGERIES: dict[str, Callable[[dict[str, Any], str, str], str]] = {
    "another key": lambda claims, kid, _key: by_hand({"alg": "HS256", "kid": kid}, claims, "k" * 64),
    "alg none": lambda claims, kid, _key: by_hand({"alg": "none", "kid": kid}, claims, None),
    "alg None, spelled oddly": lambda claims, kid, _key: by_hand({"alg": "nOnE", "kid": kid}, claims, None),
    "RS256, our key as its public key": lambda claims, kid, key: by_hand({"alg": "RS256", "kid": kid}, claims, key),
    "HS512 in the header": lambda claims, kid, key: by_hand({"alg": "HS512", "kid": kid}, claims, key),
    "unknown kid": lambda claims, _kid, key: by_hand({"alg": "HS256", "kid": "99"}, claims, key),
    "kid that is a path": lambda claims, _kid, key: by_hand({"alg": "HS256", "kid": "../../dev/null"}, claims, key),
    "kid that is a list": lambda claims, kid, key: by_hand({"alg": "HS256", "kid": [kid]}, claims, key),
    "no kid": lambda claims, _kid, key: by_hand({"alg": "HS256"}, claims, key),
    "a critical extension": lambda claims, kid, key: by_hand(
        {"alg": "HS256", "kid": kid, "crit": ["b64"]}, claims, key
    ),
    "a receipt's type": lambda c, kid, key: by_hand({"alg": "HS256", "kid": kid, "typ": "finch-receipt+jwt"}, c, key),
    "signature cut off": lambda claims, kid, key: by_hand({"alg": "HS256", "kid": kid}, claims, key).rpartition(".")[0],
    "signature emptied": lambda c, kid, key: by_hand({"alg": "HS256", "kid": kid}, c, key).rpartition(".")[0] + ".",
    "payload swapped": lambda claims, kid, key: ".".join(
        by_hand({"alg": "HS256", "kid": kid}, {**claims, "sub": sub}, key).split(".")[part]
        for part, sub in enumerate(("a", "b", "a"))
    ),
    "a header nested without end": lambda _claims, _kid, _key: f"{base64url(b'[' * 4000)}.e30.{'A' * 43}",
    "no JSON": lambda _claims, _kid, _key: "e30.e30",
    "nothing": lambda _claims, _kid, _key: "",
    "6 KB": lambda claims, kid, key: by_hand({"alg": "HS256", "kid": kid, "x": "x" * 6144}, claims, key),
}

BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "wrong aud": {"aud": "finch-receipt"},
    "several aud, none of them ours": {"aud": ["finch-receipt", "other"]},
    "no aud": {"aud": None},
    "expired": {"iat": int(time.time()) - 700, "exp": int(time.time()) - 100},
    "issued in the future": {"iat": int(time.time()) + 3600, "exp": int(time.time()) + 4000},
    "not yet valid": {"nbf": int(time.time()) + 3600},
    "over the longest lifetime": {"exp": int(time.time()) + 604_800 + 600},
    "times as text": {"exp": str(int(time.time()) + 600)},
    "times as booleans": {"iat": True},
    "times that are no numbers": {"exp": float("nan")},
    "no jti": {"jti": None},
    "no sub": {"sub": None},
    "no iat": {"iat": None},
    "no exp": {"exp": None},
    "sub of 256": {"sub": "x" * 256},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_10_a_forged_link_is_refused(customer: Customer, untouched: Untouched, forgery: str) -> None:
    """A link with the wrong signature, algorithm, key or form is refused (RFC 8725)."""
    kid, key = customer.stack.link_key()
    with untouched():
        assert refused(open_link(customer, FORGERIES[forgery](claims_of(customer), kid, key)))


def test_10_a_link_in_another_legal_form_is_accepted(customer: Customer) -> None:
    """RFC 7519 allows a list of audiences and times with a fraction, and some libraries write them. Blank is absent."""
    now = time.time()
    legal = {"aud": ["https://api.team.example.com", "finch-connect"], "iat": now, "nbf": now - 0.5, "exp": now + 600.5}
    blank = {"nonce": "", "customer_email": " ", "products": ""}
    receipt = customer.receipt(customer.come_back(customer.approved(**legal, **blank)))
    assert (receipt["status"], "nonce" in receipt) == ("connected", False)


@pytest.mark.parametrize("claim", BAD_CLAIMS)
def test_10_a_link_with_an_invalid_claim_is_refused(customer: Customer, untouched: Untouched, claim: str) -> None:
    """The right signature is not enough: audience, times and required claims count as well."""
    with untouched():
        assert refused(customer.browser.get(customer.link(**BAD_CLAIMS[claim])))


def test_10_a_receipt_is_refused_as_a_link_and_a_link_as_a_receipt(customer: Customer) -> None:
    """Both are signed with the same key, so only type and audience separate them."""
    back = customer.come_back(customer.approved())
    assert back.location is not None
    receipt = query_of(back.location)["finch_receipt"]
    assert refused(open_link(customer, receipt))
    link = customer.link().partition("link=")[2]
    assert refused(customer.browser.get(f"{customer.stack.public_url}/callback/result?finch_receipt={link}"))


def form_of(page: Page) -> dict[str, str]:
    """Return the confirm page's hidden fields."""
    assert "<form" in page.text, page.text
    return {name: page.text.partition(f'name="{name}" value="')[2].partition('"')[0] for name in ("link", "form_nonce")}


def confirm(customer: Customer, form: dict[str, str], site: str | None = "same-origin") -> Page:
    """Post the confirm page's form with this value of `Sec-Fetch-Site`, or without the header if None."""
    headers = {} if site is None else {"Sec-Fetch-Site": site}
    return customer.browser.post(f"{customer.stack.public_url}/connect", form, headers)


def test_11_a_second_browser_takes_over_only_after_confirming(customer: Customer, untouched: Untouched) -> None:
    """A person may start on the phone and continue at the desk, or somebody else may have found the link."""
    phone_callback = customer.approved()
    desk = dataclasses.replace(customer, browser=Visitor())
    with untouched():
        page = desk.browser.get(desk.link())
        assert page.status == 200
        assert "Acme Inc" in page.text
    assert (row := customer.row()) is not None
    confirmed = confirm(desk, form_of(page))
    assert confirmed.status == 303
    assert (taken := customer.row()) is not None
    assert taken.state_hash != row.state_hash
    with untouched():
        assert refused(customer.come_back(phone_callback)), "the phone's state no longer works"
    assert confirmed.location is not None
    assert desk.receipt(desk.come_back(desk.approve(confirmed.location)))["status"] == "connected"


def test_11_a_scanner_that_opens_a_long_lived_link_writes_nothing(customer: Customer, untouched: Untouched) -> None:
    """Mail scanners open links with GET or HEAD, and neither presses the button of the confirm page."""
    link = customer.link(exp=int(time.time()) + 86_400)
    with untouched():
        for _ in range(3):
            assert form_of(Visitor().get(link))
            assert Visitor().request("HEAD", link).status in {404, 405}
    assert confirm(customer, form_of(customer.browser.get(link))).status == 303


@pytest.mark.parametrize("forgery", ["cross-site", "same-site", "none", "no nonce", "another flow's nonce"])
def test_11_a_forged_confirm_form_is_refused(
    a_customer: Callable[..., Customer], untouched: Untouched, forgery: str
) -> None:
    """Another site cannot submit the form in a person's browser (CSRF)."""
    customer, other = a_customer(), a_customer()
    later = int(time.time()) + 86_400
    form = form_of(customer.browser.get(customer.link(exp=later)))
    others = form_of(other.browser.get(other.link(exp=later)))
    with untouched():
        match forgery:
            case "no nonce":
                assert refused(confirm(customer, {"link": form["link"]}))
            case "another flow's nonce":
                assert refused(confirm(customer, {**form, "form_nonce": others["form_nonce"]}))
            case site:
                assert refused(confirm(customer, form, site))


def test_11_the_link_of_a_connected_flow_shows_so_and_writes_nothing(customer: Customer, untouched: Untouched) -> None:
    """That holds in any browser, by link or by form."""
    customer.connect()
    with untouched():
        assert "connected" in customer.browser.get(customer.link()).text
        stranger = dataclasses.replace(customer, browser=Visitor())
        assert "connected" in stranger.browser.get(stranger.link()).text
        asked = stranger.browser.get(stranger.link(confirm=True))
        assert "connected" in confirm(stranger, form_of(asked)).text


@pytest.mark.parametrize("ending", ["denied", "failed"])
def test_11_the_link_of_a_denied_or_failed_flow_starts_a_new_attempt(customer: Customer, ending: str) -> None:
    """The new attempt has a new cookie, and therefore a new state."""
    callback = customer.denied() if ending == "denied" else customer.approved().replace("code=", "nothing=")
    name = f"__Host-fc-{customer.flow_id}"
    before = customer.browser.cookies(callback)[name]
    assert customer.receipt(customer.come_back(callback))["status"] == ending
    assert customer.connect()["status"] == "connected"
    assert customer.browser.cookies(callback)[name] != before


def test_12_finchs_parameters_in_the_links_query_are_ignored(static_stack: RunningStack, finch: Simulator) -> None:
    """The authorize URL has each expected parameter exactly once, and none from the query."""
    customer = Customer(static_stack, finch)
    smuggled = {
        "redirect_uri": "https://evil.example.com/callback",
        "client_id": "evil",
        "state": "evil",
        "session": "evil",
        "products": "ssn",
        "customer_id": "evil",
        "return_url": "https://evil.example.com/",
    }
    page = customer.browser.get(f"{customer.link()}&{urlencode(smuggled)}")
    assert page.location is not None
    asked = parse_qs(urlsplit(page.location).query, strict_parsing=True)
    assert "evil" not in page.location
    assert asked["redirect_uri"] == [f"{static_stack.public_url}/callback"]
    assert asked["products"] == ["company directory individual"]
    assert all(len(values) == 1 for values in asked.values())
    assert asked.keys() == {"client_id", "redirect_uri", "products", "state"}


def test_12_a_connect_session_gets_no_parameter_of_the_query(session_stack: RunningStack, finch: Simulator) -> None:
    """The browser takes only Finch's session and the flow's state to Finch."""
    customer = Customer(session_stack, finch)
    page = customer.browser.get(f"{customer.link()}&session=evil&state=evil&redirect_uri=https://evil.example.com")
    assert page.location is not None
    asked = parse_qsl(urlsplit(page.location).query, strict_parsing=True)
    assert sorted(name for name, _ in asked) == ["session", "state"]
    assert "evil" not in page.location


HOSTILE = ["a&b=c", "a%26b", "a#b", "a\nb", "a\x00b", "ünïcödé", "a+b c", "\u202eevil", "a;b", "a=b&state=c"]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_13_a_provider_or_product_with_special_characters_is_refused(
    customer: Customer, untouched: Untouched, text: str
) -> None:
    """No part of it reaches Finch."""
    with untouched():
        assert refused(customer.browser.get(customer.link(payroll_provider=text)))
        assert refused(customer.browser.get(customer.link(products=["company", text])))


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_13_a_customer_id_reaches_the_receipt_unchanged(
    a_customer: Callable[..., Customer], untouched: Untouched, text: str
) -> None:
    """Any text without controls may be a customer id. It reaches the row and the receipt, not the authorize URL."""
    customer = a_customer(customer_id=f"{text}-{secrets.token_hex(4)}")
    if any(unfit in text for unfit in "\n\x00\u202e"):
        with untouched():
            assert refused(customer.browser.get(customer.link()))
        return
    url = customer.start()
    asked = parse_qsl(urlsplit(url).query, strict_parsing=True)
    assert len(asked) == len({name for name, _ in asked})
    assert quote(text) not in url
    receipt = customer.receipt(customer.come_back(customer.approve(url)))
    assert (receipt["sub"], receipt["status"]) == (customer.customer_id, "connected")


@pytest.mark.parametrize(
    "products", [["ssn"], ["company", "ssn"], "company ssn", ["company", "company"], [], ["COMPANY"], [["company"]]]
)
def test_14_a_product_outside_the_stacks_list_is_refused(
    customer: Customer, untouched: Untouched, products: Any
) -> None:
    """A link may ask for products of the stack's list only."""
    with untouched():
        assert refused(customer.browser.get(customer.link(products=products)))


RETURN_URLS = [
    "https://evil.example.com/connected",
    "//evil.example.com/connected",
    "/\\evil.example.com",
    "{base}@evil.example.com/",
    "{base}.evil.example.com/",
    "{base}/connectedx",
    "{base}/other",
    "{base}/connected/../other",
    "{base}/connected/%2e%2e/other",
    "{base}/connected%2f..%2fother",
    "{base}\\@evil.example.com/connected",
    "javascript:alert(1)",
    "data:text/html,x",
    "{base}/connected#fragment",
    "{base}/connected??finch_receipt=forged",
    "http://localhost:1/connected",
]


@pytest.mark.parametrize("return_url", RETURN_URLS)
def test_15_a_hostile_return_url_is_refused_at_the_link(
    customer: Customer, untouched: Untouched, return_url: str
) -> None:
    """The corpus has hundreds more. These go over HTTP, against the address that this stack allows."""
    hostile = return_url.replace("{base}", customer.stack.public_url)
    with untouched():
        assert refused(customer.browser.get(customer.link(return_url=hostile)))


def test_15_the_query_of_a_return_url_is_kept_and_an_old_receipt_replaced(customer: Customer) -> None:
    """A person comes back from a page whose address still has the last receipt and an escaped path."""
    url = f"{customer.stack.public_url}/connected?next=%2Fsettings&finch_receipt=old&%66inch_receipt=forged&tab=2"
    page = customer.come_back(customer.approved(return_url=url))
    assert page.location is not None
    assert parse_qsl(urlsplit(page.location).query)[:2] == [("next", "/settings"), ("tab", "2")]
    assert page.location.count("inch_receipt=") == 1
    assert customer.receipt(page)["status"] == "connected"


def test_15_the_return_url_is_checked_again_at_the_callback(customer: Customer) -> None:
    """If the URL was allowed at the start but no longer is, the browser goes to the stack's result page instead."""
    callback = customer.approved()
    customer.stack.client("dynamodb").update_item(
        TableName=customer.stack.outputs["TableName"],
        Key=flow_key(customer.flow_id),
        UpdateExpression="SET return_url = :url",
        ExpressionAttributeValues={":url": {"S": "https://evil.example.com/connected"}},
    )
    page = customer.come_back(callback)
    assert page.location is not None
    assert page.location.startswith(f"{customer.stack.public_url}/callback/result?finch_receipt=")
    assert customer.receipt(page)["status"] == "connected"


FORGED_HEADERS = {
    "X-Forwarded-Host": "evil.example.com",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Port": "6666",
    "Forwarded": "host=evil.example.com;proto=http",
    "X-Original-Host": "evil.example.com",
    "X-Original-URL": "/callback?code=x",
    "X-Rewrite-URL": "/callback",
    "Host": "evil.example.com",
}


@pytest.mark.parametrize("name", FORGED_HEADERS)
def test_16_a_forged_host_changes_nothing(customer: Customer, name: str, finch: Simulator) -> None:
    """The redirect URI comes from the configuration, is stored in the row, and is used again in the exchange."""
    stack = customer.stack
    started = customer.browser.get(customer.link(), {name: FORGED_HEADERS[name]})
    assert started.location is not None
    assert "evil" not in started.location
    assert (row := customer.row()) is not None
    assert row.redirect_uri == f"{stack.public_url}/callback"
    back = customer.come_back(customer.approve(started.location), **{name: FORGED_HEADERS[name]})
    assert back.location is not None
    assert back.location.startswith(f"{stack.public_url}/connected?finch_receipt=")
    assert customer.receipt(back)["iss"] == stack.public_url
    assert [call.status for call in finch.calls_to("/auth/token")] == [200]


def test_10_a_link_of_another_stack_is_refused(
    static_stack: RunningStack, session_stack: RunningStack, finch: Simulator
) -> None:
    """Each stack has its own link key."""
    link = Customer(session_stack, finch).link()
    with nothing_happens(static_stack, finch):
        assert refused(Visitor().get(link.replace(session_stack.public_url, static_stack.public_url)))
