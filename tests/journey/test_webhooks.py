"""Webhooks: what is forged changes nothing, and what is repeated, late or out of order changes nothing more."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from shared.job import Job
from tests.journey.local import NO_TLS, SMALL, Local, Tenant, until
from tests.journey.replicate import PATIENCE_S, Replicate, signed

pytestmark = pytest.mark.sockets

FOREIGN_SECRET = "whsec_b2YgYW5vdGhlciBhY2NvdW50"
# What cannot be the same twice: ids, times, and how far the logs were when they were last told.
OF_ITS_OWN = frozenset({"id", "tenant", "prediction_id", "due_shard", "logs", "metrics", "percent"})


class Sender:
    """Sends webhooks about one running job, as Replicate does, or as somebody else would."""

    def __init__(self, local: Local, job_id: str) -> None:
        self._local = local
        self._job_id = job_id
        (prediction,) = local.replicate.predictions_of(job_id)
        self.url: str = prediction["webhook"]
        document = local.replicate.document(prediction["id"])
        failed = {"status": "failed", "error": "it broke", "completed_at": datetime.now(UTC).isoformat()}
        self.failed = json.dumps(document | failed)

    def signed(self, *, age: timedelta = timedelta(), secret: str | None = None) -> dict[str, str]:
        """Give the headers of the webhook `failed` as sent some time ago."""
        return signed(secret or self._local.stack.webhook_secret, self.failed, age=age)

    def send(self, headers: Mapping[str, str], *, url: str | None = None, body: str | None = None) -> int:
        answer = httpx.post(
            url or self.url,
            content=body or self.failed,
            headers=dict(headers),
            timeout=PATIENCE_S,
            trust_env=False,
            verify=NO_TLS,
        )
        return answer.status_code


@pytest.fixture
def waiting_job(tenant: Tenant, local: Local, replicate: Replicate) -> str:
    """A job whose prediction has been taken, and never begins."""
    replicate.misbehave({"on": "prediction", "kind": "never", "times": 1})
    job_id = tenant.generate()
    until(lambda: local.job(job_id).prediction_id, what="the prediction's id")
    return job_id


@pytest.fixture
def sender(local: Local, waiting_job: str) -> Sender:
    return Sender(local, waiting_job)


@pytest.mark.parametrize("forged", ["unsigned", "wrongly signed", "old", "future", "another body", "half signed"])
def test_a_forged_webhook_is_refused_and_changes_nothing(
    local: Local, waiting_job: str, sender: Sender, forged: str
) -> None:
    headers, body = sender.signed(), sender.failed
    match forged:
        case "unsigned":
            headers = {"content-type": "application/json"}
        case "wrongly signed":
            headers = sender.signed(secret=FOREIGN_SECRET)
        case "old":
            headers = sender.signed(age=timedelta(minutes=6))
        case "future":
            headers = sender.signed(age=timedelta(minutes=-6))
        case "another body":
            body = sender.failed.replace("it broke", "it works")
        case "half signed":
            del headers["webhook-id"]
    before = local.item(waiting_job)
    assert sender.send(headers, body=body) == 401
    assert local.item(waiting_job) == before
    # It is not for another reason that nothing happened.
    assert sender.send(sender.signed()) == 200
    (job,) = local.end([waiting_job])
    assert (job.status, job.error) == ("failed", "it broke")


def test_a_webhook_for_another_job_is_refused_though_rightly_signed(
    tenant: Tenant, local: Local, replicate: Replicate, waiting_job: str, sender: Sender
) -> None:
    replicate.misbehave({"on": "prediction", "kind": "never", "times": 1})
    other = tenant.generate()
    until(lambda: local.job(other).prediction_id, what="the prediction's id")
    before = [local.item(waiting_job), local.item(other)]
    # Replicate's signature covers the body only; the URL has a signature of its own.
    assert sender.send(sender.signed(), url=sender.url.replace(waiting_job, other)) == 401
    assert sender.send(sender.signed(), url=sender.url.replace("attempt=1", "attempt=2")) == 401
    assert sender.send(sender.signed(), url=sender.url.partition("?")[0]) == 401
    assert [local.item(waiting_job), local.item(other)] == before


def test_a_second_identical_webhook_is_acknowledged_and_changes_nothing(
    local: Local, waiting_job: str, sender: Sender
) -> None:
    headers = sender.signed()
    assert sender.send(headers) == 200
    (job,) = local.end([waiting_job])
    before, stored = local.item(waiting_job), local.objects(job)
    versions = _versions(local, job)
    assert sender.send(headers) == 200
    until(lambda: local.waiting(local.stack.archive_queue_url) == 0, what="an empty ArchiveQueue")
    assert local.item(waiting_job) == before
    assert local.objects(job) == stored
    assert _versions(local, job) == versions


def test_the_same_webhook_ten_times_at_once_ends_the_job_once(
    tenant: Tenant, local: Local, waiting_job: str, sender: Sender
) -> None:
    headers = sender.signed()
    with ThreadPoolExecutor(10) as senders:
        answers = [sending.result() for sending in [senders.submit(sender.send, headers) for _ in range(10)]]
    assert answers == [200] * 10
    (job,) = local.end([waiting_job])
    until(lambda: local.waiting(local.stack.archive_queue_url) == 0, what="an empty ArchiveQueue")
    assert _versions(local, job) == {"manifest.json": 1}
    assert local.account(tenant) == (0, 0)


def test_a_late_start_does_not_reopen_a_finished_job(tenant: Tenant, local: Local, replicate: Replicate) -> None:
    replicate.hold({"on": "webhook", "kind": "lost", "event": "start"})
    job_id = tenant.generate()
    until(lambda: local.job(job_id).prediction_id, what="the prediction's id")
    sender = Sender(local, job_id)
    replicate.misbehave()
    (job,) = local.end([job_id])
    before = local.item(job_id)
    started = json.dumps(json.loads(sender.failed) | {"status": "starting", "error": None, "completed_at": None})
    assert sender.send(signed(local.stack.webhook_secret, started), body=started) == 200
    assert (local.item(job_id), job.status) == (before, "succeeded")


DISTURBANCES: dict[str, list[dict[str, Any]]] = {
    "the last one first": [{"kind": "reversed"}],
    "each one twice": [{"kind": "doubled"}],
    "the end late": [{"kind": "late", "event": "completed", "delay_s": 1.5}],
    "the start late": [{"kind": "late", "event": "start", "delay_s": 1.5}],
    "all late": [{"kind": "late", "delay_s": 1.0}],
    "the start lost": [{"kind": "lost", "event": "start"}],
    "all but the end lost": [{"kind": "lost", "event": "start"}, {"kind": "lost", "event": "logs"}],
    "the end lost": [{"kind": "lost", "event": "completed"}],
    "the start forged": [{"kind": "forged", "event": "start"}],
    "all forged": [{"kind": "forged"}],
    "all lost": [{"kind": "lost"}],
}


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_disturbed_webhooks_end_in_the_same_row_and_bucket_as_orderly_ones(
    tenant: Tenant, local: Local, replicate: Replicate, disturbance: str
) -> None:
    def run(*faults: dict[str, Any]) -> Job:
        replicate.misbehave(*({"on": "webhook"} | fault for fault in faults))
        job_id = tenant.generate("the same fox", num_images=2, seed=7, input={**SMALL, "output_format": "png"})
        _repair(local, job_id)
        (job,) = local.end([job_id])
        until(lambda: local.waiting(local.stack.archive_queue_url) == 0, what="an empty ArchiveQueue")
        return local.job(job.id)

    orderly, disturbed = run(), run(*DISTURBANCES[disturbance])
    assert _row(disturbed) == _row(orderly)
    assert _images(local, disturbed) == _images(local, orderly)
    assert _versions(local, disturbed) == _versions(local, orderly) == {"0.png": 1, "1.png": 1, "manifest.json": 1}
    assert local.charged([orderly, disturbed]) == 2


def _repair(local: Local, job_id: str) -> None:
    """Let `reconcile` see to a prediction that has ended at Replicate without the job having heard of it."""

    def last_told() -> list[dict[str, Any]]:
        return [one for one in local.replicate.webhooks_of(job_id) if one["event"] == "completed"]

    if until(last_told, what="the last webhook, heard or not")[0]["status"] != 200:
        local.pass_time([job_id], 60)
        local.reconcile()


def _row(job: Job) -> dict[str, Any]:
    row = {
        name: value
        for name, value in asdict(job).items()
        if name not in OF_ITS_OWN and not name.endswith(("_at", "_until"))
    }
    return row | {
        "files": [asdict(file) | {"key": file.name} for file in job.files],
        "times": [name for name, value in asdict(job).items() if name.endswith(("_at", "_until")) and value],
    }


def _images(local: Local, job: Job) -> dict[str, Any]:
    """Give what is in the bucket, the manifest without what is the job's own."""
    stored: dict[str, Any] = dict(local.objects(job))
    manifest = json.loads(stored.pop("manifest.json").decode().replace(job.id, "the-job"))
    for name in ("job_id", "prediction_id", "metrics", "created_at", "started_at", "completed_at"):
        assert manifest.pop(name), name
    for file in manifest["files"]:
        file["key"] = file["key"].replace(job.id, "")
    return stored | {"manifest": manifest}


def _versions(local: Local, job: Job) -> dict[str, int]:
    """Count the versions of each of a job's objects."""
    prefix = f"jobs/{job.tenant}/{job.id}/"
    listed = local.aws.s3.list_object_versions(Bucket=local.stack.bucket, Prefix=prefix)
    assert "DeleteMarkers" not in listed
    keys = [one["Key"].removeprefix(prefix) for one in listed["Versions"]]
    return {key: keys.count(key) for key in sorted(set(keys))}
