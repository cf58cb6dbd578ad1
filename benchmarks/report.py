"""What came out: medians, ratios, a table, JSON, a bar chart, and what became slower since the last record."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measure import Start
from benchmarks.subjects import Subject

REGRESSION = 0.05

BUDGETS: list[tuple[str, str, str, str, float]] = [
    ("connect TTFR / C", "connect", "C", "ttfr_cpu", 1.0),
    ("callback TTFR / C", "callback", "C", "ttfr_cpu", 1.1),
    ("connect warm / C", "connect", "C", "warm_cpu", 1.2),
]
AT_LEAST: list[tuple[str, str, str, str, float]] = [
    ("U / callback TTFR", "U", "callback", "ttfr_cpu", 1.7),
    ("L / callback TTFR", "L", "callback", "ttfr_cpu", 1.9),
    ("M / callback TTFR", "M", "callback", "ttfr_cpu", 2.4),
]
"""The design's budgets: at most, and at least."""


def medians(subject: Subject, starts: Sequence[Start]) -> dict[str, float]:
    """Return a subject's medians: milliseconds, and megabytes of 1,000,000 bytes."""

    def ms(values: list[float]) -> float:
        return round(statistics.median(values) * 1000, 2)

    return {
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


def ratios(results: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Return each budget with what was measured: TTFR and warm, in CPU time."""
    rows: dict[str, dict[str, Any]] = {}
    for limits, most in ((BUDGETS, True), (AT_LEAST, False)):
        for title, above, below, what, limit in limits:
            value = round(results[above][what] / results[below][what], 3)
            met = value <= limit if most else value >= limit
            rows[title] = {"ratio": value, "budget": limit, "at_most": most, "met": met}
    return rows


def table(results: Mapping[str, Mapping[str, float]], subjects: Sequence[Subject]) -> str:
    """Return the results as a Markdown table, TTFR as a ratio to C."""
    lines = [
        "| | what | init CPU | first CPU | TTFR CPU | TTFR / C | TTFR wall / C | warm CPU / C | peak MB | size MB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    base = results["C"]
    for subject in subjects:
        one = results[subject.name]
        lines.append(
            f"| **{subject.name}** | {subject.title} | {one['init_cpu']:.0f} ms | {one['first_cpu']:.0f} ms | "
            f"{one['ttfr_cpu']:.0f} ms | **{one['ttfr_cpu'] / base['ttfr_cpu']:.2f}** | "
            f"{one['ttfr_wall'] / base['ttfr_wall']:.2f} | {one['warm_cpu'] / base['warm_cpu']:.2f} | "
            f"{one['peak_mb']:.0f} | {one['size_mb']:.1f} |"
        )
    return "\n".join(lines)


def instruction_table(counted: Mapping[str, tuple[float, float]]) -> str:
    """Return instructions to the first response and of a warm invocation as a Markdown table, as ratios to C too."""
    lines = ["| | to first response | / C | warm | / C |", "| --- | ---: | ---: | ---: | ---: |"]
    first_of_c, warm_of_c = counted["C"]
    for name, (first, warm) in counted.items():
        lines.append(f"| **{name}** | {first:.0f} M | {first / first_of_c:.3f} | {warm:.2f} M | {warm / warm_of_c:.3f} |")
    return "\n".join(lines)


def budget_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the budgets as a Markdown table."""
    lines = ["| budget | limit | measured | |", "| --- | ---: | ---: | --- |"]
    for title, one in found.items():
        limit = f"{'≤' if one['at_most'] else '≥'} {one['budget']}"
        lines.append(f"| {title} | {limit} | {one['ratio']:.2f} | {'met' if one['met'] else 'NOT met'} |")
    return "\n".join(lines)


def regressions(results: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return what of ours became slower by more than 5 % against C, since an earlier record.

    Ratios to C in each run: absolute times of two runs, or of two machines, say nothing.
    """
    slower = []
    for name in ("connect", "callback"):
        for what in ("ttfr_cpu", "warm_cpu"):
            now, then = (run[name][what] / run["C"][what] for run in (results, before))
            if now > then * (1 + REGRESSION):
                slower.append(f"{name} {what}: {now:.2f} of C, was {then:.2f}")
    return slower


def chart(results: Mapping[str, Mapping[str, float]], subjects: Sequence[Subject]) -> str:
    """Return a bar chart as SVG: init and first invocation, in CPU time, as a part of C's time to first response."""
    height, left, width = 34, 190, 520
    most = max(results[subject.name]["ttfr_cpu"] for subject in subjects)
    scale = width / most
    base = results["C"]["ttfr_cpu"]
    bars = []
    for row, subject in enumerate(subjects):
        one, top = results[subject.name], 46 + row * height
        init, first = one["init_cpu"] * scale, one["first_cpu"] * scale
        ours = subject.name in {"connect", "callback"}
        bars.append(
            f'<text x="{left - 10}" y="{top + 15}" text-anchor="end" font-weight="{600 if ours else 400}">'
            f"{subject.name}{' (ours)' if ours else ''}</text>"
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
