"""Finch's client secret and the link keys, read from Secrets Manager and cached for at most five minutes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from finch_connect.adapters.aws import code_of, translated
from finch_connect.domain.errors import ServiceUnavailableError
from finch_connect.domain.jws import MIN_KEY_BYTES, LinkKey, is_long_enough
from finch_connect.domain.secret import Secret
from finch_connect.flow.ports import CachedLinkKeys

CACHE_SECONDS = 300.0
REFETCH_SECONDS = 10.0
"""How often an unknown `kid` or a made-up cookie may cause another read, because anyone can invent one."""

Seconds = Callable[[], float]
"""Returns epoch seconds. A monotonic clock may stop while the function is frozen, and a rotated key must expire."""


class SecretsManagerClientSecrets:
    """Implements `ports.ClientSecrets` on `config/client-credentials`: JSON with `client_secret`."""

    def __init__(self, client: Any, name: str, now: Seconds) -> None:
        self._client = client
        self._name = name
        self._now = now
        self._cached: tuple[float, Secret] | None = None

    def read(self, *, fresh: bool = False) -> Secret:
        """See `ports.ClientSecrets.read`."""
        if self._cached is not None and not fresh and _is_recent(self._cached[0], self._now(), CACHE_SECONDS):
            return self._cached[1]
        text = _field(_read(self._client, self._name, "AWSCURRENT")[0] or "", "client_secret")
        self._cached = (self._now(), Secret(text))
        return self._cached[1]


class SecretsManagerLinkKeys:
    """Implements `ports.LinkKeys` on `config/link-key`: JSON with `kid` and `key`.

    A rotation puts a new version. AWS then labels the one before AWSPREVIOUS, and its links still work.
    """

    def __init__(self, client: Any, name: str, now: Seconds) -> None:
        self._client = client
        self._name = name
        self._now = now
        self._current: tuple[float, LinkKey] | None = None
        self._previous: tuple[float, LinkKey | None] | None = None
        self._reread_at: float | None = None
        self._refreshed: tuple[float, int | None] | None = None
        self._reread_error: ServiceUnavailableError | None = None

    def current(self) -> LinkKey:
        """See `ports.LinkKeys.current`."""
        if self._current is None or not _is_recent(self._current[0], self._now(), CACHE_SECONDS):
            self._current = (self._now(), self._read_current())
        return self._current[1]

    def find(self, kid: str) -> LinkKey | None:
        """See `ports.LinkKeys.find`."""
        found = self._find(kid)
        if found is None and not _is_recent(self._reread_at, self._now(), REFETCH_SECONDS):
            self._reread()
            found = self._find(kid)
        if found is None and self._reread_error is not None:  # whether the key was rotated is unknown
            raise ServiceUnavailableError(self._reread_error.reason, **self._reread_error.fields)
        return found

    def cached(self) -> CachedLinkKeys:
        """See `ports.LinkKeys.cached`."""
        read = [cached[1] for cached in (self._current, self._previous) if cached is not None]
        keys = tuple(key for key in read if key is not None)
        fresh = self._refreshed is not None and _is_recent(self._refreshed[0], self._now(), REFETCH_SECONDS)
        return CachedLinkKeys(keys, self._refreshed[1] if fresh and self._refreshed else None)

    def refresh(self) -> LinkKey:
        """See `ports.LinkKeys.refresh`."""
        began = self._now()
        if self._refreshed is not None and _is_recent(self._refreshed[0], began, REFETCH_SECONDS):
            return self.current()
        current = self._read_current()
        self._current = (began, current)
        self._refreshed = (began, None)
        with suppress(ServiceUnavailableError):  # without the previous key the request goes on, and keys may be missing
            previous, created = self._read_previous()
            self._previous = (began, previous)
            # Before the previous key there may have been others. Functions used them for as long as they cached them.
            since = 0.0 if previous is None and created is None else created and created + CACHE_SECONDS
            self._refreshed = (began, None if since is None else int(since * 1000))
        return current

    def _reread(self) -> None:
        """Read both keys, because they may have been rotated. The cached ones stay until that has worked."""
        self._reread_at, self._reread_error = self._now(), None
        try:
            current, (previous, _) = self._read_current(), self._read_previous()
        except ServiceUnavailableError as error:
            self._reread_error = error
        else:
            self._current, self._previous = (self._now(), current), (self._now(), previous)

    def _find(self, kid: str) -> LinkKey | None:
        """Return the current or the previous key with this `kid`. The previous one is read only if it is needed."""
        key = self.current()
        if key.kid == kid:
            return key
        if self._previous is None or not _is_recent(self._previous[0], self._now(), CACHE_SECONDS):
            self._previous = (self._now(), self._read_previous()[0])
        previous = self._previous[1]
        return previous if previous is not None and previous.kid == kid else None

    def _read_current(self) -> LinkKey:
        """Return the key that signs. Raises ServiceUnavailableError if there is none, or if it is too short."""
        key, _ = self._version("AWSCURRENT")
        if key is None:
            raise ServiceUnavailableError("link_key_missing")
        if not is_long_enough(key.key):
            raise ServiceUnavailableError("link_key_too_short", field="key", minimum_bytes=MIN_KEY_BYTES)
        return key

    def _read_previous(self) -> tuple[LinkKey | None, float | None]:
        """Return the key before, and its creation in epoch seconds.

        A key that is too short counts as none, so that the rotation away from it works.
        """
        key, created = self._version("AWSPREVIOUS")
        return key if key is not None and is_long_enough(key.key) else None, created

    def _version(self, label: str) -> tuple[LinkKey | None, float | None]:
        """Return the key with this staging label, or None, and its creation in epoch seconds."""
        text, created = _read(self._client, self._name, label)
        key = None if text is None else LinkKey(kid=_field(text, "kid"), key=Secret(_field(text, "key")))
        return key, created


def _is_recent(then: float | None, now: float, seconds: float) -> bool:
    """Return whether `then` is less than `seconds` ago. False if the clock was set back."""
    return then is not None and 0 <= now - then < seconds


def _read(client: Any, name: str, label: str) -> tuple[str | None, float | None]:
    """Return a secret's version with this staging label: its text, or None, and its creation in epoch seconds."""
    with translated("GetSecretValue"):
        try:
            answer = client.get_secret_value(SecretId=name, VersionStage=label)
            created = answer.get("CreatedDate")
            return str(answer["SecretString"]), created.timestamp() if created else None
        except ClientError as error:
            if code_of(error) == "ResourceNotFoundException":
                return None, None
            raise


def _field(text: str, name: str) -> str:
    """Return one text field of a secret's JSON. Raises ServiceUnavailableError, which does not show the secret."""
    try:
        content = json.loads(text)
        found = content[name]
    except (ValueError, KeyError, TypeError):
        raise ServiceUnavailableError("secret_unreadable", field=name) from None
    if not isinstance(found, str) or not found:
        raise ServiceUnavailableError("secret_unreadable", field=name)
    return found
