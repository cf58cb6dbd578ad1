"""What the team's backend does: signs links, and verifies receipts. docs/links.md says what each claim means."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import jwt

METADATA_MAX_BYTES = 2048
_LONGEST = 255
_PATTERNS = {
    "payroll_provider": (r"[A-Za-z0-9_-]{1,64}", "is Finch's id of a provider, such as gusto"),
    "connection_id": (r"[A-Za-z0-9-]{1,64}", "is Finch's id of a connection"),
    "customer_email": (r"[^@\s]{1,64}@[^@\s]{1,190}", "is an address such as ada@acme.example"),
    "return_url": (
        r"(https://|http://(localhost|127\.0\.0\.1)[:/?])\S{1,1000}",
        "begins with https:// (or http://localhost)",
    ),
}
_SANDBOX = ("true", "false", "finch", "provider")


class ReceiptError(Exception):
    """A receipt that must not be believed; the text says why."""


def sign_link(
    *,
    connect_url: str,
    kid: str,
    key: str,
    customer_id: str,
    lifetime_seconds: int = 600,
    return_url: str | None = None,
    products: Sequence[str] | None = None,
    customer_name: str | None = None,
    customer_email: str | None = None,
    nonce: str | None = None,
    metadata: Mapping[str, object] | None = None,
    confirm: bool | None = None,
    payroll_provider: str | None = None,
    sandbox: bool | str | None = None,
    manual: bool | None = None,
    category: str | None = None,
    connection_id: str | None = None,
    link_id: str | None = None,
    now: int | None = None,
) -> str:
    """Return a signed link. docs/links.md says what each claim means; None leaves it out.

    `link_id` is the claim `jti` (None: a new one); `now` is epoch seconds. Raises ValueError for what the stack would
    refuse in any configuration: the team's developer should see it, not the customer.
    """
    if not kid or not key:
        raise ValueError("a link is signed with a kid and a key")
    if lifetime_seconds <= 0:
        raise ValueError("a link lives for more than no time")
    _check_text("the customer's id", customer_id)
    optional: dict[str, object] = {
        "return_url": return_url,
        "products": None if products is None else _products(products),
        "customer_name": customer_name,
        "customer_email": customer_email,
        "nonce": nonce,
        "metadata": None if metadata is None else dict(metadata),
        "confirm": confirm,
        "payroll_provider": payroll_provider,
        "sandbox": sandbox,
        "manual": manual,
        "category": category,
        "connection_id": connection_id,
    }
    claims = {name: claim for name, claim in optional.items() if claim is not None}
    _check(claims)
    issued = int(time.time()) if now is None else now
    content = {
        "aud": "finch-connect",
        "sub": customer_id,
        "jti": str(uuid.uuid4()) if link_id is None else _check_text("link_id", link_id),
        "iat": issued,
        "exp": issued + lifetime_seconds,
        **claims,
    }
    return f"{connect_url}?link={jwt.encode(content, key, algorithm='HS256', headers={'kid': kid})}"


def _check(claims: Mapping[str, object]) -> None:
    for name in ("customer_name", "nonce"):
        if name in claims:
            _check_text(name, claims[name])
    for name, (pattern, rule) in _PATTERNS.items():
        if name in claims and not re.fullmatch(pattern, str(claims[name])):
            raise ValueError(f"{name} {rule}")
    if claims.get("category", "hris") not in {"hris", "ats"}:
        raise ValueError("category is hris or ats")
    if str(claims.get("sandbox", "true")).lower() not in _SANDBOX:
        raise ValueError(f"sandbox is one of {', '.join(_SANDBOX)}")
    if len(json.dumps(claims.get("metadata", {})).encode()) > METADATA_MAX_BYTES:
        raise ValueError(f"metadata is at most {METADATA_MAX_BYTES} bytes of JSON")


def _check_text(what: str, text: object) -> str:
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST or not text.isprintable():
        raise ValueError(f"{what} has 1 to {_LONGEST} printable characters")
    return text


def _products(products: Sequence[str]) -> list[str]:
    if isinstance(products, str) or not products or len(set(products)) != len(products):
        raise ValueError("products is a list that names each product once")
    return list(products)


def verify_receipt(
    receipt: str, *, key: str, issuer: str, customer_id: str, nonce: str | None = None
) -> Mapping[str, Any]:
    """Return a receipt's claims if it is one, is of this stack and fresh, and is about the customer who is logged in.

    Raises ReceiptError, whose text ends a sentence that begins with "it is": a person may read it.
    """
    try:
        header = jwt.get_unverified_header(receipt)
        claims: dict[str, Any] = jwt.decode(
            receipt,
            key,
            algorithms=["HS256"],
            audience="finch-receipt",
            issuer=issuer,
            leeway=60,
            options={"require": ["aud", "iss", "sub", "exp", "iat", "jti"]},
        )
    except jwt.ExpiredSignatureError:
        raise ReceiptError("too old") from None
    except jwt.InvalidTokenError:
        # Without the cause: its text may quote what was sent, and this one is shown.
        raise ReceiptError("not a receipt of this stack") from None
    if header.get("typ") != "finch-receipt+jwt":
        raise ReceiptError("not a receipt")
    if claims["sub"] != customer_id:
        raise ReceiptError("about another customer")
    if nonce is not None and claims.get("nonce") != nonce:
        raise ReceiptError("not of this session")
    return claims
