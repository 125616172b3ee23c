"""What a step of the journey works with: a tenant, the stack from behind, and patience that knows when to end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from shared.dynamo import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.job import Job
    from tests.journey.local import Local, Tenant
    from tests.journey.replicate import Replicate

PATIENCE_S = 180.0


class Journey:
    """One run of a step; `is_over` says when waiting is of no use any more."""

    def __init__(self, local: Local, tenant: Tenant, is_over: Callable[[], bool] = lambda: False) -> None:
        self.local = local
        self.tenant = tenant
        self._is_over = is_over

    @property
    def replicate(self) -> Replicate:
        return self.local.replicate

    def until[T](self, ask: Callable[[], T | None], what: str) -> T:
        """Ask until the answer is neither empty nor false, and give it."""
        deadline = time.monotonic() + PATIENCE_S
        while not (answer := ask()):
            assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
            assert not self._is_over(), f"not seen: {what}"
            time.sleep(0.05)
        return answer

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read a document by the API."""
        answer = self.tenant.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def batch(self, *, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
        """Start two predictions by one request."""
        asked = {"prompts": ["a fox", "a hare"], "num_images": 1, "model": "black-forest-labs/flux-schnell"}
        asked |= {"input": {"megapixels": "0.25"}} | body
        answer = self.tenant.http.post("/generate", json=asked, headers=headers)
        assert answer.status_code in {200, 202}, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def archived(self, job_id: str) -> Job:
        """Wait for the end of a job, its manifest included."""
        self.until(lambda: self.local.job(job_id).archived_at, "the manifest")
        return self.local.job(job_id)

    def succeeded(self, job_id: str) -> Job:
        """Wait for the success of a job; any other end is a failure at once."""
        job = self.archived(job_id)
        assert job.status == "succeeded", (job.status, job.problem)
        return job

    # Behind

    def renew(self, function: str) -> None:
        """Let a function start anew, with nothing in its memory."""
        renew(self.local, function)

    def reconciled(self, job_ids: Sequence[str], seconds: float) -> None:
        """Let time pass for these jobs, and have them looked after."""
        self.local.pass_time(job_ids, seconds)
        self.local.reconcile()

    def row(self, pk: str) -> dict[str, Any]:
        """Read a row of the table of jobs as it is."""
        key = {"pk": {"S": pk}}
        found = self.local.aws.dynamodb.get_item(TableName=self.local.stack.jobs_table, Key=key, ConsistentRead=True)
        return dict(found.get("Item", {}))

    def age_file(self, file_id: str, *, seconds: int) -> None:
        """Let a file have been made earlier."""
        self.local.aws.dynamodb.update_item(
            TableName=self.local.stack.jobs_table,
            Key={"pk": {"S": f"file#{file_id}"}},
            UpdateExpression="SET created_at = created_at - :passed",
            ExpressionAttributeValues={":passed": {"N": str(seconds * 1000)}},
        )

    def limit(self) -> dict[str, int]:
        """Read the limit towards Replicate."""
        key = {"pk": {"S": "upstream#replicate"}}
        found = self.local.aws.dynamodb.get_item(
            TableName=self.local.stack.accounts_table, Key=key, ConsistentRead=True
        )
        item = found.get("Item", {})
        return {name: int(plain(value)) for name, value in item.items() if name != "pk"}

    def block_replicate(self, *, seconds: float) -> None:
        """Have nothing started for a while."""
        self.local.aws.dynamodb.put_item(
            TableName=self.local.stack.accounts_table,
            Item={
                "pk": {"S": "upstream#replicate"},
                "blocked_until": {"N": str(round((time.time() + seconds) * 1000))},
            },
        )

    def forget_catalog(self) -> None:
        """Drop what is kept of Replicate's answers about models."""
        table = self.local.stack.jobs_table
        pages = self.local.aws.dynamodb.get_paginator("scan").paginate(TableName=table)
        for item in [one for page in pages for one in page["Items"]]:
            if str(plain(item["pk"])).startswith("catalog#"):
                self.local.aws.dynamodb.delete_item(TableName=table, Key={"pk": item["pk"]})

    def fetched(self, job: Job) -> list[tuple[str, int]]:
        """Give the files that Replicate has read for a job, with the answers it got."""
        seen = self.replicate.seen()["fetched"]
        return [(one["field"], one["status"]) for one in seen if one["prediction"] == job.prediction_id]

    def versions(self, prefix: str) -> list[dict[str, Any]]:
        """Give all versions of all objects below a prefix."""
        listed = self.local.aws.s3.list_object_versions(Bucket=self.local.stack.bucket, Prefix=prefix)
        return [dict(one) for one in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]]


def renew(local: Local, function: str) -> None:
    """Let a function start anew: a new version of it, while the processes of those before are ended."""
    name, client = local.stack.functions[function], local.aws.lambda_
    variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    for alias in client.list_aliases(FunctionName=name)["Aliases"]:
        version = client.publish_version(FunctionName=name)["Version"]
        client.update_alias(FunctionName=name, Name=alias["Name"], FunctionVersion=version)
        if alias["FunctionVersion"] != version:
            client.delete_function(FunctionName=name, Qualifier=alias["FunctionVersion"])
