"""Links and receipts: what is signed, what is refused, and that neither passes for the other."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest

from finch_connect.config import read
from finch_connect.domain.errors import LinkRefusedError, ReceiptRefusedError
from finch_connect.domain.flow import ConnectMode, Status
from finch_connect.domain.jws import LinkKey
from finch_connect.domain.secret import Secret
from finch_connect.flow.links import open_link, sign_receipt, verify_link, verify_receipt
from tests.fakes import NOW, FakeLinkKeys
from tests.unit.conftest import ENVIRONMENT, World

CONFIG = read(ENVIRONMENT)
KEYS = FakeLinkKeys()
SECONDS = int(NOW.timestamp())
CLAIMS: dict[str, Any] = {
    "aud": "finch-connect",
    "sub": "acme",
    "jti": "link-1",
    "iat": SECONDS,
    "exp": SECONDS + 600,
}


def sign(claims: dict[str, Any] | None = None, *, key: str = "k" * 64, algorithm: str = "HS256", **headers: Any) -> str:
    present = {name: value for name, value in (CLAIMS | (claims or {})).items() if value is not None}
    return jwt.encode(present, key, algorithm=algorithm, headers={"kid": "1"} | headers)


def reason(link: str) -> LinkRefusedError:
    with pytest.raises(LinkRefusedError) as caught:
        verify_link(link, KEYS, CONFIG, NOW)
    return caught.value


def test_a_link_says_who_and_what() -> None:
    """The smallest link: everything else has its default."""
    request = verify_link(sign(), KEYS, CONFIG, NOW)
    assert (request.customer_id, request.link_id, request.confirm) == ("acme", "link-1", False)
    assert request.products == ("company", "directory", "individual")


def test_every_claim_is_read() -> None:
    """By its own name, into its own place."""
    claims = {
        "products": ["directory"],
        "category": "ats",
        "payroll_provider": "gusto",
        "sandbox": "provider",
        "manual": True,
        "return_url": "https://app.example.com/hr/done",
        "nonce": "n-1",
        "metadata": {"plan": "gold"},
        "customer_name": "Acme & Söhne",
        "customer_email": "hr@acme.example",
        "connection_id": "3f0c9f3e-0000-4000-8000-000000000001",
        "confirm": True,
    }
    request = verify_link(sign(claims), KEYS, CONFIG, NOW)
    assert request.products == ("directory",)
    got = {name: getattr(request, name) for name in claims if name != "products"}
    assert got == {name: value for name, value in claims.items() if name != "products"}


def test_products_may_come_as_finch_writes_them() -> None:
    """Separated by spaces."""
    assert verify_link(sign({"products": "directory company"}), KEYS, CONFIG, NOW).products == ("directory", "company")


@pytest.mark.parametrize(
    ("lifetime", "said", "confirm"), [(900, None, False), (901, None, True), (86400, False, False), (600, True, True)]
)
def test_a_link_that_lives_long_is_confirmed_unless_it_says_otherwise(
    lifetime: int, said: bool | None, confirm: bool
) -> None:
    """Over fifteen minutes it may travel by mail, where scanners open it."""
    request = verify_link(sign({"exp": SECONDS + lifetime, "confirm": said}), KEYS, CONFIG, NOW)
    assert request.confirm is confirm


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"aud": "finch-receipt"}, "link_claims"),
        ({"aud": ["finch-receipt", "else"]}, "link_claims"),
        ({"aud": None}, "link_claims"),
        ({"sub": None}, "link_claims"),
        ({"jti": None}, "link_claims"),
        ({"iat": None}, "link_claims"),
        ({"exp": None}, "link_claims"),
        ({"iat": SECONDS - 700, "exp": SECONDS - 61}, "link_expired"),
        ({"iat": SECONDS + 61}, "link_from_the_future"),
        ({"nbf": SECONDS + 61}, "link_from_the_future"),
        ({"exp": str(SECONDS + 600)}, "link_times"),
        ({"exp": float("inf")}, "link_times"),
        ({"iat": True}, "link_times"),
        ({"exp": SECONDS + 604801}, "link_claim_refused"),
        ({"exp": SECONDS}, "link_claim_refused"),
    ],
)
def test_a_link_with_wrong_times_or_audience_is_refused(claims: dict[str, Any], expected: str) -> None:
    """One reason for the log; the page is the same for all."""
    assert reason(sign(claims)).reason == expected


def test_a_minute_of_clock_skew_is_allowed() -> None:
    """Two machines never agree on the second."""
    verify_link(sign({"iat": SECONDS - 659, "exp": SECONDS - 59}), KEYS, CONFIG, NOW)
    verify_link(sign({"iat": SECONDS + 59}), KEYS, CONFIG, NOW)


def unsigned(header: dict[str, Any], signature: str = "") -> str:
    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(CLAIMS)}.{signature}"


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("", "link_malformed"),
        ("x.y", "link_malformed"),
        ("a" * 7000, "link_malformed"),
        ("\u00e9.e.e", "link_malformed"),
        (unsigned({"alg": "none", "kid": "1"}), "link_malformed"),
        (unsigned({"alg": "RS256", "kid": "1"}, "A" * 43), "link_header"),
        (unsigned({"alg": "HS512", "kid": "1"}, "A" * 43), "link_header"),
        (unsigned({"alg": "HS256", "kid": "1"}, "A" * 43), "link_signature"),
        (unsigned({"alg": "HS256", "kid": "9"}, "A" * 43), "link_key_unknown"),
        (unsigned({"alg": "HS256"}, "A" * 43), "link_key_unknown"),
        (sign(key="z" * 64), "link_signature"),
        (sign(typ="finch-receipt+jwt"), "link_header"),
        (sign(crit=["b64"], b64=True), "link_header"),
    ],
)
def test_a_link_that_is_not_signed_with_our_key_is_refused(link: str, expected: str) -> None:
    """The algorithm is ours to choose, and the key is named by kid (RFC 8725)."""
    assert reason(link).reason in {expected, "link_malformed"}


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": "a\nb"},
        {"sub": "a\x00b"},
        {"sub": 7},
        {"products": []},
        {"products": ["ssn"]},
        {"products": ["company", "company"]},
        {"products": ["company\n"]},
        {"products": "company,directory"},
        {"products": {"company": 1}},
        {"category": "crm"},
        {"payroll_provider": "a b"},
        {"payroll_provider": "gusto&state=x"},
        {"sandbox": "yes"},
        {"sandbox": 1},
        {"manual": "maybe"},
        {"return_url": "https://evil.example/"},
        {"nonce": "x" * 256},
        {"metadata": ["x"]},
        {"metadata": {"x": "y" * 3000}},
        {"customer_name": "\u202eevil"},
        {"customer_email": "no-address"},
        {"connection_id": "../config"},
        {"confirm": "perhaps"},
    ],
)
def test_a_claim_against_its_rule_refuses_the_link_and_names_the_claim(claims: dict[str, Any]) -> None:
    """Nothing is guessed and nothing is cut."""
    error = reason(sign(claims))
    assert error.fields.get("link_claim") in {*claims, None}
    assert error.reason in {"link_claim_refused", "link_claims", "link_times"}


def test_sessions_need_the_customers_name() -> None:
    """Finch requires it for a Connect session."""
    config = dataclasses.replace(CONFIG, connect_mode=ConnectMode.SESSION)
    with pytest.raises(LinkRefusedError):
        verify_link(sign(), KEYS, config, NOW)
    verify_link(sign({"customer_name": "Acme"}), KEYS, config, NOW)


def test_a_link_under_the_previous_key_is_accepted() -> None:
    """A rotation does not break the links that are out."""
    keys = FakeLinkKeys()
    keys.keys.append(LinkKey("2", Secret("q" * 64)))
    verify_link(sign(), keys, CONFIG, NOW)
    verify_link(sign(key="q" * 64, kid="2"), keys, CONFIG, NOW)


def test_an_open_link_takes_the_query() -> None:
    """For a first try with curl; each is a flow of its own."""
    query = {"customer_id": "acme", "products": "company directory", "sandbox": "true", "manual": "false", "exp": "9"}
    one, two = (verify_link(open_link(query, KEYS.current(), CONFIG, NOW), KEYS, CONFIG, NOW) for _ in range(2))
    assert (one.customer_id, one.products, one.sandbox, one.manual) == ("acme", ("company", "directory"), "true", False)
    assert one.link_id != two.link_id
    assert one.expires_at == SECONDS + 600


@pytest.mark.parametrize("query", [{}, {"customer_id": ""}, {"customer_id": "acme", "products": "company+directory"}])
def test_an_open_link_obeys_the_same_rules(query: dict[str, str]) -> None:
    """Open is who may make a link, not what it may ask for."""
    with pytest.raises(LinkRefusedError):
        verify_link(open_link(query, KEYS.current(), CONFIG, NOW), KEYS, CONFIG, NOW)


def test_a_receipt_tells_the_team_who_and_what(world: World) -> None:
    """As their backend reads it, with any JWT library."""
    flow = world.finish(world.started(nonce="n-1"))
    receipt = sign_receipt(flow, KEYS.current(), issuer="https://connect.team.example.com", now=NOW)
    options: Any = {"verify_exp": False, "verify_iat": False}
    read_back = jwt.decode(receipt, "k" * 64, algorithms=["HS256"], audience="finch-receipt", options=options)
    assert jwt.get_unverified_header(receipt) == {"alg": "HS256", "typ": "finch-receipt+jwt", "kid": "1"}
    assert read_back == {
        "iss": "https://connect.team.example.com",
        "aud": "finch-receipt",
        "sub": "acme",
        "jti": flow.event_id,
        "iat": SECONDS,
        "exp": SECONDS + 300,
        "nonce": "n-1",
        "status": "connected",
        "connection_id": flow.connection_id,
        "flow_id": flow.flow_id,
    }


def test_a_token_that_waits_for_the_vault_is_told_as_connected(world: World) -> None:
    """For the person it is."""
    world.vault.down = True
    flow = world.finish(world.started())
    receipt = sign_receipt(flow, KEYS.current(), issuer="https://connect.team.example.com", now=NOW)
    assert verify_receipt(receipt, KEYS, NOW).status is Status.CONNECTED


def test_a_quarantined_connection_is_not_named_to_the_browser(world: World) -> None:
    """It may be another customer's."""
    world.finish(world.started())
    flow = world.finish(world.started("globex"))
    receipt = sign_receipt(flow, KEYS.current(), issuer="https://connect.team.example.com", now=NOW)
    assert "connection_id" not in jwt.decode(receipt, options={"verify_signature": False})


def test_a_receipt_is_no_link_and_a_link_no_receipt(world: World) -> None:
    """Same key, other audience and type."""
    flow = world.finish(world.started())
    receipt = sign_receipt(flow, KEYS.current(), issuer="https://connect.team.example.com", now=NOW)
    assert reason(receipt).reason == "link_header"
    untyped = sign({"aud": "finch-receipt", "status": "connected", "flow_id": flow.flow_id})
    for text in (sign(), sign(typ="finch-receipt+jwt"), untyped, "", "x.y.z"):
        with pytest.raises(ReceiptRefusedError):
            verify_receipt(text, KEYS, NOW)


def test_a_receipt_lives_five_minutes(world: World) -> None:
    """Then the result page says that it has expired."""
    flow = world.finish(world.started())
    receipt = sign_receipt(flow, KEYS.current(), issuer="https://connect.team.example.com", now=NOW)
    verify_receipt(receipt, KEYS, NOW + timedelta(seconds=359))
    with pytest.raises(ReceiptRefusedError, match="receipt_expired"):
        verify_receipt(receipt, KEYS, NOW + timedelta(seconds=360))


def test_a_refusal_quotes_nothing_of_the_link() -> None:
    """The link names the customer; the log has only our reasons."""
    error = reason(sign({"sub": "acme\n"}))
    assert "acme" not in f"{error!r} {error.fields}"
