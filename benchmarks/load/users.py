"""The people of a load run: so many browsers at once, each taking the next customer until there are enough."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from benchmarks.load.harness import Harness
from benchmarks.load.person import Customer, Intent, Journey, Person
from cli.signing import sign_link

_LINK_SECONDS = 3600
_WANTED = {Intent.CONNECT: 94, Intent.DECLINE: 3, Intent.LEAVE: 3}
"""Of a hundred people."""

_PROGRESS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much. `faults` is a share from 0 to 1; nobody new comes after `seconds`."""

    flows: int
    browsers: int
    faults: float
    seed: int
    seconds: float


type Progress = Callable[[list[Journey], float], None]
"""Takes the journeys that are over, and the seconds since the first began."""


class Users:
    """Lets people come. Setting `stop` ends their coming early: who is on the way finishes."""

    def __init__(self, plan: Plan, harness: Harness, stop: threading.Event) -> None:
        self._plan = plan
        self._harness = harness
        self._stop = stop
        self._kid, self._key = harness.stack.link_key()
        self._dice = random.Random(plan.seed)  # noqa: S311  # what people want, no secret
        self._lock = threading.Lock()
        self._begun = 0
        self.journeys: list[Journey] = []
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def run(self, progress: Progress) -> None:
        """Return when everyone who came has left."""
        begun = time.monotonic()
        with ThreadPoolExecutor(self._plan.browsers, thread_name_prefix="browser") as browsers:
            waiting = {browsers.submit(self._browse, begun) for _ in range(self._plan.browsers)}
            while waiting:
                done, waiting = wait(waiting, timeout=_PROGRESS_SECONDS)
                for browser in done:
                    browser.result()
                self.seconds = time.monotonic() - begun
                progress(self.journeys, self.seconds)

    def _browse(self, begun: float) -> None:
        """Play one customer after the other."""
        while not self._stop.is_set() and time.monotonic() - begun < self._plan.seconds:
            customer = self._next()
            if customer is None:
                break
            self.journeys.append(Person(customer, key=self._key, issuer=self._harness.stack.public_url).go())
        with self._lock:
            self.cpu_seconds += time.thread_time()

    def _next(self) -> Customer | None:
        with self._lock:
            if self._begun == self._plan.flows:
                return None
            self._begun += 1
            number = self._begun
            intent = self._dice.choices(list(_WANTED), weights=list(_WANTED.values()))[0]
        customer_id, link_id, url = f"customer-{number}", uuid.uuid4().hex, self._harness.stack.public_url
        link = sign_link(
            connect_url=f"{url}/connect",
            kid=self._kid,
            key=self._key,
            customer_id=customer_id,
            link_id=link_id,
            lifetime_seconds=_LINK_SECONDS,
            return_url=f"{url}/connected",
            confirm=False,
        )
        return Customer(customer_id, link_id, link, f"smallco+{number}", intent)
