"""The rules of a link's claims, which turn the claims of a verified link into a LinkRequest.

Each claim has one rule. A claim that breaks its rule refuses the whole link; nothing is guessed and nothing is cut.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from finch_connect.domain import strict_json
from finch_connect.domain.connection import CONNECTION_ID
from finch_connect.domain.errors import LinkRefusedError
from finch_connect.domain.return_urls import LONGEST_READ, is_allowed, without_receipt
from finch_connect.domain.states import flow_id_of
from finch_connect.domain.text import is_blank, is_fit

CONFIRM_OVER_SECONDS = 900
"""A link that lives longer than this may travel by mail, so it shows the confirm page unless it says otherwise."""

CLOCK_SKEW_SECONDS = 60
METADATA_MAX_BYTES = 2048
"""Counted in UTF-8, as the event carries the metadata."""

METADATA_MAX_LEVELS = 100
"""The bus takes more. Parsers of consumers stop earlier, some of them at 100."""

_LATEST = 253_402_300_799
"""The last second of the year 9999. A time beyond it is a mistake, for example in milliseconds."""

_PROVIDER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
_SANDBOX = {True: "true", False: "false", "true": "true", "false": "false", "finch": "finch", "provider": "provider"}
_BOOLEANS = {True: True, False: False, "true": True, "false": False}
_SESSION_SANDBOX = {"true": "finch", "finch": "finch", "provider": "provider", "false": None}


@dataclass(frozen=True, slots=True)
class LinkRules:
    """What a stack's configuration adds to the rules. `max_lifetime` is in seconds.

    The customer's name is required in session mode, because Finch's Connect sessions need it.
    """

    max_lifetime: int
    allowed_products: tuple[str, ...]
    allowed_return_urls: tuple[str, ...]
    customer_name_required: bool


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """What a verified link asks for. Each value has been checked against the rules.

    `customer_name` and `customer_email` are used for the page and for Finch, and are stored nowhere. `expires_at` is
    the link's `exp` in epoch seconds. `flow_id` is the id of the link's one flow.
    """

    customer_id: str
    link_id: str
    expires_at: int
    confirm: bool
    products: tuple[str, ...]
    category: str | None = None
    payroll_provider: str | None = None
    sandbox: str | None = None
    manual: bool | None = None
    return_url: str | None = None
    nonce: str | None = None
    metadata: Mapping[str, object] | None = None
    customer_name: str | None = None
    customer_email: str | None = None
    connection_id: str | None = None
    flow_id: str = field(init=False)

    def __post_init__(self) -> None:
        """Compute the flow's id once; every later step reads it."""
        object.__setattr__(self, "flow_id", flow_id_of(self.customer_id, self.link_id))


def link_request(claims: Mapping[str, object], rules: LinkRules) -> LinkRequest:
    """Check every claim of a link whose signature and times are valid.

    `iat` and `exp` are epoch seconds. Raises LinkRefusedError, whose field `link_claim` names the first claim that
    breaks its rule.
    """
    claims = present(claims)
    read = _Claims(claims)
    issued, expires = read.moment("iat"), read.moment("exp")
    lifetime = round(expires - issued)
    if not 0 < lifetime <= rules.max_lifetime:
        raise _refused("exp")
    request = LinkRequest(
        customer_id=read.required("sub", 255),
        link_id=read.required("jti", 255),
        expires_at=math.floor(expires),
        confirm=read.choice("confirm", _BOOLEANS, lifetime > CONFIRM_OVER_SECONDS) is True,
        products=_products(claims.get("products"), rules),
        category=read.choice("category", {"hris": "hris", "ats": "ats"}, None),
        payroll_provider=read.matching("payroll_provider", _PROVIDER),
        sandbox=read.choice("sandbox", _SANDBOX, None),
        manual=read.choice("manual", _BOOLEANS, None),
        return_url=_return_url(read.text("return_url", LONGEST_READ), rules),
        nonce=read.text("nonce", 255),
        metadata=_metadata(claims.get("metadata")),
        customer_name=read.text("customer_name", 255),
        customer_email=read.matching("customer_email", _EMAIL),
        connection_id=read.matching("connection_id", CONNECTION_ID),
    )
    if rules.customer_name_required and request.customer_name is None:
        raise _refused("customer_name")
    return request


def session_sandbox(sandbox: str | None) -> str | None:
    """Return a link's `sandbox` in the words of Connect sessions: `finch`, `provider`, or None for no sandbox."""
    return _SESSION_SANDBOX[sandbox] if sandbox is not None else None


def present(claims: Mapping[str, object]) -> Mapping[str, object]:
    """Return the claims without those that count as absent: null, and blank text."""
    return {
        name: claim
        for name, claim in claims.items()
        if claim is not None and not (isinstance(claim, str) and is_blank(claim))
    }


def numeric_date(claim: object) -> int | float | None:
    """Return a time in epoch seconds, which may have a fraction (RFC 7519 section 2), or None if it is none.

    >>> numeric_date(1795604127.5), numeric_date("1795604127"), numeric_date(True)
    (1795604127.5, None, None)
    """
    if not isinstance(claim, int | float) or isinstance(claim, bool) or not -_LATEST <= claim <= _LATEST:
        return None  # NaN compares with nothing, so it is refused here too
    return claim


class _Claims:
    """Reads claims by rule."""

    def __init__(self, claims: Mapping[str, object]) -> None:
        self._claims = claims

    def moment(self, name: str) -> int | float:
        value = numeric_date(self._claims.get(name))
        if value is None:
            raise _refused(name)
        return value

    def text(self, name: str, longest: int) -> str | None:
        value = self._claims.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > longest or not is_fit(value):
            raise _refused(name)
        return value

    def required(self, name: str, longest: int) -> str:
        value = self.text(name, longest)
        if value is None:
            raise _refused(name)
        return value

    def matching(self, name: str, pattern: re.Pattern[str]) -> str | None:
        value = self.text(name, 255)
        if value is not None and not pattern.fullmatch(value):
            raise _refused(name)
        return value

    def choice[T, D](self, name: str, choices: Mapping[object, T], default: D) -> T | D:
        value = self._claims.get(name)
        if value is None:
            return default
        if not isinstance(value, bool | str) or value not in choices:
            raise _refused(name)
        return choices[value]


def _products(value: object, rules: LinkRules) -> tuple[str, ...]:
    """Return a list, or Finch's space-separated form, if each product is allowed. Default: all allowed products."""
    if value is None:
        return rules.allowed_products
    wanted = value.split(" ") if isinstance(value, str) else value
    if not isinstance(wanted, list) or not wanted or len(wanted) != len(set(map(str, wanted))):
        raise _refused("products")
    if not all(isinstance(product, str) and product in rules.allowed_products for product in wanted):
        raise _refused("products")
    return tuple(wanted)


def _return_url(value: str | None, rules: LinkRules) -> str | None:
    """Return an allowed return URL without the receipt of an earlier flow, which its page may still have carried."""
    if value is not None and not is_allowed(value, rules.allowed_return_urls):
        raise _refused("return_url")
    return None if value is None else without_receipt(value)


def _metadata(value: object) -> Mapping[str, object] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _refused("metadata")
    try:
        text = strict_json.dumps(value, max_levels=METADATA_MAX_LEVELS)
    except strict_json.NotStrictError:
        raise _refused("metadata") from None
    if len(text.encode()) > METADATA_MAX_BYTES:
        raise _refused("metadata")
    return value


def _refused(claim: str) -> LinkRefusedError:
    return LinkRefusedError("link_claim_refused", link_claim=claim)
