"""The fault matrix as data: each AWS call of each function, each way it can fail, and the expected outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from local.engine.microburst import Kind

KINDS = (Kind.THROTTLED, Kind.ERROR, Kind.RESET_BEFORE, Kind.RESET_AFTER, Kind.SLOW, Kind.TRUNCATED)
"""The columns of the table."""

ONCE, LASTING = "once", "lasting"

OUTCOMES = {
    "recovered": "a retry succeeds, or AWS had done the work; nobody notices",
    "try again": "the person is asked to try again; nothing was spent, and the same URL then works",
    "stored later": "the person sees success; the token waits in the fallback until the sweeper stores it in the vault",
    "finished later": "the person is asked to try again; the token is safe, the sweeper finishes, and the same URL "
    "shows success",
    "shown later": "the person is asked to try again; the flow was already finished, and the same URL shows success",
    "start again": "the person is asked to try again, then to start again; nothing was exchanged",
    "token missing": "the person is asked to try again, then to start again; no token is found and an alarm fires",
    "token lost": "the person is asked to start again; the row's reason is `token_lost` and an alarm fires",
    "redelivered": "the relay reports the record as failed, and the stream delivers it again",
    "swept": "nobody notices; the sweeper does what the relay could not",
    "next sweep": "this sweep leaves the row unchanged, and the next one finishes the work",
}
"""The words of the table, and what each of them means."""


@dataclass(frozen=True, slots=True)
class Row:
    """One call of one function. `outcomes` has one entry for each kind of fault, as `once/lasting`.

    `exclusive`: no other case may run on the same harness, because the request does not show whose flow it is for.
    `session`: only the session form of the redirect makes this call.
    """

    function: str
    call: str
    outcomes: tuple[str, ...]
    exclusive: bool = False
    session: bool = False

    @property
    def name(self) -> str:
        """The row's heading in the table."""
        return f"{self.function}: {self.call}"


@dataclass(frozen=True, slots=True)
class Case:
    """One fault of one call. It happens once, or lasts until it is cleared (see `times`)."""

    row: Row
    kind: Kind
    duration: str
    outcome: str

    @property
    def name(self) -> str:
        """The test id."""
        return f"{self.row.function}-{self.row.call}-{self.kind}-{self.duration}".replace(" ", "_")

    @property
    def needs_person(self) -> bool:
        """Whether a person triggers the call, and not the stream or the schedule."""
        return self.row.function in {"connect", "callback"}

    @property
    def exclusive(self) -> bool:
        """See Row."""
        return self.row.exclusive

    @property
    def session(self) -> bool:
        """See Row."""
        return self.row.session

    @property
    def times(self) -> int | None:
        """How often the fault happens, as AwsFault counts it; None for no limit."""
        return 1 if self.duration == ONCE else None


def _outcomes(usual: str, answer_lost: str, unanswered: str | None = None) -> tuple[str, ...]:
    """Return a row's outcomes, by kind of fault.

    `answer_lost` is for faults after which AWS has done the work, `unanswered` for those after which the caller cannot
    know (None: as usual).
    """
    silence = unanswered or usual
    by_kind = {
        Kind.RESET_BEFORE: silence,
        Kind.SLOW: silence,
        Kind.RESET_AFTER: answer_lost,
        Kind.TRUNCATED: answer_lost,
    }
    return tuple(by_kind.get(kind, usual) for kind in KINDS)


_TRY_AGAIN = _outcomes("recovered/try again", "recovered/try again")
_STORED_LATER = _outcomes("recovered/stored later", "recovered/stored later")
_REDELIVERED = _outcomes("recovered/redelivered", "recovered/redelivered")
_SWEPT = _outcomes("recovered/swept", "recovered/recovered")
_NEXT_SWEEP = _outcomes("recovered/next sweep", "recovered/next sweep")
_NEXT_SWEEP_UNLESS_DONE = _outcomes("recovered/next sweep", "recovered/recovered")

ROWS = (
    Row("connect", "read the link key", _TRY_AGAIN, exclusive=True),
    Row("connect", "read the client credentials", _TRY_AGAIN, exclusive=True, session=True),
    Row("connect", "start", _TRY_AGAIN),
    Row("callback", "read the link key", _TRY_AGAIN, exclusive=True),
    Row("callback", "read the client credentials", _TRY_AGAIN, exclusive=True),
    Row("callback", "look up the flow", _TRY_AGAIN, session=True),
    # When the answer is lost, the claim is made but the function does not know it, so it exchanges nothing.
    Row("callback", "claim", _outcomes("recovered/try again", "recovered/start again")),
    # Here the client credentials cannot be read either.
    Row("callback", "release", _outcomes("try again/start again", "try again/try again"), exclusive=True),
    Row("callback", "acquire the lease", _STORED_LATER),
    Row("callback", "create the secret", _STORED_LATER),
    Row("callback", "put a secret version", _STORED_LATER),
    Row("callback", "restore the secret", _STORED_LATER),
    # Here the vault is unavailable too. A token that may be in the fallback must not be reported as lost.
    Row(
        "callback",
        "write the fallback",
        _outcomes("stored later/token lost", "stored later/finished later", unanswered="stored later/token missing"),
    ),
    Row("callback", "settle", _outcomes("recovered/finished later", "recovered/shown later")),
    Row("relay", "end the lease", _SWEPT),
    Row("relay", "publish", _REDELIVERED),
    Row("relay", "mark as published", _SWEPT),
    Row("relay", "send the dead letter", _REDELIVERED),
    Row("sweeper", "query the leases", _NEXT_SWEEP),
    Row("sweeper", "query the due flows", _NEXT_SWEEP),
    Row("sweeper", "settle as abandoned", _NEXT_SWEEP_UNLESS_DONE),
    Row("sweeper", "postpone to the deadline", _NEXT_SWEEP_UNLESS_DONE),
    Row("sweeper", "read the fallback", _NEXT_SWEEP),
    Row("sweeper", "acquire the lease", _NEXT_SWEEP),
    Row("sweeper", "create the secret", _NEXT_SWEEP),
    Row("sweeper", "delete from the fallback", _NEXT_SWEEP),
    Row("sweeper", "settle", _NEXT_SWEEP_UNLESS_DONE),
    Row("sweeper", "read the flow", _NEXT_SWEEP),
    Row("sweeper", "check the vault", _NEXT_SWEEP),
    Row("sweeper", "mark as searched", _NEXT_SWEEP_UNLESS_DONE),
    Row("sweeper", "end the lease", _NEXT_SWEEP_UNLESS_DONE),
    Row("sweeper", "publish", _NEXT_SWEEP),
    Row("sweeper", "mark as published", _NEXT_SWEEP_UNLESS_DONE),
    Row("sweeper", "list the fallback", _NEXT_SWEEP),
)


def _cases() -> Iterator[Case]:
    for row in ROWS:
        for kind, outcomes in zip(KINDS, row.outcomes, strict=True):
            for duration, outcome in zip((ONCE, LASTING), outcomes.split("/"), strict=True):
                yield Case(row, kind, duration, outcome)


CASES = tuple(_cases())
