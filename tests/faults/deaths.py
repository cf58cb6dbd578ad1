"""The callback's deaths, as data: where it is killed, and what has to come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from local.engine.microburst import Kind
from local.simulator import Fault
from tests.faults.harness import Harness, Person, until
from tests.faults.scenarios import SAVED, Result, away, ended, fault, standing


@contextmanager
def held(call: str, person: Person) -> Iterator[Callable[[], bool]]:
    """Have a call wait for its answer, which AWS never gives; yield what tells whether it waits."""
    with person.harness.proxy.breaking(fault(call, Kind.HELD, person)) as rules:
        yield lambda: bool(person.harness.proxy.broken(rules))


def end[T](harness: Harness, function: str, running: Future[T]) -> None:
    """Kill a function that is at work."""
    assert not running.done()
    assert harness.kill(function) > 0


@dataclass(frozen=True, slots=True)
class Death:
    """The callback is killed while it waits for this call's answer (None: for Finch's); what then comes of it."""

    name: str
    at: str | None
    expected: Result
    vault_is_away: bool = False
    needs_people = True
    alone = True
    session = False

    def run(self, harness: Harness) -> Result:
        """Have the callback die."""
        person = harness.person()
        callback = person.approved()
        if self.at == "read the client secret":
            harness.kill("CallbackFunction")  # a cold one reads it
        with (
            harness.proxy.breaking(*[away("create the secret", person)] if self.vault_is_away else []),
            held(self.at or "acquire the lease", person) as waits,
            ThreadPoolExecutor(1) as browser,
        ):
            if self.at is None:
                harness.finch.faults.add(Fault("drip_header", code=person.codes[-1]))
            page = browser.submit(person.come_back, callback)
            until(waits if self.at else lambda: person.exchanges)
            until(lambda: standing(person) == "claimed")
            end(harness, "CallbackFunction", page)
            said, row = person.answer_in(page.result()), standing(person)
        return ended(person, said, row, callback)

    @property
    def kept(self) -> str:
        """Whether the token of this very attempt is kept."""
        return "no: told as orphaned" if "orphaned" in self.expected.events else "yes"


_BROKEN = replace(SAVED, answer="broken", row="claimed")
_LOST = Result("broken", "claimed", "orphaned", 2, 1, ("orphaned", "connected"))
DEATHS = (
    Death("after the claim", "read the client secret", replace(_LOST, exchanges=1)),
    Death("during the exchange", None, _LOST),
    Death("after the exchange", "acquire the lease", _LOST),
    Death("after leasing the connection", "create the secret", _LOST),
    Death("after the store", "settle", _BROKEN),
    Death("after the fallback", "settle", _BROKEN, vault_is_away=True),
)
"""In the order of the steps."""
