"""`files`: who holds a link of ours gets the file, and nobody else anything."""

import hashlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.identifiers import new_job_id
from shared.job import Job, Millis, Status, StoredFile
from shared.links import DAY_S, FileLinks
from shared.services import now
from shared.signatures import sign_callback, sign_link
from tests.support.problems import check_problem
from tests.support.world import ALICE, SECRETS, Answered, World, adopted, image

LINKS = FileLinks(key=SECRETS["link-key"], link_days=7, retention_days=0)
CONTENT = image()


def stored(world: World, content: bytes = CONTENT, name: str = "0.webp", **changes: Any) -> Job:
    """Give a finished job with one file in the bucket."""
    one_id = new_job_id(now())
    key = f"jobs/alice/{one_id}/{name}"
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=content, ContentType="image/webp")
    file = StoredFile(0, key, "image/webp", len(content), hashlib.sha256(content).hexdigest(), 48, 32)
    ended = {"status": Status.SUCCEEDED, "hold": None, "completed_at": now(), "files": (file,)}
    return world.put(adopted(**{"id": one_id, **ended, **changes}))


def link(one: Job, at: int | None = None) -> str:
    """Give the path and query of the link as it was made at a time."""
    parts = urlsplit(LINKS.url("", one, one.files[0], Millis(now() if at is None else at)))
    return f"{parts.path}?{parts.query}"


def get(world: World, url: str, **headers: str) -> Answered:
    return world.request("GET", url, headers=headers)


def check_refused(world: World, url: str, status: int, code: str) -> None:
    for headers in ({}, {"authorization": f"Bearer {world.keys[ALICE]}"}):
        refusal = get(world, url, **headers)
        check_problem(refusal, status, code, instance=urlsplit(url).path)
        assert "location" not in refusal.headers


# Clients that send a token along to S3 would be refused there, and some follow no redirect.
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer anything"}, {"authorization": ""}])
def test_a_link_gives_the_bytes_without_a_key(world: World, headers: dict[str, str]) -> None:
    answered = get(world, link(stored(world)), **headers)
    assert (answered.status, answered.body) == (200, CONTENT)
    assert answered.headers["content-type"] == "image/webp"


def test_what_a_model_made_runs_nothing_on_our_origin(world: World) -> None:
    headers = get(world, link(stored(world))).headers
    policy = headers["content-security-policy"].split("; ")
    assert {"sandbox", "default-src 'none'"} <= set(policy)
    assert headers["x-content-type-options"] == "nosniff"


def test_a_large_files_link_leads_to_a_fresh_presigned_url(world: World) -> None:
    fitting = (CONTENT + bytes(4 * 1024 * 1024))[: 4 * 1024 * 1024]
    assert get(world, link(stored(world, fitting))).status == 200
    one = stored(world, fitting + b"x")
    for headers in ({}, {"authorization": "Bearer x"}):
        answered = get(world, link(one), **headers)
        assert (answered.status, answered.body) == (302, b"")
        location = urlsplit(answered.headers["location"])
        assert location.path.endswith(one.files[0].key)
        assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in location.query
        assert "X-Amz-Signature=" in location.query


def test_a_link_works_for_days_and_then_no_more(world: World) -> None:
    one = stored(world)
    day_ms = DAY_S * 1000
    assert get(world, link(one, now() - 6 * day_ms)).status == 200
    check_refused(world, link(one, now() - 8 * day_ms), 403, "forbidden")


def test_a_link_stays_the_same_until_the_day_ends() -> None:
    one = adopted(files=(StoredFile(0, "jobs/alice/x/0.webp", "image/webp", 1, "a"),))
    midnight = 20_000 * DAY_S * 1000
    assert link(one, midnight) == link(one, midnight + DAY_S * 1000 - 1) != link(one, midnight + DAY_S * 1000)


SPOILED: list[Callable[[str], str]] = [
    lambda url: url.partition("?")[0],
    lambda url: url.partition("&s=")[0],
    lambda url: url.replace("e=", "x="),
    lambda url: url.replace("e=1", "e=2"),
    lambda url: url.replace("e=", "e=-"),
    lambda url: url.replace("e=", "e=%2B"),
    lambda url: url.replace("e=", "e=\u0661"),
    lambda url: url.replace("e=", "e=" + "9" * 5_000),
    lambda url: url[:-1],
    lambda url: url + "x",
    lambda url: url + "%C3%A9",
    lambda url: url + "&s=x",
    lambda url: url.replace("0.webp", "1.webp"),
    lambda url: url.replace("0.webp", "manifest.json"),
    lambda url: url.replace("0.webp", "0.webp%2F"),
    lambda url: url.replace("0.webp", "..%2F0.webp"),
]


def test_a_link_that_is_not_ours_to_the_letter_is_forbidden(world: World) -> None:
    genuine = link(stored(world))
    for spoil in SPOILED:
        check_refused(world, spoil(genuine), 403, "forbidden")


def test_a_link_of_one_job_opens_no_other(world: World) -> None:
    one, other = stored(world), stored(world)
    check_refused(world, link(one).replace(one.id, other.id), 403, "forbidden")


def test_a_callbacks_signature_opens_nothing(world: World) -> None:
    one = stored(world)
    expires = now() // 1000 + 1_000
    for signature in (sign_callback(SECRETS["callback-key"], one.id, 1), sign_link("other", one.id, "0.webp", expires)):
        check_refused(world, f"/files/{one.id}/0.webp?e={expires}&s={signature}", 403, "forbidden")


@pytest.mark.parametrize("name", ["1.webp", "manifest.json", "0.png", "0"])
def test_a_rightly_signed_link_to_no_file_is_not_found(world: World, name: str) -> None:
    one = stored(world)
    expires = now() // 1000 + 1_000
    signature = sign_link(SECRETS["link-key"], one.id, name, expires)
    check_refused(world, f"/files/{one.id}/{name}?e={expires}&s={signature}", 404, "not_found")


def test_a_rightly_signed_link_of_no_job_is_not_found(world: World) -> None:
    check_refused(
        world, link(adopted(files=(StoredFile(0, "jobs/alice/x/0.webp", "image/webp", 1, "a"),))), 404, "not_found"
    )


def test_after_the_files_life_a_link_says_that_they_expired(world: World) -> None:
    world.parameters["FileRetentionDays"] = "1"
    one = stored(world, completed_at=Millis(now() - DAY_S * 1000))
    check_refused(world, link(one), 410, "files_expired")
    assert get(world, link(stored(world))).status == 200


def test_a_deleted_jobs_files_are_gone(world: World) -> None:
    one = stored(world, archived_at=1, deleted_at=2)
    check_refused(world, link(one), 410, "files_expired")


@pytest.mark.parametrize("path", ["/files", "/files/", "/files/x", "/files/a/b/c"])
def test_what_is_no_link_is_not_found(world: World, path: str) -> None:
    check_problem(get(world, path), 404, "not_found", instance=path)
