"""`make load`: many people at once against the deployed stack on this machine, and an account of every flow.

Settings: FLOWS, BROWSERS, FAULTS (percent of AWS calls and Finch exchanges that fail), MINUTES (no new flows after
that), SEED, OVERDUE (number of overdue rows for the sweeper, afterwards), and RECORD=1 to write the report into
docs/reliability.md. Ctrl-C starts no new flows, finishes the running ones and still accounts for them.
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
from benchmarks.load.settings import LoadSettings, load_settings
from benchmarks.load.users import Plan
from local.engine.supervised import ROOT, EngineError
from local.settings import SettingsError

DOCUMENT = ROOT / "docs" / "reliability.md"

_LINE_INTERVAL_SECONDS = 10.0
_BAR_WIDTH = 30


class ProgressLine:
    """Shows the progress: one line that is rewritten on a terminal, or a new line every ten seconds elsewhere."""

    def __init__(self, flows: int) -> None:
        self._flows = flows
        self._next = 0.0

    def __call__(self, journeys: list[Journey], seconds: float) -> None:
        """Show the progress; see `users.Progress`."""
        is_terminal, is_done = sys.stderr.isatty(), len(journeys) == self._flows
        if not (is_terminal or is_done or seconds >= self._next):
            return
        self._next = seconds + _LINE_INTERVAL_SECONDS
        shown = Counter(journey.shown for journey in list(journeys))
        filled = len(journeys) * _BAR_WIDTH // self._flows
        line = (
            f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {len(journeys):,}/{self._flows:,} flows  {seconds:4.0f} s  "
            f"{len(journeys) / seconds if seconds else 0.0:5.1f}/s  connected {shown[Shown.CONNECTED]:,}"
        )
        end = "\n" if is_done or not is_terminal else ""
        print(f"\r{line}" if is_terminal else line, end=end, file=sys.stderr, flush=True)


def command(settings: LoadSettings) -> str:
    """Return the command that makes a report with these settings."""
    command = f"make load FLOWS={settings.flows} BROWSERS={settings.browsers} FAULTS={settings.faults * 100:.0f}"
    overdue = f" OVERDUE={settings.overdue}" if settings.overdue else ""
    return f"{command} SEED={settings.seed}{overdue} RECORD=1"


def main() -> int:
    """Run the load, print the report, and record it if requested.

    Returns 0 if all flows were started and accounted for, 1 if not, and 2 for a wrong setting or an engine error.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        _log(str(error))
        return 2
    try:
        with harness(with_faults=settings.faults > 0, seed=settings.seed, echo=_log) as ready:
            complete = _run(settings, ready)
            _log("Removing the stack")
    except EngineError as error:
        _log(str(error))
        return 2
    return 0 if complete else 1


def _run(settings: LoadSettings, ready: Harness) -> bool:
    """Run on a harness, print and record; return whether all flows were started and accounted for."""
    plan = Plan(settings.flows, settings.browsers, settings.faults, settings.seed, settings.minutes * 60)
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    _log(f"Running {plan.flows:,} flows with {plan.browsers} browsers")
    load = run(plan, ready, ProgressLine(plan.flows), stop)
    swept = None
    if settings.overdue:
        _log(f"Sweeping {settings.overdue:,} overdue rows")
        swept = sweep_overdue(ready, settings.overdue)
    text = report.markdown(load, swept, command(settings))
    print(f"\n{text}\n", flush=True)
    complete = load.account.started == plan.flows and not (load.account.problems or (swept and swept.problems))
    if settings.record and complete:
        report.write_between_markers(DOCUMENT, text)
        _log(f"Report written into {DOCUMENT.relative_to(ROOT)}.")
    return complete


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
