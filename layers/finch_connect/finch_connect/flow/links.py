"""Verifies signed links and signs receipts, with HS256 and the stack's link key (RFC 7519, RFC 8725).

A link and a receipt differ in `aud` and `typ`, so that one cannot be used as the other (RFC 8725 section 3.11).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from finch_connect.config import Config
from finch_connect.domain import jws, link_claims
from finch_connect.domain.errors import OPERATOR_REASONS, LinkRefusedError, ReceiptRefusedError
from finch_connect.domain.flow import Flow, Status
from finch_connect.domain.jws import LinkKey
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.flow.ports import LinkKeys

LINK_AUDIENCE = "finch-connect"
RECEIPT_AUDIENCE = "finch-receipt"
RECEIPT_TYPE = "finch-receipt+jwt"
RECEIPT_LIFETIME_SECONDS = 300
MAX_LINK_LENGTH = 6144

_OPEN_LINK_LIFETIME_SECONDS = 600
OPEN_LINK_PARAMETERS = (
    "customer_id",
    "products",
    "category",
    "payroll_provider",
    "sandbox",
    "manual",
    "return_url",
    "nonce",
    "customer_name",
    "customer_email",
    "connection_id",
    "confirm",
)
"""What an unsigned query may have: the customer's id, and the link's optional claims by name."""

_REQUIRED = ["aud", "sub", "jti", "iat", "exp"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A flow's outcome in a verified receipt. `retry` is False if only an operator can fix what went wrong."""

    status: Status
    flow_id: str
    retry: bool


def verify_link(link: str, keys: LinkKeys, config: Config, now: datetime) -> LinkRequest:
    """Return what a signed link asks for.

    Raises:
        LinkRefusedError: the form, `kid`, signature, audience, times or a claim is not valid.
        ServiceUnavailableError: the link key cannot be read.
    """
    if len(link) > MAX_LINK_LENGTH:
        raise LinkRefusedError("link_malformed")
    try:
        token = jws.parse(link)
    except jws.JwsError as error:
        raise LinkRefusedError(f"link_{error}") from None
    kid = token.header.get("kid")
    if not _is_jwt(token.header.get("typ")):
        raise LinkRefusedError("link_header")
    key = keys.find(kid) if isinstance(kid, str) else None
    if key is None:
        raise LinkRefusedError("link_key_unknown")
    verified = _decode(token, key, LINK_AUDIENCE, now)
    return link_claims.link_request(verified, config.link_rules)


def open_link(query: Mapping[str, str], key: LinkKey, config: Config, now: datetime) -> str:
    """Sign the link that an unsigned query describes. For a first try with curl, in the stages local and dev only.

    The query has `customer_id` and the link's optional claims by name, all as text. Each call makes another link.
    """
    issued = int(now.timestamp())
    typed: dict[str, object] = {name: query.get(name) for name in OPEN_LINK_PARAMETERS if name != "customer_id"}
    signed = {
        "aud": LINK_AUDIENCE,
        "sub": query.get("customer_id", ""),
        "jti": secrets.token_urlsafe(16),
        "iat": issued,
        "exp": issued + min(_OPEN_LINK_LIFETIME_SECONDS, config.link_max_lifetime),
    }
    return jws.sign(typed | signed, key.key, kid=key.kid)


def sign_receipt(flow: Flow, key: LinkKey, *, issuer: str, now: datetime) -> str:
    """Return the receipt with the flow's outcome, which the browser takes to the team. It is valid for five minutes.

    The team's backend compares `sub` with the customer who is logged in. `jti` is the event's id, so that a repeated
    callback has the same one.
    """
    issued = int(now.timestamp())
    payload = {
        "iss": issuer,
        "aud": RECEIPT_AUDIENCE,
        "sub": flow.customer_id,
        "jti": flow.event_id,
        "iat": issued,
        "exp": issued + RECEIPT_LIFETIME_SECONDS,
        "nonce": flow.nonce,
        "status": public_status(flow.status),
        "connection_id": flow.connection_id if flow.status in {Status.CONNECTED, Status.UNSTORED} else None,
        "flow_id": flow.flow_id,
        "retry": False if flow.reason in OPERATOR_REASONS else None,
    }
    present = {name: value for name, value in payload.items() if value is not None}
    return jws.sign(present, key.key, typ=RECEIPT_TYPE, kid=key.kid)


def verify_receipt(receipt: str, keys: LinkKeys, now: datetime) -> Receipt:
    """Return what a receipt of this stack says, for the result page. Raises ReceiptRefusedError."""
    try:
        token = jws.parse(receipt)
    except jws.JwsError as error:
        raise ReceiptRefusedError(f"receipt_{error}") from None
    kid = token.header.get("kid")
    key = keys.find(kid) if isinstance(kid, str) and token.header.get("typ") == RECEIPT_TYPE else None
    if key is None:
        raise ReceiptRefusedError("receipt_header")
    try:
        verified = _decode(token, key, RECEIPT_AUDIENCE, now)
    except LinkRefusedError as error:
        raise ReceiptRefusedError(error.reason.replace("link", "receipt")) from None
    status, flow_id = Status(str(verified["status"])), str(verified["flow_id"])
    return Receipt(status, flow_id, retry=verified.get("retry") is not False)


def public_status(status: Status) -> Status:
    """Return the status that people and programs see. A token that waits for the vault counts as stored."""
    return Status.CONNECTED if status is Status.UNSTORED else status


def _is_jwt(typ: object) -> bool:
    """Return whether a header's `typ` is absent or says JWT, a media type's name in any case (RFC 7515 section 4.1.9).

    >>> _is_jwt(None), _is_jwt("application/jwt"), _is_jwt("finch-receipt+jwt")
    (True, True, False)
    """
    return typ is None or (isinstance(typ, str) and typ.lower() in {"jwt", "application/jwt"})


def _decode(token: jws.Unverified, key: LinkKey, audience: str, now: datetime) -> Mapping[str, object]:
    """Verify the signature, the required claims, the audience and the times. Raises LinkRefusedError."""
    try:
        verified = link_claims.present(jws.claims_of(token, key.key))
    except jws.JwsError as error:
        raise LinkRefusedError(f"link_{error}") from None
    missing = [name for name in _REQUIRED if name not in verified]
    if missing:
        raise LinkRefusedError("link_claims", link_claim=missing[0])
    named = verified["aud"]
    audiences = named if isinstance(named, list) else [named]  # either is legal (RFC 7519 section 4.1.3)
    if audience not in audiences:
        raise LinkRefusedError("link_claims", link_claim="aud")
    issued, expires, not_before = (link_claims.numeric_date(verified.get(name, 0)) for name in ("iat", "exp", "nbf"))
    if issued is None or expires is None or not_before is None:
        raise LinkRefusedError("link_times")
    seconds, skew = now.timestamp(), link_claims.CLOCK_SKEW_SECONDS
    if expires + skew <= seconds:
        raise LinkRefusedError("link_expired")
    if issued - skew > seconds or not_before - skew > seconds:
        raise LinkRefusedError("link_from_the_future")
    return verified
