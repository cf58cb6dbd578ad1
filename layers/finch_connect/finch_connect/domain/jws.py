"""Compact JSON Web Signatures under HS256, and nothing else of JOSE (RFC 7515, RFC 7518 section 3.2, RFC 8725).

Forty lines replace PyJWT on the cold path, where its import costs CPU time (docs/performance.md). The tests check each
against the other, both ways. The algorithm is never taken from the token: it is HS256, or the token is refused.
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
MIN_KEY_BYTES = 32
"""HS256 needs a key of at least 256 bits (RFC 7518 section 3.2): a shorter one can be guessed from one link."""

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")


class JwsError(Exception):
    """The token is malformed or its signature is wrong. The text is one of this source code's own."""


@dataclass(frozen=True, slots=True)
class LinkKey:
    """An HMAC key, and the `kid` with which a link names it."""

    kid: str
    key: Secret


def is_long_enough(key: Secret) -> bool:
    """Return whether a key's text, whose UTF-8 bytes are the HMAC key, has the length that HS256 needs."""
    length = len(key.reveal().encode())
    return length >= MIN_KEY_BYTES


@dataclass(frozen=True, slots=True)
class Unverified:
    """A parsed token. `header` may be read to find the key, `payload` only after `claims_of` has verified it."""

    header: Mapping[str, object]
    signed: str
    payload: str
    signature: str


def parse(token: str) -> Unverified:
    """Parse a token. Raises JwsError unless it is a compact JWS with HS256 and without critical header parameters."""
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise JwsError("malformed")
    header = _json(match[1])
    if header.get("alg") != ALGORITHM or "crit" in header:
        raise JwsError("header")
    return Unverified(header, f"{match[1]}.{match[2]}", match[2], match[3])


def claims_of(token: Unverified, key: Secret) -> Mapping[str, object]:
    """Return the claims of a token that this key signed. Raises JwsError for any other token."""
    if Secret(_signature(token.signed, key)) != Secret(token.signature):
        raise JwsError("signature")
    return _json(token.payload)


def sign(claims: Mapping[str, object], key: Secret, **header: str) -> str:
    """Return the claims as a token signed with this key. `header` adds to `alg` and `typ`."""
    parts = ({"alg": ALGORITHM, "typ": "JWT", **header}, claims)
    signed = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{signed}.{_signature(signed, key)}"


def _signature(signed: str, key: Secret) -> str:
    return base64url(hmac.new(key.reveal().encode(), signed.encode(), hashlib.sha256).digest())


def _json(part: str) -> dict[str, object]:
    try:
        content = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error, RecursionError):  # RecursionError: nested too deep
        raise JwsError("malformed") from None
    if not isinstance(content, dict):
        raise JwsError("malformed")
    return content
