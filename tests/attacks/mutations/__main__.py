"""`make mutations`: for each control, a copy of the project without it, its attacks or faults, and who notices.

Takes some fifteen minutes on two cores. Ends with 1 when a control could be taken away unnoticed.
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
from tests.attacks.mutations.controls import MUTATIONS, Mutation
from tests.faults.controls import CONTROLS
from tests.template import ROOT

AT_ONCE = 2
_FAILED = re.compile(r"^(?:FAILED|ERROR) tests/(?:attacks|faults)/\S+?::test_(\d\d)_", re.MULTILINE)
_ENVIRONMENTS = (".venv", ".venv-emulator", ".venv-faults")


def mutated(source: str, mutation: Mutation) -> str:
    """Return a file's text without the control. Raises ValueError when it does not stand there, or twice."""
    if source.count(mutation.text) != 1:
        raise ValueError(f"{mutation.control}: stands {source.count(mutation.text)} times in {mutation.path}")
    return source.replace(mutation.text, mutation.instead)


def rows_that_notice(mutation: Mutation) -> set[int]:
    """Return the rows that fail without the control: those it names, else those of all attacks; or the case's row."""
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
    """Print a line for each control; return how many nobody noticed."""
    missed = 0
    for mutation, rows in found:
        noticed = "row " + ", ".join(map(str, sorted(rows))) if rows else "NOBODY NOTICED"
        missed += not rows
        print(f"{mutation.control:42} {noticed}", flush=True)
    return missed


def main(arguments: list[str]) -> int:
    """Take away those controls whose name holds one of the arguments; all without any."""
    chosen = [one for one in [*MUTATIONS, *CONTROLS] if not arguments or any(word in one.control for word in arguments)]
    print(f"{len(chosen)} controls, {AT_ONCE} at a time; each is a deployment of its own\n", flush=True)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        missed = report(zip(chosen, pool.map(rows_that_notice, chosen), strict=True))
    print(f"\n{len(chosen) - missed} of {len(chosen)} were noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
