"""`make bench`: cold starts in shuffled rounds, under Lambda's own runtime client, as ratios in one run.

Writes `benchmarks/result.json` and `benchmarks/result.svg` when `--record` is given; ends with 1 when something became
slower by more than 5 % since the last record.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.measure import NotDoneError, Start, cold_start, instructions
from benchmarks.stand_in import StandIn, stand_in
from benchmarks.subjects import Subject, subjects

FOLDER = Path(__file__).parent
RESULT, CHART = FOLDER / "result.json", FOLDER / "result.svg"
ROUNDS, QUICK_ROUNDS, WARM, COUNTED_WARM = 25, 5, 60, 20


def measured(chosen: Sequence[Subject], server: StandIn, rounds: int) -> dict[str, list[Start]]:
    """Start every subject once a round, in another order each round, so that noise falls on all alike."""
    starts: dict[str, list[Start]] = {subject.name: [] for subject in chosen}
    order, shuffle, total = list(chosen), random.Random(7), rounds * len(chosen)  # noqa: S311  # an order, no secret
    for subject in chosen:  # files into the page cache
        cold_start(subject, server, warm=1)
    for number in range(rounds):
        shuffle.shuffle(order)
        for place, subject in enumerate(order):
            _progress(number * len(order) + place, total, subject.name)
            starts[subject.name].append(cold_start(subject, server, warm=WARM))
    _progress(total, total, "")
    return starts


def counted(subject: Subject, server: StandIn) -> tuple[float, float]:
    """Count a subject's instructions: millions to the first response, and millions of one warm invocation."""
    first = instructions(subject, server, 1)
    return first / 1e6, (instructions(subject, server, 1 + COUNTED_WARM) - first) / COUNTED_WARM / 1e6


def _progress(done: int, total: int, name: str) -> None:
    filled = done * 30 // total
    print(f"\r  [{'#' * filled}{'.' * (30 - filled)}] {done}/{total} {name:10}", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, record; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds instead of {ROUNDS}")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--record", action="store_true", help="write result.json and result.svg")
    parser.add_argument(
        "--instructions", action="store_true", help="count instructions with callgrind instead (minutes)"
    )
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these subjects, and C")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as folder, stand_in(Path(folder)) as server:
        print("Building the functions and installing the peers (once)", file=sys.stderr)
        chosen = [one for one in subjects(server) if not given.only or one.name in {"C", *given.only}]
        try:
            if given.instructions:
                print(report.instruction_table({one.name: counted(one, server) for one in chosen}))
                return 0
            rounds = given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS)
            starts = measured(chosen, server, rounds)
            results = {one.name: report.medians(one, starts[one.name]) for one in chosen}
        except NotDoneError as error:
            print(f"\n{error}", file=sys.stderr)
            return 2
    print(f"\n\nMedians of {rounds} shuffled rounds\n\n{report.table(results, chosen)}")
    if given.only:
        return 0
    found = report.ratios(results)
    print(f"\n{report.budget_table(found)}")
    slower = report.regressions(results, json.loads(RESULT.read_text())["results"]) if RESULT.exists() else []
    for line in slower:
        print(f"\nSLOWER than the last record: {line}")
    if given.record:
        machine = {"python": platform.python_version(), "machine": platform.machine(), "rounds": rounds}
        RESULT.write_text(json.dumps({"machine": machine, "results": results, "budgets": found}, indent=1) + "\n")
        CHART.write_text(report.chart(results, chosen))
        print(f"\nRecorded in {RESULT.name} and {CHART.name}.")
    return 1 if slower and not given.record else 0


if __name__ == "__main__":
    sys.exit(main())
