"""Links to files: whoever was given one has the file, and nobody can make, stretch or bend one."""

import base64
import hashlib
import hmac
import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.file_store import prefix_of
from shared.identifiers import new_job_id
from shared.job import Job, Millis, Status, StoredFile
from shared.links import DAY_S, FileLinks
from shared.manifest import manifest_of
from shared.services import now
from shared.signatures import sign_callback, sign_link
from tests.support.problems import check_problem
from tests.support.world import ALICE, BOB, ORIGIN, SECRETS, World, adopted, image

pytestmark = pytest.mark.sockets

KEY = SECRETS["link-key"]
LINKS = FileLinks(key=KEY, link_days=7, retention_days=0)
CONTENT = image()
numbers = itertools.count(1)


def stored(world: World, **changes: Any) -> Job:
    """Give a job that has ended, with a file and its manifest."""
    one_id = new_job_id(now())
    prefix = f"jobs/{ALICE}/{one_id}"
    file = StoredFile(0, f"{prefix}/0.webp", "image/webp", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), 48, 32)
    ended = {"status": Status.SUCCEEDED, "hold": None, "completed_at": now(), "archived_at": now(), "files": (file,)}
    one = world.put(adopted(f"p{next(numbers)}", **{"id": one_id, **ended, **changes}))
    world.s3.put_object(Bucket=world.bucket, Key=file.key, Body=CONTENT, ContentType="image/webp")
    world.files.put_manifest(one, manifest_of(one))
    return one


def link(one: Job, *, at: int | None = None, links: FileLinks = LINKS) -> str:
    """Give the path and query of the link as it was made at a time (milliseconds)."""
    parts = urlsplit(links.url(ORIGIN, one, one.files[0], Millis(now() if at is None else at)))
    return f"{parts.path}?{parts.query}"


def expires(url: str) -> int:
    return int(re.findall(r"e=(\d+)", url)[0])


def signed(one: Job, name: str = "0.webp", *, until: int, key: str = KEY) -> str:
    return f"/files/{one.id}/{name}?e={until}&s={sign_link(key, one.id, name, until)}"


def whole(one: Job) -> str:
    """Give the link with a signature that is not shortened."""
    until = now() // 1000 + DAY_S
    text = f"link:{one.id}/0.webp?{until}".encode()
    digest = base64.urlsafe_b64encode(hmac.digest(KEY.encode(), text, hashlib.sha256)).decode()
    return f"/files/{one.id}/0.webp?e={until}&s={digest}"


def changed(pattern: str, to: str) -> Callable[[Job], str]:
    """Give the true link with one thing changed."""
    return lambda one: re.sub(pattern, lambda _: to, link(one), count=1)


FORGED: Mapping[str, Callable[[Job], str]] = {
    "no signature and no time": lambda one: link(one).partition("?")[0],
    "no signature": changed(r"&s=.*", ""),
    "no time": changed(r"e=\d+&", ""),
    "an empty signature": changed(r"&s=.*", "&s="),
    "an empty time": changed(r"e=\d+", "e="),
    "the names of other parameters": lambda one: link(one).replace("e=", "expires=").replace("s=", "signature="),
    "a later time": lambda one: link(one).replace(f"e={expires(link(one))}", f"e={expires(link(one)) + DAY_S}"),
    "a time later by a second": lambda one: link(one).replace(f"e={expires(link(one))}", f"e={expires(link(one)) + 1}"),
    "a time of a thousand years": changed(r"e=\d+", "e=99999999999"),
    "a time of 5,000 digits": changed(r"e=\d+", "e=" + "9" * 5_000),
    "a time with a sign": changed(r"e=", "e=%2B"),
    "a negative time": changed(r"e=", "e=-"),
    "a time with a fraction": lambda one: link(one).replace("&s=", ".0&s="),
    "a time with an exponent": changed(r"e=\d+", "e=1e12"),
    "a time in other digits": changed(r"e=\d", "e=%D9%A1"),
    "a time in words": changed(r"e=\d+", "e=never"),
    "two times": lambda one: link(one) + f"&e={expires(link(one))}",
    "two signatures": lambda one: link(one) + "&" + link(one).rpartition("&")[2],
    "a signature with one character less": lambda one: link(one)[:-1],
    "a signature with one character more": lambda one: link(one) + "A",
    "a signature with its padding": lambda one: link(one) + "%3D%3D",
    "a signature in other letters": lambda one: link(one)[:-22] + link(one)[-22:].swapcase(),
    "a signature that is not ASCII": changed(r"&s=.", "&s=%C3%A9"),
    "a signature that is not shortened": whole,
    "a signature by another key": lambda one: link(one, links=FileLinks(key="other", link_days=7, retention_days=0)),
    "a signature of a callback's": lambda one: (
        f"/files/{one.id}/0.webp?e={expires(link(one))}&s={sign_callback(KEY, one.id, 1)}"
    ),
    "another job's link": lambda one: link(one).replace(one.id, new_job_id(now())),
    "another file's link": changed(r"0\.webp", "1.webp"),
    "a link to the manifest": changed(r"0\.webp", "manifest.json"),
    "a path within the name": changed(r"0\.webp", "..%2F..%2Finputs%2F0.webp"),
    "a link that ended a second ago": lambda one: signed(one, until=now() // 1000 - 1),
    "a link of eight days ago": lambda one: link(one, at=now() - 9 * DAY_S * 1000),
    "a link that ended in 1970": lambda one: signed(one, until=0),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_link_that_is_forged_changed_or_over_is_refused(world: World, name: str) -> None:
    one = stored(world)
    url = FORGED[name](one)
    for key in (None, world.keys[ALICE], world.keys[BOB]):
        refusal = world.request("GET", url, key=key)
        check_problem(refusal, 403, "forbidden", instance=urlsplit(url).path)
        assert "location" not in refusal.headers
        assert CONTENT not in refusal.body


def test_what_is_wrong_in_the_rows_is_all_that_is_wrong(world: World) -> None:
    one = stored(world)
    assert world.request("GET", link(one)).body == CONTENT
    assert world.request("GET", signed(one, until=now() // 1000 + 60)).body == CONTENT
    assert world.request("GET", link(one, at=now() - 6 * DAY_S * 1000)).body == CONTENT


SIGNED_FOR_NOTHING = ("1.webp", "0.png", "0", "manifest.json", "%30.webp", "0.webp%00", "..")


@pytest.mark.parametrize("name", SIGNED_FOR_NOTHING)
def test_even_a_true_signature_opens_only_what_the_job_lists(world: World, name: str) -> None:
    """Whoever learnt the key could sign any name, and would still not leave the job's own files."""
    one = stored(world)
    url = signed(one, name, until=now() // 1000 + 60)
    check_problem(world.request("GET", url), 404, "not_found", instance=urlsplit(url).path)


def test_after_its_job_is_deleted_a_link_opens_nothing(world: World) -> None:
    one = stored(world)
    assert world.request("DELETE", f"/v1/predictions/{one.id}", key=world.keys[ALICE]).status == 204
    for _ in range(2):
        url = link(one)
        refused = world.request("GET", url)
        check_problem(refused, 410, "files_expired", instance=urlsplit(url).path)
        assert "can still be read" not in refused.json["detail"]
        assert world.archive() == []
    page = world.s3.list_objects_v2(Bucket=world.bucket, Prefix=prefix_of(one))
    assert page["KeyCount"] == 0


def test_a_link_shows_nothing_of_its_key_and_nothing_is_logged_of_it(world: World, logged: list[str]) -> None:
    one = stored(world)
    url = link(one)
    assert world.request("GET", url).status == 200
    assert world.request("GET", url + "x").status == 403
    assert KEY not in url
    assert url.rpartition("s=")[2] not in "".join(logged)


def test_comparing_takes_the_same_time_wherever_the_difference_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the only comparison in Python that is made for that; a shortcut beside it would not pass here."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr("shared.signatures.hmac.compare_digest", compare)
    url = link(stored(world))
    assert world.request("GET", url).status == 403, "whatever the signature is"
    assert [given for _, given in compared] == [url.rpartition("s=")[2].encode()]
