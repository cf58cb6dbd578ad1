"""The report of a run, as Markdown: the account, the duration of each step, and the CPU time of each part."""

from __future__ import annotations

import os
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.load import cpu
from benchmarks.load.harness import MAX_CONCURRENT
from benchmarks.load.overdue import Swept
from benchmarks.load.run import Load

BEGIN, END = "<!-- load: written by the command below, not by hand -->", "<!-- load: end -->"

_BUSY = 0.85
"""A part that uses this share of its processors counts as the limit."""

_MAX_PROBLEMS, _MAX_WARNINGS = 50, 12


def markdown(load: Load, swept: Swept | None, command: str) -> str:
    """Return the whole report. `swept` is None if no overdue rows were requested."""
    parts = [_head(load, command), _account(load), _steps(load), _where(load)]
    return "\n\n".join(parts if swept is None else [*parts, _overdue(swept)])


def write_between_markers(document: Path, text: str) -> None:
    """Write the report between its markers in a document. Raises ValueError if the markers are missing."""
    before = document.read_text()
    pattern = re.compile(re.escape(BEGIN) + r".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(before):
        raise ValueError(f"{document.name} has no markers {BEGIN} … {END}")
    document.write_text(pattern.sub(lambda _: f"{BEGIN}\n\n{text}\n\n{END}", before))


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Return p50, p95 and p99. No values give zeros, and a single value gives itself.

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
    """Return journeys per second for the whole run and for its second half, when the functions are warm."""
    ends = sorted(journey.ended for journey in load.journeys)
    if len(ends) < 2 or not load.seconds:  # noqa: PLR2004  # a rate needs two ends
        return 0.0, 0.0
    half = ends[len(ends) // 2 :]
    span = half[-1] - half[0]
    return len(ends) / load.seconds, (len(half) - 1) / span if span else 0.0


def _head(load: Load, command: str) -> str:
    plan, account = load.plan, load.account
    overall, warm = rates(load)
    verdict = "every flow is accounted for" if not account.problems else _problems(account.problems)
    faults = f"faults in {plan.faults:.0%} of AWS calls and Finch exchanges" if plan.faults else "no faults"
    lines = [
        f"```sh\n{command}\n```\n",
        f"**{account.started:,} flows, {plan.browsers} browsers at once, {faults}: {verdict}.**",
        f"The run took {load.seconds:,.0f} seconds: {overall:.1f} flows per second with all cold starts, {warm:.1f} in "
        "the second half.",
    ]
    if account.started < plan.flows:
        missing = plan.flows - account.started
        lines.append(f"{missing:,} of {plan.flows:,} flows were not started, because the run ended early.")
    return "\n".join(lines)


def _account(load: Load) -> str:
    account, (calls, broken) = load.account, load.aws_calls
    events = Counter(account.events)
    live = events["Connection Established"] + events["Connection Reauthorized"]
    lines = [
        "| the person last saw | people | rows at the end |",
        "| --- | ---: | --- |",
        *(f"| {shown} | {sum(rows.values()):,} | {_listed(rows)} |" for shown, rows in account.shown.items()),
        "",
        f"- {account.rows.get('connected', 0):,} connected rows = {live:,} events for connections = "
        f"{account.secrets:,} secrets.",
        f"- Finch issued {account.tokens:,} tokens, at most one per attempt. Those that are in no secret were lost",
        "  with Finch's answer and published as orphaned.",
        f"- {sum(account.rows.values()):,} rows = {sum(events.values()):,} events, in {account.deliveries:,} "
        "deliveries: the bus delivers at least once.",
        f"- Reasons: {_listed(account.reasons) or 'none'}.",
        f"- Afterwards: {_sweeps(load.sweeps)} ({_listed(_summed(load.sweeps)) or 'nothing to do'}).",
    ]
    if load.plan.faults:
        lines.append(f"- Faults: {broken:,} of {calls:,} AWS calls. Finch's answers: {_listed(load.exchanges)}.")
    if load.warnings:
        lines += ["- The functions' warnings:", *(f"  - {number:,} × {text}" for text, number in _most(load.warnings))]
    if account.problems:
        lines += ["", "Problems:", "", *(f"- {problem}" for problem in account.problems[:_MAX_PROBLEMS])]
    return "\n".join(lines)


def _steps(load: Load) -> str:
    def taken(step: str) -> list[float]:
        return [one.seconds[step] for one in load.journeys if step in one.seconds]

    rows: list[tuple[str, Sequence[float], bool]] = [
        ("from the link to the redirect to Finch", taken("link"), True),
        ("– of that, the function `connect`", load.invocations["Connect"], False),
        ("from the callback to the receipt", taken("callback"), True),
        ("– of that, the function `callback`", load.invocations["Callback"], False),
        ("from the settled row to the event at the consumer", load.event_seconds, True),
        ("– of that, the function `relay`, per batch", load.invocations["Relay"], False),
        ("separately: consent, provider and login at simulated Finch", taken("finch"), True),
    ]
    lines = [
        "| step, in seconds | number | p50 | p95 | p99 | second half: p50 | p95 | p99 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for step, seconds, in_order in rows:
        later = percentiles(seconds[len(seconds) // 2 :]) if in_order else None
        fields = [f"{value:.2f}" for value in percentiles(seconds)]
        fields += [f"{value:.2f}" for value in later] if later is not None else ["", "", ""]
        lines.append(f"| {step} | {len(seconds):,} | {' | '.join(fields)} |")
    lines += [
        "",
        "Steps are measured in the browser and include the waits that pages ask for. Functions are measured by the",
        f"emulator and include cold starts. At most {MAX_CONCURRENT} functions run at once here, so most of a step is "
        "a wait for",
        "a free function or processor. In the second half the functions are warm.",
    ]
    if load.plan.faults:
        lines += [
            "The emulator runs one relay at a time. While the relay retries failed calls, events queue up. After two",
            "minutes the sweeper publishes them as well.",
        ]
    return "\n".join(lines)


def _where(load: Load) -> str:
    total = sum(load.cpu_seconds.values())
    if not total:
        return "The CPU time by part is unknown, because this machine has no /proc."
    lines = ["| CPU time of | s | ms per flow | share | processes |", "| --- | ---: | ---: | ---: | ---: |"]
    for part, seconds in sorted(load.cpu_seconds.items(), key=lambda one: -one[1]):
        per_flow = 1000 * seconds / max(1, load.account.started)
        number = load.processes.get(part, "")
        lines.append(f"| {part} | {seconds:.1f} | {per_flow:.1f} | {seconds / total:.0%} | {number} |")
    return "\n".join([*lines, "", *_limit(load, total)])


def _limit(load: Load, total: float) -> list[str]:
    """Return what limited the run, according to the measured CPU time."""
    cores = os.cpu_count() or 1
    functions = sum(seconds for part, seconds in load.cpu_seconds.items() if part.startswith("function "))
    cold = sum(number for part, number in load.processes.items() if part.startswith("function "))
    in_process = sum(load.cpu_seconds.get(part, 0.0) for part in cpu.IN_PROCESS)
    run, machine, emulator, api_gateway = (
        seconds / load.seconds
        for seconds in (total, load.machine_seconds, load.cpu_seconds.get(cpu.EMULATOR, 0.0), in_process)
    )
    if machine >= _BUSY * cores:
        limit = "this machine's processors"
    elif emulator >= _BUSY:
        limit = "the emulator, one Python process that can use one core"
    elif api_gateway >= _BUSY:
        limit = "the process of API gateway, simulator and browsers, which can use one core"
    else:
        limit = "not a processor: the run waited for retries and cold starts"
    return [
        f"The limit was {limit}. {machine:.1f} of {cores} cores were busy, {run:.1f} of them with this run: the "
        f"emulator used {emulator:.2f},",
        f"API gateway, simulator and browsers {api_gateway:.2f}. On AWS only the functions remain. They took "
        f"{functions / total:.0%} of the CPU",
        f"time, including {cold} cold starts (one for each of a function's processes).",
    ]


def _overdue(swept: Swept) -> str:
    verdict = "each has one outcome and one event" if not swept.problems else _problems(swept.problems)
    lines = [
        f"**{swept.rows:,} overdue rows: {verdict}**, after {swept.seconds:,.0f} seconds and {_sweeps(swept.sweeps)}",
        f"({_listed(_summed(swept.sweeps))}).",
        "They were links that nobody finished, outcomes that the stream lost, callbacks that died, and tokens in the",
        "fallback.",
        *(f"- {problem}" for problem in swept.problems[:_MAX_PROBLEMS]),
    ]
    return "\n".join(lines)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{word} {number:,}" for word, number in counts.items() if number)


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return Counter(counts).most_common(_MAX_WARNINGS)


def _problems(problems: Sequence[str]) -> str:
    return f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"


def _sweeps(sweeps: Sequence[object]) -> str:
    return f"{len(sweeps)} sweep{'' if len(sweeps) == 1 else 's'}"


def _summed(sweeps: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for sweep in sweeps:
        total.update(sweep)
    return dict(total)
