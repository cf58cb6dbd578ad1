"""Acts as the person at Finch over plain HTTP, with any browser that has `get` and `post`."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urljoin


class Page(Protocol):
    """One response. `location` is the redirect's target, absolute or relative, or None."""

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
        """Request a page."""
        ...

    def post(self, url: str, data: dict[str, str]) -> Page:
        """Submit a form."""
        ...


def approve(
    browser: Browser,
    authorize_url: str,
    *,
    username: str = "smallco",
    password: str = "letmein",  # noqa: S107  # the sandbox's public login
    provider: str = "gusto",
) -> str:
    """Agree, choose the provider and log in. Return the URL that leads back to the application, not yet opened.

    Raises RuntimeError if Finch shows a page instead of redirecting.
    """
    consent = _next(browser.get(authorize_url), authorize_url)
    step = _next(browser.post(consent, {"allow": "yes"}), consent)
    if step.endswith("/provider"):
        step = _next(browser.post(step, {"provider": provider}), step)
    return _next(browser.post(step, {"username": username, "password": password}), step)


def deny(browser: Browser, authorize_url: str) -> str:
    """Refuse on the consent page. Return the URL that leads back to the application, not yet opened.

    Raises RuntimeError if Finch shows a page instead of redirecting.
    """
    consent = _next(browser.get(authorize_url), authorize_url)
    return _next(browser.post(consent, {"deny": "yes"}), consent)


def _next(page: Page, url: str) -> str:
    if page.location is None:
        raise RuntimeError(f"Finch answered {page.status} without a redirect")
    return urljoin(url, page.location)
