"""Files of callers on the whole stack: sent as the official client sends them, used as input, and nobody else's."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ReplicateError
from replicate.helpers import FileOutput

from tests.journey.local import DEV, NO_TLS, SMALL, Local, Tenant
from tests.journey.replicate import Replicate

pytestmark = pytest.mark.sockets

MEGABYTE = 1024 * 1024
ANY_BYTES = bytes(range(256)) * 40 + b"\r\n--\r\n"


@pytest.fixture(params=["client", "https_client"])
def either_client(request: pytest.FixtureRequest) -> Client:
    """The official client, over HTTP and over HTTPS."""
    made: Client = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "wéird fox.png"
    Image.new("RGB", (64, 48), "teal").save(path)
    return path


@pytest.fixture
def bucket() -> Iterator[httpx.Client]:
    """Somebody who knows nothing but a form."""
    with httpx.Client(timeout=30, trust_env=False, verify=NO_TLS) as made:
        yield made


def fetched(replicate: Replicate, prediction_id: str | None) -> list[tuple[str, int, int]]:
    """Give the files that Replicate has read for a prediction: field, status and size."""
    seen: list[dict[str, Any]] = replicate.seen()["fetched"]
    return [(one["field"], one["status"], one["bytes"]) for one in seen if one["prediction"] == prediction_id]


def send(bucket: httpx.Client, document: Any, content: bytes, **changes: str) -> httpx.Response:
    return bucket.post(document["url"], data={**document["fields"], **changes}, files={"file": ("a", content)})


def test_run_with_an_open_file(
    either_client: Client, picture: Path, tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    with picture.open("rb") as file:
        output: Any = either_client.run(DEV, input={"prompt": "a fox", "image": file, "num_outputs": 1, **SMALL})
    assert len(output) == 1
    if str(output[0]).startswith("https:"):
        assert isinstance(output[0], FileOutput)
        assert Image.open(io.BytesIO(output[0].read())).size
    (job,) = local.jobs_of(tenant)
    assert job.status == "succeeded"
    assert fetched(replicate, job.prediction_id) == [("image", 200, picture.stat().st_size)]
    (listed,) = either_client.files.list()
    assert job.input["image"] == listed.urls["get"], "shown as it was sent, without a signature"
    assert (listed.name, listed.content_type) == (picture.name, "image/png")


def test_create_get_list_and_delete(either_client: Client, picture: Path) -> None:
    made = either_client.files.create(picture, metadata={"who": "é", "n": [1, None]})
    assert made.size == picture.stat().st_size
    assert made.checksums["sha256"] == hashlib.sha256(picture.read_bytes()).hexdigest()
    assert made.metadata == {"who": "é", "n": [1, None]}
    assert made.urls["get"].endswith(f"/v1/files/{made.id}")
    other = either_client.files.create(io.BytesIO(ANY_BYTES), filename="any.bin")
    assert either_client.files.get(made.id) == made
    assert [one.id for one in either_client.files.list()] == [other.id, made.id]
    assert either_client.files.delete(made.id) is True
    with pytest.raises(ReplicateError) as gone:
        either_client.files.get(made.id)
    assert gone.value.status == 404
    assert [one.id for one in either_client.files.list()] == [other.id]


def test_every_byte_arrives_as_it_was_sent(client: Client, tenant: Tenant) -> None:
    made = client.files.create(io.BytesIO(ANY_BYTES), filename="any.bin")
    answer = tenant.http.get(f"/v1/files/{made.id}/download")
    assert (answer.status_code, answer.content) == (200, ANY_BYTES)
    assert answer.headers["content-disposition"] == "attachment"


def test_another_tenants_file_is_nobodys(client: Client, picture: Path, local: Local) -> None:
    made = client.files.create(picture)
    with local.tenant() as stranger:
        assert stranger.http.get("/v1/files").json()["results"] == []
        for answer in (
            stranger.http.get(f"/v1/files/{made.id}"),
            stranger.http.get(f"/v1/files/{made.id}/download"),
            stranger.http.delete(f"/v1/files/{made.id}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        refused = stranger.predict(DEV, image=made.urls["get"])
        assert (refused.status_code, refused.json()["invalid_fields"][0]["field"]) == (422, "input.image")
    assert client.files.get(made.id) == made


def test_a_file_waits_with_the_jobs_that_use_it(
    client: Client, picture: Path, tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    # A batch is started by dispatch, which must be able to read what it signs.
    url = client.files.create(picture).urls["get"]
    asked = {"prompts": ["a fox", "a hare"], "num_images": 1, "model": DEV, "input": {"image": url, **SMALL}}
    answer = tenant.http.post("/generate", json=asked)
    assert answer.status_code == 202, answer.text
    jobs = local.end([one["prediction_id"] for one in answer.json()["predictions"]])
    assert [job.status for job in jobs] == ["succeeded"] * 2
    for job in jobs:
        assert fetched(replicate, job.prediction_id) == [("image", 200, picture.stat().st_size)]


def test_a_large_file_goes_to_the_bucket_by_a_form_and_into_a_prediction(
    tenant: Tenant, bucket: httpx.Client, local: Local, replicate: Replicate, opened: Callable[[bytes], Image.Image]
) -> None:
    large = io.BytesIO()
    Image.effect_noise((2400, 2400), 90).save(large, "PNG")
    content = large.getvalue()
    assert len(content) > 4 * MEGABYTE
    refused = tenant.http.post("/v1/files", files={"content": ("large.png", content, "image/png")})
    assert (refused.status_code, refused.json()["code"]) == (413, "payload_too_large")
    assert "POST /uploads" in refused.json()["detail"]

    asked = {"filename": "large.png", "bytes": len(content), "metadata": {"a": 1}}
    document = tenant.http.post("/uploads", json=asked).raise_for_status().json()
    url = document["file"]["urls"]["get"]
    assert tenant.http.get(url).status_code == 404
    assert tenant.predict(DEV, image=url).status_code == 422
    assert send(bucket, document, content).status_code == 204

    found = tenant.http.get(url).raise_for_status().json()
    assert (found["size"], found["content_type"]) == (len(content), "image/png")
    assert tenant.http.get("/v1/files").json()["results"] == [found]
    answer = tenant.predict(DEV, image=url)
    assert answer.status_code == 201, answer.text
    (job,) = local.end([answer.json()["id"]])
    assert job.status == "succeeded"
    assert fetched(replicate, job.prediction_id) == [("image", 200, len(content))]

    redirect = tenant.http.get(f"{url}/download")
    assert redirect.status_code == 302
    stored = bucket.get(redirect.headers["location"])
    assert stored.headers["content-disposition"] == "attachment"
    assert opened(stored.content).size == (2400, 2400)
    assert tenant.http.delete(url).status_code == 204
    assert bucket.get(redirect.headers["location"]).status_code == 404


def test_a_form_takes_nothing_but_what_it_was_made_for(tenant: Tenant, bucket: httpx.Client) -> None:
    document = tenant.http.post("/uploads", json={"filename": "a.html", "bytes": 9}).raise_for_status().json()
    key = document["fields"]["key"]
    for content, changes in (
        (b"too short", {"key": key.replace("a.html", "b.html")}),
        (b"too short", {"key": key.replace("uploads/", "jobs/")}),
        (b"too short", {"Content-Type": "text/html"}),
        (b"too short", {"Content-Disposition": "inline"}),
        (b"too short", {"x-amz-signature": "0" * 64}),
        (b"short", {}),
        (b"not short enough", {}),
    ):
        assert send(bucket, document, content, **changes).status_code in {400, 403}, changes
    assert tenant.http.get(document["file"]["urls"]["get"]).status_code == 404
    assert send(bucket, document, b"just fits").status_code == 204
    found = tenant.http.get(document["file"]["urls"]["get"]).raise_for_status().json()
    assert (found["size"], found["content_type"]) == (9, "application/octet-stream")


def test_forms_of_the_other_clients(tenant: Tenant) -> None:
    # As JavaScript and Python 2.0.0b4 write them.
    blob = {
        "content": ("buffer_1", ANY_BYTES, "application/octet-stream"),
        "metadata": ("blob", json.dumps({"a": 1}).encode(), "application/json"),
    }
    made = tenant.http.post("/v1/files", files=blob)
    assert (made.status_code, made.json()["metadata"]) == (201, {"a": 1})
    fields = {"filename": "other.txt", "metadata[a]": "1", "metadata[b][c][]": ["1", "2"], "type": "text/plain"}
    made = tenant.http.post("/v1/files", data=fields, files={"content": ("upload", ANY_BYTES)})
    assert made.status_code == 201, made.text
    document = made.json()
    assert (document["name"], document["metadata"]) == ("other.txt", {"a": "1", "b": {"c": ["1", "2"]}})
    assert document["checksums"]["sha256"] == hashlib.sha256(ANY_BYTES).hexdigest()
