"""The vault and the fallback: a token is stored once, versions are kept, and a pending deletion loses nothing."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from finch_connect.adapters.vault import SUPERSEDED_LABEL, SecretsManagerVault
from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.secret import Secret
from finch_connect.flow.ports import Fallback, Vault

NAME = "finch/dev/connections/c-1"
FIRST, SECOND = "a" * 64, "b" * 64


@pytest.mark.parametrize("hint", [False, True])
def test_a_token_is_stored_whatever_the_hint_is(vault: Vault, hint: bool) -> None:
    """The hint that a secret exists saves a round trip. A wrong hint costs one."""
    stored = vault.put(NAME, Secret("one"), version=FIRST, exists=hint)
    assert stored.version_id == FIRST
    assert NAME in stored.arn
    again = vault.put(NAME, Secret("two"), version=SECOND, exists=hint)
    assert (again.version_id, again.arn) == (SECOND, stored.arn)


def test_storing_the_same_version_again_changes_nothing(vault: Vault) -> None:
    """A store can be repeated after a lost answer."""
    first = vault.put(NAME, Secret("one"), version=FIRST, exists=False)
    assert vault.put(NAME, Secret("one"), version=FIRST, exists=True) == first


def test_a_version_is_found_where_it_was_stored_and_nowhere_else(vault: Vault) -> None:
    """So the sweeper can find out whether a function that died had stored its token, without reading the token."""
    assert vault.find(NAME, version=FIRST) is None
    stored = vault.put(NAME, Secret("one"), version=FIRST, exists=False)
    assert vault.find(NAME, version=FIRST) == stored
    assert vault.find(NAME, version=SECOND) is None


@pytest.fixture
def secrets_manager(aws: None) -> Any:
    """The Secrets Manager behind the vault, to read what it stored."""
    return boto3.client("secretsmanager")


def current(client: Any) -> str:
    return str(client.get_secret_value(SecretId=NAME)["SecretString"])


def test_a_reconnect_keeps_the_earlier_version(secrets_manager: Any) -> None:
    """AWSPREVIOUS has Finch's old token in case it is still needed."""
    vault = SecretsManagerVault(secrets_manager, "dev", None)
    vault.put(NAME, Secret("one"), version=FIRST, exists=False)
    vault.put(NAME, Secret("two"), version=SECOND, exists=True)
    assert current(secrets_manager) == "two"
    previous = secrets_manager.get_secret_value(SecretId=NAME, VersionStage="AWSPREVIOUS")
    assert (previous["SecretString"], previous["VersionId"]) == ("one", FIRST)


@pytest.mark.parametrize("hint", [False, True])
def test_a_secret_whose_deletion_is_pending_is_restored(secrets_manager: Any, hint: bool) -> None:
    """An operator deleted the secret yesterday, and today the customer connects again.

    Moto accepts a put to a deleted secret where AWS refuses it, so a stub returns AWS's documented answers in order.
    The deployed stack runs this case against an emulator that refuses the put too (tests/e2e).
    """
    stored = {"ARN": "arn:aws:secretsmanager:eu-central-1:000000000000:secret:" + NAME, "VersionId": SECOND}
    with Stubber(secrets_manager) as aws_answers:
        for operation in ("put_secret_value", "create_secret") if hint else ("create_secret", "put_secret_value"):
            aws_answers.add_client_error(operation, "InvalidRequestException")
        aws_answers.add_response("restore_secret", {"ARN": stored["ARN"]}, {"SecretId": NAME})
        aws_answers.add_response("put_secret_value", stored)
        vault = SecretsManagerVault(secrets_manager, "dev", None)
        assert vault.put(NAME, Secret("two"), version=SECOND, exists=hint).version_id == SECOND
        aws_answers.assert_no_pending_responses()


def test_a_secret_has_its_stage_and_the_customer_key(secrets_manager: Any) -> None:
    """Cost reports need the stage, and teams with a customer managed key need their key."""
    key = boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]
    SecretsManagerVault(secrets_manager, "dev", key).put(NAME, Secret("one"), version=FIRST, exists=False)
    described = secrets_manager.describe_secret(SecretId=NAME)
    assert described["KmsKeyId"] == key
    assert described["Tags"] == [{"Key": "finch-connect:stage", "Value": "dev"}]


def test_an_error_of_the_vault_does_not_show_what_was_sent(secrets_manager: Any) -> None:
    """The error has only AWS's error code."""
    vault = SecretsManagerVault(secrets_manager, "dev", None)
    with pytest.raises(ServiceUnavailableError) as caught:
        vault.put(NAME, Secret(""), version="too-short", exists=False)
    assert caught.value.__suppress_context__
    assert "too-short" not in f"{caught.value} {caught.value.fields}"


def test_a_version_is_found_by_how_its_id_begins(vault: Vault) -> None:
    """The rest of the id depends on the text, which the sweeper does not know."""
    stored = vault.put(NAME, Secret("one"), version=FIRST, exists=False)
    assert vault.find(NAME, version=FIRST[:32]) == stored
    assert vault.find(NAME, version=SECOND[:32]) is None


def test_a_superseded_token_is_kept_and_is_not_current(secrets_manager: Any) -> None:
    """It stays readable under its label. The newer token is still the current version."""
    vault = SecretsManagerVault(secrets_manager, "dev", None)
    vault.put(NAME, Secret("newer"), version=FIRST, exists=False)
    vault.put_superseded(NAME, Secret("older"), version=SECOND)
    assert current(secrets_manager) == "newer"
    kept = secrets_manager.get_secret_value(SecretId=NAME, VersionStage=SUPERSEDED_LABEL)
    assert (kept["SecretString"], kept["VersionId"]) == ("older", SECOND)
    vault.put_superseded(NAME, Secret("older"), version=SECOND)
    assert current(secrets_manager) == "newer", "a repetition changes nothing"


def test_the_attempts_in_the_fallback_are_listed(fallback: Fallback) -> None:
    """The sweeper finds a token that was left over. AWS returns ten names in a page."""
    attempts = [f"{number:022}.{'a' * 16}" for number in range(12)]
    for attempt in attempts:
        fallback.put(attempt, Secret("one"))
    assert sorted(fallback.attempts()) == attempts
    fallback.delete(attempts[0])
    assert sorted(fallback.attempts()) == attempts[1:]


def test_a_token_stays_in_the_fallback_until_it_is_deleted(fallback: Fallback) -> None:
    """Each step can be repeated."""
    assert fallback.get("flow-1") is None
    fallback.put("flow-1", Secret("one"))
    fallback.put("flow-1", Secret("one"))
    assert fallback.get("flow-1") == Secret("one")
    fallback.delete("flow-1")
    fallback.delete("flow-1")
    assert fallback.get("flow-1") is None


def test_the_fallback_accepts_every_flow_id(fallback: Fallback) -> None:
    """Flow ids are base64url, so they may begin with a dash or an underscore."""
    fallback.put("-_" + "A" * 20, Secret("one"))
    assert fallback.get("-_" + "A" * 20) == Secret("one")
