"""Plays the person at Finch over plain HTTP, with any browser that has `get` and `post`."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urljoin


class Page(Protocol):
    """One answer: `location` is the redirect's target, absolute or not, or None."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def location(self) -> str | None:
        """The Location header."""
        ...


class Browser(Protocol):
    """A browser that does not follow redirects by itself."""

    def get(self, url: str) -> Page:
        """Ask for a page."""
        ...

    def post(self, url: str, data: dict[str, str]) -> Page:
        """Send a form."""
        ...


def approve(
    browser: Browser,
    authorize_url: str,
    *,
    username: str = "smallco",
    password: str = "letmein",  # noqa: S107  # the sandbox's public login
    provider: str = "gusto",
) -> str:
    """Agree, choose the provider, log in; return the address that leads back to the application, not followed."""
    consent = _next(browser.get(authorize_url), authorize_url)
    step = _next(browser.post(consent, {"allow": "yes"}), consent)
    if step.endswith("/provider"):
        step = _next(browser.post(step, {"provider": provider}), step)
    return _next(browser.post(step, {"username": username, "password": password}), step)


def deny(browser: Browser, authorize_url: str) -> str:
    """Do not agree; return the address that leads back to the application, not followed."""
    consent = _next(browser.get(authorize_url), authorize_url)
    return _next(browser.post(consent, {"deny": "yes"}), consent)


def _next(page: Page, url: str) -> str:
    if page.location is None:
        raise RuntimeError(f"Finch answered {page.status} without a way on")
    return urljoin(url, page.location)
