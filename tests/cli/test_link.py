"""`make link`: what a developer reads, in an in-memory account."""

from __future__ import annotations

import json

import boto3
import pytest

from cli.link import main
from tests.cli.account import taken


def test_make_link_prints_a_link_and_nothing_else(account: None, capsys: pytest.CaptureFixture[str]) -> None:
    """The output can be piped, because notes go to standard error."""
    assert main(["--customer", "acme", "--products", "directory", "--name", "Acme Inc"]) == 0
    written = capsys.readouterr()
    request = taken(written.out.strip())
    assert (request.customer_id, request.products) == ("acme", ("directory",))
    assert "shows a confirm page first" in written.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--customer", "acme", "--stack", "nowhere"], "There is no stack nowhere"),
        (["--customer", ""], "1 to 255"),
    ],
)
def test_make_link_reports_an_error_in_one_sentence(
    account: None, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """The exit code is 1 and nothing is printed on standard output."""
    assert main(arguments) == 1
    written = capsys.readouterr()
    assert message in written.err
    assert written.out == ""


def test_make_link_refuses_a_stack_of_another_kind(account: None, capsys: pytest.CaptureFixture[str]) -> None:
    """STACK names another stack of the account."""
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    boto3.client("cloudformation").create_stack(StackName="shop", TemplateBody=json.dumps(template))
    assert main(["--customer", "acme", "--stack", "shop"]) == 1
    assert "shop is not a Finch Connect stack" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["hidden", '["hidden"]', '{"kid": "hidden"}'])
def test_make_link_does_not_print_a_key_that_it_cannot_read(
    account: None, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    """After a rotation by hand, the error shows the required form and not the content."""
    boto3.client("secretsmanager").put_secret_value(SecretId="finch/dev/config/link-key", SecretString=content)
    assert main(["--customer", "acme"]) == 1
    written = capsys.readouterr()
    assert "is not JSON of the form" in written.err
    assert "hidden" not in written.err
    assert written.out == ""


def test_make_link_reports_a_profile_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error in AWS_PROFILE gives a sentence, not a traceback."""
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    assert main(["--customer", "acme"]) == 1
    assert "set AWS_PROFILE" in capsys.readouterr().err
