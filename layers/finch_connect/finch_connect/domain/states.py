"""The flow's id, the browser's cookie and the state, which bind a callback to the browser that started the flow.

A state that is only looked up in a table can be used from any browser (login CSRF, twice a published CVE). So the state
is an HMAC keyed with a cookie that only the starting browser has (RFC 6749 section 10.12, RFC 9700 section 2.1).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from finch_connect.domain.secret import Secret

COOKIE_BYTES = 32
COOKIE_PREFIX = "__Host-fc-"
FORM_COOKIE_PREFIX = "__Host-fcf-"

_FLOW_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_STATE = re.compile(r"([A-Za-z0-9_-]{22})\.[A-Za-z0-9_-]{43}")
_COOKIE_NAME = re.compile(f"(?:{COOKIE_PREFIX}|{FORM_COOKIE_PREFIX})[A-Za-z0-9_-]{{22}}")
_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")


def base64url(data: bytes) -> str:
    """Encode without padding (RFC 4648 section 5, RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def flow_id_of(customer_id: str, link_id: str) -> str:
    """Return the id of a link's one flow: the first 128 bits of SHA-256 over customer, NUL and link id, base64url."""
    return base64url(hashlib.sha256(f"{customer_id}\0{link_id}".encode()).digest()[:16])


def new_cookie(random_bytes: bytes) -> Secret:
    """Return a cookie's value from 256 random bits. Raises ValueError for any other amount."""
    if len(random_bytes) != COOKIE_BYTES:
        raise ValueError("a cookie is 32 random bytes")
    return Secret(base64url(random_bytes))


def is_cookie(text: str) -> bool:
    """Return whether `text` has the form of a cookie's value."""
    return _COOKIE.fullmatch(text) is not None


def state_of(cookie: Secret, flow_id: str) -> Secret:
    """Return `<flow_id>.<HMAC-SHA256(cookie, flow_id)>`. Nobody can make it without the cookie."""
    mac = hmac.new(cookie.reveal().encode(), flow_id.encode(), hashlib.sha256).digest()
    return Secret(f"{flow_id}.{base64url(mac)}")


def flow_id_in(state: str) -> str | None:
    """Return the flow id in a well-formed state, or None."""
    match = _STATE.fullmatch(state)
    return match.group(1) if match else None


def form_nonce_of(form_cookie: Secret, flow_id: str) -> Secret:
    """Return the confirm form's nonce. It is bound to its own cookie, so that another site cannot send the form."""
    mac = hmac.new(form_cookie.reveal().encode(), f"form\0{flow_id}".encode(), hashlib.sha256).digest()
    return Secret(base64url(mac))


def digest(secret: Secret) -> str:
    """Return SHA-256 in hex, the only form in which a state or a code is stored."""
    return hashlib.sha256(secret.reveal().encode()).hexdigest()


def cookie_name(flow_id: str) -> str:
    """Return the name of a flow's cookie. Each flow has its own, so that two tabs can both finish."""
    return COOKIE_PREFIX + flow_id


def form_cookie_name(flow_id: str) -> str:
    """Return the name of the cookie to which the confirm form's nonce is bound."""
    return FORM_COOKIE_PREFIX + flow_id


def is_cookie_name(name: str) -> bool:
    """Return whether this is the name of a flow's cookie or of a confirm form's cookie."""
    return _COOKIE_NAME.fullmatch(name) is not None


def flow_id_of_cookie(name: str) -> str | None:
    """Return the flow id in the name of a flow's cookie, or None for any other cookie."""
    flow_id = name.removeprefix(COOKIE_PREFIX)
    return flow_id if name.startswith(COOKIE_PREFIX) and _FLOW_ID.fullmatch(flow_id) else None
