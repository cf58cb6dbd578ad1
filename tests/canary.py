"""The canaries: every secret value that the suite creates, and every page that it gets.

At the very end, row 33 of the attacks searches all pages, logs, rows, events and secrets for these values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from local.browser import Browser, Page

CUSTOMER_NAME = "Acme Inc Canary-7f3a"
CUSTOMER_EMAIL = "canary-7f3a@example.com"
CLIENT_SECRET = "secret-e2e-canary-6d1f"

_SECRET_PARAMETERS = {"state", "code", "link"}
_SHORTEST = 16
"""Shorter values are a test's hostile input and not secrets."""


@dataclass
class Canaries:
    """Secret values by kind, and the pages that must not contain them."""

    values: dict[str, set[str]] = field(default_factory=dict)
    pages: list[Page] = field(default_factory=list)

    def add(self, kind: str, value: str) -> None:
        """Record a secret value."""
        if len(value) >= _SHORTEST:
            self.values.setdefault(kind, set()).add(value)

    def add_page(self, page: Page) -> None:
        """Record a page, and the secrets in its URL, its Location header and its cookies."""
        self.pages.append(page)
        for url in filter(None, (page.url, page.location)):
            for name, value in parse_qsl(urlsplit(url).query):
                if name in _SECRET_PARAMETERS and page.status != 400:  # a refused value is not a secret of the stack
                    self.add(name, value)
        for line in page.set_cookies:
            self.add("cookie", line.partition("=")[2].partition(";")[0])


CANARIES = Canaries()


class Visitor(Browser):
    """A browser that records every page among the canaries."""

    def _send(self, method: str, url: str, headers: Mapping[str, str], data: Mapping[str, str] | None) -> Page:
        page = super()._send(method, url, headers, data)
        CANARIES.add_page(page)
        return page
