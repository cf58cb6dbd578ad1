"""A browser for scripts: it handles cookies as browsers do, follows no redirect by itself, and shows each response.

Plain HTTP clients do not send Secure cookies to http://localhost; browsers do. So this one stores cookies itself, by
host name (ports are ignored, RFC 6265 section 8.5) and with Max-Age.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import urljoin, urlsplit

import requests

_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Page:
    """One response. `location` is absolute. `set_cookies` holds the Set-Cookie headers unchanged."""

    url: str
    status: int
    headers: Mapping[str, str]
    location: str | None
    text: str
    set_cookies: tuple[str, ...]


class Browser:
    """One person's browser. `clock` returns epoch seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._cookies: dict[str, dict[str, tuple[str, float | None]]] = {}

    def get(self, url: str, headers: Mapping[str, str] | None = None, *, follow: bool = False) -> Page:
        """Request a URL. With `follow`, follow its redirects."""
        page = self._send("GET", url, headers or {}, None)
        while follow and page.location is not None:
            page = self._send("GET", page.location, headers or {}, None)
        return page

    def post(self, url: str, data: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Page:
        """Submit a form."""
        return self._send("POST", url, headers or {}, data)

    def request(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> Page:
        """Send a request with any other method."""
        return self._send(method, url, headers or {}, None)

    def cookies(self, url: str) -> dict[str, str]:
        """Return the unexpired cookies that would be sent to this URL."""
        stored, now = self._cookies.get(urlsplit(url).hostname or "", {}), self._clock()
        return {name: value for name, (value, expires) in stored.items() if expires is None or expires > now}

    def set_cookie(self, url: str, name: str, value: str) -> None:
        """Set a cookie directly, as somebody who tampers with cookies would."""
        self._cookies.setdefault(urlsplit(url).hostname or "", {})[name] = (value, None)

    def forget_cookies(self) -> None:
        """Delete all cookies, as if this were another browser."""
        self._cookies.clear()

    def _send(self, method: str, url: str, headers: Mapping[str, str], data: Mapping[str, str] | None) -> Page:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies(url).items())
        sent = {**headers, **({"Cookie": cookie} if cookie else {})}
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method, url, headers=sent, data=data, allow_redirects=False, timeout=_TIMEOUT_SECONDS
            )
        set_cookies = tuple(answer.raw.headers.getlist("Set-Cookie"))
        self._store_cookies(url, set_cookies)
        location = answer.headers.get("Location")
        absolute = urljoin(url, location) if location is not None else None
        return Page(url, answer.status_code, answer.headers, absolute, answer.text, set_cookies)

    def _store_cookies(self, url: str, set_cookies: tuple[str, ...]) -> None:
        stored = self._cookies.setdefault(urlsplit(url).hostname or "", {})
        for line in set_cookies:
            for name, morsel in SimpleCookie(line).items():
                expires = self._clock() + float(morsel["max-age"]) if morsel["max-age"] else None
                stored[name] = (morsel.value, expires)
