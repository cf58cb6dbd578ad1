"""One person's journey through a connection: the link, Finch, the callback.

The person does what the pages ask: presses the button, waits while a flow is in progress, and tries again. After a few
tries the person gives up.
"""

from __future__ import annotations

import enum
import html
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import requests

from cli.signing import verify_receipt
from finch_connect.domain.states import flow_id_of
from local.browser import Browser, Page
from local.simulator.person import approve, deny

MAX_TRIES = 5
"""How often a person opens the same URL before giving up."""

_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')
_WAIT_SECONDS = 2.0

type Pause = Callable[[float], object]
"""Waits for a number of seconds."""


class Intent(enum.StrEnum):
    """What a person does at Finch."""

    CONNECT = "connect"
    DECLINE = "decline"
    LEAVE = "leave"


class Shown(enum.StrEnum):
    """What a person last saw. The first five are the statuses of a receipt."""

    CONNECTED = "connected"
    DENIED = "denied"
    FAILED = "failed"
    ORPHANED = "orphaned"
    QUARANTINED = "quarantined"
    IN_PROGRESS = "in progress"
    TRY_AGAIN = "try again"
    LEFT = "nothing (left at Finch)"
    UNEXPECTED = "an unexpected page"
    NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer with one link and its own login at Finch, so that it gets its own connection."""

    customer_id: str
    link_id: str
    link: str
    username: str
    intent: Intent

    @property
    def flow_id(self) -> str:
        """The link's one flow."""
        return flow_id_of(self.customer_id, self.link_id)


@dataclass(slots=True)
class Journey:
    """What one person experienced.

    `opened`: the link redirected to Finch. `tries` counts the answers after which the person tried again. `ended` is
    the monotonic time of the last answer. `seconds` has the duration of each step, waits included.
    """

    customer: Customer
    shown: Shown = Shown.NO_ANSWER
    opened: bool = False
    connection_id: str | None = None
    tries: int = 0
    ended: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


class Person:
    """One simulated person. `key` and `issuer` verify receipts, as the team's backend does."""

    def __init__(self, customer: Customer, *, key: str, issuer: str, pause: Pause = time.sleep) -> None:
        self._customer = customer
        self._key = key
        self._issuer = issuer
        self._pause = pause
        self._browser = Browser()
        self._journey = Journey(customer)

    def run(self) -> Journey:
        """Go through all steps, as far as the answers lead, and return the journey."""
        try:
            self._run()
        except requests.RequestException:
            self._journey.shown = Shown.NO_ANSWER
        self._journey.ended = time.monotonic()
        return self._journey

    def _run(self) -> None:
        journey, customer = self._journey, self._customer
        page = self._timed("link", self._open)
        if page.location is None:
            journey.shown = _shown_by(page)
            return
        journey.opened = True
        if customer.intent is Intent.LEAVE:
            journey.shown = Shown.LEFT
            return
        authorize_url = page.location
        callback = self._timed("finch", lambda: self._at_finch(authorize_url))
        self._read(self._timed("callback", lambda: self._retry(lambda: self._browser.get(callback))))

    def _open(self) -> Page:
        """Open the link; if it shows the confirm page, press the button."""
        page = self._retry(lambda: self._browser.get(self._customer.link))
        fields = {name: html.unescape(value) for name, value in _HIDDEN.findall(page.text)}
        if page.status == HTTPStatus.OK and fields:
            action = self._customer.link.partition("?")[0]
            return self._retry(lambda: self._browser.post(action, fields))
        return page

    def _at_finch(self, authorize_url: str) -> str:
        if self._customer.intent is Intent.DECLINE:
            return deny(Browser(), authorize_url)
        return approve(Browser(), authorize_url, username=self._customer.username)

    def _retry(self, request: Callable[[], Page]) -> Page:
        """Repeat a request while the page asks for it, at most MAX_TRIES times, with the page's waits."""
        page = request()
        for _ in range(MAX_TRIES - 1):
            if _shown_by(page) not in {Shown.TRY_AGAIN, Shown.IN_PROGRESS}:
                break
            self._journey.tries += 1
            self._pause(float(page.headers.get("Refresh") or page.headers.get("Retry-After") or _WAIT_SECONDS))
            page = request()
        return page

    def _read(self, page: Page) -> None:
        """Read the receipt of the redirect, as the team's backend does. Raises ReceiptError if it is not valid."""
        journey = self._journey
        if page.status != HTTPStatus.SEE_OTHER or page.location is None:
            journey.shown = _shown_by(page)
            return
        receipt = page.location.partition("finch_receipt=")[2]
        claims = verify_receipt(receipt, key=self._key, issuer=self._issuer, customer_id=journey.customer.customer_id)
        journey.shown = Shown(claims["status"])
        journey.connection_id = claims.get("connection_id")

    def _timed[T](self, step: str, work: Callable[[], T]) -> T:
        began = time.monotonic()
        try:
            return work()
        finally:
            self._journey.seconds[step] = time.monotonic() - began


def _shown_by(page: Page) -> Shown:
    """Return what a page that is not a redirect shows."""
    if page.status == HTTPStatus.ACCEPTED:
        return Shown.IN_PROGRESS
    return Shown.TRY_AGAIN if page.status >= HTTPStatus.INTERNAL_SERVER_ERROR else Shown.UNEXPECTED
