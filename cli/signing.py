"""What the team's backend does: it signs links and verifies receipts. docs/links.md explains each claim."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from finch_connect.domain.errors import LinkRefusedError
from finch_connect.domain.jws import MIN_KEY_BYTES, is_long_enough
from finch_connect.domain.link_claims import (
    CLOCK_SKEW_SECONDS,
    METADATA_MAX_BYTES,
    METADATA_MAX_LEVELS,
    LinkRules,
    link_request,
    present,
)
from finch_connect.domain.secret import Secret
from finch_connect.flow.links import LINK_AUDIENCE, MAX_LINK_LENGTH, RECEIPT_AUDIENCE, RECEIPT_TYPE

_TEXT = "must have 1 to 255 characters, and no control characters or overrides of the direction of writing"
_RULES = {
    "sub": f"the customer's id {_TEXT}",
    "jti": f"link_id {_TEXT}",
    "exp": "lifetime_seconds must be more than 0",
    "customer_name": f"customer_name {_TEXT}",
    "nonce": f"nonce {_TEXT}",
    "return_url": "return_url must be a plain URL that begins with https:// (or http://localhost)",
    "products": "products must be a list that names each product once",
    "category": "category must be hris or ats",
    "sandbox": "sandbox must be one of true, false, finch, provider",
    "manual": "manual must be true or false",
    "confirm": "confirm must be true or false",
    "payroll_provider": "payroll_provider must be Finch's id of a provider, such as gusto",
    "connection_id": "connection_id must be Finch's id of a connection",
    "customer_email": "customer_email must be an address such as ada@acme.example",
    "metadata": (
        f"metadata must be an object of at most {METADATA_MAX_BYTES} bytes of strict JSON: no NaN or Infinity, "
        f"integers of 64 bits, at most {METADATA_MAX_LEVELS} levels"
    ),
}
"""Each claim's rule in words. The rules themselves are in `link_claims`."""


class ReceiptError(Exception):
    """The receipt must not be trusted. The text says why."""


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
    """Return a signed link. docs/links.md explains each claim; None leaves it out.

    `link_id` is the claim `jti` (None: a new one). `now` is epoch seconds. Raises ValueError for a claim that every
    stack would refuse, because the team's developer should see that and not the customer.
    """
    if not kid or not key:
        raise ValueError("a link is signed with a kid and a key")
    if not is_long_enough(Secret(key)):
        raise ValueError(f"the key must have at least {MIN_KEY_BYTES} bytes (RFC 7518 section 3.2)")
    issued = int(time.time()) if now is None else now
    claims: dict[str, object] = {
        "aud": LINK_AUDIENCE,
        "sub": customer_id,
        "jti": str(uuid.uuid4()) if link_id is None else link_id,
        "iat": issued,
        "exp": issued + lifetime_seconds,
        "return_url": return_url,
        "products": products if products is None or isinstance(products, str) else list(products),
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
    rules = LinkRules(
        max_lifetime=lifetime_seconds,
        allowed_products=tuple(products or ()),
        allowed_return_urls=(return_url or "",),
        customer_name_required=False,
    )
    try:
        link_request(claims, rules)
    except LinkRefusedError as error:
        raise ValueError(_RULES[str(error.fields["link_claim"])]) from None
    link = jwt.encode(dict(present(claims)), key, algorithm="HS256", headers={"kid": kid})
    if len(link) > MAX_LINK_LENGTH:
        raise ValueError(f"the link has {len(link)} characters, more than the {MAX_LINK_LENGTH} that a stack reads")
    return f"{connect_url}?link={link}"


def verify_receipt(
    receipt: str, *, key: str, issuer: str, customer_id: str, nonce: str | None = None
) -> Mapping[str, Any]:
    """Return the claims of a receipt that this stack signed, that is fresh, and that is about the logged-in customer.

    Raises ReceiptError, also if the key is too short to prove anything. Its text completes a sentence that begins with
    "it is", so a person may read it.
    """
    if not is_long_enough(Secret(key)):
        raise ReceiptError("not verified, because the key is too short")
    try:
        header = jwt.get_unverified_header(receipt)
        claims: dict[str, Any] = jwt.decode(
            receipt,
            key,
            algorithms=["HS256"],
            audience=RECEIPT_AUDIENCE,
            issuer=issuer,
            leeway=CLOCK_SKEW_SECONDS,
            options={"require": ["aud", "iss", "sub", "exp", "iat", "jti"]},
        )
    except jwt.ExpiredSignatureError:
        raise ReceiptError("too old") from None
    except jwt.InvalidTokenError:
        # Without the cause, whose text may quote what was sent: this text is shown.
        raise ReceiptError("not a receipt of this stack") from None
    if header.get("typ") != RECEIPT_TYPE:
        raise ReceiptError("not a receipt")
    if claims["sub"] != customer_id:
        raise ReceiptError("about another customer")
    if nonce is not None and claims.get("nonce") != nonce:
        raise ReceiptError("not of this session")
    return claims
