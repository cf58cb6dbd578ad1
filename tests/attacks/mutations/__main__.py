"""`make mutations`: remove each control in a copy of the project, run its attacks or faults, and print which rows fail.

Takes about twenty minutes on two cores. Exits with 1 when no test noticed that a control was removed.
"""

from __future__ import annotations

import concurrent.futures
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from local.settings import tool_environment
from tests.attacks.mutations.controls import MUTATIONS
from tests.attacks.mutations.mutation import Mutation
from tests.faults.controls import CONTROLS
from tests.template import ROOT

AT_ONCE = 2
_FAILED = re.compile(r"^(?:FAILED|ERROR) tests/(?:attacks|faults)/\S+?::test_(\d\d)_", re.MULTILINE)
_ENVIRONMENTS = (".venv", ".venv-emulator", ".venv-faults")


def mutated(source: str, mutation: Mutation) -> str:
    """Return a file's text without the control. Raises ValueError unless the file has its text exactly once."""
    if source.count(mutation.text) != 1:
        raise ValueError(
            f"{mutation.control}: {mutation.path} must have its text once, not {source.count(mutation.text)} times"
        )
    return source.replace(mutation.text, mutation.instead)


def rows_that_notice(mutation: Mutation) -> set[int]:
    """Return the rows that fail without the control.

    Runs the fault suite's case if the mutation names one. Otherwise runs the attacks of its rows and, if they all pass,
    every attack. Raises RuntimeError when a suite does not run.
    """
    with tempfile.TemporaryDirectory(prefix="finch-mutation-") as scratch:
        copy = Path(scratch) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv*", ".aws-sam", "__pycache__", ".*_cache", ".hypothesis")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for name in _ENVIRONMENTS:
            (copy / name).symlink_to(ROOT / name)
        file = copy / mutation.path
        file.write_text(mutated(file.read_text(), mutation))
        if mutation.case is not None:
            return _failing(copy, "tests/faults", ["-k", mutation.case])
        named = " or ".join(f"test_{row:02}_" for row in mutation.rows)
        return _failing(copy, "tests/attacks", ["-k", named]) or _failing(copy, "tests/attacks", [])


def _failing(copy: Path, suite: str, chosen: list[str]) -> set[int]:
    environment = tool_environment() | {
        "PYTHONPATH": f"{copy}:{copy / 'layers/finch_connect'}",
        "TMPDIR": str(copy.parent),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *chosen, suite]
    ran = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode not in {0, 1} or not re.search(r"\d+ (passed|failed|error)", ran.stdout):
        raise RuntimeError(f"{suite} did not run:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return {int(row) for row in _FAILED.findall(ran.stdout)}


def report(found: Iterable[tuple[Mutation, set[int]]]) -> int:
    """Print a line for each control; return how many were removed without a test failing."""
    missed = 0
    for mutation, rows in found:
        noticed = "row " + ", ".join(map(str, sorted(rows))) if rows else "NOT NOTICED"
        missed += not rows
        print(f"{mutation.control:42} {noticed}", flush=True)
    return missed


def main(arguments: list[str]) -> int:
    """Remove the controls whose name contains one of the arguments, or all controls if there are none."""
    chosen = [one for one in [*MUTATIONS, *CONTROLS] if not arguments or any(word in one.control for word in arguments)]
    print(f"{len(chosen)} controls, {AT_ONCE} at a time; each needs its own deployment\n", flush=True)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        missed = report(zip(chosen, pool.map(rows_that_notice, chosen), strict=True))
    print(f"\n{len(chosen) - missed} of {len(chosen)} removed controls were noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
