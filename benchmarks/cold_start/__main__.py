"""`make bench`: cold starts in shuffled rounds, under Lambda's own runtime client, as ratios in one run.

Prints tables and writes result.json and result.svg into `.aws-sam/bench`; with `--record` into `benchmarks/`, and the
figures into the documents. Ends with 1 when something of ours became slower by more than 5 % since the last record.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cold_start import report
from benchmarks.cold_start.fake_services import FakeServices, fake_services
from benchmarks.cold_start.measure import NotDoneError, Start, cold_start, instructions
from benchmarks.cold_start.subjects import BUILT, FOLDER, ROOT, Subject, subjects
from benchmarks.cold_start.tricks import TRICKS, undone

RESULT, CHART = "result.json", "result.svg"
DOCUMENTS = (ROOT / "docs" / "performance.md", ROOT / "README.md")
ROUNDS, QUICK_ROUNDS, WARM, COUNTED_WARM = 20, 5, 30, 20


def measured(chosen: Sequence[Subject], server: FakeServices, rounds: int) -> dict[str, list[Start]]:
    """Start every subject once a round, in another order each round, so that noise falls on all alike."""
    starts: dict[str, list[Start]] = {subject.name: [] for subject in chosen}
    order, shuffle, total = list(chosen), random.Random(7), rounds * len(chosen)  # noqa: S311  # an order, no secret
    for number, subject in enumerate(chosen):  # files into the page cache
        _progress(number, len(chosen), f"warming up: {subject.name}")
        cold_start(subject, server, warm=1)
    for number in range(rounds):
        shuffle.shuffle(order)
        for place, subject in enumerate(order):
            _progress(number * len(order) + place, total, subject.name)
            starts[subject.name].append(cold_start(subject, server, warm=WARM))
    _progress(total, total, "")
    return starts


def counted(subject: Subject, server: FakeServices) -> tuple[float, float]:
    """Count a subject's instructions: millions to the first response, and millions of one warm invocation."""
    first = instructions(subject, server, 1)
    warm = (instructions(subject, server, 1 + COUNTED_WARM) - first) / COUNTED_WARM
    return round(first / 1e6, 1), round(warm / 1e6, 3)


def instruction_counts(chosen: Sequence[Subject], server: FakeServices) -> dict[str, tuple[float, float]]:
    """Count the instructions of each subject."""
    found = {}
    for number, subject in enumerate(chosen):
        _progress(number, len(chosen), f"counting instructions: {subject.name}")
        found[subject.name] = counted(subject, server)
    _progress(len(chosen), len(chosen), "")
    print(file=sys.stderr)
    return found


def _progress(done: int, total: int, name: str) -> None:
    filled = done * 30 // total
    print(
        f"\r  [{'#' * filled}{'.' * (30 - filled)}] {done}/{total} {name[:45]:45}", end="", file=sys.stderr, flush=True
    )


def machine(rounds: int) -> dict[str, str | int]:
    """Return what a reader of the record wants to know of where it was made."""
    cpus = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*: (.+)$", cpus.read_text() if cpus.exists() else "", re.MULTILINE)
    processor = model[1] if model else platform.machine()
    return {"processor": processor, "python": platform.python_version(), "rounds": rounds}


def record_of(chosen: Sequence[Subject], server: FakeServices, rounds: int, *, with_tricks: bool) -> dict[str, Any]:
    """Measure subjects, and what each trick is worth, in the same rounds."""
    by_name = {subject.name: subject for subject in chosen}
    without = [undone(trick, by_name[trick.subject], server) for trick in TRICKS] if with_tricks else []
    starts = measured([*chosen, *without], server, rounds)
    return {
        "machine": machine(rounds),
        "subjects": {one.name: report.medians(one, starts[one.name]) for one in chosen},
        "tricks": {
            trick.title: {"subject": trick.subject, "worth": report.worth(starts[trick.subject], starts[trick.title])}
            for trick in (TRICKS if with_tricks else ())
        },
    }


def write(record: report.Record, folder: Path) -> None:
    """Write a record and its chart."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    (folder / CHART).write_text(report.chart(record))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, record; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, and not the tricks")
    parser.add_argument("--record", action="store_true", help="make this the recorded result, in the documents too")
    parser.add_argument("--instructions", action="store_true", help="count instructions with callgrind (ten minutes)")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these subjects, and C")
    parser.add_argument("--rounds", type=int)
    given = parser.parse_args(arguments)
    if given.record and (given.quick or given.only or given.instructions):
        parser.error("a record is of everything: without --quick, --only and --instructions")
    if not sys.platform.startswith("linux"):
        print("The benchmark reads other processes' CPU clocks as Linux has them: run it there.", file=sys.stderr)
        return 2
    if (given.instructions or given.record) and shutil.which("valgrind") is None:
        print("Counting instructions needs callgrind: install valgrind (apt-get install valgrind).", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as folder, fake_services(Path(folder)) as server:
        print("Building the functions, installing the peers (once)", file=sys.stderr)
        chosen = [one for one in subjects(server) if not given.only or one.name in {"C", *given.only}]
        rounds = given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS)
        try:
            if given.instructions:
                print(report.instruction_table(instruction_counts(chosen, server)))
                return 0
            record = record_of(chosen, server, rounds, with_tricks=not (given.quick or given.only))
            if given.record:
                near = [one for one in chosen if one.name in {"C", *report.OURS}]
                record["instructions"] = instruction_counts(near, server)
        except NotDoneError as error:
            print(f"\n{error}", file=sys.stderr)
            return 2
    print(f"\n\nMedians of {rounds} shuffled rounds; milliseconds\n\n{report.result_table(record)}")
    if given.only:
        return 0
    print(f"\n{report.ratio_table(record)}\n\n{report.budget_table(record)}")
    if record["tricks"]:
        print(f"\n{report.trick_table(record)}")
    return _compared(record, record_it=given.record)


def _compared(record: report.Record, *, record_it: bool) -> int:
    """Write the record, and say what became slower since the last one; return the exit code."""
    last = FOLDER / RESULT
    slower = report.regressions(record, json.loads(last.read_text())) if last.exists() else []
    for line in slower:
        print(f"\nSLOWER than the last record by more than 5 %: {line}")
    write(record, FOLDER if record_it else BUILT)
    for document in DOCUMENTS if record_it else ():
        document.write_text(report.documented(document.read_text(), record))
    print(f"\nWritten: {(FOLDER if record_it else BUILT).relative_to(ROOT)}/{RESULT} and {CHART}")
    return 1 if slower and not record_it else 0


if __name__ == "__main__":
    sys.exit(main())
