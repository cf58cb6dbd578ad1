"""`make bench`: measure cold starts in shuffled rounds under Lambda's runtime client, as ratios within one run.

Prints tables and writes result.json and result.svg to `.aws-sam/bench`. With `--record` it writes them to
`benchmarks/cold_start` and updates the figures in the documents. Without it, the exit code is 1 if one of our functions
became more than 5 % slower since the last record.
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
from benchmarks.cold_start.tricks import TRICKS, undo

RESULT, CHART = "result.json", "result.svg"
DOCUMENTS = (ROOT / "docs" / "performance.md", ROOT / "README.md")
ROUNDS, QUICK_ROUNDS, WARM, COUNTED_WARM = 20, 5, 30, 20


def measure(chosen: Sequence[Subject], server: FakeServices, rounds: int) -> dict[str, list[Start]]:
    """Start every subject once per round, each round in a different order, so that noise affects all alike."""
    starts: dict[str, list[Start]] = {subject.name: [] for subject in chosen}
    order, shuffle, total = list(chosen), random.Random(7), rounds * len(chosen)  # noqa: S311  # an order, not a secret
    for number, subject in enumerate(chosen):  # loads files into the page cache
        _progress(number, len(chosen), f"warming up: {subject.name}")
        cold_start(subject, server, warm=1)
    for number in range(rounds):
        shuffle.shuffle(order)
        for position, subject in enumerate(order):
            _progress(number * len(order) + position, total, subject.name)
            starts[subject.name].append(cold_start(subject, server, warm=WARM))
    _progress(total, total, "")
    return starts


def count_instructions(subject: Subject, server: FakeServices) -> tuple[float, float]:
    """Return a subject's instructions in millions: to the first response, and of one warm invocation."""
    first = instructions(subject, server, 1)
    warm = (instructions(subject, server, 1 + COUNTED_WARM) - first) / COUNTED_WARM
    return round(first / 1e6, 1), round(warm / 1e6, 3)


def instruction_counts(chosen: Sequence[Subject], server: FakeServices) -> dict[str, tuple[float, float]]:
    """Return the instruction counts of each subject."""
    found = {}
    for number, subject in enumerate(chosen):
        _progress(number, len(chosen), f"counting instructions: {subject.name}")
        found[subject.name] = count_instructions(subject, server)
    _progress(len(chosen), len(chosen), "")
    print(file=sys.stderr)
    return found


def _progress(done: int, total: int, name: str) -> None:
    filled = done * 30 // total
    print(
        f"\r  [{'#' * filled}{'.' * (30 - filled)}] {done}/{total} {name[:45]:45}", end="", file=sys.stderr, flush=True
    )


def machine(rounds: int) -> dict[str, str | int]:
    """Return the machine and the number of rounds, for readers of the record."""
    cpus = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*: (.+)$", cpus.read_text() if cpus.exists() else "", re.MULTILINE)
    processor = model[1] if model else platform.machine()
    return {"processor": processor, "python": platform.python_version(), "rounds": rounds}


def record_of(chosen: Sequence[Subject], server: FakeServices, rounds: int, *, with_tricks: bool) -> dict[str, Any]:
    """Measure the subjects and, in the same rounds, what each trick saves."""
    by_name = {subject.name: subject for subject in chosen}
    without = [undo(trick, by_name[trick.subject], server) for trick in TRICKS] if with_tricks else []
    starts = measure([*chosen, *without], server, rounds)
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
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, without the tricks")
    parser.add_argument("--record", action="store_true", help="make this the recorded result and update the documents")
    parser.add_argument("--instructions", action="store_true", help="count instructions with callgrind (ten minutes)")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="only these subjects, and C")
    parser.add_argument("--rounds", type=int)
    given = parser.parse_args(arguments)
    if given.record and (given.quick or given.only or given.instructions):
        parser.error("--record measures everything and cannot be combined with --quick, --only or --instructions")
    if not sys.platform.startswith("linux"):
        print("The benchmark reads the CPU clocks of other processes, which works only on Linux.", file=sys.stderr)
        return 2
    if (given.instructions or given.record) and shutil.which("valgrind") is None:
        print("Counting instructions needs callgrind. Install valgrind (apt-get install valgrind).", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="finch-bench-") as folder, fake_services(Path(folder)) as server:
        print("Building the functions and installing the peers if needed", file=sys.stderr)
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
    return _finish(record, record_it=given.record)


def _finish(record: report.Record, *, record_it: bool) -> int:
    """Write the record, print regressions since the last one, and return the exit code."""
    last = FOLDER / RESULT
    slower = report.regressions(record, json.loads(last.read_text())) if last.exists() else []
    for line in slower:
        print(f"\nMore than 5 % SLOWER than the last record: {line}")
    write(record, FOLDER if record_it else BUILT)
    for document in DOCUMENTS if record_it else ():
        document.write_text(report.update_document(document.read_text(), record))
    print(f"\nWritten: {(FOLDER if record_it else BUILT).relative_to(ROOT)}/{RESULT} and {CHART}")
    return 1 if slower and not record_it else 0


if __name__ == "__main__":
    sys.exit(main())
