"""The main job: submitted, watched, stored and read, by hand and by Replicate's own client."""

import hashlib
import io
import time
from typing import Any

import httpx
import pytest
from PIL import Image
from replicate.client import Client
from replicate.helpers import FileOutput

from tests.journey.local import DEV, PRICES, SCHNELL, SMALL, Local, Tenant, until
from tests.journey.replicate import Replicate

pytestmark = pytest.mark.sockets

RATIOS = {"1:1": 1.0, "16:9": 16 / 9, "9:16": 9 / 16, "21:9": 21 / 9}


def test_a_submitted_prediction_is_polled_to_its_stored_images(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.hold()
    answer = tenant.http.post("/generate", json={"prompt": "a fox", "num_images": 2, "model": SCHNELL, "input": SMALL})
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["prediction_id"]
    assert answer.json() == {
        "prediction_id": job_id,
        "status": "starting",
        "images": None,
        "progress": None,
        "problem": None,
    }
    assert answer.headers["location"] == f"{local.stack.api_url}/predictions/{job_id}"
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    replicate.misbehave()

    def ended() -> httpx.Response | None:
        polled = tenant.http.get(f"/predictions/{job_id}").raise_for_status()
        return polled if polled.json()["status"] in {"succeeded", "failed", "canceled"} else None

    done: httpx.Response = until(ended, what="the end of the job")
    assert done.json()["status"] == "succeeded"
    assert done.json()["progress"] == 1.0
    assert "retry-after" not in done.headers
    assert len(done.json()["images"]) == 2
    for url in done.json()["images"]:
        assert Image.open(io.BytesIO(local.download(url))).size == (512, 512)


def test_prefer_wait_gives_the_finished_job_in_the_first_answer(tenant: Tenant) -> None:
    def answered() -> httpx.Response | None:
        """Ask for one more, where a machine is so slow that it takes longer than that."""
        answer = tenant.predict(headers={"Prefer": "wait=20"})
        assert answer.headers["preference-applied"] == "wait=20"
        return answer if answer.status_code == 201 else None

    answer: httpx.Response = until(answered, what="an end within the wait")
    assert answer.json()["status"] == "succeeded"
    assert len(answer.json()["output"]) == 1


def test_the_official_client_runs_a_model_told_only_base_url_and_token(client: Client, local: Local) -> None:
    output = client.run(SCHNELL, input={"prompt": "a lighthouse", "num_outputs": 2, **SMALL})
    # Over plain HTTP this client does not wrap its outputs.
    images = [local.download(url) for url in output]
    assert [Image.open(io.BytesIO(image)).format for image in images] == ["WEBP", "WEBP"]


def test_the_official_client_creates_gets_and_lists(client: Client, tenant: Tenant, replicate: Replicate) -> None:
    replicate.hold()
    by_version = client.predictions.create(version=SCHNELL, input={"prompt": "a lighthouse", **SMALL})
    by_model = client.models.predictions.create(SCHNELL, {"prompt": "a harbour", **SMALL})
    assert (by_version.status, by_version.model) == ("starting", SCHNELL)
    replicate.misbehave()
    for created in (by_version, by_model):
        created.wait()
        again = client.predictions.get(created.id)
        assert (again.id, again.status, again.output) == (created.id, "succeeded", created.output)
    listed = client.predictions.list()
    assert [one.id for one in listed.results] == [by_model.id, by_version.id]
    assert tenant.http.get("/v1/predictions").json()["results"] == [
        tenant.read(by_model.id),
        tenant.read(by_version.id),
    ]
    assert listed.next is None


def test_a_job_that_outlasts_the_wait_still_gives_run_its_result(
    client: Client, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave({"on": "prediction", "kind": "slow", "delay_s": 2.5, "times": 1})
    started = time.monotonic()
    output = client.run(SCHNELL, input={"prompt": "a lighthouse", **SMALL}, wait=2)
    assert time.monotonic() - started > 2.5
    (url,) = output
    assert Image.open(io.BytesIO(local.download(url))).format == "WEBP"


@pytest.mark.parametrize(
    ("extension", "number", "ratio"),
    [("png", 1, "1:1"), ("jpg", 2, "16:9"), ("webp", 3, "9:16"), ("png", 4, "21:9")],
)
def test_over_https_the_client_reads_images_of_the_asked_kind_number_and_shape(
    https_client: Client, extension: str, number: int, ratio: str
) -> None:
    asked = {"prompt": "a lighthouse", "num_outputs": number, "output_format": extension, "aspect_ratio": ratio}
    output: Any = https_client.run(SCHNELL, input={**asked, **SMALL})
    assert len(output) == number
    read = []
    for file in output:
        assert isinstance(file, FileOutput)
        assert file.url.partition("?")[0].endswith(f".{extension}")
        read.append(file.read())
    images = [Image.open(io.BytesIO(content)) for content in read]
    for image in images:
        image.load()
    assert {image.format for image in images} == {{"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[extension]}
    assert [image.width / image.height for image in images] == [pytest.approx(RATIOS[ratio], rel=0.05)] * number
    assert len(set(read)) == number


def test_images_stay_when_replicate_has_deleted_its_own(
    https_client: Client, tenant: Tenant, replicate: Replicate, local: Local
) -> None:
    output: Any = https_client.run(SCHNELL, input={"prompt": "a lighthouse", **SMALL})
    before = output[0].read()
    replicate.drop_outputs()
    (job,) = local.jobs_of(tenant)
    original = replicate.document(str(job.prediction_id))
    assert original["data_removed"]
    assert output[0].read() == before
    assert local.download(tenant.read(job.id)["output"][0]) == before


def test_progress_only_rises_and_is_told_while_the_job_runs(tenant: Tenant, replicate: Replicate) -> None:
    replicate.hold(part=0.7)
    job_id = tenant.generate()
    seen: list[dict[str, Any]] = []

    def shows(status: str, progress: float) -> bool:
        seen.append(tenant.read(job_id))
        return seen[-1]["status"] == status and (seen[-1]["afterimage"]["progress"] or 0.0) >= progress

    until(lambda: shows("processing", 0.5), what="some progress")
    replicate.misbehave()
    until(lambda: shows("succeeded", 1.0), what="the end of the job")
    progress = [one["afterimage"]["progress"] or 0.0 for one in seen]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    told = {one["afterimage"]["progress"] for one in seen if one["status"] == "processing"} - {None, 1.0}
    assert told
    assert "%|" in next(one for one in seen if one["afterimage"]["progress"] in told)["logs"]
    order = ["starting", "processing", "succeeded"]
    assert [order.index(one["status"]) for one in seen] == sorted(order.index(one["status"]) for one in seen)


def test_the_manifest_says_what_the_job_and_the_files_say(tenant: Tenant, local: Local) -> None:
    job_id = tenant.generate(num_images=3, input={**SMALL, "output_format": "png"})
    (job,) = local.end([job_id])
    shown = tenant.read(job_id)
    downloads = [local.download(url) for url in shown["output"]]
    manifest = local.manifest(job)
    assert [file["sha256"] for file in manifest["files"]] == [hashlib.sha256(one).hexdigest() for one in downloads]
    assert [file["bytes"] for file in manifest["files"]] == [len(one) for one in downloads]
    assert [(file["width"], file["height"]) for file in manifest["files"]] == [(512, 512)] * 3
    assert [file["key"] for file in manifest["files"]] == [f"jobs/{tenant.name}/{job_id}/{n}.png" for n in range(3)]
    assert set(local.objects(job)) == {"0.png", "1.png", "2.png", "manifest.json"}
    for name in ("status", "model", "input", "created_at", "started_at", "completed_at", "metrics"):
        assert manifest[name] == shown[name], name
    assert (manifest["job_id"], manifest["tenant"], manifest["version"]) == (job_id, tenant.name, 1)
    assert manifest["cost_usd"] == shown["afterimage"]["cost_usd"] == pytest.approx(0.009)
    assert [
        {name: file[name] for name in ("sha256", "bytes", "content_type", "width", "height")}
        for file in shown["afterimage"]["files"]
    ] == [
        {name: file[name] for name in ("sha256", "bytes", "content_type", "width", "height")}
        for file in manifest["files"]
    ]


def test_stored_objects_say_what_they_are_and_whose(tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate(input={**SMALL, "output_format": "jpg"})])
    for name, content_type in (("0.jpg", "image/jpeg"), ("manifest.json", "application/json")):
        head = local.aws.s3.head_object(Bucket=local.stack.bucket, Key=f"jobs/{tenant.name}/{job.id}/{name}")
        assert head["ContentType"] == content_type
        assert "immutable" in head["CacheControl"]
        assert head["Metadata"] == {"job-id": job.id, "prediction-id": job.prediction_id}


def test_the_bucket_tells_eventbridge_of_new_objects(local: Local) -> None:
    told = local.aws.s3.get_bucket_notification_configuration(Bucket=local.stack.bucket)
    assert told["EventBridgeConfiguration"] == {}


def test_a_finished_job_leaves_the_due_index_and_its_account_is_settled(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.hold()
    job_ids = [tenant.generate(num_images=2), tenant.generate(model=DEV)]
    assert set(job_ids) <= local.due()
    held = 2 * PRICES[SCHNELL] + PRICES[DEV]
    assert local.account(tenant) == (2, held)
    replicate.misbehave()
    jobs = local.end(job_ids)
    assert not set(job_ids) & local.due()
    paid = [one for job in jobs for one in replicate.predictions_of(job.id)]
    assert local.account(tenant) == (0, sum(PRICES[one["model"]] * one["images"] for one in paid))
    assert local.account(tenant) == (0, held)


def test_a_prediction_that_makes_fewer_images_costs_only_those(tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate("a fox nsfw-one", num_images=3)])
    assert (job.status, len(job.files), job.cost) == ("succeeded", 2, 2 * PRICES[SCHNELL])
    assert local.account(tenant) == (0, 2 * PRICES[SCHNELL])


def test_a_failed_prediction_has_its_problem_and_its_manifest(tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate("a fox nsfw-all")])
    shown = tenant.read(job.id)
    assert (shown["status"], shown["output"]) == ("failed", None)
    assert shown["afterimage"]["problem"]["code"] == "nsfw_content"
    assert "NSFW" in shown["error"]
    assert local.manifest(job)["problem"]["code"] == "nsfw_content"
    assert local.account(tenant) == (0, 0)


def test_an_unchanged_job_is_answered_304(tenant: Tenant, local: Local, replicate: Replicate) -> None:
    replicate.hold()
    job_id = tenant.generate()
    early = tenant.http.get(f"/v1/predictions/{job_id}").headers["etag"]
    replicate.misbehave()
    local.end([job_id])
    for path in (f"/v1/predictions/{job_id}", f"/predictions/{job_id}"):
        whole = tenant.http.get(path)
        unchanged = tenant.http.get(path, headers={"If-None-Match": whole.headers["etag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == whole.headers["etag"]
        changed = tenant.http.get(path, headers={"If-None-Match": early})
        assert (changed.status_code, changed.json()) == (200, whole.json())


def test_a_link_gives_the_bytes_with_a_key_and_without(tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate()])
    (link,) = tenant.read(job.id)["output"]
    for answer in (local.fetch(link), tenant.http.get(link)):
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
        assert answer.content == local.objects(job)["0.webp"]


def test_a_forged_link_is_refused(tenant: Tenant, local: Local) -> None:
    first, second = local.end([tenant.generate(), tenant.generate()])
    (link,) = tenant.read(first.id)["output"]
    assert local.fetch(link).status_code == 200
    forged = {
        "another job": link.replace(first.id, second.id),
        "another file": link.replace("/0.webp", "/manifest.json"),
        "later": link.replace("e=", "e=1"),
        "unsigned": link.partition("&s=")[0],
        "without anything": link.partition("?")[0],
        "another signature": link[:-4] + ("AAAA" if link[-4:] != "AAAA" else "BBBB"),
    }
    for how, url in forged.items():
        answer = local.fetch(url)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), how


def test_another_tenant_sees_nothing_of_a_job(tenant: Tenant, local: Local) -> None:
    job_id = tenant.generate()
    with local.tenant() as other:
        for path in (f"/v1/predictions/{job_id}", f"/predictions/{job_id}"):
            hidden, missing = other.http.get(path), other.http.get(path.replace(job_id, "0" * 26))
            assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")
            assert hidden.json()["detail"].replace(job_id, "") == missing.json()["detail"].replace("0" * 26, "")
        assert other.http.get("/v1/predictions").json()["results"] == []
    local.end([job_id])


def test_a_deleted_job_leaves_nothing_but_its_tombstone(tenant: Tenant, local: Local, replicate: Replicate) -> None:
    replicate.hold()
    job_id = tenant.generate()
    unfinished = tenant.http.delete(f"/predictions/{job_id}")
    assert (unfinished.status_code, unfinished.json()["code"]) == (409, "not_finished"), unfinished.text
    replicate.misbehave()
    (job,) = local.end([job_id])
    (link,) = tenant.read(job_id)["output"]
    assert tenant.http.delete(f"/v1/predictions/{job_id}").status_code == 204
    assert tenant.http.get(f"/predictions/{job_id}").status_code == 404
    assert local.fetch(link).status_code == 410
    until(lambda: local.job(job_id).purged_at, what="the purge")
    listed = local.aws.s3.list_object_versions(Bucket=local.stack.bucket, Prefix=f"jobs/{tenant.name}/{job_id}/")
    assert "Versions" not in listed
    assert "DeleteMarkers" not in listed
    assert job.input["prompt"] not in str(local.item(job_id))
    assert job_id not in local.due()
