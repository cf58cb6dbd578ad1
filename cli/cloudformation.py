"""A stack on AWS as the tools for it ask: with the caller's own credentials, and errors that say what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import boto3
from botocore.exceptions import BotoCoreError, ClientError


class DeployedError(Exception):
    """It cannot be done with this stack; the text says what can."""


def outputs_of(session: boto3.Session, stack: str) -> Mapping[str, str]:
    """Return a stack's outputs by name."""
    described = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def parameters_of(session: boto3.Session, stack: str) -> Mapping[str, str]:
    """Return the parameters with which a stack was deployed, by name."""
    described = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {one["ParameterKey"]: one["ParameterValue"] for one in described.get("Parameters", [])}


def exit_code_of(tool: Callable[[], None], stack: str, needs: str) -> int:
    """Run a command's work; what cannot be done is said on standard error. Returns the command's exit code."""
    try:
        with explained(stack, needs):
            tool()
    except DeployedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


@contextmanager
def explained(stack: str, needs: str) -> Iterator[None]:
    """Turn AWS's errors into DeployedError; `needs` names the permissions that are needed."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code == "ValidationError":
            says = f"There is no stack {stack} in this account and region: `make deploy` makes one, STACK=… names one."
        elif "AccessDenied" in code:
            says = f"These AWS credentials may not use {stack}: they need {needs}."
        else:
            says = f"AWS refused ({code}). Are these the right account and credentials?"
        raise DeployedError(says) from None
    except BotoCoreError as error:
        kind = type(error).__name__
        raise DeployedError(
            f"AWS cannot be asked ({kind}). Log in (`aws sso login`), or set AWS_PROFILE and AWS_REGION."
        ) from None
