"""`make deploy` refuses parameters that can never work before it creates anything, by name, with what would work."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from cli.check import main, parameters_in
from tests.template import ROOT


@pytest.fixture
def samconfig(tmp_path: Path) -> Path:
    """A place for a samconfig.toml of the test."""
    return tmp_path / "samconfig.toml"


def refused(samconfig: Path, capsys: pytest.CaptureFixture[str], overrides: str) -> str:
    """Check these overrides, which must be refused. Return what was printed."""
    samconfig.write_text(f"[prod.deploy.parameters]\nparameter_overrides = '''{overrides}'''\n")
    assert main(["--config-env", "prod", "--samconfig", str(samconfig)]) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "parameter", "fix"),
    [
        ('AllowedReturnUrls="https://App.Example.com/hr"', "AllowedReturnUrls", "lower case"),
        ('AllowedProducts="company deduction benefits"', "AllowedProducts", "not both"),
        ("AllowedClientTypes=live", "AllowedClientTypes", "development production sandbox"),
        ("PublicUrl=https://connect.example.com/", "PublicUrl", "no slash at the end"),
        ("LinkMaxLifetimeSeconds=1", "LinkMaxLifetimeSeconds", "60 to 2592000"),
        ("Stage=prod LinkPolicy=open", "LinkPolicy", "local and dev only"),
        ("AllowedReturnUrl=https://app.example.com/hr", "AllowedReturnUrl", "is not a parameter"),
    ],
)
def test_a_parameter_that_can_never_work_is_named_with_what_would_work(
    samconfig: Path, capsys: pytest.CaptureFixture[str], overrides: str, parameter: str, fix: str
) -> None:
    """The text has the parameter's name as the template writes it, not the variable's."""
    printed = refused(samconfig, capsys, overrides)
    assert re.search(rf"\b{parameter}\b", printed)
    assert fix in printed
    assert "nothing was deployed" in printed
    assert not re.search(r"\b[A-Z]+_[A-Z_]+\b", printed)


@pytest.mark.parametrize("section", ["default", "local", "staging", "prod"])
def test_the_shipped_sections_pass(section: str) -> None:
    """What `sam deploy --guided` will ask for is not missing yet."""
    assert main(["--config-env", section]) == 0


@pytest.mark.parametrize(
    "overrides",
    [
        'parameter_overrides = "Stage=prod AllowedProducts=\\"company directory\\""',
        'parameter_overrides = ["Stage=prod", "AllowedProducts=company directory"]',
        'parameter_overrides = "ParameterKey=Stage,ParameterValue=prod '
        "ParameterKey=AllowedProducts,ParameterValue='company directory'\"",
    ],
)
def test_each_form_of_sams_overrides_is_read(overrides: str) -> None:
    """SAM accepts a text or a list, and a short or a long form."""
    section = {"prod": {"deploy": {"parameters": tomllib.loads(overrides)}}}
    assert parameters_in(section, "prod") == {"Stage": "prod", "AllowedProducts": "company directory"}


def test_make_deploy_checks_first() -> None:
    """The check is the first command of the target, before the build."""
    target = (ROOT / "Makefile").read_text().partition("\ndeploy: ")[2].partition("\n\n")[0]
    commands = [line.strip() for line in target.splitlines() if line.startswith("\t")]
    assert commands[0] == '@python -m cli.check --config-env "$(CONFIG_ENV)"'
