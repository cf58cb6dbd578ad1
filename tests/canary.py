"""The canaries: every secret value that the suite makes, and every page that it is answered with.

Row 33 of the attacks looks, at the very end, for the one in the other, and in all logs, rows, events and secrets.
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
"""Shorter values are hostile nonsense of a test, not secrets."""


@dataclass
class Canaries:
    """Secret values by kind, and the pages in which none of them may be."""

    values: dict[str, set[str]] = field(default_factory=dict)
    pages: list[Page] = field(default_factory=list)

    def add(self, kind: str, value: str) -> None:
        """Remember a secret value."""
        if len(value) >= _SHORTEST:
            self.values.setdefault(kind, set()).add(value)

    def saw(self, page: Page) -> None:
        """Remember an answer, and what is secret in its address, its Location and its cookies."""
        self.pages.append(page)
        for url in filter(None, (page.url, page.location)):
            for name, value in parse_qsl(urlsplit(url).query):
                if name in _SECRET_PARAMETERS and page.status != 400:  # what was refused was never ours
                    self.add(name, value)
        for line in page.set_cookies:
            self.add("cookie", line.partition("=")[2].partition(";")[0])


CANARIES = Canaries()


class Visitor(Browser):
    """A browser whose every answer is remembered."""

    def _send(self, method: str, url: str, headers: Mapping[str, str], data: Mapping[str, str] | None) -> Page:
        page = super()._send(method, url, headers, data)
        CANARIES.saw(page)
        return page
