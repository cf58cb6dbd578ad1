"""The fault matrix as data: each AWS call of each function, what goes wrong with it, and what has to come of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from local.engine.microburst import Kind

KINDS = (Kind.THROTTLED, Kind.ERROR, Kind.RESET_BEFORE, Kind.RESET_AFTER, Kind.SLOW, Kind.TRUNCATED)
"""The columns."""

ONCE, LASTING = "once", "lasting"

OUTCOMES = {
    "saved": "a retry saves it; nobody notices",
    "again": "told to try again; nothing was spent, and the same address then works",
    "later": "told that it worked; the token waits in the fallback until the sweeper has put it into the vault",
    "finished": "told to try again; the token is safe, the sweeper finishes, and the same address then says so",
    "late answer": "told to try again; all was done, and the same address then says so",
    "over": "told to try again, then to start again; nothing was exchanged, and the link starts anew",
    "unclear": "told to try again, then to start again; the sweeper has found no token, and an alarm says so",
    "lost": "told to start again; the row and an alarm say that a token was lost, and the link starts anew",
    "retried": "the relay names the record as failed, and the stream brings it again",
    "swept": "the person notices nothing; the sweeper does what the relay could not",
    "next sweep": "this sweep leaves it as it was, and the next one moves it on",
}
"""The words of the table, and what each of them promises."""


@dataclass(frozen=True, slots=True)
class Row:
    """One call of one function. `outcomes`: one for each kind, as `once/lasting`.

    `alone`: no other case may be run beside it, because the call does not tell whose it is. `session`: the call is
    made in that form of the redirect only.
    """

    function: str
    call: str
    outcomes: tuple[str, ...]
    alone: bool = False
    session: bool = False

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.function}: {self.call}"


@dataclass(frozen=True, slots=True)
class Case:
    """One fault of one call: it happens once, or until it is cleared (`times`, as AwsFault counts)."""

    row: Row
    kind: Kind
    duration: str
    outcome: str

    @property
    def name(self) -> str:
        """A test's id."""
        return f"{self.row.function}-{self.row.call}-{self.kind}-{self.duration}".replace(" ", "_")

    @property
    def needs_people(self) -> bool:
        """Whether somebody is at it, and not the stream or the clock."""
        return self.row.function in {"connect", "callback"}

    @property
    def alone(self) -> bool:
        """See Row."""
        return self.row.alone

    @property
    def session(self) -> bool:
        """See Row."""
        return self.row.session

    @property
    def times(self) -> int | None:
        """See AwsFault."""
        return 1 if self.duration == ONCE else None


def _but(usual: str, answer_lost: str, unanswered: str | None = None) -> tuple[str, ...]:
    """Return a row's outcomes where it matters whether AWS did what was asked, or (None: the same) said nothing."""
    silence = unanswered or usual
    by_kind = {
        Kind.RESET_BEFORE: silence,
        Kind.SLOW: silence,
        Kind.RESET_AFTER: answer_lost,
        Kind.TRUNCATED: answer_lost,
    }
    return tuple(by_kind.get(kind, usual) for kind in KINDS)


_ASKED = _but("saved/again", "saved/again")
_STORED = _but("saved/later", "saved/later")
_SWEPT = _but("saved/next sweep", "saved/next sweep")
_DONE_ALL_THE_SAME = _but("saved/next sweep", "saved/saved")

ROWS = (
    Row("connect", "read the link key", _ASKED, alone=True),
    Row("connect", "read the client secret", _ASKED, alone=True, session=True),
    Row("connect", "start", _ASKED),
    Row("callback", "read the link key", _ASKED, alone=True),
    Row("callback", "read the client secret", _ASKED, alone=True),
    Row("callback", "look for the flow", _ASKED, session=True),
    # Claimed, and the function does not know it: nothing is exchanged.
    Row("callback", "claim", _but("saved/again", "saved/over")),
    # The client secret cannot be read.
    Row("callback", "release", _but("again/over", "again/again"), alone=True),
    Row("callback", "acquire the lease", _STORED),
    Row("callback", "create the secret", _STORED),
    Row("callback", "put a version", _STORED),
    Row("callback", "restore the secret", _STORED),
    # The vault is away. What may be in the fallback is not to be called lost.
    Row("callback", "fallback", _but("later/lost", "later/finished", unanswered="later/unclear")),
    Row("callback", "settle", _but("saved/finished", "saved/late answer")),
    Row("relay", "end the lease", _but("saved/swept", "saved/saved")),
    Row("relay", "publish", _but("saved/retried", "saved/retried")),
    Row("relay", "mark", _but("saved/swept", "saved/saved")),
    Row("relay", "dead-letter", _but("saved/retried", "saved/retried")),
    Row("sweeper", "query the leases", _SWEPT),
    Row("sweeper", "query what is due", _SWEPT),
    Row("sweeper", "settle as abandoned", _DONE_ALL_THE_SAME),
    Row("sweeper", "look into the fallback", _SWEPT),
    Row("sweeper", "acquire the lease", _SWEPT),
    Row("sweeper", "create the secret", _SWEPT),
    Row("sweeper", "delete from the fallback", _SWEPT),
    Row("sweeper", "settle", _DONE_ALL_THE_SAME),
    Row("sweeper", "read the flow", _SWEPT),
    Row("sweeper", "look into the vault", _SWEPT),
    Row("sweeper", "end the lease", _DONE_ALL_THE_SAME),
    Row("sweeper", "publish", _SWEPT),
    Row("sweeper", "mark", _DONE_ALL_THE_SAME),
)


def _cases() -> Iterator[Case]:
    for row in ROWS:
        for kind, outcome in zip(KINDS, row.outcomes, strict=True):
            for duration, word in zip((ONCE, LASTING), outcome.split("/"), strict=True):
                yield Case(row, kind, duration, word)


CASES = tuple(_cases())
