"""What is known of the link keys without a call, in the fake and in the adapter."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from finch_connect.adapters.keys import CACHE_SECONDS, REFETCH_SECONDS, SecretsManagerLinkKeys
from finch_connect.domain.jws import LinkKey
from finch_connect.domain.secret import Secret
from finch_connect.flow.ports import CachedLinkKeys
from tests.fakes import FakeLinkKeys
from tests.ports.conftest import BOTH, Seconds, link_key

LINK_KEY = "finch/dev/config/link-key"
FIRST, SECOND = LinkKey("1", Secret(link_key("first"))), LinkKey("2", Secret(link_key("second")))


class Rotating:
    """Link keys, and the rotation of them."""

    def __init__(self, keys: FakeLinkKeys | SecretsManagerLinkKeys) -> None:
        self.keys = keys

    def rotate(self, key: LinkKey) -> None:
        """Make another key the current one."""
        if isinstance(self.keys, FakeLinkKeys):
            self.keys.created = int(datetime.now(UTC).timestamp() * 1000)
            self.keys.keys.append(key)
        else:
            text = f'{{"kid": "{key.kid}", "key": "{key.key.reveal()}"}}'
            boto3.client("secretsmanager").put_secret_value(SecretId=LINK_KEY, SecretString=text)


@pytest.fixture(params=BOTH)
def rotating(request: pytest.FixtureRequest) -> Rotating:
    """The link keys with `FIRST` as the current one: the fake, then the adapter."""
    if request.param == "moto":
        return Rotating(request.getfixturevalue("link_keys"))
    fake = FakeLinkKeys()
    fake.keys = [FIRST]
    return Rotating(fake)


def kids(cached: CachedLinkKeys) -> set[str]:
    return {key.kid for key in cached.keys}


def test_without_a_read_no_key_is_known(rotating: Rotating) -> None:
    """Asking for what is cached costs no call."""
    assert rotating.keys.cached() == CachedLinkKeys((), complete_since=None)


def test_after_a_read_the_current_key_is_known_and_others_may_be_missing(rotating: Rotating) -> None:
    """There may be a previous key that nobody needed so far."""
    rotating.keys.current()
    assert rotating.keys.cached() == CachedLinkKeys((FIRST,), complete_since=None)


def test_a_refresh_of_a_key_that_was_never_rotated_is_complete(rotating: Rotating) -> None:
    """There has been no other key."""
    assert rotating.keys.refresh() == FIRST
    assert rotating.keys.cached() == CachedLinkKeys((FIRST,), complete_since=0)


def test_a_refresh_after_a_rotation_knows_both_keys(rotating: Rotating) -> None:
    """Keys from before the previous one are missing, so the keys are complete since it was made."""
    began = int(datetime.now(UTC).timestamp() * 1000) - 1000
    rotating.rotate(SECOND)
    assert rotating.keys.refresh() == SECOND
    cached = rotating.keys.cached()
    assert kids(cached) == {"1", "2"}
    assert cached.complete_since is not None
    assert began <= cached.complete_since <= began + CACHE_SECONDS * 1000 + 60_000


def test_keys_are_complete_for_ten_seconds(link_keys: SecretsManagerLinkKeys, seconds: Seconds) -> None:
    """Afterwards the key may have been rotated. The keys stay known."""
    link_keys.refresh()
    seconds.now += REFETCH_SECONDS - 1
    assert link_keys.cached().complete_since == 0
    seconds.now += 2
    assert link_keys.cached() == CachedLinkKeys((FIRST,), complete_since=None)


def test_keys_are_refreshed_at_most_every_ten_seconds(
    link_keys: SecretsManagerLinkKeys, secrets_manager: Any, seconds: Seconds
) -> None:
    """Anyone can make up a cookie, which must not cause calls to Secrets Manager without limit."""
    link_keys.refresh()
    secrets_manager.put_secret_value(
        SecretId=LINK_KEY, SecretString=json.dumps({"kid": "2", "key": link_key("second")})
    )
    assert link_keys.refresh() == FIRST
    seconds.now += REFETCH_SECONDS + 1
    assert link_keys.refresh() == SECOND


def test_an_unreadable_previous_key_prevents_nothing(link_keys: SecretsManagerLinkKeys, secrets_manager: Any) -> None:
    """The current key signs the receipt, and the keys do not count as complete."""
    secrets_manager.put_secret_value(SecretId=LINK_KEY, SecretString="not JSON")
    secrets_manager.put_secret_value(
        SecretId=LINK_KEY, SecretString=json.dumps({"kid": "2", "key": link_key("second")})
    )
    assert link_keys.refresh() == SECOND
    assert link_keys.cached().complete_since is None
