"""What came of a run, as Markdown: the account, how long each step took, and where the time went."""

from __future__ import annotations

import os
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.load import cpu
from benchmarks.load.harness import AT_ONCE
from benchmarks.load.overdue import Swept
from benchmarks.load.run import Load

BEGIN, END = "<!-- load: written by the command below, not by hand -->", "<!-- load: end -->"

_FULL = 0.85
"""From this share of what it has on, a part counts as the limit."""

_MOST_PROBLEMS, _MOST_WARNINGS = 50, 12


def markdown(load: Load, swept: Swept | None, command: str) -> str:
    """Return the whole report; `swept` is None when nothing overdue was asked for."""
    parts = [_head(load, command), _account(load), _steps(load), _where(load)]
    return "\n\n".join(parts if swept is None else [*parts, _overdue(swept)])


def write_between_markers(document: Path, text: str) -> None:
    """Put the report between its markers in a document. Raises ValueError when they are not there."""
    before = document.read_text()
    pattern = re.compile(re.escape(BEGIN) + r".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(before):
        raise ValueError(f"{document.name} has no place for it: {BEGIN} … {END}")
    document.write_text(pattern.sub(lambda _: f"{BEGIN}\n\n{text}\n\n{END}", before))


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Return p50, p95 and p99; zeros for nothing, and the one value for one.

    >>> percentiles([1.0, 2.0, 3.0])[0]
    2.0
    """
    if not seconds:
        return 0.0, 0.0, 0.0
    if len(seconds) == 1:
        return seconds[0], seconds[0], seconds[0]
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]


def rates(load: Load) -> tuple[float, float]:
    """Return journeys a second: of the whole run, and of its second half, when the functions are warm."""
    ends = sorted(journey.ended for journey in load.journeys)
    if len(ends) < 2 or not load.seconds:  # noqa: PLR2004  # two ends make a distance
        return 0.0, 0.0
    half = ends[len(ends) // 2 :]
    span = half[-1] - half[0]
    return len(ends) / load.seconds, (len(half) - 1) / span if span else 0.0


def _head(load: Load, command: str) -> str:
    plan, account = load.plan, load.account
    overall, warm = rates(load)
    fits = "every flow is accounted for" if not account.problems else f"{len(account.problems)} things do not fit"
    faults = f"{plan.faults:.0%} of AWS's calls and of Finch's exchanges broken" if plan.faults else "no faults"
    lines = [
        f"```sh\n{command}\n```\n",
        f"**{account.begun:,} flows, {plan.browsers} browsers at once, {faults}: {fits}.**",
        f"It took {load.seconds:,.0f} seconds: {overall:.1f} flows a second with all cold starts, {warm:.1f} in the "
        "second half.",
    ]
    if account.begun < plan.flows:
        lines.append(f"Of {plan.flows:,} flows {plan.flows - account.begun:,} were not begun: the time was over.")
    return "\n".join(lines)


def _account(load: Load) -> str:
    account, (calls, broken) = load.account, load.aws_calls
    events = Counter(account.events)
    live = events["Connection Established"] + events["Connection Reauthorized"]
    lines = [
        "| the person was last told | people | rows, in the end |",
        "| --- | ---: | --- |",
        *(f"| {shown} | {sum(rows.values()):,} | {_listed(rows)} |" for shown, rows in account.shown.items()),
        "",
        f"- {account.rows.get('connected', 0):,} connected rows = {live:,} events of a connection = "
        f"{account.secrets:,} secrets.",
        f"- Finch gave {account.granted:,} tokens, at most one an attempt. Those that are in no secret were lost on",
        "  the way from Finch, and told as orphaned.",
        f"- {sum(account.rows.values()):,} rows = {sum(events.values()):,} events, in {account.deliveries:,} "
        "deliveries: the bus delivers at least once.",
        f"- Reasons: {_listed(account.reasons) or 'none'}.",
        f"- Afterwards {_sweeps(load.sweeps)} ({_listed(_summed(load.sweeps)) or 'nothing to do'}).",
    ]
    if load.plan.faults:
        lines.append(f"- Broken: {broken:,} of {calls:,} AWS calls. Finch's answers: {_listed(load.exchanges)}.")
    if load.warnings:
        lines += ["- The functions' warnings:", *(f"  - {number:,} × {said}" for said, number in _most(load.warnings))]
    if account.problems:
        lines += ["", "Does not fit:", "", *(f"- {problem}" for problem in account.problems[:_MOST_PROBLEMS])]
    return "\n".join(lines)


def _steps(load: Load) -> str:
    def taken(step: str) -> list[float]:
        return [one.seconds[step] for one in load.journeys if step in one.seconds]

    rows: list[tuple[str, Sequence[float], bool]] = [
        ("opens the link, until the way to Finch", taken("link"), True),
        ("… of it the function `connect`", load.invocations["Connect"], False),
        ("comes back, until the receipt", taken("callback"), True),
        ("… of it the function `callback`", load.invocations["Callback"], False),
        ("from the settled row to the event at the consumer", load.event_seconds, True),
        ("… of it the function `relay`, a batch", load.invocations["Relay"], False),
        ("apart: consent, provider and login at the simulated Finch", taken("finch"), True),
    ]
    lines = [
        "| step, in seconds | number | p50 | p95 | p99 | second half: p50 | p95 | p99 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for what, seconds, in_order in rows:
        later = percentiles(seconds[len(seconds) // 2 :]) if in_order else None
        cells = [f"{value:.2f}" for value in percentiles(seconds)]
        cells += [f"{value:.2f}" for value in later] if later is not None else ["", "", ""]
        lines.append(f"| {what} | {len(seconds):,} | {' | '.join(cells)} |")
    lines += [
        "",
        "Steps are as the person has them, with the waits that pages ask for; functions as the emulator reports them,",
        f"with its cold starts. At most {AT_ONCE} functions run at once here, so most of a step is waiting for a turn, "
        "and for a",
        "processor; in the second half the functions are warm.",
    ]
    if load.plan.faults:
        lines += [
            "The emulator brings the stream to one relay at a time, which waits for the retries of what was broken:",
            "then events queue up there, and after two minutes the sweeper tells them too.",
        ]
    return "\n".join(lines)


def _where(load: Load) -> str:
    total = sum(load.cpu_seconds.values())
    if not total:
        return "Whose CPU time it was is not known: there is no /proc here."
    lines = ["| CPU time of | s | ms a flow | share | processes |", "| --- | ---: | ---: | ---: | ---: |"]
    for part, seconds in sorted(load.cpu_seconds.items(), key=lambda one: -one[1]):
        per_flow = 1000 * seconds / max(1, load.account.begun)
        number = load.processes.get(part, "")
        lines.append(f"| {part} | {seconds:.1f} | {per_flow:.1f} | {seconds / total:.0%} | {number} |")
    return "\n".join([*lines, "", *_limit(load, total)])


def _limit(load: Load, total: float) -> list[str]:
    """Say what the limit was, from what was measured."""
    cores = os.cpu_count() or 1
    functions = sum(seconds for part, seconds in load.cpu_seconds.items() if part.startswith("function "))
    cold = sum(number for part, number in load.processes.items() if part.startswith("function "))
    here = sum(load.cpu_seconds.get(part, 0.0) for part in cpu.HERE)
    ours, machine, emulator, api_gateway = (
        seconds / load.seconds
        for seconds in (total, load.machine_seconds, load.cpu_seconds.get(cpu.EMULATOR, 0.0), here)
    )
    if machine >= _FULL * cores:
        limit = "this machine's processors"
    elif emulator >= _FULL:
        limit = "the emulator, one Python process that can use one core"
    elif api_gateway >= _FULL:
        limit = "the process of API gateway, simulator and browsers, which can use one core"
    else:
        limit = "no processor: it was waiting, for what was broken and for what starts"
    return [
        f"The limit was {limit}. {machine:.1f} of {cores} cores were busy, {ours:.1f} with this: the emulator with "
        f"{emulator:.2f},",
        f"API gateway, simulator and browsers with {api_gateway:.2f}. AWS has none of these; it has the functions, "
        f"which took {functions / total:.0%}",
        f"of the CPU time, {cold} cold starts included (a function's processes are its cold starts).",
    ]


def _overdue(swept: Swept) -> str:
    fits = "each has its one outcome and its one event" if not swept.problems else f"{len(swept.problems)} do not"
    lines = [
        f"**{swept.rows:,} overdue rows: {fits}**, after {swept.seconds:,.0f} seconds and {_sweeps(swept.sweeps)}",
        f"({_listed(_summed(swept.sweeps))}).",
        "They were links that nobody finished, outcomes that the stream lost, callbacks that died, and tokens that",
        "waited for the vault.",
        *(f"- {problem}" for problem in swept.problems[:_MOST_PROBLEMS]),
    ]
    return "\n".join(lines)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{word} {number:,}" for word, number in counts.items() if number)


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return Counter(counts).most_common(_MOST_WARNINGS)


def _sweeps(sweeps: Sequence[object]) -> str:
    return f"{len(sweeps)} sweep{'' if len(sweeps) == 1 else 's'}"


def _summed(sweeps: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for sweep in sweeps:
        total.update(sweep)
    return dict(total)
