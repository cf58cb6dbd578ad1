"""The documents refer only to what exists."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from finch_connect.observability import COUNTED, MEASURED, NAMESPACE
from tests.template import ROOT, load_template

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("events/*.md")])
NAMED = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]


@pytest.mark.parametrize("document", NAMED)
def test_links_lead_to_existing_files(document: str) -> None:
    """Every relative link in a document points to a file of this repository."""
    folder = (ROOT / document).parent
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / document).read_text())
    assert [target for target in targets if not (folder / target).exists()] == []


@pytest.mark.parametrize("document", NAMED)
def test_make_targets_exist(document: str) -> None:
    """Every `make` command in a document is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)\b", (ROOT / document).read_text(), re.MULTILINE))
    assert named <= targets


def test_the_modules_that_commands_run_exist() -> None:
    """`python -m` in the Makefile and in the documents names a module of this repository."""
    texts = [(ROOT / "Makefile").read_text(), *(path.read_text() for path in DOCUMENTS)]
    modules = {name for text in texts for name in re.findall(r"-m ((?:benchmarks|cli|local|tests)(?:\.\w+)*)", text)}
    files = {name: ROOT / name.replace(".", "/") for name in modules}
    assert len(files) > 10
    missing = {name for name, path in files.items() if not (path.with_suffix(".py").exists() or path.is_dir())}
    assert missing == set()


SAM = {"AutoPublishAlias", "DeletionPolicy", "PublishLambdaVersion"}


@pytest.mark.parametrize("document", NAMED)
def test_parameters_and_outputs_exist(document: str) -> None:
    """Every CamelCase word in backticks is a name from the template, a metric, or a name of AWS."""
    template = load_template()
    known = {*template["Parameters"], *template["Outputs"], *template["Resources"], *COUNTED, *MEASURED, NAMESPACE}
    words = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)(?:=[^`]*)?`", (ROOT / document).read_text()))
    assert words - known <= _AWS


_AWS = {
    *("ClientRequestToken", "PutItem", "UpdateSecretVersionStage", *SAM),
    *("AccessDeniedException", "ResourceNotFoundException", "ConcurrentExecutions"),
    "SweeperFunctionOften",  # SAM builds it from the names of the function and its event
}


def test_a_decision_that_was_overtaken_says_by_which() -> None:
    """Its number is a later decision's."""
    text = (ROOT / "docs/decisions.md").read_text()
    decisions = re.findall(r"^(\d+)\. \*\*(.*?)(?=^\d+\. \*\*|\Z)", text, re.MULTILINE | re.DOTALL)
    assert [int(number) for number, _ in decisions] == list(range(1, len(decisions) + 1))
    for number, decision in decisions:
        for by in re.findall(r"overtaken(?: by ([\d, and]+))?", re.sub(r"\s+", " ", decision)):
            later = [int(one) for one in re.findall(r"\d+", by)]
            assert later, f"decision {number} does not say by which it was overtaken"
            assert all(int(number) < one <= len(decisions) for one in later)


def test_the_folders_of_the_tests_have_as_many_as_contributing_says() -> None:
    """It helps to choose what to run, so a tenth more or fewer does no harm."""
    collected = _folders_of_tests()
    table = re.findall(r"^\| `(tests/[^`]+)` \| (\d+) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert {folder for folder, _ in table} >= {"/".join(one.split("/")[:2]) for one in collected} - {"tests/benchmarks"}
    for folder, number in table:
        found = sum(one == folder or one.startswith(f"{folder}/") for one in collected)
        assert abs(found - int(number)) <= max(2, found // 10), f"{folder} has {found} tests, not {number}"


def test_what_needs_a_deployed_stack_is_marked() -> None:
    """`make check` leaves out what is marked `stack`: everything a user can see, and nothing that runs on fakes."""
    marked = _folders_of_tests("-m", "stack")
    others = Counter(_folders_of_tests()) - Counter(marked)
    for folder in ("tests/e2e", "tests/faults", "tests/attacks", "tests/browser", "tests/benchmarks/load"):
        assert folder in marked
    assert "tests/e2e" not in others
    starting = r"LocalStack\.start\(|[^_.]harness\(with_faults"
    assert {path.name for path in ROOT.glob("tests/**/*.py") if re.search(starting, path.read_text())} == {
        "conftest.py",
        "test_load.py",
    }, "another fixture starts an emulator: mark the tests that use it"
    assert not any(folder.startswith(("tests/unit", "tests/ports", "tests/handlers")) for folder in marked)


@functools.cache
def _folders_of_tests(*arguments: str) -> Sequence[str]:
    """Return the folder of each test that pytest would run."""
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return re.findall(r"^(tests/[^:]+)/[^/:]+::", listed, re.MULTILINE)


def test_each_event_is_documented() -> None:
    """Each event that has a schema is named in the architecture."""
    text = (ROOT / "docs/architecture.md").read_text()
    schemas = [path.name.removesuffix(".schema.json") for path in ROOT.glob("contracts/events/*.json")]
    assert all(name.replace("-", " ").title() in text for name in schemas)


def test_each_claim_is_documented() -> None:
    """docs/links.md has each claim that the code reads."""
    code = (ROOT / "layers/finch_connect/finch_connect/domain/link_claims.py").read_text()
    text = (ROOT / "docs/links.md").read_text()
    claims = set(re.findall(r'(?:text|required|matching|choice|moment|get)\("([a-z_]+)"', code))
    assert len(claims) > 10
    assert [claim for claim in sorted(claims) if f"`{claim}`" not in text] == []


def test_each_test_that_the_threat_model_names_exists() -> None:
    """A control without a test would be an unproven assertion."""
    text = (ROOT / "docs/threat-model.md").read_text()
    named = set(re.findall(r"`(test_\d\d_\w+)`", text))
    suites = [*ROOT.glob("tests/attacks/test_*.py"), *ROOT.glob("tests/faults/test_*.py")]
    tests = "\n".join(path.read_text() for path in suites)
    defined = set(re.findall(r"^def (test_\d\d_\w+)", tests, re.MULTILINE))
    assert named - defined == set()
    assert {name[5:7] for name in named} == {name[5:7] for name in defined}, "each numbered row is in the model"


LOCKED = [
    ROOT / "layers/finch_connect/requirements.txt",
    *sorted(ROOT.glob("requirements/*.txt")),
    *sorted(ROOT.glob("benchmarks/**/requirements.txt")),
]


@pytest.mark.parametrize("path", LOCKED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_requirement_is_pinned_with_its_hash(path: Path) -> None:
    """Everyone installs the same packages, and an audit reads what is shipped. No file has the address of an index."""
    text = path.read_text()
    requirements = re.split(r"\n(?=[a-zA-Z0-9])", re.sub(r"^\s*#.*\n?", "", text, flags=re.MULTILINE))
    assert requirements
    for requirement in filter(str.strip, requirements):
        assert re.match(r"[A-Za-z0-9._\[\],-]+==\S+", requirement), requirement[:80]
        assert "--hash=sha256:" in requirement, requirement[:80]
    assert "index-url" not in text
    assert "://" not in text
