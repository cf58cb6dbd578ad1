"""Sign a link for a deployed stack: `make link CUSTOMER=acme`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import boto3

from cli.cloudformation import DeployedError, add_stack_arguments, exit_code_of, outputs_of
from cli.signing import sign_link
from finch_connect.domain.link_claims import CONFIRM_OVER_SECONDS


def _signed(given: argparse.Namespace) -> str:
    """Return a link signed with the stack's key, which the caller's AWS credentials may read. Raises DeployedError."""
    session = boto3.Session(region_name=given.region)  # fails if the profile does not exist
    outputs = outputs_of(session, given.stack)
    if not {"ConnectUrl", "LinkKeySecretArn"} <= outputs.keys():
        raise DeployedError(
            f"{given.stack} is not a Finch Connect stack. Use STACK=… to name the one that `make deploy` created."
        )
    secret = session.client("secretsmanager").get_secret_value(SecretId=outputs["LinkKeySecretArn"])
    try:
        link_key = json.loads(secret["SecretString"])
        kid, key = str(link_key["kid"]), str(link_key["key"])
    except (ValueError, KeyError, TypeError):
        # The cause is dropped, because its text may quote the key.
        raise DeployedError(
            'The link key is not JSON of the form {"kid": "2", "key": "…"}. Put a new version of that form into '
            f"{outputs['LinkKeySecretArn']}."
        ) from None
    try:
        return sign_link(
            connect_url=outputs["ConnectUrl"],
            kid=kid,
            key=key,
            customer_id=given.customer,
            lifetime_seconds=given.minutes * 60,
            return_url=given.return_url,
            customer_name=given.name,
            products=given.products.split() if given.products else None,
            sandbox="finch" if given.sandbox else None,
        )
    except ValueError as error:
        raise DeployedError(f"The link cannot be signed: {error}.") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print only the link on standard output, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cli.link", description="Sign a link for a deployed stack.")
    parser.add_argument("--customer", required=True, help="your id for the customer")
    parser.add_argument("--name", help="the customer's name, shown on the confirm page (required in session mode)")
    parser.add_argument("--return-url", help="where the person goes afterwards; must be under AllowedReturnUrls")
    parser.add_argument("--products", help="products, separated by spaces (default: all that the stack allows)")
    parser.add_argument("--sandbox", action="store_true", help="use Finch's sandbox")
    parser.add_argument("--minutes", type=int, default=60, help="how long the link is valid (default: 60)")
    add_stack_arguments(parser)
    given = parser.parse_args(arguments)
    needs = "cloudformation:DescribeStacks and secretsmanager:GetSecretValue"
    return exit_code_of(lambda: _print(given), given.stack, needs)


def _print(given: argparse.Namespace) -> None:
    print(_signed(given))
    if given.minutes * 60 > CONFIRM_OVER_SECONDS:
        print(
            "This link shows a confirm page first, because a mail scanner may open a link "
            f"that is valid for more than {CONFIRM_OVER_SECONDS // 60} minutes.",
            file=sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(main())
