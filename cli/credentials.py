"""Store Finch's client secret in a deployed stack. `make credentials` prompts for it, so no shell history has it."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable, Sequence

import boto3

from cli.cloudformation import DeployedError, add_stack_arguments, exit_code_of, outputs_of


def main(arguments: Sequence[str] | None = None, ask: Callable[[str], str] = getpass.getpass) -> int:
    """Prompt for the secret, store it, and return the exit code. Running functions pick it up by themselves."""
    parser = argparse.ArgumentParser(prog="python -m cli.credentials", description=__doc__)
    add_stack_arguments(parser)
    given = parser.parse_args(arguments)
    needs = "cloudformation:DescribeStacks and secretsmanager:PutSecretValue"
    return exit_code_of(lambda: _store(given, ask), given.stack, needs)


def _store(given: argparse.Namespace, ask: Callable[[str], str]) -> None:
    session = boto3.Session(region_name=given.region)  # fails if the profile does not exist
    secret_arn = outputs_of(session, given.stack)["ClientCredentialsSecretArn"]
    client_secret = ask(f"Finch's client secret for {given.stack}: ").strip()
    if not client_secret:
        raise DeployedError("No secret was entered, so nothing was changed. Run the command again.")
    content = json.dumps({"client_secret": client_secret})
    session.client("secretsmanager").put_secret_value(SecretId=secret_arn, SecretString=content)
    print("Stored. The stack uses it from the next connection on.")


if __name__ == "__main__":
    sys.exit(main())
