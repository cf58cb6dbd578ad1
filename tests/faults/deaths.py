"""The callback's deaths, as data: where it is killed, and what has to come of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.faults.plays import SAVED, Story


@dataclass(frozen=True, slots=True)
class Death:
    """The callback is killed while it waits for this call's answer (None: for Finch's); what then comes of it."""

    name: str
    at: str | None
    story: Story
    vault_is_away: bool = False

    @property
    def kept(self) -> str:
        """Whether the token of this very attempt is kept."""
        return "no: told as orphaned" if "orphaned" in self.story.events else "yes"


_BROKEN = replace(SAVED, answer="broken", row="claimed")
_LOST = Story("broken", "claimed", "orphaned", 2, 1, ("orphaned", "connected"))
DEATHS = (
    Death("after the claim", "read the client secret", replace(_LOST, exchanges=1)),
    Death("during the exchange", None, _LOST),
    Death("after the exchange", "own", _LOST),
    Death("after owning the connection", "create the secret", _LOST),
    Death("after the store", "settle", _BROKEN),
    Death("after the fallback", "settle", _BROKEN, vault_is_away=True),
)
"""In the order of the steps."""
