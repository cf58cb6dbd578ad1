"""The vault: one secret for each connection in AWS Secrets Manager. Nothing here reads a token."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from finch_connect.adapters.aws import code_of, translated
from finch_connect.domain.connection import StoredSecret
from finch_connect.domain.secret import Secret

SUPERSEDED_LABEL = "SUPERSEDED"
"""The staging label of the last token that was already out of date when it was stored."""


class SecretsManagerVault:
    """Implements `ports.Vault`. `kms_key_id` None: the AWS managed key."""

    def __init__(self, client: Any, stage: str, kms_key_id: str | None) -> None:
        self._client = client
        self._creation = {"KmsKeyId": kms_key_id} if kms_key_id else {}
        self._tags = [{"Key": "finch-connect:stage", "Value": stage}]

    def put(self, name: str, text: Secret, *, version: str, exists: bool) -> StoredSecret:
        """See `ports.Vault.put`.

        It creates the secret, or puts a version if the secret exists, or restores it first if its deletion is pending.
        AWS accepts a repeated `version` with the same text as one (ClientRequestToken).
        """
        first, second = (self._put, self._create) if exists else (self._create, self._put)
        with translated("PutSecret"):
            return (
                first(name, text, version) or second(name, text, version) or self._restore_and_put(name, text, version)
            )

    def put_superseded(self, name: str, text: Secret, *, version: str) -> None:
        """See `ports.Vault.put_superseded`. Without a staging label AWS would make the version the current one."""
        with translated("PutSecret"):
            if self._put(name, text, version, VersionStages=[SUPERSEDED_LABEL]) is None:
                self._client.restore_secret(SecretId=name)
                self._put(name, text, version, VersionStages=[SUPERSEDED_LABEL])

    def find(self, name: str, *, version: str) -> StoredSecret | None:
        """See `ports.Vault.find`. It reads a secret's description, never the secret."""
        with translated("DescribeSecret"):
            try:
                answer = self._client.describe_secret(SecretId=name)
            except ClientError as error:
                if code_of(error) == "ResourceNotFoundException":
                    return None
                raise
            found = [known for known in answer["VersionIdsToStages"] if known.startswith(version)]
            if "DeletedDate" in answer or not found:
                return None
            return StoredSecret(arn=answer["ARN"], version_id=found[-1])

    def _create(self, name: str, text: Secret, version: str) -> StoredSecret | None:
        """Create the secret. Returns None if it exists, or if its deletion is pending."""
        return self._stored(
            {"ResourceExistsException", "InvalidRequestException"},
            self._client.create_secret,
            Name=name,
            ClientRequestToken=version,
            SecretString=text.reveal(),
            Tags=self._tags,
            **self._creation,
        )

    def _put(self, name: str, text: Secret, version: str, **labels: list[str]) -> StoredSecret | None:
        """Put a version. Returns None if the secret does not exist, or if its deletion is pending."""
        return self._stored(
            {"ResourceNotFoundException", "InvalidRequestException"},
            self._client.put_secret_value,
            SecretId=name,
            ClientRequestToken=version,
            SecretString=text.reveal(),
            **labels,
        )

    def _restore_and_put(self, name: str, text: Secret, version: str) -> StoredSecret:
        """Cancel a pending deletion and put the version. Raises ClientError."""
        self._client.restore_secret(SecretId=name)
        answer = self._client.put_secret_value(SecretId=name, ClientRequestToken=version, SecretString=text.reveal())
        return StoredSecret(arn=answer["ARN"], version_id=answer["VersionId"])

    @staticmethod
    def _stored(tolerated: set[str], operation: Any, **arguments: Any) -> StoredSecret | None:
        try:
            answer = operation(**arguments)
        except ClientError as error:
            if code_of(error) in tolerated:
                return None
            raise
        return StoredSecret(arn=answer["ARN"], version_id=answer["VersionId"])
