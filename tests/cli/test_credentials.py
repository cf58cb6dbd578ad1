"""`make credentials`: stores what was entered and shows nothing of it."""

from __future__ import annotations

import json

import boto3
import pytest

from cli import credentials


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
