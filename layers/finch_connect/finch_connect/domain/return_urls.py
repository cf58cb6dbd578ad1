"""Where a browser may be sent when a flow has ended: only under one of the stack's allowed return URLs.

The rules for host and path are strict on purpose. Anything but a plain absolute URL is refused and not interpreted,
because a browser, a proxy and Python may read the same unusual URL as two different places (OWASP: unvalidated
redirects). The query leads nowhere, so it may have every escape of text that is UTF-8 without control characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, unquote_plus, urlsplit

MAX_LENGTH = 1024
LONGEST_READ = 4096
"""How long a return URL may be with the receipt of an earlier flow, which is removed."""

RECEIPT_PARAMETER = "finch_receipt"

# Scheme and host in lower case; a path and a query of plain characters and percent-escapes.
_URL = re.compile(
    r"(?P<scheme>https|http)://(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*)(?:\?(?P<query>[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*))?"
)
_NOT_AN_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
# In a path: an escaped dot, slash or backslash, a control character, or anything that is not ASCII.
_BAD_PATH_ESCAPE = re.compile(r"%(?:2[ef]|5c|[01][0-9a-f]|7f|[89a-f][0-9a-f])", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# As frameworks read a parameter's name: in any case, and PHP with "_" for ".", " " and "[", and with an index.
_RECEIPT_NAME = re.compile(r"\s*finch[_. \[]receipt(?:\[.*)?", re.IGNORECASE | re.DOTALL)
_DEFAULT_PORTS = {"https": 443, "http": 80}
_LOOPBACK = frozenset({"localhost", "127.0.0.1"})
_MAX_PORT = 65535


def is_allowed(return_url: str, allowed: Iterable[str]) -> bool:
    """Return whether `return_url` is under one of the `allowed` URLs.

    Scheme, host and port must be equal, and the allowed path must be a prefix that ends at a segment. Plain http is
    allowed on this machine only. The receipt of an earlier flow does not count, because `with_receipt` replaces it.

    >>> is_allowed("https://app.example.com/hr/done?next=%2Fsettings", ["https://app.example.com/hr"])
    True
    >>> is_allowed("https://app.example.com/hrx", ["https://app.example.com/hr"])
    False
    """
    wanted = _parse(return_url)
    return wanted is not None and any(_is_under(wanted, base) for base in map(_parse, allowed) if base is not None)


def with_receipt(return_url: str, receipt: str) -> str:
    """Return an allowed return URL with this receipt, which replaces an earlier one. A JWT is URL-safe (RFC 7515).

    >>> with_receipt("https://app.example.com/hr?tab=2&finch_receipt=old", "new")
    'https://app.example.com/hr?tab=2&finch_receipt=new'
    """
    base = without_receipt(return_url)
    return f"{base}{'&' if '?' in base else '?'}{RECEIPT_PARAMETER}={receipt}"


def without_receipt(return_url: str) -> str:
    """Return an allowed return URL without the receipt of an earlier flow, however its name is escaped."""
    base, _, query = return_url.partition("?")
    kept = "&".join(pair for pair in query.split("&") if not _is_receipt(pair))
    return f"{base}?{kept}" if kept else base


def _is_receipt(pair: str) -> bool:
    """Return whether any reader may take this part of a query for the receipt."""
    name = pair.partition("=")[0]
    while (decoded := unquote_plus(name)) != name:  # to the end: a proxy may decode once more
        name = decoded
    return _RECEIPT_NAME.fullmatch(name) is not None


def _parse(text: str) -> tuple[str, str, int, str] | None:
    """Return (scheme, host, port, path) of a plain URL, or None for anything else."""
    match = _URL.fullmatch(text) if len(text) <= LONGEST_READ else None
    if match is None or _NOT_AN_ESCAPE.search(text) or len(without_receipt(text)) > MAX_LENGTH:
        return None
    scheme, host, path = match["scheme"], match["host"], match["path"] or "/"
    port = int(match["port"] or _DEFAULT_PORTS[scheme])
    plain_host = ".." not in host and port <= _MAX_PORT
    local_or_secure = scheme == "https" or host in _LOOPBACK
    # A second opinion: the standard library must read the same host as the pattern.
    same_host = urlsplit(text).hostname == host
    if plain_host and local_or_secure and same_host and _is_plain_path(path) and _is_plain_query(match["query"] or ""):
        return scheme, host, port, path
    return None


def _is_plain_path(path: str) -> bool:
    """Return whether nobody reads dots, slashes or an empty segment in the path that are not plainly there.

    A server may decode a path more than once, and may drop what follows ";" in a segment before it resolves dots.
    """
    while True:
        segments = [segment.partition(";")[0].strip() for segment in path.split("/")[1:]]
        if _BAD_PATH_ESCAPE.search(path) or not {".", ".."}.isdisjoint(segments) or "" in segments[:-1]:
            return False
        decoded = unquote(path)
        if decoded == path:
            return True
        path = decoded


def _is_plain_query(query: str) -> bool:
    """Return whether the query is text without controls, and has no receipt that `without_receipt` does not remove."""
    try:
        if _CONTROL.search(unquote_plus(query, errors="strict")):
            return False
    except UnicodeDecodeError:
        return False
    # Some readers also begin a parameter after ";" or a further "?".
    kept = [pair for pair in query.split("&") if not _is_receipt(pair)]
    return not any(_is_receipt(part) for pair in kept for part in re.split("[;?]", pair))


def _is_under(wanted: tuple[str, str, int, str], base: tuple[str, str, int, str]) -> bool:
    prefix = base[3].rstrip("/")
    return wanted[:3] == base[:3] and (wanted[3].rstrip("/") == prefix or wanted[3].startswith(prefix + "/"))
