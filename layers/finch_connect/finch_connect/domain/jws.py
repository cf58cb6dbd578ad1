"""Compact JSON Web Signatures under HS256, and nothing else of JOSE (RFC 7515, RFC 7518 section 3.2, RFC 8725).

Forty lines instead of PyJWT on the cold path, where importing it costs 10 ms of CPU (docs/performance.md); the tests
hold each against the other, both ways. No algorithm is ever taken from the token: it is HS256 or it is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from finch_connect.domain.secret import Secret
from finch_connect.domain.states import base64url

ALGORITHM = "HS256"

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")


class JwsError(Exception):
    """The token is none, or its signature does not hold. Its text is our own."""


@dataclass(frozen=True, slots=True)
class LinkKey:
    """One HMAC key and the `kid` by which a link names it."""

    kid: str
    key: Secret


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token taken apart. `header` may be read to find the key; `payload` not before `claims_of` has verified it."""

    header: Mapping[str, object]
    signed: str
    payload: str
    signature: str


def take_apart(token: str) -> Unverified:
    """Read a token's header. Raises JwsError unless it is a compact JWS that says HS256 and nothing critical."""
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise JwsError("malformed")
    header = _json(match[1])
    if header.get("alg") != ALGORITHM or "crit" in header:
        raise JwsError("header")
    return Unverified(header, f"{match[1]}.{match[2]}", match[2], match[3])


def claims_of(token: Unverified, key: Secret) -> Mapping[str, object]:
    """Return the payload of a token that this key signed. Raises JwsError."""
    if Secret(_signature(token.signed, key)) != Secret(token.signature):
        raise JwsError("signature")
    return _json(token.payload)


def sign(claims: Mapping[str, object], key: Secret, **header: str) -> str:
    """Return the claims as a token that this key signed; `header` adds to `alg` and `typ`."""
    parts = ({"alg": ALGORITHM, "typ": "JWT", **header}, claims)
    signed = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{signed}.{_signature(signed, key)}"


def _signature(signed: str, key: Secret) -> str:
    return base64url(hmac.new(key.reveal().encode(), signed.encode(), hashlib.sha256).digest())


def _json(part: str) -> dict[str, object]:
    try:
        content = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error, RecursionError):  # nested too deep is no token either
        raise JwsError("malformed") from None
    if not isinstance(content, dict):
        raise JwsError("malformed")
    return content
