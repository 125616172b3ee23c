"""Files and manifests in the bucket: streamed, written once, and done only if they are this prediction's."""

import hashlib
import io
import json
import time
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from shared import services
from shared.errors import OutputRejected, OutputUnavailable
from shared.fetch import Download, Rules
from shared.file_store import SMALL, FileStore, Foreign, Gone, prefix_of
from shared.job import Job, Status, StoredFile
from shared.manifest import manifest_of
from shared.outages import is_outage
from tests.support.events import SUCCESS
from tests.support.world import ALICE, START, World, adopted, image, job

RULES = Rules(hosts=frozenset(), origins=frozenset(), most_bytes=64 * 1024 * 1024, most_seconds=60)
LARGE = image() + bytes(SMALL + 300_000)


class Trickle(io.BytesIO):
    """A source that gives little at a time, as networks do."""

    def __init__(self, content: bytes, at_most: int = 100_000) -> None:
        super().__init__(content)
        self._at_most = at_most
        self.longest = 0

    def read1(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0, "nothing may ask for all of it"
        self.longest = max(self.longest, size)
        return super().read1(min(size, self._at_most))


def download(content: bytes, length: int | None = None) -> Download:
    return Download(Trickle(content), length, RULES, since=time.monotonic())


def put(world: World, one: Job, n: int, content: bytes, *, length: bool = True) -> StoredFile:
    return world.files.put(one, n, download(content, len(content) if length else None))


def head(world: World, key: str) -> dict[str, Any]:
    found: dict[str, Any] = dict(world.s3.head_object(Bucket=world.bucket, Key=key))
    return found


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize(
    ("kind", "name", "content_type"),
    [("WEBP", "3.webp", "image/webp"), ("JPEG", "3.jpg", "image/jpeg"), ("PNG", "3.png", "image/png")],
)
def test_an_image_is_stored_under_its_number_and_real_type(
    world: World, kind: str, name: str, content_type: str, *, length: bool
) -> None:
    one, content = adopted(), image(kind)
    file = put(world, one, 3, content, length=length)
    key = f"jobs/alice/{one.id}/{name}"
    assert file == StoredFile(3, key, content_type, len(content), hashlib.sha256(content).hexdigest(), 48, 32)
    assert file.name == name
    assert world.object(key) == content
    stored = head(world, key)
    assert stored["ContentType"] == content_type
    assert "immutable" in stored["CacheControl"]
    assert stored["Metadata"] == {"job-id": one.id, "prediction-id": "p1"}


@pytest.mark.parametrize("length", [True, False])
def test_a_large_file_is_stored_whole(world: World, *, length: bool) -> None:
    one = adopted()
    file = put(world, one, 0, LARGE, length=length)
    assert (file.bytes, file.sha256) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())
    assert world.object(file.key) == LARGE
    assert (file.content_type, file.width) == ("image/webp", 48)


@pytest.mark.parametrize("size", [SMALL - 1, SMALL, SMALL + 1])
@pytest.mark.parametrize("length", [True, False])
def test_the_border_between_small_and_large_is_seamless(world: World, size: int, *, length: bool) -> None:
    content = image("PNG") + bytes(size - len(image("PNG")))
    file = put(world, adopted(), 0, content, length=length)
    assert (file.bytes, world.object(file.key)) == (size, content)


def test_an_empty_output_is_refused(world: World) -> None:
    with pytest.raises(OutputRejected):
        put(world, adopted(), 0, b"")
    assert world.stored() == []


def test_what_claims_to_be_an_image_is_stored_as_bytes(world: World) -> None:
    file = put(world, adopted(), 0, b"<html><script>alert(1)</script></html>")
    assert (file.name, file.content_type) == ("0.bin", "application/octet-stream")
    assert head(world, file.key)["ContentType"] == "application/octet-stream"


@pytest.mark.parametrize("content", [image(), LARGE], ids=["small", "large"])
def test_storing_again_writes_nothing_and_says_the_same(world: World, content: bytes) -> None:
    one = adopted()
    first = put(world, one, 0, content)
    before = head(world, first.key)["LastModified"]
    assert put(world, one, 0, content) == first
    assert put(world, one, 0, content, length=False) == first
    assert head(world, first.key)["LastModified"] == before


def test_what_is_there_already_counts_even_if_the_source_has_changed(world: World) -> None:
    one = adopted()
    first = put(world, one, 0, image(color="teal"))
    assert put(world, one, 0, image(color="red")) == first
    assert world.object(first.key) == image(color="teal")


def test_an_object_of_another_prediction_is_not_taken_for_this_one(world: World) -> None:
    one = adopted("p1")
    put(world, one, 0, image())
    other = adopted("p2", id=one.id)
    with pytest.raises(Foreign):
        put(world, other, 0, image())
    with pytest.raises(Foreign):
        world.files.existing(other)


def test_a_connection_that_breaks_leaves_no_object(world: World) -> None:
    class Breaking(Trickle):
        def read1(self, size: int | None = -1, /) -> bytes:
            if self.tell() > SMALL:
                raise OSError("reset")
            return super().read1(size)

    with pytest.raises(OutputUnavailable):
        world.files.put(adopted(), 0, Download(Breaking(LARGE), None, RULES, since=time.monotonic()))
    assert world.stored() == []


def test_an_output_that_grows_too_large_while_it_is_read_leaves_no_object(world: World) -> None:
    narrow = Rules(hosts=frozenset(), origins=frozenset(), most_bytes=SMALL + 100, most_seconds=60)
    with pytest.raises(OutputRejected):
        world.files.put(adopted(), 0, Download(Trickle(LARGE), None, narrow, since=time.monotonic()))
    assert world.stored() == []


def test_what_an_interrupted_run_has_stored_is_found_by_number(world: World) -> None:
    one = adopted()
    stored = {n: put(world, one, n, image(kind)) for n, kind in enumerate(("WEBP", "PNG", "JPEG"))}
    assert world.files.existing(one) == stored


def test_only_numbered_files_of_this_job_are_found(world: World) -> None:
    one, other = adopted("p1"), adopted("p2")
    put(world, other, 0, image())
    world.s3.put_object(Bucket=world.bucket, Key=f"{prefix_of(one)}manifest.json", Body=b"{}")
    world.s3.put_object(Bucket=world.bucket, Key=f"{prefix_of(one)}notes.txt", Body=b"mine")
    world.s3.put_object(Bucket=world.bucket, Key=f"{prefix_of(one)}more/0.webp", Body=b"mine")
    assert world.files.existing(one) == {}
    assert world.files.existing(job()) == {}


def test_a_manifest_is_written_once(world: World) -> None:
    one = adopted(status=SUCCESS.status, completed_at=START, cost=3_000, hold=None, files=SUCCESS.files)
    world.files.put_manifest(one, manifest_of(one))
    world.files.put_manifest(one, {"something": "else"})
    assert world.manifest(one) == json.loads(json.dumps(manifest_of(one)))
    assert head(world, f"{prefix_of(one)}manifest.json")["ContentType"] == "application/json"


def test_a_presigned_url_names_the_object_and_is_signed_anew_each_time(world: World) -> None:
    url = world.files.presign("jobs/alice/x/0.webp", seconds=60)
    assert "jobs/alice/x/0.webp" in url
    assert "X-Amz-Expires=60" in url or "Expires=" in url


def test_an_object_is_read_whole(world: World) -> None:
    file = put(world, adopted(), 0, image())
    assert FileStore(world.s3, world.bucket).read(file.key) == image()


# With the client that the functions have


def test_a_large_file_goes_through_the_client_of_the_functions(world: World) -> None:
    files, one = services._files(world.bucket), adopted()
    file = files.put(one, 0, download(LARGE))
    assert (file.bytes, file.sha256) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())
    assert world.object(file.key) == LARGE


def refusing(times: int, code: str, status: int) -> Any:
    """Let S3 refuse so many uploads."""
    left = [times]

    def refuse(**_: Any) -> Any:
        left[0] -= 1
        answer = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return (AWSResponse("", status, {}, None), answer) if left[0] >= 0 else None  # type: ignore[arg-type]

    return refuse


@pytest.mark.parametrize(("code", "status"), [("ConditionalRequestConflict", 409), ("OperationAborted", 409)])
def test_another_write_that_is_going_on_is_not_one_that_was_done(world: World, code: str, status: int) -> None:
    ended = adopted(status=Status.SUCCEEDED, completed_at=START, cost=3_000, hold=None)
    client = world.s3
    refuse = refusing(2, code, status)
    client.meta.events.register_first("before-call.s3.PutObject", refuse)
    try:
        for write in (lambda: world.files.put_manifest(ended, {}), lambda: put(world, ended, 0, image())):
            with pytest.raises(ClientError) as refused:
                write()
            assert is_outage(refused.value), "it is tried again"
        assert world.stored() == []
        world.files.put_manifest(ended, {})
        assert len(world.stored()) == 1
    finally:
        client.meta.events.unregister("before-call.s3.PutObject", refuse)


def test_a_tenants_objects_are_listed_read_and_removed_in_all_versions(world: World) -> None:
    world.s3.put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Enabled"})
    for tenant in ("alice", "alice-2"):
        for place in ("jobs", "inputs", "uploads"):
            for content in (b"older", b"newer!"):
                world.files.put_input(f"{place}/{tenant}/x/0.png", "image/png", content)
    assert list(world.files.keys("jobs/alice/")) == [("jobs/alice/x/0.png", 6)]
    assert b"".join(world.files.download("jobs/alice/x/0.png")) == b"newer!"
    world.files.purge_tenant(ALICE)
    found = world.s3.list_object_versions(Bucket=world.bucket)
    assert [one["Key"].split("/")[1] for one in found["Versions"]] == ["alice-2"] * 6
    with pytest.raises(Gone):
        next(world.files.download("jobs/alice/x/0.png"))
