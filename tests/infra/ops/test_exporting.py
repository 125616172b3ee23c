"""`tenants export`: everything is there, as it was stored; an interrupted one goes on; what is missing is told."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.job import Job, Millis, Status, StoredFile
from shared.manifest import manifest_of
from shared.services import now
from shared.uploads import Uploads
from tests.infra.ops.conftest import Afterimage
from tests.support.submits import Died
from tests.support.world import ALICE, BOB, World, aws_session, job

CONTENT = b"an image" * 40_000


def stored(world: World, *, content: bytes = CONTENT, **changes: Any) -> Job:
    """Give a finished job with two files and its manifest."""
    one = job(**changes)
    files = tuple(
        StoredFile(n, f"jobs/{one.tenant}/{one.id}/{n}.webp", "image/webp", len(CONTENT), sha256(CONTENT))
        for n in range(2)
    )
    done = {"status": Status.SUCCEEDED, "hold": None, "completed_at": now(), "archived_at": now(), "files": files}
    one = world.put(job(**{**changes, "id": one.id, **done}))
    for file in files:
        world.s3.put_object(Bucket=world.bucket, Key=file.key, Body=content)
    world.files.put_manifest(one, manifest_of(one))
    return one


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_all_of_a_tenants_is_exported_and_nothing_of_others(
    afterimage: Afterimage, world: World, tmp_path: Path
) -> None:
    one, other = stored(world, created_at=Millis(now())), stored(world, tenant=BOB)
    deleted = world.put(job(status=Status.FAILED, deleted_at=now()))
    for key in (f"inputs/{ALICE}/{one.id}/0.png", f"jobs/{ALICE}/{deleted.id}/0.webp", f"inputs/{ALICE}/refused/0.png"):
        world.files.put_input(key, "image/png", b"given")
    uploads = Uploads(world.dynamo, world.jobs_table, files=lambda: world.files, now=world.clock)
    upload = uploads.keep(b"sent", name="fox.png", metadata={}, tenant=ALICE)
    exported = afterimage.json("tenants", "export", ALICE, "--out", str(tmp_path))
    assert (exported["jobs"], exported["files"], exported["missing"]) == (1, 5, [])
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    prefix = f"jobs/{ALICE}/{one.id}"
    assert found == {
        *("tenant.json", "jobs.jsonl", f"{prefix}/0.webp", f"{prefix}/1.webp", f"{prefix}/manifest.json"),
        *(f"inputs/{ALICE}/{one.id}/0.png", upload.key),
    }
    (line,) = (tmp_path / "jobs.jsonl").read_text().splitlines()
    assert json.loads(line)["input"] == dict(one.input)
    assert json.loads((tmp_path / "tenant.json").read_text())["tenant"] == ALICE
    assert (tmp_path / prefix / "0.webp").read_bytes() == CONTENT
    assert other.id not in "".join(found)


@contextmanager
def dying_at_read(n: int) -> Iterator[None]:
    """Let the process end when it begins to read object number `n`, from 1."""
    reads = []

    def die(**_: Any) -> None:
        reads.append(1)
        if len(reads) == n:
            raise Died

    # Of the session, since the command makes a client of its own.
    events = aws_session().events
    events.register_first("before-call.s3.GetObject", die)
    try:
        yield
    finally:
        events.unregister("before-call.s3.GetObject", die)


def test_wherever_it_was_interrupted_it_goes_on(afterimage: Afterimage, world: World, tmp_path: Path) -> None:
    one = stored(world)
    for n in range(1, 4):
        out = tmp_path / str(n)
        with dying_at_read(n), pytest.raises(Died):
            afterimage("tenants", "export", ALICE, "--out", str(out))
        done = afterimage.json("tenants", "export", ALICE, "--out", str(out))
        assert (done["kept"], done["files"]) == (n - 1, 4 - n)
        assert [(out / file.key).read_bytes() for file in one.files] == [CONTENT] * 2
        assert not list(out.rglob("*.part"))


def test_a_part_of_a_file_is_not_taken_for_it(afterimage: Afterimage, world: World, tmp_path: Path) -> None:
    path = tmp_path / stored(world).files[0].key
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    afterimage("tenants", "export", ALICE, "--out", str(tmp_path))
    assert path.read_bytes() == CONTENT


def test_a_file_that_is_not_what_was_stored_is_refused(afterimage: Afterimage, world: World, tmp_path: Path) -> None:
    one = stored(world, content=b"x" + CONTENT[1:])
    run = afterimage("tenants", "export", ALICE, "--out", str(tmp_path), status=1)
    assert "is not what was stored" in run.err
    assert not (tmp_path / one.files[0].key).exists()


@pytest.mark.parametrize(("days", "status"), [("0", 1), ("30", 1), ("7", 0)])
def test_files_that_are_gone_are_told_unless_their_time_was_over(
    afterimage: Afterimage, world: World, tmp_path: Path, days: str, status: int
) -> None:
    world.parameters["FileRetentionDays"] = days
    one = stored(world)
    world.put(replace(one, completed_at=Millis(now() - 8 * 86_400_000)))
    for file in one.files:
        world.s3.delete_object(Bucket=world.bucket, Key=file.key)
    run = afterimage("tenants", "export", ALICE, "--out", str(tmp_path), "--json", status=status)
    keys = [file.key for file in one.files]
    assert (run.json["missing"], run.json["expired"]) == ((keys, 0) if status else ([], 2))
    assert (keys[0] in run.err) == bool(status)


@pytest.mark.parametrize("name", ["acme.tar", "acme.tar.gz", "acme.tgz"])
def test_an_archive_holds_what_a_folder_would(afterimage: Afterimage, world: World, tmp_path: Path, name: str) -> None:
    one, out = stored(world), tmp_path / name
    with dying_at_read(2), pytest.raises(Died):
        afterimage("tenants", "export", ALICE, "--out", str(out))
    assert not out.exists()
    assert afterimage.json("tenants", "export", ALICE, "--out", str(out))["kept"] == 1
    with tarfile.open(out) as archive:
        file = archive.extractfile(f"acme/{one.files[0].key}")
        assert file is not None
        assert file.read() == CONTENT
        assert {"acme/jobs.jsonl", "acme/tenant.json"} < set(archive.getnames())
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert "is there already" in afterimage("tenants", "export", ALICE, "--out", str(out), status=1).err
