"""One customer's way through a connection: the link, Finch, the callback.

Does what the pages say: presses the button, waits while a flow is being finished, tries again when told to; a few
times, as a person would, and then goes away.
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
"""So often a person asks the same address before they give up."""

_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')
_WAIT_SECONDS = 2.0

type Pause = Callable[[float], object]
"""Waits so many seconds."""


class Intent(enum.StrEnum):
    """What a person wants at Finch."""

    CONNECT = "connect"
    DECLINE = "decline"
    LEAVE = "leave"


class Shown(enum.StrEnum):
    """What a person was last shown. The first five are a receipt's words."""

    CONNECTED = "connected"
    DENIED = "denied"
    FAILED = "failed"
    ORPHANED = "orphaned"
    QUARANTINED = "quarantined"
    BEING_FINISHED = "being finished"
    TRY_AGAIN = "try again"
    NOTHING = "nothing, left at Finch"
    ANYTHING_ELSE = "anything else"
    NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer with one link and a login of its own at Finch, so that its connection is its own."""

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
    """What became of one customer, as the customer saw it.

    `seconds` is how long each step took, waits included; `tries` counts the answers that were not the last word.
    `opened` says that the link led to Finch; `ended` is the monotonic clock when the person had the last word.
    """

    customer: Customer
    shown: Shown = Shown.NO_ANSWER
    opened: bool = False
    connection_id: str | None = None
    tries: int = 0
    ended: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


class Person:
    """Plays one customer. `key` and `issuer` verify receipts, as the team's backend does."""

    def __init__(self, customer: Customer, *, key: str, issuer: str, pause: Pause = time.sleep) -> None:
        self._customer = customer
        self._key = key
        self._issuer = issuer
        self._pause = pause
        self._browser = Browser()
        self._journey = Journey(customer)

    def go(self) -> Journey:
        """Go the whole way, as far as it leads."""
        try:
            self._go()
        except requests.RequestException:
            self._journey.shown = Shown.NO_ANSWER
        self._journey.ended = time.monotonic()
        return self._journey

    def _go(self) -> None:
        journey, customer = self._journey, self._customer
        opened = self._timed("link", self._open)
        if opened.location is None:
            journey.shown = _word(opened)
            return
        journey.opened = True
        if customer.intent is Intent.LEAVE:
            journey.shown = Shown.NOTHING
            return
        address = opened.location
        callback = self._timed("finch", lambda: self._at_finch(address))
        self._read(self._timed("callback", lambda: self._retry(lambda: self._browser.get(callback))))

    def _open(self) -> Page:
        """Open the link; where it asks first, press the button."""
        page = self._retry(lambda: self._browser.get(self._customer.link))
        fields = {name: html.unescape(value) for name, value in _HIDDEN.findall(page.text)}
        if page.status == HTTPStatus.OK and fields:
            action = self._customer.link.partition("?")[0]
            return self._retry(lambda: self._browser.post(action, fields))
        return page

    def _at_finch(self, address: str) -> str:
        if self._customer.intent is Intent.DECLINE:
            return deny(Browser(), address)
        return approve(Browser(), address, username=self._customer.username)

    def _retry(self, ask: Callable[[], Page]) -> Page:
        """Ask until there is a last word, as often as a person would, with the waits that the pages ask for."""
        page = ask()
        for _ in range(MAX_TRIES - 1):
            if _word(page) not in {Shown.TRY_AGAIN, Shown.BEING_FINISHED}:
                break
            self._journey.tries += 1
            self._pause(float(page.headers.get("Refresh") or page.headers.get("Retry-After") or _WAIT_SECONDS))
            page = ask()
        return page

    def _read(self, page: Page) -> None:
        """Read the receipt of the way back, as the team's backend does. Raises ReceiptError for one that is none."""
        journey = self._journey
        if page.status != HTTPStatus.SEE_OTHER or page.location is None:
            journey.shown = _word(page)
            return
        receipt = page.location.partition("finch_receipt=")[2]
        claims = verify_receipt(receipt, key=self._key, issuer=self._issuer, customer_id=journey.customer.customer_id)
        journey.shown = Shown(claims["status"])
        journey.connection_id = claims.get("connection_id")

    def _timed[T](self, step: str, do: Callable[[], T]) -> T:
        begun = time.monotonic()
        try:
            return do()
        finally:
            self._journey.seconds[step] = time.monotonic() - begun


def _word(page: Page) -> Shown:
    """Return what a page that is no redirect says."""
    if page.status == HTTPStatus.ACCEPTED:
        return Shown.BEING_FINISHED
    return Shown.TRY_AGAIN if page.status >= HTTPStatus.INTERNAL_SERVER_ERROR else Shown.ANYTHING_ELSE
