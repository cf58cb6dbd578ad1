"""The client secret and the link keys: cached for minutes, rotated without a deployment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from finch_connect.adapters.keys import SecretsManagerClientSecrets, SecretsManagerLinkKeys
from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.secret import Secret
from tests.ports.conftest import Seconds, link_key

LINK_KEY = "finch/dev/config/link-key"
CREDENTIALS = "finch/dev/config/client-credentials"


def rotate(client: Any, kid: str, key: str) -> None:
    client.put_secret_value(SecretId=LINK_KEY, SecretString=json.dumps({"kid": kid, "key": key}))


def test_the_current_key_signs(link_keys: SecretsManagerLinkKeys) -> None:
    """It is the key that the template generated."""
    assert link_keys.current().kid == "1"
    assert link_keys.current().key == Secret(link_key("first"))


def test_after_a_rotation_the_new_and_the_previous_key_are_accepted(
    link_keys: SecretsManagerLinkKeys, secrets_manager: Any, seconds: Seconds
) -> None:
    """Links that were signed yesterday still work."""
    link_keys.current()
    rotate(secrets_manager, "2", link_key("second"))
    for kid, text in [("2", link_key("second")), ("1", link_key("first"))]:
        found = link_keys.find(kid)
        assert found is not None
        assert found.key == Secret(text)


def test_a_key_older_than_the_previous_one_is_no_longer_accepted(
    link_keys: SecretsManagerLinkKeys, secrets_manager: Any
) -> None:
    """Two rotations retire a key."""
    rotate(secrets_manager, "2", link_key("second"))
    rotate(secrets_manager, "3", link_key("third"))
    assert link_keys.find("1") is None


def test_an_unknown_kid_is_looked_up_at_most_every_ten_seconds(
    link_keys: SecretsManagerLinkKeys, secrets_manager: Any, seconds: Seconds
) -> None:
    """Anyone can make up a kid, which must not cause calls to Secrets Manager without limit."""
    assert link_keys.find("made-up") is None
    rotate(secrets_manager, "2", link_key("second"))
    assert link_keys.find("2") is None, "the last look-up was a moment ago"
    seconds.now += 11
    assert link_keys.find("2") is not None


def test_a_key_is_cached_for_five_minutes(
    link_keys: SecretsManagerLinkKeys, secrets_manager: Any, seconds: Seconds
) -> None:
    """This is long enough to save calls and short enough for a rotation."""
    link_keys.current()
    rotate(secrets_manager, "2", link_key("second"))
    seconds.now += 299
    assert link_keys.current().kid == "1"
    seconds.now += 2
    assert link_keys.current().kid == "2"


def test_a_key_is_read_again_when_the_clock_was_set_back(
    link_keys: SecretsManagerLinkKeys, secrets_manager: Any, seconds: Seconds
) -> None:
    """Its age is then unknown, and a rotated key must not live longer because of that."""
    link_keys.current()
    rotate(secrets_manager, "2", link_key("second"))
    seconds.now -= 60
    assert link_keys.current().kid == "2"


def test_the_client_secret_is_cached_until_a_fresh_read(
    client_secrets: SecretsManagerClientSecrets, secrets_manager: Any
) -> None:
    """The callback reads it afresh when Finch refuses it."""
    assert client_secrets.read() == Secret("first-secret")
    secrets_manager.put_secret_value(SecretId=CREDENTIALS, SecretString='{"client_secret": "second-secret"}')
    assert client_secrets.read() == Secret("first-secret")
    assert client_secrets.read(fresh=True) == Secret("second-secret")
    assert client_secrets.read() == Secret("second-secret")


@pytest.mark.parametrize("text", ["hunter2", '{"secret": "hunter2"}', '{"client_secret": ["hunter2"]}', '"hunter2"'])
def test_a_malformed_secret_is_reported_and_not_shown(
    client_secrets: SecretsManagerClientSecrets, secrets_manager: Any, text: str
) -> None:
    """After someone pasted the bare secret, the log has the missing field and never the content."""
    secrets_manager.put_secret_value(SecretId=CREDENTIALS, SecretString=text)
    with pytest.raises(ServiceUnavailableError) as caught:
        client_secrets.read()
    assert caught.value.fields == {"field": "client_secret"}
    assert "hunter2" not in repr(caught.value.__context__ if not caught.value.__suppress_context__ else caught.value)


def test_a_missing_link_key_is_an_error(secrets_manager: Any, seconds: Seconds) -> None:
    """Without the key no link can be verified, for example after it was deleted by hand."""
    keys = SecretsManagerLinkKeys(secrets_manager, "finch/dev/config/none", seconds)
    with pytest.raises(ServiceUnavailableError, match="link_key_missing"):
        keys.current()


@pytest.mark.parametrize("key", ["x", "k" * 31, "\u00fc" * 15])
def test_a_key_that_is_too_short_for_hs256_is_reported_and_not_used(
    link_keys: SecretsManagerLinkKeys, secrets_manager: Any, key: str
) -> None:
    """RFC 7518 section 3.2 asks for 256 bits. The error names the field and the minimum, so an operator can act."""
    rotate(secrets_manager, "2", key)
    for use in (link_keys.current, lambda: link_keys.find("2")):
        with pytest.raises(ServiceUnavailableError, match="link_key_too_short") as caught:
            use()
        assert caught.value.fields == {"field": "key", "minimum_bytes": 32}


def test_a_key_of_exactly_256_bits_is_used(link_keys: SecretsManagerLinkKeys, secrets_manager: Any) -> None:
    """Its bytes are counted in UTF-8, as HMAC uses them."""
    rotate(secrets_manager, "2", "\u00fc" * 16)
    assert link_keys.current().kid == "2"


def test_after_a_rotation_away_from_a_short_key_its_links_are_refused(
    link_keys: SecretsManagerLinkKeys, secrets_manager: Any
) -> None:
    """The short key is then the previous one. It counts as none, and the new one works."""
    rotate(secrets_manager, "2", "x")
    rotate(secrets_manager, "3", link_key("third"))
    assert link_keys.current().kid == "3"
    assert link_keys.find("2") is None


@contextmanager
def away(secrets_manager: Any) -> Iterator[list[str]]:
    """Have Secrets Manager refuse every read. Yields the staging labels that were asked for."""
    asked: list[str] = []

    def refuse(params: dict[str, Any], **_: Any) -> None:
        asked.append(params["VersionStage"])
        raise EndpointConnectionError(endpoint_url="https://secretsmanager.test")

    secrets_manager.meta.events.register("before-parameter-build.secretsmanager.GetSecretValue", refuse)
    yield asked
    secrets_manager.meta.events.unregister("before-parameter-build.secretsmanager.GetSecretValue", refuse)


def test_a_made_up_kid_does_not_cost_the_cached_keys(
    link_keys: SecretsManagerLinkKeys, secrets_manager: Any, seconds: Seconds
) -> None:
    """While Secrets Manager is away, links under the known keys still work, whatever kid a stranger sends."""
    rotate(secrets_manager, "2", link_key("second"))
    assert link_keys.find("1") is not None
    with away(secrets_manager) as asked:
        with pytest.raises(ServiceUnavailableError):
            link_keys.find("made-up")
        for kid in ("2", "1"):
            found = link_keys.find(kid)
            assert found is not None
            assert found.kid == kid
        assert link_keys.current().kid == "2"
        assert asked == ["AWSCURRENT"]


def test_while_the_keys_cannot_be_read_an_unknown_kid_is_not_called_unknown(
    link_keys: SecretsManagerLinkKeys, secrets_manager: Any, seconds: Seconds
) -> None:
    """The key may just have been rotated, so the person is asked to try again. Each ten seconds one read is tried."""
    link_keys.current()
    rotate(secrets_manager, "2", link_key("second"))
    with away(secrets_manager) as asked:
        for _ in range(5):
            with pytest.raises(ServiceUnavailableError):
                link_keys.find("2")
        before = len(asked)
        seconds.now += 11
        with pytest.raises(ServiceUnavailableError):
            link_keys.find("2")
        assert len(asked) == before + 1
    seconds.now += 11
    assert link_keys.find("2") is not None
    assert link_keys.find("made-up") is None
