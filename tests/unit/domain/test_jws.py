"""The signatures are checked against PyJWT in both directions, and every other token is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import hypothesis.strategies as st
import jwt
import pytest
from hypothesis import given, settings

from finch_connect.domain import jws
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import base64url

KEY = "k" * 64
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
CLAIMS = st.dictionaries(st.text(), JSON).map(lambda claims: claims | {"sub": "acme"})
_UNCHECKED: Any = {
    "verify_aud": False,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_iss": False,
    "verify_jti": False,  # PyJWT accepts a text only
}


@settings(deadline=None)
@given(CLAIMS)
def test_pyjwt_reads_a_token_of_this_module(claims: dict[str, Any]) -> None:
    """The team's backend may verify receipts with any library."""
    token = jws.sign(claims, Secret(KEY), kid="1", typ="finch-receipt+jwt")
    assert jwt.decode(token, KEY, algorithms=["HS256"], options=_UNCHECKED) == claims
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "finch-receipt+jwt", "kid": "1"}


@settings(deadline=None)
@given(CLAIMS)
def test_this_module_reads_a_token_of_pyjwt(claims: dict[str, Any]) -> None:
    """The team's backend may sign links with any library."""
    token = jws.parse(jwt.encode(claims | {"iss": "x"}, KEY, algorithm="HS256", headers={"kid": "2"}))
    assert token.header["kid"] == "2"
    assert jws.claims_of(token, Secret(KEY)) == claims | {"iss": "x"}


def part(content: Any) -> str:
    return base64url(content if isinstance(content, bytes) else json.dumps(content).encode())


GOOD = jws.sign({"sub": "acme"}, Secret(KEY), kid="1")
HEADER, PAYLOAD, SIGNATURE = GOOD.split(".")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c.d",
        f"{HEADER}.{PAYLOAD}.",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE}=",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE}A",
        f" {GOOD}",
        f"{GOOD}\n",
        f"{HEADER}=.{PAYLOAD}.{SIGNATURE}",
        f"{HEADER}.{PAYLOAD}.{'+' * 43}",
        f"{part([1])}.{PAYLOAD}.{SIGNATURE}",
        f"{part(b'{')}.{PAYLOAD}.{SIGNATURE}",
        f"{part(b'\xff')}.{PAYLOAD}.{SIGNATURE}",
        f"{part(b'[' * 4000)}.{PAYLOAD}.{SIGNATURE}",
        f"{part({'alg': 'none'})}.{PAYLOAD}.{SIGNATURE}",
        f"{part({'alg': 'HS512'})}.{PAYLOAD}.{SIGNATURE}",
        f"{part({'alg': ['HS256']})}.{PAYLOAD}.{SIGNATURE}",
        f"{part({'alg': 'HS256', 'crit': ['exp']})}.{PAYLOAD}.{SIGNATURE}",
        f"{part({})}.{PAYLOAD}.{SIGNATURE}",
    ],
    ids=lambda token: ascii(token)[:40],
)
def test_any_other_form_is_refused_before_a_key_is_read(token: str) -> None:
    """Only one algorithm and one form are accepted (RFC 8725 section 3.1)."""
    with pytest.raises(jws.JwsError):
        jws.parse(token)


@pytest.mark.parametrize("position", range(43))
def test_a_changed_signature_is_refused(position: int) -> None:
    """Every character counts, even the last one, whose low bits are not part of the decoded bytes."""
    other = "A" if SIGNATURE[position] != "A" else "B"
    changed = f"{HEADER}.{PAYLOAD}.{SIGNATURE[:position]}{other}{SIGNATURE[position + 1 :]}"
    with pytest.raises(jws.JwsError, match="signature"):
        jws.claims_of(jws.parse(changed), Secret(KEY))


def test_a_signature_covers_header_and_payload() -> None:
    """Neither of them can be replaced, and another key makes another signature."""
    for changed in (
        f"{part({'alg': 'HS256', 'kid': '2'})}.{PAYLOAD}.{SIGNATURE}",
        f"{HEADER}.{part({'sub': 'x'})}.{SIGNATURE}",
    ):
        with pytest.raises(jws.JwsError, match="signature"):
            jws.claims_of(jws.parse(changed), Secret(KEY))
    with pytest.raises(jws.JwsError, match="signature"):
        jws.claims_of(jws.parse(GOOD), Secret("z" * 64))


def test_a_signed_payload_that_is_not_an_object_is_refused() -> None:
    """Somebody signed it with the right key, but it has no claims."""
    for content in (b"[]", b"{", b"[" * 4000, b"\xff"):
        signed = f"{HEADER}.{base64url(content)}"
        mac = base64.urlsafe_b64decode(jws._signature(signed, Secret(KEY)) + "=")
        with pytest.raises(jws.JwsError):
            jws.claims_of(jws.parse(f"{signed}.{base64url(mac)}"), Secret(KEY))
