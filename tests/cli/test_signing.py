"""Links are signed as the stack takes them, and receipts are not believed blindly."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from cli.signing import ReceiptError, sign_link, verify_receipt
from tests.cli.account import ISSUER, KEY, taken


def test_a_signed_link_is_taken_with_all_its_claims() -> None:
    """The stack and the team's side agree on every name."""
    request = taken(
        sign_link(
            connect_url="https://connect.example.com/connect",
            kid="1",
            key=KEY,
            customer_id="acme",
            customer_name="Acme Inc",
            return_url="https://app.example.com/hr",
            products=["directory"],
            sandbox="finch",
            nonce="n-1",
            metadata={"plan": "gold"},
        )
    )
    assert (request.customer_id, request.customer_name, request.products) == ("acme", "Acme Inc", ("directory",))
    assert (request.sandbox, request.nonce, request.metadata) == ("finch", "n-1", {"plan": "gold"})
    assert not request.confirm


@pytest.mark.parametrize("customer", ["", "x" * 256, "a\nb"])
def test_a_link_for_an_impossible_customer_id_is_not_signed(customer: str) -> None:
    """The team's developer gets the error, not the customer."""
    with pytest.raises(ValueError, match="1 to 255"):
        sign_link(connect_url="https://c", kid="1", key=KEY, customer_id=customer)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"lifetime_seconds": 0}, "must be more than 0"),
        ({"kid": ""}, "a kid and a key"),
        ({"key": ""}, "a kid and a key"),
        ({"key": "x"}, "at least 32 bytes"),
        ({"key": "k" * 31}, "at least 32 bytes"),
        ({"link_id": ""}, "link_id must have 1 to 255"),
        ({"nonce": "x" * 256}, "nonce must have 1 to 255"),
        ({"customer_name": "a\tb"}, "customer_name must have 1 to 255"),
        ({"return_url": "http://app.example.com/hr"}, "begins with https://"),
        ({"return_url": "http://localhost.example.com/hr"}, "begins with https://"),
        ({"products": []}, "names each product once"),
        ({"products": ["company", "company"]}, "names each product once"),
        ({"products": "company"}, "names each product once"),
        ({"category": "crm"}, "hris or ats"),
        ({"sandbox": "yes"}, "true, false, finch, provider"),
        ({"payroll_provider": "gus to"}, "such as gusto"),
        ({"connection_id": "c/1"}, "Finch's id of a connection"),
        ({"connection_id": "-abc"}, "Finch's id of a connection"),
        ({"return_url": "https://app.example.com/a/../b"}, "must be a plain URL"),
        ({"customer_email": "ada"}, "an address"),
        ({"metadata": {"a": "x" * 2048}}, "at most 2048 bytes"),
        ({"metadata": {"score": float("nan")}}, "strict JSON"),
        ({"metadata": {"id": 2**63}}, "strict JSON"),
        ({"customer_name": "Acme\u202e"}, "overrides of the direction"),
        ({"metadata": {"a": "\u00fc" * 1000}}, "more than the 6144"),
    ],
)
def test_a_claim_that_every_stack_would_refuse_is_not_signed(claims: dict[str, Any], message: str) -> None:
    """The error has the claim's rule in words."""
    given = {"connect_url": "https://c", "kid": "1", "key": KEY, "customer_id": "acme", **claims}
    with pytest.raises(ValueError, match=message):
        sign_link(**given)


@pytest.mark.parametrize("sandbox", [True, "true", "finch", "provider"])
@pytest.mark.parametrize("return_url", ["https://app.example.com/hr?tab=2", "https://app.example.com/hr"])
def test_every_claim_that_the_stack_accepts_can_be_signed(sandbox: bool | str, return_url: str) -> None:
    """Signing refuses nothing that would work."""
    link = sign_link(
        connect_url="https://connect.example.com/connect",
        kid="1",
        key=KEY,
        customer_id="acme",
        return_url=return_url,
        sandbox=sandbox,
        manual=True,
        confirm=True,
        category="hris",
        payroll_provider="gusto",
        connection_id="0b1ee99d-3cbe-4f1c-8f39-1b8e7d1a3c11",
        customer_email="ada@acme.example",
        link_id="link-1",
    )
    request = taken(link)
    assert (request.return_url, request.link_id, request.confirm) == (return_url, "link-1", True)


def receipt(*, typ: str = "finch-receipt+jwt", key: str = KEY, **changed: Any) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "finch-receipt", "sub": "acme", "jti": "e-1", "iat": now, "exp": now + 300}
    return jwt.encode({**claims, "nonce": "n-1", "status": "connected", **changed}, key, headers={"typ": typ})


def test_a_receipt_of_this_stack_is_accepted() -> None:
    """It is signed by this stack, fresh, and about the customer who is logged in."""
    claims = verify_receipt(receipt(), key=KEY, issuer=ISSUER, customer_id="acme", nonce="n-1")
    assert claims["status"] == "connected"


@pytest.mark.parametrize(
    "forged",
    [
        receipt(key="z" * 64),
        receipt(typ="JWT"),
        receipt(aud="finch-connect"),
        receipt(iss="https://other.example.com"),
        receipt(sub="globex"),
        receipt(nonce="n-2"),
        receipt(exp=1),
        "",
        "a.b.c",
    ],
)
def test_any_other_receipt_is_refused(forged: str) -> None:
    """Most of all one about another customer, because receipts travel through a browser."""
    with pytest.raises(ReceiptError):
        verify_receipt(forged, key=KEY, issuer=ISSUER, customer_id="acme", nonce="n-1")


def test_an_old_receipt_is_called_too_old() -> None:
    """A page that was open for an hour is not a forgery."""
    with pytest.raises(ReceiptError, match="too old"):
        verify_receipt(receipt(exp=1), key=KEY, issuer=ISSUER, customer_id="acme")


def test_a_receipt_is_not_believed_under_a_short_key() -> None:
    """Whoever has one receipt could guess the key and sign another."""
    with pytest.raises(ReceiptError, match="too short"):
        verify_receipt(receipt(), key=KEY[:31], issuer=ISSUER, customer_id="acme", nonce="n-1")


@pytest.mark.parametrize("name", ["Acme\u00a0GmbH", "\U0001f469\u200d\U0001f373", "", None])
def test_a_name_is_signed_as_the_stack_takes_it(name: str | None) -> None:
    """Every character of a real name passes, and a blank name is left out."""
    link = sign_link(
        connect_url="https://connect.example.com/connect", kid="1", key=KEY, customer_id="acme", customer_name=name
    )
    assert taken(link).customer_name == (name or None)
