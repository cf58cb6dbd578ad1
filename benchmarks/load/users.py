"""The users of a load run: several browsers at once, each taking the next customer until all flows are done."""

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
_INTENTS = {Intent.CONNECT: 94, Intent.DECLINE: 3, Intent.LEAVE: 3}
"""Per hundred people."""

_PROGRESS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a run. `faults` is a share from 0 to 1; no flow starts after `seconds`."""

    flows: int
    browsers: int
    faults: float
    seed: int
    seconds: float


type Progress = Callable[[list[Journey], float], None]
"""Takes the journeys that have ended, and the seconds since the run began."""


class Users:
    """Runs the people. After `stop` is set no new flow starts; those that are running finish."""

    def __init__(self, plan: Plan, harness: Harness, stop: threading.Event) -> None:
        self._plan = plan
        self._harness = harness
        self._stop = stop
        self._kid, self._key = harness.stack.link_key()
        self._random = random.Random(plan.seed)  # noqa: S311  # for intents, not for secrets
        self._lock = threading.Lock()
        self._started = 0
        self.journeys: list[Journey] = []
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def run(self, progress: Progress) -> None:
        """Run until every journey has ended."""
        began = time.monotonic()
        with ThreadPoolExecutor(self._plan.browsers, thread_name_prefix="browser") as browsers:
            running = {browsers.submit(self._browse, began) for _ in range(self._plan.browsers)}
            while running:
                done, running = wait(running, timeout=_PROGRESS_SECONDS)
                for browser in done:
                    browser.result()
                self.seconds = time.monotonic() - began
                progress(self.journeys, self.seconds)

    def _browse(self, began: float) -> None:
        """Run one customer after the other in one browser thread."""
        while not self._stop.is_set() and time.monotonic() - began < self._plan.seconds:
            customer = self._next()
            if customer is None:
                break
            self.journeys.append(Person(customer, key=self._key, issuer=self._harness.stack.public_url).run())
        with self._lock:
            self.cpu_seconds += time.thread_time()

    def _next(self) -> Customer | None:
        with self._lock:
            if self._started == self._plan.flows:
                return None
            self._started += 1
            number = self._started
            intent = self._random.choices(list(_INTENTS), weights=list(_INTENTS.values()))[0]
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
