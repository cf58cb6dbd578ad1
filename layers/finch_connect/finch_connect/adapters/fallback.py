"""Where a token waits while the vault is away: an encrypted SSM parameter for each attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from finch_connect.adapters.aws import code_of, translated
from finch_connect.domain.secret import Secret


class ParameterFallback:
    """Implements `ports.Fallback` with SecureStrings under one path. The client is made when it is first needed."""

    def __init__(self, make_client: Callable[[], Any], prefix: str, kms_key_id: str | None) -> None:
        self._make_client = make_client
        self._prefix = prefix
        self._key = {"KeyId": kms_key_id} if kms_key_id else {}

    @cached_property
    def _client(self) -> Any:
        return self._make_client()

    def put(self, attempt: str, text: Secret) -> None:
        """See `ports.Fallback.put`."""
        with translated("PutParameter"):
            self._client.put_parameter(
                Name=self._name(attempt),
                Value=text.reveal(),
                Type="SecureString",
                Overwrite=True,
                Tier="Intelligent-Tiering",  # a document of more than 4 KB (many entities) needs the advanced tier
                **self._key,
            )

    def get(self, attempt: str) -> Secret | None:
        """See `ports.Fallback.get`."""
        with translated("GetParameter"):
            try:
                answer = self._client.get_parameter(Name=self._name(attempt), WithDecryption=True)
            except ClientError as error:
                if code_of(error) == "ParameterNotFound":
                    return None
                raise
            return Secret(answer["Parameter"]["Value"])

    def delete(self, attempt: str) -> None:
        """See `ports.Fallback.delete`."""
        with translated("DeleteParameter"):
            try:
                self._client.delete_parameter(Name=self._name(attempt))
            except ClientError as error:
                if code_of(error) != "ParameterNotFound":
                    raise

    def attempts(self) -> Iterator[str]:
        """See `ports.Fallback.attempts`."""
        query: dict[str, Any] = {"Path": self._prefix}
        while True:
            with translated("GetParametersByPath"):
                page = self._client.get_parameters_by_path(**query)
                names = [one["Name"] for one in page["Parameters"]]
            yield from (name.rpartition("/")[2] for name in names)
            if not page.get("NextToken"):
                return
            query["NextToken"] = page["NextToken"]

    def _name(self, attempt: str) -> str:
        return f"{self._prefix}/{attempt}"
