"""Links in every form that RFC 7519 allows, as the JWT libraries of several languages sign them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest

from finch_connect.config import read
from finch_connect.domain.errors import LinkRefusedError
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.flow.links import verify_link
from tests.fakes import NOW, FakeLinkKeys
from tests.unit.conftest import ENVIRONMENT

CONFIG = read(ENVIRONMENT)
SECONDS = int(NOW.timestamp())
SIGNED_AT = datetime.fromtimestamp(1795604127.5, UTC)
LIBRARIES = dict(
    line.split()
    for line in (Path(__file__).parent / "links_of_libraries.txt").read_text().splitlines()
    if line and not line.startswith("#")
)


def signed(header: Mapping[str, Any] | None = None, /, **claims: Any) -> str:
    """Return a link with these claims added, as PyJWT signs it."""
    content = {"aud": "finch-connect", "sub": "acme", "jti": "link-1", "iat": SECONDS, "exp": SECONDS + 600, **claims}
    return jwt.encode(content, "k" * 64, algorithm="HS256", headers={"kid": "1", **(header or {})})


def verified(link: str) -> LinkRequest:
    return verify_link(link, FakeLinkKeys(), CONFIG, NOW)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_link_of_a_jwt_library_is_accepted(library: str) -> None:
    """Its audience is a list, and its times have a fraction, as the library writes them."""
    request = verify_link(LIBRARIES[library], FakeLinkKeys(), CONFIG, SIGNED_AT)
    assert (request.customer_id, request.link_id, request.expires_at) == ("acme", library, 1795604727)


def test_links_of_at_least_three_languages_are_tried() -> None:
    """PyJWT, two libraries of Node, and one more language."""
    assert {"pyjwt", "jose", "jsonwebtoken", "perl"} <= LIBRARIES.keys()


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["finch-connect"]},
        {"aud": ["https://api.team.example.com", "finch-connect"]},
        {"iat": SECONDS - 0.5},
        {"exp": SECONDS + 599.999},
        {"iat": SECONDS + 0.25, "exp": SECONDS + 0.25 + 604_800},
        {"iat": float(SECONDS), "exp": float(SECONDS + 600)},
        {"nbf": SECONDS - 0.5},
        {"nbf": SECONDS + 59.5},
        {"nbf": -1},
        {"nbf": None},
        {"iss": "https://api.team.example.com"},
        {"unknown": {"nested": [1]}},
    ],
    ids=repr,
)
def test_every_legal_form_of_the_registered_claims_is_accepted(claims: dict[str, Any]) -> None:
    """RFC 7519: `aud` is a text or a list, a NumericDate may have a fraction, and unknown claims are ignored."""
    assert verified(signed(**claims)).customer_id == "acme"


@pytest.mark.parametrize("typ", ["JWT", "jwt", "application/jwt", "Application/JWT"])
def test_the_type_is_read_as_a_media_type(typ: str) -> None:
    """Media types have no case, and "application/" may be left out (RFC 7515 section 4.1.9)."""
    assert verified(signed({"typ": typ})).customer_id == "acme"


@pytest.mark.parametrize("typ", ["finch-receipt+jwt", "at+jwt", "application/finch-receipt+jwt", "", 1])
def test_another_type_is_refused(typ: object) -> None:
    """A receipt is signed with the same key, and its type differs."""
    token = signed({"typ": None}).split(".")
    token[0] = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "kid": "1", "typ": typ}).encode()).decode()
    with pytest.raises(LinkRefusedError, match="link_header"):
        verified(".".join(token))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": []}, "link_claims"),
        ({"aud": ["finch-receipt"]}, "link_claims"),
        ({"aud": [["finch-connect"]]}, "link_claims"),
        ({"aud": {"finch-connect": 1}}, "link_claims"),
        ({"exp": float("nan")}, "link_times"),
        ({"exp": float("inf")}, "link_times"),
        ({"exp": 10**400}, "link_times"),
        ({"iat": -(10**400)}, "link_times"),
        ({"nbf": "1"}, "link_times"),
        ({"nbf": True}, "link_times"),
        ({"exp": (SECONDS + 600) * 1000}, "link_times"),
        ({"iat": SECONDS - 660.5, "exp": SECONDS - 60.5}, "link_expired"),
        ({"iat": SECONDS + 60.5}, "link_from_the_future"),
        ({"nbf": SECONDS + 60.5}, "link_from_the_future"),
        ({"exp": SECONDS + 604_801.5}, "link_claim_refused"),
        ({"exp": SECONDS + 0.2}, "link_claim_refused"),
    ],
)
def test_what_is_no_legal_form_is_still_refused(claims: dict[str, Any], reason: str) -> None:
    """Our audience must be in the list itself, and a time is a finite number of seconds within its limits."""
    with pytest.raises(LinkRefusedError, match=reason):
        verified(signed(**claims))


OPTIONAL = (
    *("nbf", "return_url", "nonce", "products", "category", "payroll_provider", "sandbox", "manual", "customer_name"),
    *("customer_email", "connection_id", "metadata", "confirm"),
)


@pytest.mark.parametrize("blank", ["", " ", "\u00a0", None])
@pytest.mark.parametrize("claim", OPTIONAL)
def test_a_blank_optional_claim_counts_as_absent(claim: str, blank: str | None) -> None:
    """Backends send the empty text of a field that nobody filled in."""
    assert verified(signed(**{claim: blank})) == verified(signed())


@pytest.mark.parametrize("claim", ["aud", "sub", "jti", "iat", "exp"])
def test_a_blank_required_claim_is_missing(claim: str) -> None:
    """Blank is absent for these as well, so the link is refused."""
    with pytest.raises(LinkRefusedError, match="link_claims"):
        verified(signed(**{claim: " "}))


NAMES = [
    "Acme\u00a0GmbH",
    "Acme\u202fSAS",
    "Fisch\u00adhandel",
    "\U0001f469\u200d\U0001f373 Bakery",
    "\u05e9\u05dc\u05d5\u05dd\u200f Ltd",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\u3000\u682a\u5f0f\u4f1a\u793e",
    "Acme\ufeff",
    "\uf8ff",
]


@pytest.mark.parametrize("claim", ["customer_name", "sub", "nonce", "jti"])
@pytest.mark.parametrize("text", NAMES, ids=ascii)
def test_a_text_that_is_not_printable_in_pythons_sense_is_accepted(text: str, claim: str) -> None:
    """No-break spaces, soft hyphens, joiners and private characters occur in real names."""
    request = verified(signed(**{claim: text}))
    assert text in {request.customer_name, request.customer_id, request.nonce, request.link_id}


UNFIT = [
    "\x00",
    "\t",
    "\n",
    "\x1f",
    "\x7f",
    "\x85",
    "\x9b",
    "\u2028",
    "\u2029",
    "\u202a",
    "\u202e",
    "\u2066",
    "\u2069",
    "\ud800",
]


@pytest.mark.parametrize("claim", ["customer_name", "sub", "nonce", "jti"])
@pytest.mark.parametrize("character", UNFIT, ids=ascii)
def test_a_control_surrogate_or_override_is_refused_in_every_text(character: str, claim: str) -> None:
    """It could hide or reverse a name on the confirm page, or break a line of someone's log."""
    with pytest.raises(LinkRefusedError) as caught:
        verified(signed(**{claim: f"Acme{character}GmbH"}))
    assert caught.value.fields == {"link_claim": claim}


def nested(levels: int) -> dict[str, Any]:
    content: Any = 1
    for _ in range(levels - 1):
        content = [content]
    return {"a": content}


@pytest.mark.parametrize(
    "metadata",
    [
        {"score": float("nan")},
        {"score": float("inf")},
        {"deep": [{"score": float("-inf")}]},
        {"id": 2**63},
        {"id": -(2**63)},
        {"id": 10**30},
        {"text": "\ud800"},
        {"\udfff": 1},
        nested(101),
        nested(900),
        {"a": "x" * 2048},
        {"a": "\u00fc" * 1024},
    ],
    ids=lambda metadata: repr(metadata)[:40],
)
def test_metadata_that_the_bus_would_refuse_refuses_the_link(metadata: dict[str, Any]) -> None:
    """EventBridge wants strict JSON. A connection whose event can never be published must not be made."""
    with pytest.raises(LinkRefusedError) as caught:
        verified(signed(metadata=metadata))
    assert caught.value.fields.get("link_claim", "metadata") == "metadata"


def test_a_number_that_overflows_on_reading_is_refused() -> None:
    """JSON's grammar allows 1e400, which Python reads as infinity."""
    token = signed(metadata={"score": 7777}).split(".")
    payload = jwt.utils.base64url_decode(token[1]).replace(b"7777", b"1e400")
    signing_input = f"{token[0]}.{jwt.utils.base64url_encode(payload).decode()}"
    key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    mac = jwt.utils.base64url_encode(key.sign(signing_input.encode(), b"k" * 64)).decode()
    with pytest.raises(LinkRefusedError) as caught:
        verified(f"{signing_input}.{mac}")
    assert caught.value.fields == {"link_claim": "metadata"}


@pytest.mark.parametrize(
    "metadata",
    [
        {"id": 2**63 - 1},
        {"id": -(2**63) + 1},
        nested(100),
        {"a": "x" * 2040},
        {"a": "\u00fc" * 600},
        {},
        {"ratio": 0.1},
    ],
    ids=lambda metadata: repr(metadata)[:40],
)
def test_metadata_within_the_limits_is_accepted(metadata: dict[str, Any]) -> None:
    """Its 2 KB are counted in UTF-8 as the event carries it, so an umlaut counts two bytes and not six."""
    assert verified(signed(metadata=metadata)).metadata == metadata


def test_the_receipt_of_an_earlier_flow_is_removed_from_the_return_url() -> None:
    """The row and the redirect then never have it."""
    old = f"https://app.example.com/hr?tab=2&finch_receipt={'x' * 900}&next=%2Fsettings"
    assert verified(signed(return_url=old)).return_url == "https://app.example.com/hr?tab=2&next=%2Fsettings"
