"""The configuration: it names everything that is wrong at once, and contains no secret."""

from __future__ import annotations

import dataclasses

import pytest

from finch_connect.config import Config, read
from finch_connect.domain.errors import ConfigurationError
from tests.unit.conftest import ENVIRONMENT


def wrong(**changed: str | None) -> str:
    environment = {name: value for name, value in (ENVIRONMENT | changed).items() if value is not None}
    with pytest.raises(ConfigurationError) as caught:
        read(environment)
    return caught.value.reason


def test_the_environment_becomes_a_frozen_configuration() -> None:
    """It is read once and never changes."""
    config = read(ENVIRONMENT)
    assert config.allowed_products == ("company", "directory", "individual")
    assert config.kms_key_id is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.stage = "prod"  # type: ignore[misc]


def test_everything_that_is_missing_is_named_at_once() -> None:
    """Otherwise each deployment would find only the next missing variable."""
    with pytest.raises(ConfigurationError) as caught:
        read({})
    optional = {"ALLOWED_RETURN_URLS", "PUBLIC_URL", "KMS_KEY_ID"}
    required = ENVIRONMENT.keys() - optional
    assert all(name in caught.value.reason for name in required)
    assert not any(name in caught.value.reason for name in optional)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STAGE", "Prod!"),
        ("FINCH_API_URL", "http://api.example.com"),
        ("FINCH_API_URL", "https://api.example.com/"),
        ("FINCH_CONNECT_URL", "https://user@connect.example.com"),
        ("FINCH_CONNECT_URL", "https://connect.example.com; script-src *"),
        ("PUBLIC_URL", "https://connect.example.com/path"),
        ("PUBLIC_URL", "https://connect.example.com:x"),
        ("CONNECT_MODE", "both"),
        ("LINK_POLICY", "none"),
        ("LINK_MAX_LIFETIME_SECONDS", "-1"),
        ("STATE_LIFETIME_SECONDS", "a day"),
        ("ALLOWED_PRODUCTS", "company,directory"),
        ("FINCH_API_VERSION", "latest"),
    ],
)
def test_an_ill_formed_variable_is_named(name: str, value: str) -> None:
    """The error has the variable's name, never its value."""
    reason = wrong(**{name: value})
    assert name in reason
    assert value not in reason


@pytest.mark.parametrize("stage", ["staging", "prod"])
def test_open_links_are_refused_in_stages_with_customers(stage: str) -> None:
    """With open links, anyone could start a flow as any customer."""
    assert "LINK_POLICY" in wrong(STAGE=stage, LINK_POLICY="open")
    assert read(ENVIRONMENT | {"STAGE": "dev", "LINK_POLICY": "open"}).open_links


def test_plain_http_is_accepted_for_this_machine_only() -> None:
    """It is for the simulator."""
    assert "FINCH_API_URL" in wrong(FINCH_API_URL="http://192.168.0.1:8090")
    assert read(ENVIRONMENT | {"FINCH_API_URL": "http://127.0.0.1:8090"}).finch_api_url == "http://127.0.0.1:8090"


def test_the_configuration_contains_no_secret() -> None:
    """It has only the ARNs of secrets, so it may be shown."""
    fields = [field.name for field in dataclasses.fields(Config)]
    assert [name for name in fields if "secret" in name] == ["link_key_secret_arn", "client_credentials_secret_arn"]
