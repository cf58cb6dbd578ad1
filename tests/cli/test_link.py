"""`make link`: what a developer reads, over an account in memory."""

from __future__ import annotations

import json

import boto3
import pytest

from cli.link import main
from tests.cli.account import taken


def test_make_link_prints_a_link_and_nothing_else(account: None, capsys: pytest.CaptureFixture[str]) -> None:
    """So that it can be piped; what is to be said goes to standard error."""
    assert main(["--customer", "acme", "--products", "directory", "--name", "Acme Inc"]) == 0
    written = capsys.readouterr()
    request = taken(written.out.strip())
    assert (request.customer_id, request.products) == ("acme", ("directory",))
    assert "asks for a click first" in written.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--customer", "acme", "--stack", "nowhere"], "There is no stack nowhere"),
        (["--customer", ""], "1 to 255"),
    ],
)
def test_make_link_says_what_to_do(
    account: None, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    """In one sentence, with exit code 1."""
    assert main(arguments) == 1
    written = capsys.readouterr()
    assert says in written.err
    assert written.out == ""


def test_make_link_knows_a_stack_that_is_not_ours(account: None, capsys: pytest.CaptureFixture[str]) -> None:
    """STACK names some other stack of the account."""
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    boto3.client("cloudformation").create_stack(StackName="shop", TemplateBody=json.dumps(template))
    assert main(["--customer", "acme", "--stack", "shop"]) == 1
    assert "shop is another kind of stack" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["hidden", '["hidden"]', '{"kid": "hidden"}'])
def test_make_link_shows_no_key_that_it_cannot_read(
    account: None, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    """Somebody rotated it by hand: the form is said, the content is not."""
    boto3.client("secretsmanager").put_secret_value(SecretId="finch/dev/config/link-key", SecretString=content)
    assert main(["--customer", "acme"]) == 1
    written = capsys.readouterr()
    assert "is not JSON of the form" in written.err
    assert "hidden" not in written.err
    assert written.out == ""


def test_make_link_says_so_when_the_profile_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error in AWS_PROFILE is a sentence, not a traceback."""
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    assert main(["--customer", "acme"]) == 1
    assert "set AWS_PROFILE" in capsys.readouterr().err
