"""The flow's id, the browser's cookie and the state, which bind a callback to the browser that started the flow.

A state that is only looked up in a table can be used from any browser (login CSRF, twice a published CVE). So the state
is an HMAC keyed with a cookie that only the starting browser has (RFC 6749 section 10.12, RFC 9700 section 2.1).

A cookie also has a tag: an HMAC under the stack's link key, so that a made-up pair of cookie and state can be refused
without a call. The state does not depend on the tag, so a rotated key changes no state.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from finch_connect.domain.secret import Secret

COOKIE_BYTES = 32
TAG_BYTES = 16
COOKIE_PREFIX = "__Host-fc-"
FORM_COOKIE_PREFIX = "__Host-fcf-"

_FLOW_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_STATE = re.compile(r"([A-Za-z0-9_-]{22})\.[A-Za-z0-9_-]{43}")
_COOKIE_NAME = re.compile(f"(?:{COOKIE_PREFIX}|{FORM_COOKIE_PREFIX})[A-Za-z0-9_-]{{22}}")
_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{22}")
_FORM_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")
_FORM_NONCE = re.compile(r"([0-9]{13})\.[A-Za-z0-9_-]{43}")


def base64url(data: bytes) -> str:
    """Encode without padding (RFC 4648 section 5, RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def flow_id_of(customer_id: str, link_id: str) -> str:
    """Return the id of a link's one flow: the first 128 bits of SHA-256 over customer, NUL and link id, base64url."""
    return base64url(hashlib.sha256(f"{customer_id}\0{link_id}".encode()).digest()[:16])


def new_form_cookie(random_bytes: bytes) -> Secret:
    """Return the value of a confirm form's cookie from 256 random bits. Raises ValueError for any other amount."""
    return _random_text(random_bytes)


def new_cookie(random_bytes: bytes, flow_id: str, key: Secret) -> Secret:
    """Return a flow's cookie from 256 random bits, tagged under `key`. Raises ValueError for any other amount."""
    return _tagged(_random_text(random_bytes), flow_id, key)


def cookie_of_page(form_cookie: Secret, flow_id: str, asked_at: int, key: Secret) -> Secret:
    """Return the flow's cookie that a confirm page starts with. Each press of that page's button gives the same one.

    `asked_at` (epoch ms) is when the page was made.
    """
    return _tagged(Secret(base64url(_mac(form_cookie, f"cookie\0{flow_id}\0{asked_at}"))), flow_id, key)


def tagged_again(cookie: Secret, flow_id: str, key: Secret) -> Secret:
    """Return the same cookie with its tag made under `key`. Its state does not change."""
    return _tagged(_without_tag(cookie), flow_id, key)


def has_tag_of(cookie: Secret, flow_id: str, key: Secret) -> bool:
    """Return whether the cookie's tag was made under `key`, in constant time."""
    return tagged_again(cookie, flow_id, key) == cookie


def is_cookie(text: str) -> bool:
    """Return whether `text` has the form of the value of a flow's cookie: `<256 bits>.<tag>`."""
    return _COOKIE.fullmatch(text) is not None


def is_form_cookie(text: str) -> bool:
    """Return whether `text` has the form of the value of a confirm form's cookie."""
    return _FORM_COOKIE.fullmatch(text) is not None


def state_of(cookie: Secret, flow_id: str) -> Secret:
    """Return `<flow_id>.<HMAC-SHA256(cookie without its tag, flow_id)>`. Nobody can make it without the cookie."""
    return Secret(f"{flow_id}.{base64url(_mac(_without_tag(cookie), flow_id))}")


def flow_id_in(state: str) -> str | None:
    """Return the flow id in a well-formed state, or None."""
    match = _STATE.fullmatch(state)
    return match.group(1) if match else None


def form_nonce_of(form_cookie: Secret, flow_id: str, asked_at: int) -> Secret:
    """Return the nonce of a confirm page made at `asked_at` (epoch ms): `<asked_at>.<HMAC>`.

    It is bound to its own cookie, so that another site cannot send the form.
    """
    return Secret(f"{asked_at}.{base64url(_mac(form_cookie, f'form\0{flow_id}\0{asked_at}'))}")


def asked_at_in(form_nonce: str) -> int | None:
    """Return when a well-formed nonce says that its page was made (epoch ms), or None."""
    match = _FORM_NONCE.fullmatch(form_nonce)
    return int(match.group(1)) if match else None


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


def _random_text(random_bytes: bytes) -> Secret:
    if len(random_bytes) != COOKIE_BYTES:
        raise ValueError("a cookie is 32 random bytes")
    return Secret(base64url(random_bytes))


def _tagged(secret: Secret, flow_id: str, key: Secret) -> Secret:
    """Return `<secret>.<tag>`. The tag proves that this stack made the cookie, before the table is asked.

    Nothing that is signed with a link key contains a NUL, so a tag is never taken for a signature.
    """
    tag = _mac(key, f"cookie\0{flow_id}\0{secret.reveal()}")[:TAG_BYTES]
    return Secret(f"{secret.reveal()}.{base64url(tag)}")


def _without_tag(cookie: Secret) -> Secret:
    return Secret(cookie.reveal().partition(".")[0])


def _mac(key: Secret, text: str) -> bytes:
    return hmac.new(key.reveal().encode(), text.encode(), hashlib.sha256).digest()
