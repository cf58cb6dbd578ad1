"""Crashes of the callback, as data: where it is killed, and the expected result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from local.engine.microburst import Kind
from local.simulator import Fault
from tests.faults.harness import Harness, Person, until
from tests.faults.scenarios import CONNECTED, Result, completed, fault, outage, row_summary


@contextmanager
def hanging(call: str, person: Person) -> Iterator[Callable[[], bool]]:
    """Leave a call without an answer within the context; yield a callable that returns whether the call was made."""
    with person.harness.proxy.breaking(fault(call, Kind.HELD, person)) as rules:
        yield lambda: bool(person.harness.proxy.broken(rules))


def kill_running[T](harness: Harness, function: str, running: Future[T]) -> None:
    """Kill a function that is handling a request."""
    assert not running.done()
    assert harness.kill(function) > 0


@dataclass(frozen=True, slots=True)
class Death:
    """The callback is killed while it waits for the answer to this call (None: for Finch's answer)."""

    name: str
    at: str | None
    expected: Result
    vault_unavailable: bool = False
    needs_person = True
    exclusive = True
    session = False

    def run(self, harness: Harness) -> Result:
        """Connect one person, and kill the callback at this call."""
        person = harness.person()
        callback = person.approved()
        if self.at == "read the client credentials":
            harness.kill("CallbackFunction")  # only a cold start reads them
        with (
            harness.proxy.breaking(*[outage("create the secret", person)] if self.vault_unavailable else []),
            hanging(self.at or "acquire the lease", person) as is_waiting,
            ThreadPoolExecutor(1) as browser,
        ):
            if self.at is None:
                harness.finch.faults.add(Fault("drip_header", code=person.codes[-1]))
            page = browser.submit(person.come_back, callback)
            until(is_waiting if self.at else lambda: person.exchanges)
            until(lambda: row_summary(person) == "claimed")
            kill_running(harness, "CallbackFunction", page)
            answer, row = person.answer_of(page.result()), row_summary(person)
        return completed(person, answer, row, callback)

    @property
    def token_stored(self) -> str:
        """Whether the token of this attempt is in the vault at the end."""
        return "no, published as orphaned" if "orphaned" in self.expected.events else "yes"


_FINISHED = replace(CONNECTED, answer="server error", row="claimed")
_LOST = Result("server error", "claimed", "orphaned", 2, 1, ("orphaned", "connected"))
DEATHS = (
    Death("after the claim", "read the client credentials", replace(_LOST, exchanges=1)),
    Death("during the exchange", None, _LOST),
    Death("after the exchange", "acquire the lease", _LOST),
    Death("after the lease", "create the secret", _LOST),
    Death("after the store", "settle", _FINISHED),
    Death("after the fallback", "settle", _FINISHED, vault_unavailable=True),
)
"""In the order of the callback's steps."""
