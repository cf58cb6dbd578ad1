"""Rules of the code that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.template import ROOT

SHIPPED = sorted([*ROOT.glob("layers/finch_connect/finch_connect/**/*.py"), *ROOT.glob("functions/**/*.py")])
TESTS = sorted(ROOT.glob("tests/**/test_*.py"))
EVERYTHING = [*SHIPPED, *sorted(ROOT.glob("local/**/*.py")), *sorted(ROOT.glob("tests/**/*.py"))]


def names(paths: list[Path], pattern: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in paths if re.search(pattern, path.read_text())}


def test_the_environment_is_read_by_the_configuration_alone() -> None:
    """In what is shipped by `config`, on the laptop by `local/settings`."""
    assert names(EVERYTHING, r"os\.environ|os\.getenv") - {"tests/template/test_code.py"} <= {
        "layers/finch_connect/finch_connect/config.py",
        "local/settings.py",
        "tests/ports/conftest.py",
    }


def test_clients_are_made_in_one_place() -> None:
    """botocore's session is known to one adapter alone, and wiring asks it; boto3's own part is never imported."""
    assert names(SHIPPED, r"get_session\(") == {"layers/finch_connect/finch_connect/adapters/aws.py"}
    assert names(SHIPPED, r"aws\.clients\(") == {"layers/finch_connect/finch_connect/wiring.py"}
    assert names(SHIPPED, r"import boto3|from boto3") == set()


def test_secrets_are_revealed_where_they_are_used_and_nowhere_else() -> None:
    """A short list to read for whoever reviews this."""
    package = "layers/finch_connect/finch_connect"
    assert names(SHIPPED, r"\.reveal\(\)") == {
        "functions/connect/app.py",
        f"{package}/adapters/fallback.py",
        f"{package}/adapters/finch.py",
        f"{package}/adapters/vault.py",
        f"{package}/flow/token_storage.py",
        f"{package}/flow/callback.py",
        f"{package}/web/apigateway.py",
        f"{package}/domain/jws.py",
        f"{package}/flow/start.py",
        f"{package}/domain/states.py",
    }


@pytest.mark.parametrize("path", sorted(ROOT.glob("functions/*/app.py")), ids=lambda path: path.parent.name)
def test_a_handler_parses_calls_and_answers(path: Path) -> None:
    """In under about fifty lines, its imports aside."""
    code = [line for line in path.read_text().splitlines() if line and not re.match(r'from |import |"""', line)]
    assert len(code) <= 50


def test_every_test_says_what_it_holds() -> None:
    """A name that is a sentence, and a line that says why."""
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_no_test_is_skipped_or_mocks_our_own_code() -> None:
    """A test that does not run does not exist."""
    others = [path for path in EVERYTHING if path != Path(__file__)]
    assert names(others, r"unittest\.mock|MagicMock|mark\.skip|pytest\.skip|mark\.xfail") == set()


def test_no_file_is_too_long_to_read() -> None:
    """One file has one reason to change."""
    assert {path.name for path in EVERYTHING if len(path.read_text().splitlines()) > 400} == set()
