"""Check a deployment's parameters before anything is created: `make deploy` runs this first.

The same rules run when a function starts. There, a setting that can never work costs a deployment and a rollback.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

from finch_connect.config import read
from finch_connect.domain.errors import ConfigurationError

ROOT = Path(__file__).parents[1]

_ANYTHING = "known-after-the-deployment"
"""Stands for a value that CloudFormation computes, such as an ARN, or for a parameter that SAM will ask for."""


class InvalidParametersError(Exception):
    """The parameters can never work. The text names each, with what would work."""


def parameters_in(samconfig: Mapping[str, Any], config_env: str) -> Mapping[str, str]:
    """Return the parameters that a section of samconfig.toml gives, in either of SAM's two forms."""
    section = samconfig.get(config_env, {})
    given = {name: section.get(name, {}).get("parameters", {}) for name in ("global", "deploy")}
    overrides: Any = {**given["global"], **given["deploy"]}.get("parameter_overrides", [])
    words = shlex.split(overrides) if isinstance(overrides, str) else [str(one) for one in overrides]
    long_form = re.compile(r"ParameterKey=([^,]+),ParameterValue=(.*)", re.DOTALL)
    pairs = [long_form.fullmatch(word) or re.fullmatch(r"([^=]+)=(.*)", word, re.DOTALL) for word in words]
    return {pair[1]: _unquoted(pair[2]) for pair in pairs if pair is not None}


def environment_of(template: Mapping[str, Any], parameters: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment that the template gives to its functions with these parameters and its defaults."""
    defaults = {name: str(one["Default"]) for name, one in template["Parameters"].items() if "Default" in one}
    given = {**defaults, **parameters}
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    return {name: _value(content, given) for name, content in variables.items()}


def check(template: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
    """Raise InvalidParametersError if these parameters can never work."""
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    names = {name: content["Ref"] for name, content in variables.items() if set(content) == {"Ref"}}
    unknown = sorted(parameters.keys() - template["Parameters"].keys())
    problems = [f"{name} is not a parameter of the template" for name in unknown]
    try:
        read(environment_of(template, parameters))
    except ConfigurationError as error:
        problems.append(
            re.sub(r"\b[A-Z]+(?:_[A-Z]+)+\b|\bSTAGE\b", lambda one: names.get(one[0], one[0]), error.reason)
        )
    if problems:
        raise InvalidParametersError("; ".join(problems))


def _value(content: Any, parameters: Mapping[str, str]) -> str:
    """Return a variable's value. What CloudFormation computes, and what SAM will ask for, is not known yet."""
    if not isinstance(content, Mapping):
        return str(content)
    return parameters.get(content.get("Ref", ""), _ANYTHING)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is wrong, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cli.check", description="Check a deployment's parameters.")
    parser.add_argument("--config-env", default="default", help="the section of samconfig.toml (default: default)")
    parser.add_argument("--samconfig", type=Path, default=ROOT / "samconfig.toml")
    given = parser.parse_args(arguments)
    template = yaml_parse((ROOT / "template.yaml").read_text())
    parameters = parameters_in(tomllib.loads(given.samconfig.read_text()), given.config_env)
    try:
        check(template, parameters)
    except InvalidParametersError as error:
        where = f"[{given.config_env}] of {given.samconfig.name}"
        print(f"Some parameters in {where} can never work, so nothing was deployed. {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
