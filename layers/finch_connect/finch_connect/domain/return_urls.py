"""Where a browser may be sent when a flow has ended: only under one of the stack's allowed return URLs.

The rules are strict on purpose. Anything but a plain absolute URL is refused and not interpreted, because a browser and
Python may read the same unusual URL as two different hosts (OWASP: unvalidated redirects).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

MAX_LENGTH = 1024
RECEIPT_PARAMETER = "finch_receipt"

# Scheme and host in lower case; a path and a query of plain characters and percent-escapes.
_URL = re.compile(
    r"(?P<scheme>https|http)://(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*)(?:\?(?P<query>[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*))?"
)
_BAD_ESCAPE = re.compile(r"%(?:2[eEfF]|5[cC]|0[0-9a-fA-F]|1[0-9a-fA-F]|7[fF]|[89a-fA-F][0-9a-fA-F]|(?![0-9a-fA-F]{2}))")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_LOOPBACK = frozenset({"localhost", "127.0.0.1"})
_MAX_PORT = 65535


def is_allowed(return_url: str, allowed: Iterable[str]) -> bool:
    """Return whether `return_url` is under one of the `allowed` URLs.

    Scheme, host and port must be equal, and the allowed path must be a prefix that ends at a segment. Plain http is
    allowed on this machine only. A URL that already has a receipt is refused.

    >>> is_allowed("https://app.example.com/hr/done?tab=2", ["https://app.example.com/hr"])
    True
    >>> is_allowed("https://app.example.com/hrx", ["https://app.example.com/hr"])
    False
    """
    wanted = _parse(return_url)
    return wanted is not None and any(_is_under(wanted, base) for base in map(_parse, allowed) if base is not None)


def with_receipt(return_url: str, receipt: str) -> str:
    """Return an allowed return URL with the receipt in its query. A JWT is URL-safe as it is (RFC 7515)."""
    return f"{return_url}{'&' if '?' in return_url else '?'}{RECEIPT_PARAMETER}={receipt}"


def _parse(text: str) -> tuple[str, str, int, str] | None:
    """Return (scheme, host, port, path) of a plain URL, or None for anything else."""
    match = _URL.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None or _BAD_ESCAPE.search(text):
        return None
    scheme, host, path = match["scheme"], match["host"], match["path"] or "/"
    port = int(match["port"] or _DEFAULT_PORTS[scheme])
    segments = path.split("/")[1:]
    plain_host = ".." not in host and port <= _MAX_PORT
    plain_path = not any(segment in {".", ".."} for segment in segments) and "" not in segments[:-1]
    local_or_secure = scheme == "https" or host in _LOOPBACK
    has_receipt = RECEIPT_PARAMETER in unquote(match["query"] or "")
    # A second opinion: the standard library must read the same host as the pattern.
    same_host = urlsplit(text).hostname == host
    if plain_host and plain_path and local_or_secure and same_host and not has_receipt:
        return scheme, host, port, path
    return None


def _is_under(wanted: tuple[str, str, int, str], base: tuple[str, str, int, str]) -> bool:
    prefix = base[3].rstrip("/")
    return wanted[:3] == base[:3] and (wanted[3].rstrip("/") == prefix or wanted[3].startswith(prefix + "/"))
