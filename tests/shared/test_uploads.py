"""Callers' files: found by their owner for a week, with what is really in them."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Code, Refusal
from shared.file_store import FileStore
from shared.job_store import JobStore
from shared.uploads import FORM_S, KEPT_S, LARGEST_METADATA, Upload, Uploads, check_metadata, clean_name, document_of
from tests.support.world import ALICE, BOB, World, image, job

PNG = image("PNG")


class Counted:
    """The bucket, and how often it was asked for."""

    def __init__(self, files: FileStore) -> None:
        self.files = files
        self.asked = 0

    def __call__(self) -> FileStore:
        self.asked += 1
        return self.files


def uploads_of(world: World) -> Uploads:
    return Uploads(world.dynamo, world.jobs_table, files=lambda: world.files, now=world.clock)


def keep(world: World, name: str = "fox.png", **given_: Any) -> Upload:
    asked: dict[str, Any] = {"content": PNG, "metadata": {}, "tenant": ALICE, **given_}
    return uploads_of(world).keep(asked.pop("content"), name=name, **asked)


def prepare(world: World, size: int | None = None) -> Upload:
    upload, _ = uploads_of(world).prepare(name="fox.png", size=size, metadata={"a": 1}, tenant=ALICE)
    return upload


def test_a_kept_file_is_read_as_it_was_written(world: World) -> None:
    metadata = {"who": "é", "n": [1, None, True, 1.5], "empty": {}}
    upload = keep(world, metadata=metadata)
    assert uploads_of(world).find(upload.id, ALICE) == upload
    assert uploads_of(world).page(ALICE, limit=10).uploads == [upload]
    assert upload.key == f"uploads/alice/{upload.id}/fox.png"
    assert world.object(upload.key) == PNG
    stored = world.s3.head_object(Bucket=world.bucket, Key=upload.key)
    assert (stored["ContentType"], stored["ContentDisposition"]) == ("image/png", "attachment")
    assert upload.content is not None
    assert stored["ETag"] == f'"{upload.content.etag}"'


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (PNG, "image/png"),
        (image("JPEG"), "image/jpeg"),
        (b"PK\x03\x04" + bytes(40), "application/zip"),
        (b"<html><script>alert(1)</script>", "application/octet-stream"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "application/octet-stream"),
        (b"x", "application/octet-stream"),
    ],
)
def test_a_files_type_is_told_from_its_bytes(world: World, content: bytes, content_type: str) -> None:
    upload = keep(world, "page.html", content=content)
    assert upload.content is not None
    assert upload.content.content_type == content_type
    assert world.s3.head_object(Bucket=world.bucket, Key=upload.key)["ContentType"] == content_type


def test_a_file_is_its_owners_only(world: World) -> None:
    upload = keep(world)
    assert uploads_of(world).find(upload.id, BOB) is None
    assert uploads_of(world).page(BOB, limit=10).uploads == []


@pytest.mark.parametrize("file_id", ["", "x", "../x", "0" * 26, "A" * 26, "0" * 5_000])
def test_what_is_no_id_finds_nothing(world: World, file_id: str) -> None:
    assert uploads_of(world).find(file_id, ALICE) is None


def test_a_file_is_there_for_a_week_whether_the_table_has_forgotten_it_or_not(world: World) -> None:
    upload = keep(world)
    world.clock.go_on(KEPT_S - 1)
    assert uploads_of(world).find(upload.id, ALICE) == upload
    assert uploads_of(world).page(ALICE, limit=10).uploads == [upload]
    world.clock.go_on(1)
    assert uploads_of(world).find(upload.id, ALICE) is None
    assert uploads_of(world).page(ALICE, limit=10).uploads == []
    item = world.dynamodb.get_item(TableName=world.jobs_table, Key={"pk": {"S": f"file#{upload.id}"}})["Item"]
    assert int(item["expires_at"]["N"]) * 1000 == upload.expires_at, "the table forgets it then, too"


def test_files_are_listed_newest_first_page_by_page(world: World) -> None:
    made = []
    for _ in range(5):
        made.append(keep(world).id)
        world.clock.go_on(1)
    found, cursor = [], None
    while True:
        page = uploads_of(world).page(ALICE, limit=2, after=cursor)
        found += [upload.id for upload in page.uploads]
        if (cursor := page.cursor) is None:
            break
    assert found == made[::-1]


def test_a_cursor_from_beyond_the_files_life_leads_to_nothing(world: World) -> None:
    old = keep(world)
    world.clock.go_on(KEPT_S)
    new = keep(world)
    for cursor in (old.id, "0" * 26, "z" * 26):
        page = uploads_of(world).page(ALICE, limit=10, after=cursor)
        assert (page.uploads, page.cursor) == ([], None)
    assert uploads_of(world).page(ALICE, limit=10).uploads == [new]


def test_a_file_is_listed_at_once_though_another_functions_clock_is_ahead(world: World) -> None:
    world.clock.go_on(30)
    upload = keep(world)
    world.clock.go_on(-30)
    assert uploads_of(world).page(ALICE, limit=10).uploads == [upload]


def test_files_and_jobs_do_not_meet_in_lists(world: World) -> None:
    upload, one = keep(world), world.put(job())
    listed = JobStore(world.dynamo, world.jobs_table).page(ALICE, limit=10, among={})
    assert [found.id for found in listed.jobs] == [one.id]
    assert uploads_of(world).page(ALICE, limit=10).uploads == [upload]


def test_a_prepared_file_has_no_content_until_it_is_uploaded(world: World) -> None:
    upload = prepare(world)
    assert uploads_of(world).find(upload.id, ALICE) == upload
    assert upload.content is None
    assert uploads_of(world).page(ALICE, limit=10).uploads == []
    world.s3.put_object(Bucket=world.bucket, Key=upload.key, Body=PNG * 100)
    found = uploads_of(world).find(upload.id, ALICE)
    assert found is not None
    assert found.content is not None
    assert (found.content.content_type, found.content.size) == ("image/png", len(PNG) * 100)
    assert uploads_of(world).page(ALICE, limit=10).uploads == [found]


def test_while_a_form_works_what_it_brings_is_looked_at_each_time(world: World) -> None:
    upload = prepare(world)
    for content, content_type in ((PNG, "image/png"), (b"x", "application/octet-stream")):
        world.s3.put_object(Bucket=world.bucket, Key=upload.key, Body=content)
        found = uploads_of(world).find(upload.id, ALICE)
        assert found is not None
        assert found.content is not None
        assert (found.content.content_type, found.content.size) == (content_type, len(content))
    world.clock.go_on(2 * FORM_S)
    counted = Counted(world.files)
    later = Uploads(world.dynamo, world.jobs_table, files=counted, now=world.clock)
    assert later.find(upload.id, ALICE) == later.find(upload.id, ALICE) == found
    assert counted.asked == 1, "then it is noted, and the bucket is not asked again"


def test_a_form_takes_one_object_of_the_right_size(world: World) -> None:
    for size, sizes in ((None, [1, 100 * 1024 * 1024]), (7, [7, 7])):
        upload, form = uploads_of(world).prepare(name="a.zip", size=size, metadata={}, tenant=ALICE)
        policy = json.loads(base64.b64decode(form.fields["policy"]))
        conditions = policy["conditions"]
        assert ["content-length-range", *sizes] in conditions
        assert {"key": upload.key} in conditions
        assert {"Content-Type": "application/octet-stream"} in conditions
        assert {"Content-Disposition": "attachment"} in conditions
        assert not any("starts-with" in condition for condition in conditions if isinstance(condition, list))
        assert form.fields["key"] == upload.key


def test_a_deleted_file_is_gone_from_the_bucket_and_the_table(world: World) -> None:
    before = world.everything()
    kept, prepared = keep(world), prepare(world)
    for upload in (kept, prepared):
        uploads_of(world).delete(upload)
        uploads_of(world).delete(upload)
        assert uploads_of(world).find(upload.id, ALICE) is None
    assert world.everything() == before


def test_what_is_deleted_while_it_is_looked_at_does_not_come_back(world: World) -> None:
    upload = prepare(world)
    world.s3.put_object(Bucket=world.bucket, Key=upload.key, Body=PNG)
    world.clock.go_on(2 * FORM_S)

    def deletes_first() -> FileStore:
        world.dynamodb.delete_item(TableName=world.jobs_table, Key={"pk": {"S": f"file#{upload.id}"}})
        return world.files

    looking = Uploads(world.dynamo, world.jobs_table, files=deletes_first, now=world.clock)
    found = looking.find(upload.id, ALICE)
    assert found is not None
    assert found.content is None
    assert uploads_of(world).find(upload.id, ALICE) is None


@pytest.mark.parametrize(
    ("given_name", "name", "key"),
    [
        ("fox.png", "fox.png", "fox.png"),
        ("../../etc/passwd", "passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini", "boot.ini"),
        ("/", "file", "file"),
        ("", "file", "file"),
        ("..", "file", "file"),
        ("...", "file", "file"),
        ("a/..", "file", "file"),
        (".env", ".env", "env"),
        ("a\r\nX-Evil: 1.png", "aX-Evil: 1.png", "aX-Evil_1.png"),
        ("a\x00b.png", "ab.png", "ab.png"),
        ("\u202egnp.exe", "gnp.exe", "gnp.exe"),
        ("\ud800.png", ".png", "png"),
        ("фото.png", "фото.png", "file.png"),
        ("my fox (1).PNG", "my fox (1).PNG", "my_fox_1.PNG"),
        ("a.tar.gz", "a.tar.gz", "a.tar.gz"),
        ("a.", "a.", "a"),
        ('a"b%.png', 'a"b%.png', "a_b.png"),
    ],
)
def test_a_hostile_name_loses_what_makes_it_so(world: World, given_name: str, name: str, key: str) -> None:
    upload = keep(world, given_name)
    assert (upload.name, upload.key.rpartition("/")[2]) == (name, key)
    assert upload.key.startswith(f"uploads/alice/{upload.id}/")
    assert upload.key.count("/") == 3


@given(st.text(max_size=400))
def test_any_name_becomes_a_decent_one(given_name: str) -> None:
    name = clean_name(given_name)
    assert 1 <= len(name.encode()) <= 255
    assert name.isprintable()
    assert not set(name) & set("/\\")
    assert clean_name(name) == name


def test_a_long_name_keeps_its_extension() -> None:
    assert clean_name("é" * 300 + ".png") == "é" * 125 + ".png"
    assert clean_name("a" * 300) == "a" * 255
    assert len(clean_name("a." + "é" * 300).encode()) <= 255


def test_metadata_are_bounded() -> None:
    fitting = {"a": "x" * (LARGEST_METADATA - len('{"a": ""}'))}
    assert check_metadata(fitting) == fitting
    spoiled: list[Any] = [{"a": fitting["a"] + "x"}, [], None, "x", {"a": float("nan")}, {"a": "\ud800"}]
    for metadata in spoiled:
        with pytest.raises(Refusal) as refused:
            check_metadata(metadata)
        assert refused.value.code is Code.INVALID_INPUT


def test_the_document_has_what_the_clients_require(world: World) -> None:
    upload = keep(world, metadata={"a": 1})
    document = document_of(upload, "https://images.example.com")
    assert set(document) == {
        "id",
        "name",
        "content_type",
        "size",
        "etag",
        "checksums",
        "metadata",
        "created_at",
        "expires_at",
        "urls",
    }
    assert (document["created_at"], document["expires_at"]) == ("2026-11-01T12:00:00.000Z", "2026-11-08T12:00:00.000Z")
    assert document["urls"] == {"get": f"https://images.example.com/v1/files/{upload.id}"}
    assert {name: len(value) for name, value in document["checksums"].items()} == {"sha256": 64, "md5": 32}


def test_what_is_known_of_a_tenants_files_is_forgotten_but_where_one_can_still_come(world: World) -> None:
    others = keep(world, tenant=BOB)
    keep(world)
    awaited = prepare(world)
    assert uploads_of(world).forget(ALICE) == awaited.created_at + FORM_S * 1000
    assert uploads_of(world).find(awaited.id, ALICE) == awaited
    assert uploads_of(world).page(ALICE, limit=10).uploads == []
    world.clock.go_on(FORM_S)
    assert uploads_of(world).forget(ALICE) is None
    assert uploads_of(world).find(awaited.id, ALICE) is None
    assert uploads_of(world).page(BOB, limit=10).uploads == [others]
