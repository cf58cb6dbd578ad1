"""What the team's backend does: sign links and verify receipts. Also `make link CUSTOMER=acme` for a deployed stack.

python -m local.links --customer acme [--return-url URL] [--stack NAME] [--minutes N] …
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import boto3
import jwt

from local.deployed import DeployedError, explained, outputs_of

CONFIRM_AFTER_MINUTES = 15
_LONGEST_ID = 255


class ReceiptError(Exception):
    """A receipt that must not be believed; the text says why."""


def sign_link(
    *,
    connect_url: str,
    kid: str,
    key: str,
    customer_id: str,
    lifetime_seconds: int = 600,
    now: int | None = None,
    **claims: object,
) -> str:
    """Return a signed link. `claims` are the optional ones by name (docs/links.md); None leaves one out.

    `now` is epoch seconds. Raises ValueError for what the stack would refuse in any configuration.
    """
    if not 0 < len(customer_id) <= _LONGEST_ID or not customer_id.isprintable():
        raise ValueError("the customer's id has 1 to 255 printable characters")
    if lifetime_seconds <= 0:
        raise ValueError("a link lives for more than no time")
    issued = int(time.time()) if now is None else now
    content = {
        "aud": "finch-connect",
        "sub": customer_id,
        "jti": str(uuid.uuid4()),
        "iat": issued,
        "exp": issued + lifetime_seconds,
        **{name: claim for name, claim in claims.items() if claim is not None},
    }
    return f"{connect_url}?link={jwt.encode(content, key, algorithm='HS256', headers={'kid': kid})}"


def verify_receipt(
    receipt: str, *, key: str, issuer: str, customer_id: str, nonce: str | None = None
) -> Mapping[str, Any]:
    """Return a receipt's claims if it is one, is of this stack and fresh, and is about the customer who is logged in.

    Raises ReceiptError.
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
    except jwt.InvalidTokenError as error:
        raise ReceiptError(f"not a receipt of this stack: {type(error).__name__}") from None
    if header.get("typ") != "finch-receipt+jwt":
        raise ReceiptError("not a receipt")
    if claims["sub"] != customer_id:
        raise ReceiptError("about another customer")
    if nonce is not None and claims.get("nonce") != nonce:
        raise ReceiptError("not of this session")
    return claims


def deployed_link(given: argparse.Namespace) -> str:
    """Return a link for a deployed stack, with the caller's AWS credentials. Raises DeployedError."""
    session = boto3.Session(region_name=given.region)
    with explained(given.stack, "cloudformation:DescribeStacks and secretsmanager:GetSecretValue"):
        outputs = outputs_of(session, given.stack)
        secret = session.client("secretsmanager").get_secret_value(SecretId=outputs["LinkKeySecretArn"])
    link_key = json.loads(secret["SecretString"])
    try:
        return sign_link(
            connect_url=outputs["ConnectUrl"],
            kid=link_key["kid"],
            key=link_key["key"],
            customer_id=given.customer,
            lifetime_seconds=given.minutes * 60,
            return_url=given.return_url,
            customer_name=given.name,
            products=given.products.split() if given.products else None,
            sandbox="finch" if given.sandbox else None,
        )
    except ValueError as error:
        raise DeployedError(f"No such link: {error}.") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a link and nothing else on standard output; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.links", description="A signed link for a deployed stack.")
    parser.add_argument("--customer", required=True, help="your id of the customer")
    parser.add_argument("--name", help="the customer's name, for the confirm page (required in session mode)")
    parser.add_argument("--return-url", help="where to go afterwards; must be under AllowedReturnUrls")
    parser.add_argument("--products", help="separated by spaces; default: all that the stack allows")
    parser.add_argument("--sandbox", action="store_true", help="Finch's sandbox")
    parser.add_argument("--minutes", type=int, default=60, help="how long it works")
    parser.add_argument("--stack", default="finch-connect")
    parser.add_argument("--region")
    given = parser.parse_args(arguments)
    try:
        print(deployed_link(given))
    except DeployedError as error:
        print(error, file=sys.stderr)
        return 1
    if given.minutes > CONFIRM_AFTER_MINUTES:
        print("It asks for a click first: links that live long may be opened by mail scanners.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
