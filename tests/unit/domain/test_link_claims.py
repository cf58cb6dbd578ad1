"""The rules of a link's claims: what each claim becomes, and what refuses the link."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from finch_connect.domain.errors import LinkRefusedError
from finch_connect.domain.link_claims import LinkRules, link_request

ISSUED = 1_768_478_400
CLAIMS: dict[str, object] = {"sub": "acme", "jti": "link-1", "iat": ISSUED, "exp": ISSUED + 600}
RULES = LinkRules(
    max_lifetime=604_800,
    allowed_products=("company", "directory", "individual"),
    allowed_return_urls=("https://app.example.com/hr",),
    customer_name_required=False,
)


def test_a_link_needs_only_four_claims() -> None:
    """Every other claim has a default."""
    request = link_request(CLAIMS, RULES)
    assert (request.customer_id, request.link_id, request.confirm) == ("acme", "link-1", False)
    assert request.products == RULES.allowed_products
    assert request.expires_at == ISSUED + 600


def test_every_claim_is_read() -> None:
    """Each value is in the request's field of the same name."""
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
    request = link_request(CLAIMS | claims, RULES)
    assert request.products == ("directory",)
    got = {name: getattr(request, name) for name in claims if name != "products"}
    assert got == {name: value for name, value in claims.items() if name != "products"}


def test_products_may_be_separated_by_spaces() -> None:
    """Finch writes them so."""
    assert link_request(CLAIMS | {"products": "directory company"}, RULES).products == ("directory", "company")


@pytest.mark.parametrize(
    ("lifetime", "claim", "confirm"), [(900, None, False), (901, None, True), (86400, False, False), (600, True, True)]
)
def test_a_link_that_lives_over_15_minutes_is_confirmed_unless_it_says_otherwise(
    lifetime: int, claim: bool | None, confirm: bool
) -> None:
    """Such a link may travel by mail, where scanners open it."""
    request = link_request(CLAIMS | {"exp": ISSUED + lifetime, "confirm": claim}, RULES)
    assert request.confirm is confirm


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": ISSUED + 604_801},
        {"exp": ISSUED},
        {"sub": None},
        {"jti": None},
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
def test_a_claim_that_breaks_its_rule_refuses_the_link(claims: dict[str, Any]) -> None:
    """The error names the claim. Nothing is guessed and nothing is cut."""
    with pytest.raises(LinkRefusedError) as caught:
        link_request(CLAIMS | claims, RULES)
    assert caught.value.reason == "link_claim_refused"
    assert caught.value.fields == {"link_claim": next(iter(claims))}


def test_a_session_needs_the_customers_name() -> None:
    """Finch requires it for a Connect session."""
    rules = dataclasses.replace(RULES, customer_name_required=True)
    with pytest.raises(LinkRefusedError):
        link_request(CLAIMS, rules)
    assert link_request(CLAIMS | {"customer_name": "Acme"}, rules).customer_name == "Acme"
