"""`files` as Replicate's files interface: what callers send is kept for them, and for nobody else."""

import base64
import hashlib
import json
from typing import Any

import boto3
import pytest
from replicate.file import File

from shared import services
from shared.file_forms import LARGEST_FILE
from shared.identifiers import new_job_id
from shared.job import Millis
from shared.services import now
from shared.uploads import KEPT_S
from tests.support.problems import check_problem
from tests.support.replicate import FakeReplicate
from tests.support.world import ALICE, BOB, ORIGIN, Answered, World, image

BOUNDARY = "boundary"
PNG = image("PNG")
FLUX_DEV = "/v1/models/black-forest-labs/flux-dev/predictions"
ROUTES = [
    ("POST", "/v1/files"),
    ("GET", "/v1/files"),
    ("GET", "/v1/files/0"),
    ("DELETE", "/v1/files/0"),
    ("GET", "/v1/files/0/download"),
    ("POST", "/uploads"),
]


def form(content: bytes | None = PNG, *, name: str = "fox.png", **fields: str) -> bytes:
    """Write a form as clients do."""
    parts = []
    if content is not None:
        head = f'Content-Disposition: form-data; name="content"; filename="{name}"\r\nContent-Type: text/html\r\n\r\n'
        parts.append(head.encode() + content)
    parts += [f'Content-Disposition: form-data; name="{key}"\r\n\r\n{value}'.encode() for key, value in fields.items()]
    return b"".join(f"--{BOUNDARY}\r\n".encode() + one + b"\r\n" for one in parts) + f"--{BOUNDARY}--\r\n".encode()


def post(world: World, body: bytes, *, tenant: str = ALICE, **headers: str) -> Answered:
    sent = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", **headers}
    return world.request("POST", "/v1/files", body, key=world.keys[tenant], headers=sent)


def create(world: World, content: bytes = PNG, *, tenant: str = ALICE, **options: str) -> Any:
    answered = post(world, form(content, **options), tenant=tenant)
    assert answered.status == 201, answered.body
    return answered.json


def get(world: World, path: str, tenant: str = ALICE) -> Answered:
    return world.request("GET", path, key=world.keys[tenant])


def prepare(world: World, **body: Any) -> Answered:
    return world.request("POST", "/uploads", {"filename": "big.zip", **body}, key=world.keys[ALICE])


def upload(world: World, prepared: Any, content: bytes) -> None:
    """Do what S3 does with a form."""
    fields = prepared["fields"]
    world.s3.put_object(Bucket=world.bucket, Key=fields["key"], Body=content, ContentType=fields["Content-Type"])


def age(world: World, file_id: str, seconds: int) -> None:
    """Let a file be older by as much as makes it expire: only what was read decides that."""
    at = Millis(now() - seconds * 1000)
    key = {"pk": {"S": f"file#{file_id}"}}
    world.dynamodb.update_item(
        TableName=world.jobs_table,
        Key=key,
        UpdateExpression="SET created_at = :at, id = :id",
        ExpressionAttributeValues={":at": {"N": str(at)}, ":id": {"S": new_job_id(at)}},
    )


def test_a_file_is_answered_as_replicate_does(world: World) -> None:
    answered = post(world, form(metadata='{"a": 1}'))
    assert answered.status == 201
    document = answered.json
    assert answered.headers["location"] == document["urls"]["get"] == f"{ORIGIN}/v1/files/{document['id']}"
    assert (document["name"], document["content_type"], document["size"]) == ("fox.png", "image/png", len(PNG))
    assert document["checksums"]["sha256"] == hashlib.sha256(PNG).hexdigest()
    assert document["metadata"] == {"a": 1}
    File(**document)  # the official client's own type
    assert get(world, f"/v1/files/{document['id']}").json == document
    assert get(world, "/v1/files").json == {"previous": None, "next": None, "results": [document]}


def test_urls_are_those_of_the_place_that_was_asked(world: World) -> None:
    world.parameters["PublicUrl"] = f"{ORIGIN},http://127.0.0.1:8080"
    there = {"host": "127.0.0.1:8080", "x-forwarded-proto": "http"}
    document = post(world, form(), **there).json
    assert document["urls"]["get"] == f"http://127.0.0.1:8080/v1/files/{document['id']}"
    assert get(world, f"/v1/files/{document['id']}").json["urls"]["get"] == f"{ORIGIN}/v1/files/{document['id']}"


def test_a_list_goes_on_where_its_page_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("files.handler.PAGE", 2)
    made = [create(world, name=f"{n}.png")["id"] for n in range(5)]
    found, url = [], "/v1/files"
    while url:
        page = get(world, url).json
        assert len(page["results"]) <= 2
        found += [one["id"] for one in page["results"]]
        assert page["previous"] is None
        assert page["next"] is None or page["next"].startswith(f"{ORIGIN}/v1/files?cursor=")
        url = (page["next"] or "").removeprefix(ORIGIN)
    assert sorted(found, reverse=True) == found
    assert set(found) == set(made)


def test_a_cursor_that_is_none_is_refused(world: World) -> None:
    check_problem(get(world, "/v1/files?cursor=x"), 422, "invalid_input", instance="/v1/files", fields={"cursor"})


def test_a_deleted_file_is_gone_for_every_route(world: World) -> None:
    document = create(world)
    path = f"/v1/files/{document['id']}"
    answered = world.request("DELETE", path, key=world.keys[ALICE])
    assert (answered.status, answered.body) == (204, b"")
    assert world.stored() == []
    for method, url in (("DELETE", path), ("GET", path), ("GET", f"{path}/download")):
        gone = world.request(method, url, key=world.keys[ALICE])
        check_problem(gone, 404, "not_found", instance=url)
    assert get(world, "/v1/files").json["results"] == []


def test_another_tenants_file_does_not_exist(world: World) -> None:
    own, others = create(world), create(world, tenant=BOB)
    path = f"/v1/files/{others['id']}"
    for method, url in (("GET", path), ("GET", f"{path}/download"), ("DELETE", path)):
        strange = world.request(method, url, key=world.keys[ALICE])
        missing = world.request(method, url.replace(others["id"], new_job_id(now())), key=world.keys[ALICE])
        check_problem(strange, 404, "not_found", instance=url)
        assert strange.json["title"] == missing.json["title"]
    assert [one["id"] for one in get(world, "/v1/files").json["results"]] == [own["id"]]
    page = get(world, f"/v1/files?cursor={others['id']}").json
    assert others["id"] not in {one["id"] for one in page["results"]}, "a cursor leads into nobody else's files"
    assert get(world, path, BOB).status == 200


def test_an_expired_file_is_gone(world: World) -> None:
    document = create(world)
    age(world, document["id"], KEPT_S + 1)
    path = f"/v1/files/{document['id']}"
    check_problem(get(world, path), 404, "not_found", instance=path)
    assert get(world, "/v1/files").json["results"] == []


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_needs_a_key(world: World, method: str, path: str) -> None:
    check_problem(world.request(method, path), 401, "unauthorized", instance=path)


@pytest.mark.parametrize("file_id", ["0", "0" * 26, "%2E%2E", "x" * 300])
def test_what_is_no_file_is_not_found(world: World, file_id: str) -> None:
    for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/download"):
        check_problem(get(world, path), 404, "not_found", instance=path)


def test_what_replicate_has_not_either_is_not_offered(world: World) -> None:
    path = f"/v1/files/{create(world)['id']}/other"
    check_problem(get(world, path), 404, "not_offered", instance=path)


# ---- what is refused


def test_a_body_of_another_type_is_named_as_the_reason(world: World) -> None:
    for content_type in ("application/json", "application/octet-stream", ""):
        refused = post(world, form(), **{"content-type": content_type})
        check_problem(refused, 415, "unsupported_media_type", instance="/v1/files")


def test_a_body_that_is_no_form_is_refused(world: World) -> None:
    for body in (b"", b"\xff", form()[:-6], form(None), form(b"")):
        check_problem(post(world, body), 422, "invalid_input", instance="/v1/files", fields={"content"})
    unnamed = post(world, form(), **{"content-type": "multipart/form-data"})
    check_problem(unnamed, 422, "invalid_input", instance="/v1/files", fields={"content"})
    assert world.stored() == []


def test_a_form_that_arrives_as_text_is_read_all_the_same(world: World) -> None:
    event_type = {"content-type": f"text/plain; boundary={BOUNDARY}"}
    check_problem(post(world, form(b"abc"), **event_type), 415, "unsupported_media_type", instance="/v1/files")


def test_metadata_that_cannot_be_kept_are_refused(world: World) -> None:
    for metadata in ("{", "[]", json.dumps({"a": "x" * 10_000})):
        refused = post(world, form(metadata=metadata))
        check_problem(refused, 422, "invalid_input", instance="/v1/files", fields={"metadata"})
    assert world.stored() == []


def test_a_file_that_is_too_large_is_told_where_to_go(world: World) -> None:
    refused = post(world, form(bytes(LARGEST_FILE + 1)))
    problem = check_problem(refused, 413, "payload_too_large", instance="/v1/files")
    assert "POST /uploads" in problem["detail"]
    assert world.stored() == []


def test_the_largest_file_that_may_come_also_fits_into_an_event(world: World) -> None:
    body = form(bytes(LARGEST_FILE), name="x" * 1_000, metadata=json.dumps({"a": "x" * 9_000}))
    assert len(base64.b64encode(body)) + 20_000 < 6 * 1024 * 1024, "with room for headers"
    assert post(world, body).json["size"] == LARGEST_FILE


def test_a_hostile_name_harms_nobody(world: World) -> None:
    names = {"../../jobs/bob/x/manifest.json": "manifest.json", "%0D%0ASet-Cookie: a=b": "Set-Cookie: a=b"}
    for name, kept in {**names, "é" * 2_000 + ".png": "é" * 125 + ".png"}.items():
        document = create(world, name=name)
        assert document["name"] == kept
        assert len(document["name"].encode()) <= 255
        (key,) = [one for one in world.stored() if document["id"] in one]
        assert key.startswith(f"uploads/alice/{document['id']}/")
        assert key.isascii()
        assert key.count("/") == 3


# ---- downloads


def test_a_small_file_is_given_as_bytes_that_no_browser_shows(world: World) -> None:
    html = b"<html><script>alert(1)</script></html>"
    for content, content_type in ((PNG, "image/png"), (html, "application/octet-stream")):
        answered = get(world, f"/v1/files/{create(world, content, name='a.html')['id']}/download")
        assert (answered.status, answered.body) == (200, content)
        assert answered.headers["content-type"] == content_type
        assert answered.headers["content-disposition"] == "attachment"
        assert answered.headers["x-content-type-options"] == "nosniff"
        assert answered.headers["cache-control"] == "private, no-store"


def test_a_large_file_is_a_redirect(world: World) -> None:
    prepared = prepare(world).json
    upload(world, prepared, PNG + bytes(LARGEST_FILE))
    answered = get(world, f"/v1/files/{prepared['id']}/download")
    assert answered.status == 302
    assert f"{prepared['fields']['key']}?X-Amz-Algorithm=" in answered.headers["location"]


def test_an_object_that_somebody_has_removed_is_not_found(world: World) -> None:
    document = create(world)
    world.s3.delete_object(Bucket=world.bucket, Key=world.stored()[0])
    path = f"/v1/files/{document['id']}/download"
    check_problem(get(world, path), 404, "not_found", instance=path)


# ---- forms for large files


def test_a_large_file_goes_by_a_form(world: World) -> None:
    answered = prepare(world, metadata={"a": 1}, content_type="text/html")
    assert answered.status == 201
    document = answered.json
    assert set(document) == {"id", "url", "fields", "expires_at", "file"}
    assert world.bucket in document["url"]
    policy = json.loads(base64.b64decode(document["fields"]["policy"]))
    assert ["content-length-range", 1, 104_857_600] in policy["conditions"]
    assert {"key": f"uploads/alice/{document['id']}/big.zip"} in policy["conditions"]
    assert policy["expiration"][:16] == document["expires_at"][:16], "to the minute: S3 counts from its own now"
    file = document["file"]
    assert (file["size"], file["content_type"], file["etag"], file["checksums"]) == (None, None, None, {})
    path = file["urls"]["get"].removeprefix(ORIGIN)
    for url in (path, f"{path}/download"):
        assert "yet" in check_problem(get(world, url), 404, "not_found", instance=url)["detail"]
    assert get(world, "/v1/files").json["results"] == []
    upload(world, document, b"PK\x03\x04" + bytes(5_000_000))
    found = get(world, path).json
    assert found == file | {"size": 5_000_004, "content_type": "application/zip", "etag": found["etag"]}
    File(**found)
    assert get(world, "/v1/files").json["results"] == [found]


def test_a_form_can_be_taken_back(world: World) -> None:
    document = prepare(world).json
    path = f"/v1/files/{document['id']}"
    assert world.request("DELETE", path, key=world.keys[ALICE]).status == 204
    upload(world, document, PNG)
    check_problem(get(world, path), 404, "not_found", instance=path)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filename": ""}, "filename"),
        ({"filename": None}, "filename"),
        ({"filename": "x" * 1_001}, "filename"),
        ({"filename": 7}, "filename"),
        ({"bytes": 0}, "bytes"),
        ({"bytes": 104_857_601}, "bytes"),
        ({"bytes": "1"}, "bytes"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": "x" * 10_000}}, "metadata"),
        ({"file_name": "a"}, "file_name"),
    ],
)
def test_a_form_for_what_cannot_be_is_refused(world: World, body: dict[str, Any], field: str) -> None:
    check_problem(prepare(world, **body), 422, "invalid_input", instance="/uploads", fields={field})
    assert not any("file#" in name for name in world.everything())


def test_a_form_takes_exactly_the_size_that_was_announced(world: World) -> None:
    policy = json.loads(base64.b64decode(prepare(world, bytes=7).json["fields"]["policy"]))
    assert ["content-length-range", 7, 7] in policy["conditions"]


def test_what_is_signed_is_addressed_to_the_buckets_own_region(monkeypatch: pytest.MonkeyPatch) -> None:
    # S3's global name would redirect a new bucket's requests, and no signature holds for two hosts.
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    files = services._files("images-made-up")
    form_ = files.form("uploads/a", sizes=(1, 2), seconds=60)
    for url in (form_.url, files.presign("uploads/a", seconds=60)):
        assert url.startswith("https://images-made-up.s3.eu-central-1.amazonaws.com/")


# ---- as input


def start(world: World, image_url: Any, tenant: str = ALICE, **given: Any) -> Answered:
    body = {"input": {"prompt": "a fox", "image": image_url, **given}}
    return world.request("POST", FLUX_DEV, body, key=world.keys[tenant])


@pytest.mark.sockets
def test_a_file_is_sent_to_replicate_as_a_signed_url(world: World, replicate: FakeReplicate) -> None:
    document = create(world)
    answered = start(world, document["urls"]["get"])
    assert answered.status == 201, answered.body
    (sent,) = replicate.created
    assert f"uploads/alice/{document['id']}/fox.png?X-Amz-Algorithm=" in sent["input"]["image"]
    assert answered.json["input"]["image"] == document["urls"]["get"], "the caller sees what the caller wrote"
    one = world.read(answered.json["id"])
    assert one.stored_inputs == {"image": f"uploads/alice/{document['id']}/fox.png"}


@pytest.mark.sockets
def test_a_file_is_known_by_each_of_our_origins(world: World, replicate: FakeReplicate) -> None:
    world.parameters["PublicUrl"] = f"{ORIGIN},http://127.0.0.1:8080"
    file_id = create(world)["id"]
    for origin in (ORIGIN, "http://127.0.0.1:8080"):
        assert start(world, f"{origin}/v1/files/{file_id}").status == 201
    assert all("X-Amz-Signature=" in sent["input"]["image"] for sent in replicate.created)
    elsewhere = f"https://elsewhere.example.com/v1/files/{file_id}"
    assert start(world, elsewhere).status == 201
    assert replicate.created[-1]["input"]["image"] == elsewhere


@pytest.mark.sockets
def test_an_uploaded_large_file_can_be_used_once_it_is_there(world: World, replicate: FakeReplicate) -> None:
    prepared = prepare(world).json
    url = prepared["file"]["urls"]["get"]
    problem = check_problem(start(world, url), 422, "invalid_input", instance=FLUX_DEV, fields={"input.image"})
    assert "yet" in problem["detail"]
    upload(world, prepared, PNG)
    assert start(world, url).status == 201
    assert prepared["fields"]["key"] in replicate.created[0]["input"]["image"]


@pytest.mark.sockets
def test_a_file_that_is_not_the_callers_to_use_is_refused(world: World, replicate: FakeReplicate) -> None:
    own, others = create(world), create(world, tenant=BOB)
    deleted, expired = create(world), create(world)
    world.request("DELETE", f"/v1/files/{deleted['id']}", key=world.keys[ALICE])
    age(world, expired["id"], KEPT_S + 1)
    urls = [one["urls"]["get"] for one in (others, deleted, expired)]
    urls += [f"{own['urls']['get']}/download", f"{own['urls']['get']}/", f"{ORIGIN}/v1/files/", f"{ORIGIN}/v1/files/x"]
    for url in urls:
        check_problem(start(world, url), 422, "invalid_input", instance=FLUX_DEV, fields={"input.image"})
    assert replicate.created == []
    assert world.jobs_written() == []
