"""Links and receipts: what is signed, what is refused, and that neither is accepted as the other."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest

from finch_connect.config import read
from finch_connect.domain import link_claims
from finch_connect.domain.connection import CONNECTION_ID
from finch_connect.domain.errors import LinkRefusedError, ReceiptRefusedError
from finch_connect.domain.flow import ConnectMode, Flow, Status
from finch_connect.domain.jws import LinkKey
from finch_connect.domain.secret import Secret
from finch_connect.flow import token_storage
from finch_connect.flow.links import open_link, sign_receipt, verify_link, verify_receipt
from tests.fakes import NOW, FakeLinkKeys
from tests.unit.conftest import ENVIRONMENT, GRANT, World

CONFIG = read(ENVIRONMENT)
KEYS = FakeLinkKeys()
SECONDS = int(NOW.timestamp())
ISSUER = "https://connect.team.example.com"
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


def refusal(link: str) -> LinkRefusedError:
    with pytest.raises(LinkRefusedError) as caught:
        verify_link(link, KEYS, CONFIG, NOW)
    return caught.value


def receipt_of(flow: Flow) -> str:
    return sign_receipt(flow, KEYS.current(), issuer=ISSUER, now=NOW)


def test_a_signed_link_becomes_a_request() -> None:
    """tests/unit/domain/test_link_claims.py has the rule of each claim."""
    request = verify_link(sign(), KEYS, CONFIG, NOW)
    assert (request.customer_id, request.link_id, request.confirm) == ("acme", "link-1", False)
    assert request.products == ("company", "directory", "individual")
    session = dataclasses.replace(CONFIG, connect_mode=ConnectMode.SESSION)
    assert verify_link(sign({"customer_name": "Acme & Söhne"}), KEYS, session, NOW).customer_name == "Acme & Söhne"


@pytest.mark.parametrize(
    ("claims", "mode", "refused"),
    [
        ({"products": ["ssn"]}, ConnectMode.STATIC, "products"),
        ({"return_url": "https://evil.example/"}, ConnectMode.STATIC, "return_url"),
        ({"exp": SECONDS + 604801}, ConnectMode.STATIC, "exp"),
        ({}, ConnectMode.SESSION, "customer_name"),
    ],
)
def test_a_link_obeys_the_rules_of_the_stacks_configuration(
    claims: dict[str, Any], mode: ConnectMode, refused: str
) -> None:
    """Products, return URLs and lifetime are configured, and session mode needs the customer's name."""
    with pytest.raises(LinkRefusedError) as caught:
        verify_link(sign(claims), KEYS, dataclasses.replace(CONFIG, connect_mode=mode), NOW)
    assert (caught.value.reason, caught.value.fields) == ("link_claim_refused", {"link_claim": refused})


@pytest.mark.parametrize("connection_id", ["-abc", "../config", "a b", "\u00e9", "a" * 65])
def test_a_link_and_an_answer_have_one_pattern_for_connection_ids(world: World, connection_id: str) -> None:
    """A connection that no answer can match is refused at the link, not after the person has signed in."""
    world.started()
    answer = dataclasses.replace(GRANT, connection_id=connection_id)
    assert refusal(sign({"connection_id": connection_id})).fields == {"link_claim": "connection_id"}
    assert token_storage.find_misfit(world.row(), answer, CONFIG) == "connection_unknown"
    assert vars(link_claims)["CONNECTION_ID"] is vars(token_storage)["CONNECTION_ID"] is CONNECTION_ID


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
    """The log has the reason. The page is the same for all of them."""
    assert refusal(sign(claims)).reason == expected


def test_a_minute_of_clock_skew_is_allowed() -> None:
    """Two machines' clocks never agree to the second."""
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
def test_a_link_that_is_not_signed_with_the_stacks_key_is_refused(link: str, expected: str) -> None:
    """The algorithm is fixed, and the link names its key by `kid` (RFC 8725)."""
    assert refusal(link).reason == expected


def test_a_link_under_the_previous_key_is_accepted() -> None:
    """A rotation does not break the links that were already sent."""
    keys = FakeLinkKeys()
    keys.keys.append(LinkKey("2", Secret("q" * 64)))
    verify_link(sign(), keys, CONFIG, NOW)
    verify_link(sign(key="q" * 64, kid="2"), keys, CONFIG, NOW)


def test_an_open_link_is_made_from_the_query() -> None:
    """It is for a first try with curl. Each call starts another flow."""
    query = {"customer_id": "acme", "products": "company directory", "sandbox": "true", "manual": "false", "exp": "9"}
    one, two = (verify_link(open_link(query, KEYS.current(), CONFIG, NOW), KEYS, CONFIG, NOW) for _ in range(2))
    assert (one.customer_id, one.products, one.sandbox, one.manual) == ("acme", ("company", "directory"), "true", False)
    assert one.link_id != two.link_id
    assert one.expires_at == SECONDS + 600


@pytest.mark.parametrize("query", [{}, {"customer_id": ""}, {"customer_id": "acme", "products": "company+directory"}])
def test_an_open_link_obeys_the_same_rules(query: dict[str, str]) -> None:
    """Anyone may make an open link, but it may not ask for more than a signed one."""
    with pytest.raises(LinkRefusedError):
        verify_link(open_link(query, KEYS.current(), CONFIG, NOW), KEYS, CONFIG, NOW)


def test_a_receipt_has_the_customer_and_the_outcome(world: World) -> None:
    """The team's backend reads it with any JWT library."""
    flow = world.finish(world.started(nonce="n-1"))
    receipt = receipt_of(flow)
    options: Any = {"verify_exp": False, "verify_iat": False}
    read_back = jwt.decode(receipt, "k" * 64, algorithms=["HS256"], audience="finch-receipt", options=options)
    assert jwt.get_unverified_header(receipt) == {"alg": "HS256", "typ": "finch-receipt+jwt", "kid": "1"}
    assert read_back == {
        "iss": ISSUER,
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


def test_a_receipt_says_connected_while_the_token_waits_for_the_vault(world: World) -> None:
    """The person has nothing more to do."""
    world.vault.down = True
    flow = world.finish(world.started())
    assert verify_receipt(receipt_of(flow), KEYS, NOW).status is Status.CONNECTED


def test_a_receipt_does_not_name_a_quarantined_connection(world: World) -> None:
    """The connection may be another customer's."""
    world.finish(world.started())
    flow = world.finish(world.started("globex"))
    assert "connection_id" not in jwt.decode(receipt_of(flow), options={"verify_signature": False})


def test_a_receipt_and_a_link_are_not_accepted_as_each_other(world: World) -> None:
    """They are signed with the same key, but differ in audience and type."""
    flow = world.finish(world.started())
    assert refusal(receipt_of(flow)).reason == "link_header"
    untyped = sign({"aud": "finch-receipt", "status": "connected", "flow_id": flow.flow_id})
    for text in (sign(), sign(typ="finch-receipt+jwt"), untyped, "", "x.y.z"):
        with pytest.raises(ReceiptRefusedError):
            verify_receipt(text, KEYS, NOW)


def test_a_receipt_expires_after_five_minutes(world: World) -> None:
    """After that, and a minute of clock skew, the result page says that it has expired."""
    receipt = receipt_of(world.finish(world.started()))
    verify_receipt(receipt, KEYS, NOW + timedelta(seconds=359))
    with pytest.raises(ReceiptRefusedError, match="receipt_expired"):
        verify_receipt(receipt, KEYS, NOW + timedelta(seconds=360))


def test_a_refusal_quotes_nothing_of_the_link() -> None:
    """The link names the customer. The log has only reasons from the source code."""
    error = refusal(sign({"sub": "acme\n"}))
    assert "acme" not in f"{error!r} {error.fields}"
