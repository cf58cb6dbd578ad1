"""Rules of the code that no linter checks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.template import ROOT

SHIPPED = sorted([*ROOT.glob("layers/finch_connect/finch_connect/**/*.py"), *ROOT.glob("functions/**/*.py")])
TESTS = sorted(ROOT.glob("tests/**/test_*.py"))
FOLDERS = ("benchmarks", "cli", "local", "tests")
EVERYTHING = [
    *SHIPPED,
    # The benchmark's peers are functions of their own, which read their own environment.
    *sorted(path for one in FOLDERS for path in ROOT.glob(f"{one}/**/*.py") if "peers" not in path.parts),
]


def names(paths: list[Path], pattern: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in paths if re.search(pattern, path.read_text())}


def test_the_environment_is_read_by_the_configuration_alone() -> None:
    """Only `config` reads it in the deployed code, and only `local/settings` on a laptop."""
    assert names(EVERYTHING, r"os\.environ|os\.getenv") - {"tests/template/test_code.py"} <= {
        "layers/finch_connect/finch_connect/config.py",
        "local/settings.py",
        "benchmarks/load/settings.py",
        "tests/conftest.py",
    }


def test_clients_are_made_in_one_place() -> None:
    """One adapter creates botocore's session, and only wiring uses it. The deployed code never imports boto3."""
    assert names(SHIPPED, r"get_session\(") == {"layers/finch_connect/finch_connect/adapters/aws.py"}
    assert names(SHIPPED, r"aws\.clients\(") == {"layers/finch_connect/finch_connect/wiring.py"}
    assert names(SHIPPED, r"import boto3|from boto3") == set()


def test_the_names_of_secrets_are_spelled_once() -> None:
    """Everything that runs asks `Names`; the tests spell them, because they compare. A peer's names are its own."""
    running = [path for path in EVERYTHING if path.relative_to(ROOT).parts[0] != "tests"]
    assert names(running, r"finch/[^<\s]*/(connections|quarantine|unstored)|finch/\{") == {
        "layers/finch_connect/finch_connect/domain/names.py"
    }


def test_polling_is_written_once() -> None:
    """Who waits for something calls `wait_for`, which ends. The other loops run for a time, and wait for nothing."""
    assert names(EVERYTHING, r"while [^\n]*\b(monotonic|perf_counter|time)\(\)") == {
        "benchmarks/load/users.py",
        "tests/faults/test_aws.py",
    }


def test_the_callback_is_seven_calls() -> None:
    """The numbered steps are what a reviewer ticks: each is one call, and they come in this order."""
    source = (ROOT / "layers/finch_connect/finch_connect/flow/callback.py").read_text()
    (callback,) = [node for node in ast.parse(source).body if getattr(node, "name", None) == "callback"]
    steps = re.findall(r"^    # (\d)\. ", ast.get_source_segment(source, callback) or "", re.MULTILINE)
    assert steps == list("1234567")
    calls = [node.func for node in ast.walk(callback) if isinstance(node, ast.Call)]
    called = {call.id for call in calls if isinstance(call, ast.Name)} - {"isinstance"}
    assert called == {"bind", "_claim", "_end_without_code", "_exchange", "_check", "_store", "_settle"}


def test_secrets_are_revealed_where_they_are_used_and_nowhere_else() -> None:
    """The list is short, so that a reviewer can read all of it."""
    package = "layers/finch_connect/finch_connect"
    assert names(SHIPPED, r"\.reveal\(\)") == {
        "functions/connect/app.py",
        f"{package}/adapters/fallback.py",
        f"{package}/adapters/finch.py",
        f"{package}/adapters/vault.py",
        f"{package}/flow/token_storage.py",
        f"{package}/flow/binding.py",
        f"{package}/web/apigateway.py",
        f"{package}/domain/jws.py",
        f"{package}/flow/start.py",
        f"{package}/domain/states.py",
    }


@pytest.mark.parametrize("path", sorted(ROOT.glob("functions/*/app.py")), ids=lambda path: path.parent.name)
def test_a_handler_parses_calls_and_answers(path: Path) -> None:
    """A handler has at most 50 lines, not counting blank lines, its imports and its module docstring."""
    text = path.read_text()
    imports = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {number for node in imports for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    lines = [line for number, line in enumerate(text.splitlines(), 1) if number not in imported]
    assert len([line for line in lines if line and not line.startswith('"""')]) <= 50


def test_every_test_has_a_docstring() -> None:
    """The docstring says in a sentence what the test holds."""
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_no_test_is_skipped_or_uses_a_mock() -> None:
    """A test that does not run holds nothing, and a mock may differ from the real code."""
    others = [path for path in EVERYTHING if path != Path(__file__)]
    assert names(others, r"unittest\.mock|MagicMock|mark\.skip|pytest\.skip|mark\.xfail") == set()


def test_no_file_is_too_long_to_read() -> None:
    """A file has at most 400 lines, because it should have one reason to change."""
    assert {path.name for path in EVERYTHING if len(path.read_text().splitlines()) > 400} == set()
