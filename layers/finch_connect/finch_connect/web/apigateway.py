"""API Gateway's events and answers (HTTP API, payload format 2.0). Everything in an event is treated as hostile."""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus, urlencode, urlsplit

from finch_connect.config import Config
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import is_cookie_name
from finch_connect.domain.text import is_blank
from finch_connect.flow.links import OPEN_LINK_PARAMETERS
from finch_connect.web.stylesheet import STYLE_HASH

MAX_QUERY_LENGTH = 8192
MAX_BODY_LENGTH = 8192
MOST_COOKIES = 32
"""The most cookies of this stack in one browser: 3,400 bytes, far below API Gateway's 10,240 for all headers."""

MOVED_PARAMETER = "moved"
"""Marks a request that was redirected to the configured host. Its value is ignored."""

_JSON_TYPES = ("application/json", "application/problem+json")


class BadRequestError(ValueError):
    """A parameter is duplicated, oversized or undecodable. The text is one of this source code's own."""


class Parameters(Mapping[str, str]):
    """The parameters of a query or a form. Only those that are read have to be well-formed.

    Reading one raises BadRequestError if its name occurs twice (API Gateway would join the values with commas) or its
    value is not UTF-8. A blank parameter is absent. What nobody reads, a tracker's for example, may be anything.
    """

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = {}
        for pair in filter(None, text.split("&")):
            name, _, value = pair.partition("=")
            self._values.setdefault(unquote_plus(name), []).append(value)

    def __getitem__(self, name: str) -> str:
        values = self._values[name]
        if len(values) > 1:
            raise BadRequestError("duplicated")
        try:
            text = unquote_plus(values[0], errors="strict")
            text.encode()
        except UnicodeError:
            raise BadRequestError("undecodable") from None
        if is_blank(text):
            raise KeyError(name)
        return text

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the parameters that are present."""
        return (name for name in self._values if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler reads from an event: parameters and cookies by name, and the host that was addressed."""

    route: str
    method: str
    query: Parameters
    form: Parameters
    cookies: Mapping[str, str]
    headers: Mapping[str, str]
    domain_name: str

    @property
    def wants_json(self) -> bool:
        """Return whether the caller prefers JSON to a page."""
        accept = self.headers.get("accept", "").lower()
        return any(accept.startswith(wanted) for wanted in _JSON_TYPES)

    @property
    def is_prefetch(self) -> bool:
        """Return whether the browser only preloads (Fetch standard: Sec-Purpose; older browsers: Purpose, X-Moz).

        A form is never preloaded, and the page for a preload could not send it again.
        """
        names = ("sec-purpose", "purpose", "x-moz", "x-purpose")
        purposes = " ".join(self.headers.get(name, "").lower() for name in names)
        ahead = "prefetch" in purposes or "prerender" in purposes or "preview" in purposes
        return ahead and self.method != "POST"

    @property
    def is_cross_site_post(self) -> bool:
        """Return whether the browser says that another site sent this form (Fetch metadata)."""
        return self.headers.get("sec-fetch-site", "same-origin").lower() != "same-origin"

    @property
    def posted(self) -> Mapping[str, str] | None:
        """Return the form that was posted, or None for any other method."""
        return self.form if self.method == "POST" else None

    def secret(self, name: str) -> Secret | None:
        """Return a query parameter as a secret, or None if it is absent."""
        value = self.query.get(name)
        return None if value is None else Secret(value)


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie to set for `max_age` seconds (0 deletes it). Secure, HttpOnly, SameSite=Lax, Path=/ (RFC 6265bis)."""

    name: str
    value: Secret
    max_age: int

    def header(self) -> str:
        """Return the Set-Cookie header's value."""
        return f"{self.name}={self.value.reveal()}; Max-Age={self.max_age}; Path=/; Secure; HttpOnly; SameSite=Lax"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer without the headers that every answer has."""

    status: int
    body: str = ""
    content_type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[Cookie, ...] = ()

    def with_cookie(self, cookie: Cookie) -> Response:
        """Return this answer with one more cookie to set."""
        return dataclasses.replace(self, cookies=(*self.cookies, cookie))


def read(event: Mapping[str, Any]) -> Request:
    """Read an event of payload format 2.0.

    Raises BadRequestError for a query or a form that is too long.
    """
    context = event["requestContext"]
    return Request(
        route=event["routeKey"],
        method=context["http"]["method"],
        query=_parameters(event.get("rawQueryString", ""), MAX_QUERY_LENGTH),
        form=_parameters(_body(event), MAX_BODY_LENGTH),
        cookies=_cookies(event.get("cookies") or ()),
        headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
        domain_name=context.get("domainName", ""),
    )


def base_url(request: Request, config: Config) -> str:
    """Return the stack's public base URL: the configured one, or API Gateway's domain name. Never a header's."""
    return config.public_url or f"https://{request.domain_name}"


def is_elsewhere(request: Request, config: Config) -> bool:
    """Return whether the browser is on another host than the configured one, where its cookie would be useless.

    A request that was moved before counts as there. If it names another host all the same, the browser is on the
    configured one and a proxy in between did not pass the host on. A second redirect would never end.
    """
    if config.public_url is None or MOVED_PARAMETER in request.query:
        return False
    return urlsplit(config.public_url).hostname != request.domain_name.lower()


def moved(request: Request, config: Config) -> str:
    """Return this request's address on the configured host, without the parameters that nobody reads, marked as moved.

    Raises BadRequestError if a parameter that is read is malformed.
    """
    names = ("link", *OPEN_LINK_PARAMETERS) if config.open_links else ("link",)
    kept = {name: value for name in names if (value := request.query.get(name)) is not None}
    return f"{config.public_url}/connect?{urlencode({**kept, MOVED_PARAMETER: '1'})}"


def pruned(response: Response, request: Request) -> Response:
    """Return the answer, and delete this stack's oldest cookies if the browser sent too many.

    An unfinished flow leaves its cookie behind for a day. Browsers send the oldest first (RFC 6265 section 5.4), so the
    last MOST_COOKIES stay. An answer that sets no cookie does not change, because all refusals must look the same.
    """
    if not response.cookies:
        return response
    kept = {cookie.name for cookie in response.cookies}
    ours = [name for name in request.cookies if is_cookie_name(name) and name not in kept]
    stale = tuple(Cookie(name, Secret(""), max_age=0) for name in ours[:-MOST_COOKIES])
    return dataclasses.replace(response, cookies=(*stale, *response.cookies))


def answer(response: Response, config: Config) -> dict[str, Any]:
    """Return the answer to the event, with the headers that every answer has."""
    return {
        "statusCode": response.status,
        "headers": security_headers(config.finch_connect_url)
        | dict(response.headers)
        | {"Content-Type": response.content_type},
        "cookies": [cookie.header() for cookie in response.cookies],
        "body": response.body,
    }


def security_headers(finch_connect_url: str) -> dict[str, str]:
    """Return the headers of every answer: no storing, framing or sniffing, and no referrer for the next site.

    `form-action` names Finch's origin, because Chromium applies it to the redirect that answers the confirm form. There
    is no Cross-Origin-Opener-Policy, because on a redirect too it would take a popup from the page that opened it.
    """
    policy = (
        f"default-src 'none'; style-src '{STYLE_HASH}'; form-action 'self' {finch_connect_url}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
        "X-Content-Type-Options": "nosniff",
    }


def _parameters(text: str, longest: int) -> Parameters:
    if len(text) > longest:
        raise BadRequestError("too_long")
    return Parameters(text)


def _body(event: Mapping[str, Any]) -> str:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body)
    try:
        return base64.b64decode(body, validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        raise BadRequestError("undecodable") from None


def _cookies(lines: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Return cookies by name. A name that occurs twice is dropped, because one of the two was not set here."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    for line in lines:
        name, _, value = line.partition("=")
        name = name.strip()
        if name in found:
            twice.add(name)
        found[name] = value.strip()
    return {name: value for name, value in found.items() if name not in twice}
