"""What the team's backend does: links that the stack takes, receipts that must not be believed blindly."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import jwt
import pytest
from moto import mock_aws

from finch_connect.config import read
from finch_connect.links import verify_link
from finch_connect.model import LinkRequest
from local import credentials
from local.links import ReceiptError, main, sign_link, verify_receipt
from tests.fakes import FakeLinkKeys
from tests.template import ROOT
from tests.unit.conftest import ENVIRONMENT

KEY, ISSUER = "k" * 64, "https://connect.team.example.com"
CONFIG = read(ENVIRONMENT)


def taken(link: str) -> LinkRequest:
    """Verify a link as the stack does."""
    assert link.startswith("https://connect.example.com/connect?link=")
    return verify_link(parse_qs(urlsplit(link).query)["link"][0], FakeLinkKeys(), CONFIG, datetime.now(UTC))


def test_a_signed_link_is_taken_with_all_its_claims() -> None:
    """The stack and the team's side agree on every name."""
    request = taken(
        sign_link(
            connect_url="https://connect.example.com/connect",
            kid="1",
            key=KEY,
            customer_id="acme",
            customer_name="Acme Inc",
            return_url="https://app.example.com/hr",
            products=["directory"],
            sandbox="finch",
            nonce="n-1",
            metadata={"plan": "gold"},
        )
    )
    assert (request.customer_id, request.customer_name, request.products) == ("acme", "Acme Inc", ("directory",))
    assert (request.sandbox, request.nonce, request.metadata) == ("finch", "n-1", {"plan": "gold"})
    assert not request.confirm


@pytest.mark.parametrize("customer", ["", "x" * 256, "a\nb"])
def test_a_link_that_no_stack_would_take_is_not_signed(customer: str) -> None:
    """The team's developer sees it, not the customer."""
    with pytest.raises(ValueError, match="1 to 255"):
        sign_link(connect_url="https://c", kid="1", key=KEY, customer_id=customer)


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"lifetime_seconds": 0}, "more than no time"),
        ({"kid": ""}, "a kid and a key"),
        ({"key": ""}, "a kid and a key"),
        ({"link_id": ""}, "link_id has 1 to 255"),
        ({"nonce": "x" * 256}, "nonce has 1 to 255"),
        ({"customer_name": "a\tb"}, "customer_name has 1 to 255"),
        ({"return_url": "http://app.example.com/hr"}, "begins with https://"),
        ({"return_url": "http://localhost.example.com/hr"}, "begins with https://"),
        ({"products": []}, "names each product once"),
        ({"products": ["company", "company"]}, "names each product once"),
        ({"products": "company"}, "names each product once"),
        ({"category": "crm"}, "hris or ats"),
        ({"sandbox": "yes"}, "true, false, finch, provider"),
        ({"payroll_provider": "gus to"}, "such as gusto"),
        ({"connection_id": "c/1"}, "Finch's id of a connection"),
        ({"customer_email": "ada"}, "an address"),
        ({"metadata": {"a": "x" * 2048}}, "at most 2048 bytes"),
    ],
)
def test_a_claim_that_no_stack_would_take_is_not_signed(claims: dict[str, Any], says: str) -> None:
    """Each with its rule in words."""
    given = {"connect_url": "https://c", "kid": "1", "key": KEY, "customer_id": "acme", **claims}
    with pytest.raises(ValueError, match=says):
        sign_link(**given)


@pytest.mark.parametrize("sandbox", [True, "true", "finch", "provider"])
@pytest.mark.parametrize("return_url", ["https://app.example.com/hr?tab=2", "https://app.example.com/hr"])
def test_what_is_signed_is_what_the_stack_takes(sandbox: bool | str, return_url: str) -> None:
    """The team's side refuses nothing that would work."""
    link = sign_link(
        connect_url="https://connect.example.com/connect",
        kid="1",
        key=KEY,
        customer_id="acme",
        return_url=return_url,
        sandbox=sandbox,
        manual=True,
        confirm=True,
        category="hris",
        payroll_provider="gusto",
        connection_id="0b1ee99d-3cbe-4f1c-8f39-1b8e7d1a3c11",
        customer_email="ada@acme.example",
        link_id="link-1",
    )
    request = taken(link)
    assert (request.return_url, request.link_id, request.confirm) == (return_url, "link-1", True)


EXAMPLES = {
    "python": [sys.executable, "sign_link.py"],
    "node": ["node", "sign_link.mjs"],
    "openssl": ["bash", "sign_link.sh"],
}


@pytest.mark.parametrize("language", EXAMPLES)
@pytest.mark.parametrize("return_url", [None, "https://app.example.com/hr/done"])
def test_the_examples_sign_links_that_the_stack_takes(language: str, return_url: str | None) -> None:
    """In the languages that backends are written in; node and openssl have to be on this machine."""
    program = shutil.which(EXAMPLES[language][0])
    assert program is not None, f"{EXAMPLES[language][0]} is needed to test examples/signing: please install it"
    ran = subprocess.run(
        [program, *EXAMPLES[language][1:], "acme", *([return_url] if return_url else [])],
        cwd=ROOT / "examples/signing",
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "FINCH_LINK_KID": "1",
            "FINCH_LINK_KEY": KEY,
            "CONNECT_URL": "https://connect.example.com/connect",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    request = taken(ran.stdout.strip())
    assert (request.customer_id, request.return_url) == ("acme", return_url)


@pytest.mark.parametrize("language", EXAMPLES)
@pytest.mark.parametrize("missing", ["FINCH_LINK_KID", "FINCH_LINK_KEY", "CONNECT_URL", "CUSTOMER"])
def test_the_examples_sign_nothing_when_something_is_missing(language: str, missing: str) -> None:
    """An empty key signs as well as any other; they say what to set."""
    program = shutil.which(EXAMPLES[language][0])
    assert program is not None, f"{EXAMPLES[language][0]} is needed to test examples/signing: please install it"
    given = {"FINCH_LINK_KID": "1", "FINCH_LINK_KEY": KEY, "CONNECT_URL": "https://c", "CUSTOMER": "acme"} | {
        missing: ""
    }
    customer = given.pop("CUSTOMER")
    ran = subprocess.run(
        [program, *EXAMPLES[language][1:], *([customer] if customer else [])],
        cwd=ROOT / "examples/signing",
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert missing in ran.stderr
    assert KEY not in ran.stderr


def test_the_shell_example_refuses_what_it_cannot_write_as_json() -> None:
    """A quote in the customer's id would be a claim of its own."""
    ran = subprocess.run(
        ["/bin/bash", "sign_link.sh", 'acme","sub":"globex'],
        cwd=ROOT / "examples/signing",
        env={"PATH": "/usr/bin:/bin", "FINCH_LINK_KID": "1", "FINCH_LINK_KEY": KEY, "CONNECT_URL": "https://c"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")


def receipt(*, typ: str = "finch-receipt+jwt", key: str = KEY, **changed: Any) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "finch-receipt", "sub": "acme", "jti": "e-1", "iat": now, "exp": now + 300}
    return jwt.encode({**claims, "nonce": "n-1", "status": "connected", **changed}, key, headers={"typ": typ})


def test_a_receipt_is_believed() -> None:
    """When it is of this stack, fresh, and about who is logged in."""
    claims = verify_receipt(receipt(), key=KEY, issuer=ISSUER, customer_id="acme", nonce="n-1")
    assert claims["status"] == "connected"


@pytest.mark.parametrize(
    "forged",
    [
        receipt(key="z" * 64),
        receipt(typ="JWT"),
        receipt(aud="finch-connect"),
        receipt(iss="https://other.example.com"),
        receipt(sub="globex"),
        receipt(nonce="n-2"),
        receipt(exp=1),
        "",
        "a.b.c",
    ],
)
def test_any_other_receipt_is_not(forged: str) -> None:
    """Above all not one about another customer: it came through a browser."""
    with pytest.raises(ReceiptError):
        verify_receipt(forged, key=KEY, issuer=ISSUER, customer_id="acme", nonce="n-1")


def test_a_receipt_that_is_too_old_says_so() -> None:
    """Somebody kept the page for an hour: that is no forgery."""
    with pytest.raises(ReceiptError, match="too old"):
        verify_receipt(receipt(exp=1), key=KEY, issuer=ISSUER, customer_id="acme")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS account in memory, with a deployed stack as far as the tool asks."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        secret = json.dumps({"kid": "1", "key": KEY})
        arn = boto3.client("secretsmanager").create_secret(Name="finch/dev/config/link-key", SecretString=secret)["ARN"]
        client = boto3.client("secretsmanager")
        other = client.create_secret(Name="finch/dev/config/c", SecretString="{}")["ARN"]
        outputs = {
            "ConnectUrl": "https://connect.example.com/connect",
            "LinkKeySecretArn": arn,
            "ClientCredentialsSecretArn": other,
        }
        template = {
            "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
            "Outputs": {name: {"Value": value} for name, value in outputs.items()},
        }
        boto3.client("cloudformation").create_stack(StackName="finch-connect", TemplateBody=json.dumps(template))
        yield


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


def test_make_credentials_stores_what_was_entered_and_shows_nothing(
    account: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """As JSON, where the callback reads it."""
    assert credentials.main([], ask=lambda _: "hunter2\n") == 0
    stored = boto3.client("secretsmanager").get_secret_value(SecretId="finch/dev/config/c")["SecretString"]
    assert json.loads(stored) == {"client_secret": "hunter2"}
    assert "hunter2" not in "".join(capsys.readouterr())


def test_make_credentials_changes_nothing_without_an_entry(account: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Enter alone, or a stack that is not there."""
    assert credentials.main([], ask=lambda _: "") == 1
    assert credentials.main(["--stack", "nowhere"], ask=lambda _: "hunter2") == 1
    assert boto3.client("secretsmanager").get_secret_value(SecretId="finch/dev/config/c")["SecretString"] == "{}"
    assert "There is no stack nowhere" in capsys.readouterr().err


def test_the_configuration_of_these_tests_is_the_stacks_default() -> None:
    """Signed links, the static form."""
    assert dataclasses.asdict(CONFIG)["open_links"] is False
