"""The import contracts in pyproject.toml refuse the imports that they forbid."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.template import ROOT

LAYER = ROOT / "layers/finch_connect"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def lint(folder: Path) -> tuple[int, str]:
    """Run import-linter on a copy of the package, and return its exit code and output."""
    ran = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", "pyproject.toml"],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package with the project's contracts."""
    shutil.copytree(LAYER / "finch_connect", tmp_path / "finch_connect", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_package_keeps_its_contracts(copy: Path) -> None:
    """An unchanged copy passes, so the refusals below are due to the change in each test."""
    code, printed = lint(copy)
    assert code == 0, printed


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("flow/sweep.py", "from finch_connect.adapters import vault", "Each folder is a layer"),
        ("flow/deadline.py", "import botocore.session", "Only adapters import a library"),
        ("flow/callback.py", "import requests", "Only adapters import a library"),
        ("flow/links.py", "import certifi", "Only adapters import a library"),
        ("flow/callback.py", "from finch_connect.observability import count", "Each folder is a layer"),
        ("flow/outbox.py", "from finch_connect.web import pages", "Each folder is a layer"),
        ("flow/start.py", "from finch_connect import wiring", "Each folder is a layer"),
        ("flow/links.py", "from finch_connect.flow import start, links_again", "Inside a layer"),
        ("domain/link_claims.py", "from finch_connect.config import Config", "Each folder is a layer"),
        ("domain/flow.py", "import urllib3", "Only adapters import a library"),
        ("web/endpoint.py", "from finch_connect.adapters import aws", "Each folder is a layer"),
        ("web/endpoint.py", "import botocore.session", "Only adapters import a library"),
        ("web/pages.py", "import aws_lambda_powertools", "Only adapters import a library"),
        ("adapters/table.py", "from finch_connect.web import pages", "Each folder is a layer"),
        ("config.py", "from finch_connect.flow import ports", "Each folder is a layer"),
        ("coldstart.py", "import boto3", "Only adapters import a library"),
        ("wiring.py", "import botocore.session", "Only adapters import a library"),
    ],
)
def test_a_forbidden_import_is_refused(copy: Path, module: str, line: str, broken: str) -> None:
    """The cases are an import of a higher layer, one around the ports, a circular one, and one of a library."""
    circle = copy / "finch_connect/flow/links_again.py"
    circle.write_text('"""A module."""\n\nfrom finch_connect.flow import links\n\nlinks = links\n')
    with (copy / "finch_connect" / module).open("a") as file:
        file.write(f"\n{line}\n")
    code, printed = lint(copy)
    assert code != 0
    assert re.search(rf"^{broken}.* BROKEN\b", printed, re.MULTILINE), printed


@pytest.mark.parametrize("name", ["helpers.py", "helpers/__init__.py"])
def test_a_module_in_no_layer_is_refused(copy: Path, name: str) -> None:
    """A new file or folder must be assigned to a layer first."""
    module = copy / "finch_connect" / name
    module.parent.mkdir(exist_ok=True)
    module.write_text('"""Helpers."""\n')
    code, printed = lint(copy)
    assert code != 0
    assert "helpers" in printed


def test_every_library_of_the_layer_is_in_the_contract() -> None:
    """A library in the layer's requirements cannot be missing from the libraries forbidden outside the adapters."""
    (contract,) = [one for one in SETTINGS["contracts"] if one["type"] == "forbidden"]
    required = set(re.findall(r"^([a-z0-9-]+)==", (LAYER / "requirements.txt").read_text(), re.MULTILINE))
    assert len(required) > 5
    modules = {
        module
        for module, distributions in packages_distributions().items()
        if required & {one.lower().replace("_", "-") for one in distributions} and not module.startswith("__")
    }
    assert modules - set(contract["forbidden_modules"]) == set()
