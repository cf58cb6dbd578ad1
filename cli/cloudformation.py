"""A deployed stack, read with the caller's AWS credentials. Each error says what to do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import boto3
from botocore.exceptions import BotoCoreError, ClientError


class DeployedError(Exception):
    """The command cannot be carried out on this stack. Its text says what to do."""


def add_stack_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--stack` and `--region`, which every tool has."""
    parser.add_argument("--stack", default="finch-connect", help="the stack's name (default: finch-connect)")
    parser.add_argument("--region", help="the stack's region (default: the one of your AWS profile)")


def outputs_of(session: boto3.Session, stack: str) -> Mapping[str, str]:
    """Return a stack's outputs by name."""
    described = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def parameters_of(session: boto3.Session, stack: str) -> Mapping[str, str]:
    """Return the parameters a stack was deployed with, by name."""
    described = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {one["ParameterKey"]: one["ParameterValue"] for one in described.get("Parameters", [])}


def resources_of(session: boto3.Session, stack: str) -> Mapping[str, str]:
    """Return the physical ids of a stack's resources by logical id."""
    described = session.client("cloudformation").describe_stack_resources(StackName=stack)
    return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in described["StackResources"]}


def exit_code_of(tool: Callable[[], None], stack: str, needs: str) -> int:
    """Run `tool` and return the command's exit code. Print a DeployedError on standard error; see `explained`."""
    try:
        with explained(stack, needs):
            tool()
    except DeployedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


@contextmanager
def explained(stack: str, needs: str) -> Iterator[None]:
    """Turn AWS's errors into DeployedError. `needs` lists the required permissions."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code == "ValidationError":
            text = (
                f"There is no stack {stack} in this account and region. "
                "Name another stack with STACK=…, or deploy one with `make deploy`."
            )
        elif "AccessDenied" in code:
            text = f"These AWS credentials may not access {stack}. They need {needs}."
        else:
            text = f"AWS refused the request ({code}). Check that these are the right account and credentials."
        raise DeployedError(text) from None
    except BotoCoreError as error:
        kind = type(error).__name__
        raise DeployedError(
            f"Cannot call AWS ({kind}). Log in with `aws sso login`, or set AWS_PROFILE and AWS_DEFAULT_REGION."
        ) from None
