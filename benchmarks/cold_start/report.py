"""Results: medians, ratios, tables, a bar chart, and regressions since the last record.

A record is the content of `result.json`. All tables, the chart and the figures in the documents come from it alone.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.cold_start.measure import Start
from benchmarks.cold_start.subjects import Subject

REGRESSION = 0.05
OURS, PEERS = ("connect", "callback"), ("C", "U", "L", "M")

BUDGETS = (
    ("connect, first response / C", "connect", "C", "ttfr_cpu", "≤", 1.0),
    ("callback, first response / C", "callback", "C", "ttfr_cpu", "≤", 1.1),
    ("connect, warm / C", "connect", "C", "warm_cpu", "≤", 1.2),
    ("U / callback, first response", "U", "callback", "ttfr_cpu", "≥", 1.7),
    ("L / callback, first response", "L", "callback", "ttfr_cpu", "≥", 1.9),
    ("M / callback, first response", "M", "callback", "ttfr_cpu", "≥", 2.4),
)
"""Ratios that the design promises: title, numerator, denominator, figure, comparison and limit."""

type Record = Mapping[str, Any]
"""`machine`, `subjects`, `tricks` and `instructions`: the measurements by the name of the subject or trick."""


def medians(subject: Subject, starts: Sequence[Start]) -> dict[str, Any]:
    """Return a subject's medians in milliseconds and in megabytes of 1,000,000 bytes."""

    def ms(values: list[float]) -> float:
        return round(statistics.median(values) * 1000, 2)

    return {
        "title": subject.title,
        "init_cpu": ms([start.init.cpu for start in starts]),
        "first_cpu": ms([start.first.cpu for start in starts]),
        "ttfr_cpu": ms([start.ttfr.cpu for start in starts]),
        "init_wall": ms([start.init.wall for start in starts]),
        "first_wall": ms([start.first.wall for start in starts]),
        "ttfr_wall": ms([start.ttfr.wall for start in starts]),
        "warm_cpu": ms([start.warm_cpu for start in starts]),
        "peak_mb": round(statistics.median(start.peak_bytes for start in starts) / 1e6, 1),
        "size_mb": round(subject.size / 1e6, 1),
    }


def worth(starts: Sequence[Start], without: Sequence[Start]) -> dict[str, float]:
    """Return what a trick saves: milliseconds of CPU to the first response and of a warm invocation.

    These are medians of the differences within a round, whose two starts are only seconds apart.
    """
    pairs = list(zip(starts, without, strict=True))
    return {
        "ttfr_cpu": round(statistics.median(bare.ttfr.cpu - one.ttfr.cpu for one, bare in pairs) * 1000, 2),
        "warm_cpu": round(statistics.median(bare.warm_cpu - one.warm_cpu for one, bare in pairs) * 1000, 2),
    }


def result_table(record: Record) -> str:
    """Return the subjects as a Markdown table with milliseconds and ratios to C."""
    base = record["subjects"]["C"]

    def ratio(one: Mapping[str, Any], what: str) -> str:
        return f"{one[what] / base[what]:.2f}"

    rows = [
        [
            f"**{name}**: {one['title']}",
            *(f"{one[what]:.0f}" for what in ("init_cpu", "first_cpu", "ttfr_cpu")),
            f"**{ratio(one, 'ttfr_cpu')}**",
            *(f"{one[what]:.0f}" for what in ("init_wall", "first_wall", "ttfr_wall")),
            ratio(one, "ttfr_wall"),
            f"{one['warm_cpu']:.2f}",
            ratio(one, "warm_cpu"),
            f"{one['peak_mb']:.0f}",
            f"{one['size_mb']:.1f}",
        ]
        for name, one in record["subjects"].items()
    ]
    head = ["", "init CPU", "first CPU", "both", "/ C", "init wall", "first wall", "both", "/ C", "warm CPU", "/ C"]
    return _table([*head, "peak MB", "size MB"], rows)


def ratio_table(record: Record) -> str:
    """Return each peer's time to first response as a multiple of ours, in CPU and wall time, as a Markdown table."""
    subjects = record["subjects"]

    def times(peer: str, one: str, what: str) -> str:
        return f"{subjects[peer][what] / subjects[one][what]:.2f}"

    rows = [
        [f"{one}, {said}", *(times(peer, one, what) for peer in PEERS)]
        for one in OURS
        for what, said in (("ttfr_cpu", "CPU"), ("ttfr_wall", "wall"))
    ]
    return _table(["time to first response as a multiple of ours", *PEERS], rows)


def budget_table(record: Record) -> str:
    """Return the budgets and the measured ratios as a Markdown table."""
    subjects = record["subjects"]
    rows = []
    for title, above, below, what, sign, limit in BUDGETS:
        value = subjects[above][what] / subjects[below][what]
        met = value <= limit if sign == "≤" else value >= limit
        rows.append([title, f"{sign} {limit}", f"{value:.2f}", "met" if met else "**missed**"])
    return _table(["budget", "limit", "measured", "result"], rows)


def trick_table(record: Record) -> str:
    """Return what each trick saves as a Markdown table, the largest saving first."""
    tricks = sorted(record["tricks"].items(), key=lambda trick: -trick[1]["worth"]["ttfr_cpu"])
    rows = [
        [title, one["subject"], f"{one['worth']['ttfr_cpu']:+.1f} ms", f"{one['worth']['warm_cpu']:+.2f} ms"]
        for title, one in tricks
    ]
    return _table(["trick", "measured on", "CPU to first response without it", "warm CPU without it"], rows)


def instruction_table(counted: Mapping[str, Sequence[float]]) -> str:
    """Return a Markdown table of instructions to the first response and per warm invocation, with ratios to C."""
    first_of_c, warm_of_c = counted["C"]
    rows = [
        [f"**{name}**", f"{first:.0f} M", f"{first / first_of_c:.3f}", f"{warm:.2f} M", f"{warm / warm_of_c:.3f}"]
        for name, (first, warm) in counted.items()
    ]
    return _table(["", "to first response", "/ C", "warm", "/ C"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary(record: Record) -> str:
    """Return the main ratios in sentences."""
    subjects = record["subjects"]

    def of(above: str, below: str) -> str:
        return f"{subjects[above]['ttfr_cpu'] / subjects[below]['ttfr_cpu']:.2f}"

    return (
        f"A cold `/connect` takes {of('connect', 'C')} times the CPU time of a function that only makes one `PutItem` "
        f"call through boto3, and a\ncold `/callback` {of('callback', 'C')} times. The same callback written the usual "
        f"way takes **{of('U', 'callback')} times** the CPU time of ours, and in\nFastAPI **{of('M', 'callback')} "
        f"times**. A function with Finch's SDK and boto3 that stores no state takes {of('L', 'callback')} times."
    )


def _machine(record: Record) -> str:
    machine = record["machine"]
    return f"{machine['processor']}, Python {machine['python']}, {machine['rounds']} rounds."


def update_document(text: str, record: Record) -> str:
    """Return a document whose sections between `bench` markers are regenerated from the record."""
    parts: dict[str, Callable[[Record], str]] = {
        "summary": summary,
        "results": result_table,
        "ratios": ratio_table,
        "budgets": budget_table,
        "tricks": trick_table,
        "instructions": lambda record: instruction_table(record["instructions"]),
        "machine": _machine,
    }

    def filled(match: re.Match[str]) -> str:
        return f"<!-- bench: {match[1]} -->\n{parts[match[1]](record)}\n<!-- bench end -->"

    return re.sub(r"<!-- bench: (\w+) -->\n.*?<!-- bench end -->", filled, text, flags=re.DOTALL)


def regressions(record: Record, before: Record) -> list[str]:
    """Return which of our figures became more than 5 % slower than in an earlier record.

    The ratios to C are compared, because absolute times of two runs or two machines are not comparable.
    """
    slower = []
    for name in OURS:
        for what in ("ttfr_cpu", "warm_cpu"):
            now, then = (run["subjects"][name][what] / run["subjects"]["C"][what] for run in (record, before))
            if now > then * (1 + REGRESSION):
                slower.append(f"{name} {what}: {now:.2f} times C, was {then:.2f}")
    return slower


def chart(record: Record) -> str:
    """Return an SVG bar chart of the CPU time of init and first invocation, relative to C's time to first response."""
    height, left, width = 34, 190, 520
    subjects = record["subjects"]
    base = subjects["C"]["ttfr_cpu"]
    scale = width / max(one["ttfr_cpu"] for one in subjects.values())
    bars = []
    for row, (name, one) in enumerate(subjects.items()):
        top = 46 + row * height
        init, first = one["init_cpu"] * scale, one["first_cpu"] * scale
        ours = name in OURS
        bars.append(
            f'<text x="{left - 10}" y="{top + 15}" text-anchor="end" font-weight="{600 if ours else 400}">'
            f"{name}{' (ours)' if ours else ''}</text>"
            f'<rect x="{left}" y="{top}" width="{init:.1f}" height="20" fill="{"#2750d8" if ours else "#8a94a6"}"/>'
            f'<rect x="{left + init:.1f}" y="{top}" width="{first:.1f}" height="20" '
            f'fill="{"#8aa6ff" if ours else "#c3c9d4"}"/>'
            f'<text x="{left + init + first + 8:.1f}" y="{top + 15}">{one["ttfr_cpu"] / base:.2f}</text>'
        )
    total = 46 + len(subjects) * height + 12
    line = left + base * scale
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 70}" height="{total}" '
        'font-family="system-ui, sans-serif" font-size="14" fill="#1c2330">\n'
        '<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text x="{left}" y="24" fill="#5a6475">CPU time to first response, C = 1 (dark: init, light: first)</text>\n'
        + "\n".join(bars)
        + f'\n<line x1="{line:.1f}" y1="38" x2="{line:.1f}" y2="{total - 8}" stroke="#5a6475" '
        'stroke-dasharray="4 3"/>\n</svg>\n'
    )
