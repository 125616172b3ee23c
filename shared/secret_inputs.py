"""Secrets among the inputs: encrypted while a job waits to be started, and gone once it has been."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_kms import KMSClient

    from shared.job import Job, JobId, TenantId

LARGEST = 4_000  # bytes of JSON; KMS encrypts 4 KB


class TooLarge(Exception):
    """The secrets are larger than any tokens are."""


class SecretInputs:
    """Seals secrets for one job, and opens them for its start."""

    def __init__(self, client: Callable[[], KMSClient], key_id: str) -> None:
        """`client` is asked for only when there is a secret."""
        self._client = client
        self._key_id = key_id

    def seal(self, secrets: Mapping[str, str], *, job_id: JobId, tenant: TenantId) -> str | None:
        """Encrypt secrets, so that they can be opened for this job only; None if there are none.

        Raises:
            TooLarge: they cannot be tokens.
        """
        if not secrets:
            return None
        text = json.dumps(secrets).encode()
        if len(text) > LARGEST:
            raise TooLarge
        answer = self._client().encrypt(
            KeyId=self._key_id, Plaintext=text, EncryptionContext={"job": job_id, "tenant": tenant}
        )
        return base64.b64encode(answer["CiphertextBlob"]).decode()

    def open(self, job: Job) -> Mapping[str, str]:
        """Decrypt the secrets of a job; there are none if it has none."""
        if job.sealed is None:
            return {}
        answer = self._client().decrypt(
            KeyId=self._key_id,
            CiphertextBlob=base64.b64decode(job.sealed),
            EncryptionContext={"job": job.id, "tenant": job.tenant},
        )
        secrets: Mapping[str, str] = json.loads(answer["Plaintext"])
        return secrets
