"""One suite runs on the fakes and on the real adapters over moto, so a fake cannot drift from its adapter."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from finch_connect.adapters.fallback import ParameterFallback
from finch_connect.adapters.keys import SecretsManagerClientSecrets, SecretsManagerLinkKeys
from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.adapters.vault import SecretsManagerVault
from tests import fakes
from tests.template import make_flow_table

BOTH = ["fake", "moto"]


@pytest.fixture
def dynamodb_table(aws: None) -> tuple[Any, str]:
    """Create the table as template.yaml defines it, and return its client and name."""
    client = boto3.client("dynamodb")
    make_flow_table(client)
    return client, "flows"


@pytest.fixture(params=BOTH)
def table(request: pytest.FixtureRequest) -> fakes.FakeFlowTable | DynamoFlowTable:
    """The flow table: the fake, then the adapter."""
    if request.param == "fake":
        return fakes.FakeFlowTable()
    return DynamoFlowTable(*request.getfixturevalue("dynamodb_table"))


@pytest.fixture(params=BOTH)
def vault(request: pytest.FixtureRequest) -> fakes.FakeVault | SecretsManagerVault:
    """The vault: the fake, then the adapter."""
    if request.param == "fake":
        return fakes.FakeVault()
    request.getfixturevalue("aws")
    return SecretsManagerVault(boto3.client("secretsmanager"), "dev", None)


@pytest.fixture(params=BOTH)
def fallback(request: pytest.FixtureRequest) -> fakes.FakeFallback | ParameterFallback:
    """The fallback: the fake, then the adapter."""
    if request.param == "fake":
        return fakes.FakeFallback()
    request.getfixturevalue("aws")
    return ParameterFallback(lambda: boto3.client("ssm"), "/finch/dev/unstored", None)


def link_key(name: str) -> str:
    """Return a key that is long enough for HS256."""
    return f"{name}-key".ljust(32, ".")


@pytest.fixture
def secrets_manager(aws: None) -> Any:
    """Secrets Manager with the two config secrets, as the template creates them."""
    client = boto3.client("secretsmanager")
    client.create_secret(
        Name="finch/dev/config/link-key", SecretString=json.dumps({"kid": "1", "key": link_key("first")})
    )
    client.create_secret(Name="finch/dev/config/client-credentials", SecretString='{"client_secret": "first-secret"}')
    return client


class Seconds:
    """A clock in seconds that a test sets by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    """A clock for caches."""
    return Seconds()


@pytest.fixture
def link_keys(secrets_manager: Any, seconds: Seconds) -> SecretsManagerLinkKeys:
    """The link keys over moto."""
    return SecretsManagerLinkKeys(secrets_manager, "finch/dev/config/link-key", seconds)


@pytest.fixture
def client_secrets(secrets_manager: Any, seconds: Seconds) -> SecretsManagerClientSecrets:
    """The client secret over moto."""
    return SecretsManagerClientSecrets(secrets_manager, "finch/dev/config/client-credentials", seconds)
