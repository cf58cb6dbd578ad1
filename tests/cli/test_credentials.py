"""`make credentials`: stores the secret that was entered and never prints it."""

from __future__ import annotations

import json

import boto3
import pytest

from cli import credentials


def test_make_credentials_stores_the_secret_and_does_not_print_it(
    account: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """The secret is stored as JSON where the callback reads it."""
    assert credentials.main([], ask=lambda _: "hunter2\n") == 0
    stored = boto3.client("secretsmanager").get_secret_value(SecretId="finch/dev/config/client-credentials")[
        "SecretString"
    ]
    assert json.loads(stored) == {"client_secret": "hunter2"}
    assert "hunter2" not in "".join(capsys.readouterr())


def test_make_credentials_changes_nothing_without_an_entry(account: None, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty entry or an unknown stack leaves the stored secret unchanged."""
    assert credentials.main([], ask=lambda _: "") == 1
    assert credentials.main(["--stack", "nowhere"], ask=lambda _: "hunter2") == 1
    assert (
        boto3.client("secretsmanager").get_secret_value(SecretId="finch/dev/config/client-credentials")["SecretString"]
        == "{}"
    )
    assert "There is no stack nowhere" in capsys.readouterr().err
