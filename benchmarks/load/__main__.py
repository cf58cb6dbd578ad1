"""`make load`: many people at once against the deployed stack on this machine, and an account of every flow.

FLOWS, BROWSERS, FAULTS (percent of AWS's calls and of Finch's exchanges that are broken), MINUTES (nobody new comes
after them), SEED, OVERDUE (so many overdue rows for the sweeper, afterwards), and RECORD=1 to write the report into
docs/reliability.md. Ends by itself; Ctrl-C ends it early, and it still accounts.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter

from benchmarks.load import report
from benchmarks.load.harness import Harness, harness
from benchmarks.load.overdue import sweep_overdue
from benchmarks.load.person import Journey, Shown
from benchmarks.load.run import run
from benchmarks.load.users import Plan
from local.engine.supervised import ROOT, EngineError
from local.settings import LoadSettings, SettingsError, load_settings

DOCUMENT = ROOT / "docs" / "reliability.md"

_LINES_SECONDS = 10.0
_BAR = 30


class ProgressLine:
    """Shows how far it is: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self, flows: int) -> None:
        self._flows = flows
        self._next = 0.0

    def __call__(self, journeys: list[Journey], seconds: float) -> None:
        """Show it; see `users.Progress`."""
        live, over = sys.stderr.isatty(), len(journeys) == self._flows
        if not (live or over or seconds >= self._next):
            return
        self._next = seconds + _LINES_SECONDS
        shown = Counter(journey.shown for journey in list(journeys))
        filled = len(journeys) * _BAR // self._flows
        line = (
            f"[{'#' * filled}{'.' * (_BAR - filled)}] {len(journeys):,}/{self._flows:,} flows  {seconds:4.0f} s  "
            f"{len(journeys) / seconds if seconds else 0.0:5.1f}/s  connected {shown[Shown.CONNECTED]:,}"
        )
        print(f"\r{line}" if live else line, end="\n" if over or not live else "", file=sys.stderr, flush=True)


def command(settings: LoadSettings) -> str:
    """Return what makes such a report."""
    command = f"make load FLOWS={settings.flows} BROWSERS={settings.browsers} FAULTS={settings.faults * 100:.0f}"
    more = f" OVERDUE={settings.overdue}" if settings.overdue else ""
    return f"{command} SEED={settings.seed}{more} RECORD=1"


def main() -> int:
    """Run it, print the report, record it when asked to; return 0 only if all flows were begun and accounted for."""
    try:
        settings = load_settings()
    except SettingsError as error:
        _say(str(error))
        return 2
    try:
        with harness(with_faults=settings.faults > 0, seed=settings.seed, echo=_say) as ready:
            complete = _run(settings, ready)
            _say("Removing it all")
    except EngineError as error:
        _say(str(error))
        return 2
    return 0 if complete else 1


def _run(settings: LoadSettings, ready: Harness) -> bool:
    """Run on a harness, print and record; return whether all flows were begun and all is accounted for."""
    plan = Plan(settings.flows, settings.browsers, settings.faults, settings.seed, settings.minutes * 60)
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    _say(f"Letting {plan.flows:,} people come with {plan.browsers} browsers")
    load = run(plan, ready, ProgressLine(plan.flows), stop)
    swept = None
    if settings.overdue:
        _say(f"Sweeping {settings.overdue:,} overdue rows")
        swept = sweep_overdue(ready, settings.overdue)
    text = report.markdown(load, swept, command(settings))
    print(f"\n{text}\n", flush=True)
    complete = load.account.begun == plan.flows and not (load.account.problems or (swept and swept.problems))
    if settings.record and complete:
        report.write_between_markers(DOCUMENT, text)
        _say(f"Written into {DOCUMENT.relative_to(ROOT)}.")
    return complete


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
