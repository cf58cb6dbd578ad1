"""The shim in front of the emulator answers for a secret's versions and its restoration as AWS does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from local.engine.emulator import REGION, emulator
from local.engine.secretsmanager_shim import SecretsManagerShim

FIRST, SECOND = "1" * 64, "2" * 64


@pytest.fixture
def secrets() -> Iterator[Any]:
    """A Secrets Manager client that calls the emulator through the shim."""
    with emulator(auth=False) as upstream, SecretsManagerShim(upstream) as shim:
        yield boto3.client(
            "secretsmanager",
            endpoint_url=shim.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


def test_an_existing_secret_can_be_restored(secrets: Any) -> None:
    """It makes no difference whether it was deleted. A secret that never existed is not found."""
    arn = secrets.create_secret(Name="one", SecretString="a", ClientRequestToken=FIRST)["ARN"]
    assert secrets.restore_secret(SecretId="one")["ARN"] == arn
    secrets.delete_secret(SecretId="one", RecoveryWindowInDays=7)
    assert secrets.restore_secret(SecretId="one")["ARN"] == arn
    assert secrets.get_secret_value(SecretId="one")["SecretString"] == "a"
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.restore_secret(SecretId="none")


def test_a_versions_id_is_its_token_and_it_is_put_once(secrets: Any) -> None:
    """As AWS documents it. This includes the first version, and repeating a version does not make it current again."""
    made = secrets.create_secret(Name="one", SecretString="a", ClientRequestToken=FIRST)
    assert made["VersionId"] == FIRST
    with pytest.raises(secrets.exceptions.ResourceExistsException):
        secrets.create_secret(Name="one", SecretString="a", ClientRequestToken=FIRST)
    assert secrets.put_secret_value(SecretId="one", SecretString="b", ClientRequestToken=SECOND)["VersionId"] == SECOND
    assert secrets.put_secret_value(SecretId="one", SecretString="a", ClientRequestToken=FIRST)["VersionId"] == FIRST
    assert secrets.get_secret_value(SecretId="one")["SecretString"] == "b"
    with pytest.raises(secrets.exceptions.ResourceExistsException):
        secrets.put_secret_value(SecretId="one", SecretString="c", ClientRequestToken=FIRST)
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.put_secret_value(SecretId="none", SecretString="c", ClientRequestToken=FIRST)
