"""Files among the inputs: small ones stay where they are, large ones and our own are signed when the job starts."""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from shared.file_inputs import LARGEST_DATA, MOST_FILES, SIGNED_S, SMALL_DATA
from shared.job import Job, Millis, Status, StoredFile
from shared.services import now
from tests.support.problems import check_problem
from tests.support.replicate import answer
from tests.support.submits import DEV, After, Caller, Died, configured, die, fail, listening, some_id
from tests.support.world import ORIGIN, Answered, data_uri, image

pytestmark = pytest.mark.sockets

PNG = image("PNG", (64, 64))
LARGE = PNG + b"x" * 10_000
ANYTHING = "/v1/models/acme/anything/predictions"


def with_image(caller: Caller, uri: str, **headers: str) -> Answered:
    return caller.post(DEV, {"input": {"prompt": "a fox", "image": uri, "seed": 1}}, **headers)


def stored(caller: Caller) -> list[str]:
    """Give the keys of the tenant's inputs."""
    return [key for key in caller.world.stored() if key.startswith(f"inputs/{caller.tenant}/")]


def read(url: str) -> bytes:
    """Download what a signed URL leads to, as Replicate would, without credentials."""
    assert int(parse_qs(urlsplit(url).query)["X-Amz-Expires"][0]) == SIGNED_S
    answered = requests.get(url, timeout=5)
    assert answered.status_code == 200
    return answered.content


def item_of(caller: Caller, job: Job) -> str:
    key = {"pk": {"S": f"job#{job.id}"}}
    return json.dumps(caller.world.dynamodb.get_item(TableName=caller.world.jobs_table, Key=key)["Item"])


def finished(caller: Caller) -> tuple[Job, list[str]]:
    """Give a job of the tenant's with four files, and the links to them."""
    done = caller.finish(caller.job(caller.generate({"prompt": "an owl"})))
    caller.replicate.forget()
    return done, caller.get(f"/predictions/{done.id}").json["images"]


# Data URIs


def test_a_small_file_is_sent_as_it_came(caller: Caller) -> None:
    uri = data_uri(PNG, "image/png")
    created = with_image(caller, uri)
    assert (created.status, created.json["input"]["image"]) == (201, uri)
    assert caller.sent == [{"prompt": "a fox", "image": uri, "seed": 1}]
    assert stored(caller) == []


@pytest.mark.parametrize("extra", [0, 1])
def test_the_length_of_the_uri_decides(caller: Caller, extra: int) -> None:
    uri = "data:text/plain," + "x" * (SMALL_DATA - 16 + extra)
    assert len(uri) == SMALL_DATA + extra
    assert with_image(caller, uri).status == 201
    assert len(stored(caller)) == extra


def test_a_large_file_is_kept_in_the_bucket_and_sent_as_a_link_that_works(caller: Caller) -> None:
    created = with_image(caller, data_uri(LARGE, "image/png"))
    assert created.status == 201
    job = caller.job(created)
    key = f"inputs/{caller.tenant}/{job.id}/0.png"
    assert stored(caller) == [key]
    assert caller.world.object(key) == LARGE
    (sent,) = caller.sent
    assert urlsplit(sent["image"]).path.endswith(key)
    assert read(sent["image"]) == LARGE
    digest = hashlib.sha256(LARGE).hexdigest()
    assert created.json["input"]["image"] == f"data:image/png;bytes={len(LARGE)};sha256={digest}"
    assert (job.stored_inputs, job.altered) == ({"image": key}, ("image",))
    assert len(item_of(caller, job)) < 3_000, "the bytes are not in the item"


@pytest.mark.parametrize(
    ("uri", "content"),
    [
        ("data:text/plain," + "a%20b" * 3_000, b"a b" * 3_000),
        ("data:text/plain;charset=utf-8,%C3%A9" + "x" * 9_000, "\u00e9".encode() + b"x" * 9_000),
        ("data:application/zip;base64," + base64.b64encode(b"PK\x03\x04" * 3_000).decode(), b"PK\x03\x04" * 3_000),
        ("data:image/png;BASE64," + base64.b64encode(LARGE).decode(), LARGE),
        ("data:image/png;base64," + base64.b64encode(LARGE).decode().rstrip("="), LARGE),
    ],
    ids=["percent", "charset", "zip", "capitals", "no padding"],
)
def test_a_data_uri_is_read_in_all_its_forms(caller: Caller, uri: str, content: bytes) -> None:
    assert with_image(caller, uri).status == 201
    assert read(caller.sent[0]["image"]) == content


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png;base64,!!!!",
        "data:image/png;base64,A",
        "data:image/png;base64,AAAA=AAA",
        "data:image/png;base64,\u00e9\u00e9\u00e9\u00e9",
        "data:image/png;base64," + "A" * 9_001,
        "data:image/png;base64",
        "data:image/png;base64;" + "A" * 9_000,
        "data:",
        "data:,x",
    ],
)
def test_a_data_uri_that_cannot_be_read_is_refused(caller: Caller, uri: str) -> None:
    refusal = with_image(caller, uri)
    problem = check_problem(refusal, 422, "invalid_input", instance=DEV, fields={"input.image"})
    assert "AAAA" not in problem["detail"]
    assert (stored(caller), caller.jobs(), caller.replicate.calls) == ([], [], [])


@pytest.mark.parametrize("extra", [0, 1])
def test_a_file_that_is_too_large_is_refused(caller: Caller, extra: int) -> None:
    answered = with_image(caller, "data:text/plain," + "x" * (LARGEST_DATA + extra))
    if extra:
        check_problem(answered, 422, "invalid_input", instance=DEV, fields={"input.image"})
    else:
        assert answered.status == 201
        assert len(caller.world.object(stored(caller)[0])) == LARGEST_DATA


def test_a_queued_job_is_signed_for_when_it_starts(caller: Caller) -> None:
    answered = caller.generate({"prompts": ["a fox"], "input": {"image": data_uri(LARGE)}})
    assert answered.status == 202
    assert caller.world.dispatch() == []
    assert read(caller.sent[0]["image"]) == LARGE


def test_each_attempt_is_signed_anew(caller: Caller) -> None:
    caller.replicate.will(answer(429, {"detail": "slow down"}, {"retry-after": "0"}))
    caller.job(with_image(caller, data_uri(LARGE)))
    caller.world.dispatch()
    first, second = caller.sent
    assert urlsplit(first["image"]).path == urlsplit(second["image"]).path
    assert read(second["image"]) == LARGE


def test_a_refused_request_leaves_nothing_but_its_file(caller: Caller) -> None:
    tight = Caller(caller.world, caller.replicate, max_in_flight=0)
    before = tight.state
    refusal = with_image(tight, data_uri(LARGE))
    check_problem(refusal, 429, "too_many_in_flight", instance=DEV, retryable=True)
    assert tight.state == before
    assert len(stored(tight)) == 1
    wrong = tight.post(DEV, {"input": {"prompt": "", "image": data_uri(LARGE)}})
    assert (wrong.status, len(stored(tight))) == (422, 1)


@pytest.mark.parametrize("when", ["before-call", "after-call"])
def test_a_process_that_dies_while_it_stores_a_file_leaves_no_job(caller: Caller, when: str) -> None:
    before = caller.state
    with listening(caller.world, f"{when}.s3.PutObject", After(1, die)), pytest.raises(Died):
        with_image(caller, data_uri(LARGE), idempotency_key="k")
    assert (caller.state, caller.replicate.calls) == (before, [])
    assert len(stored(caller)) == (when == "after-call")
    assert with_image(caller, data_uri(LARGE), idempotency_key="k").status == 201
    assert read(caller.sent[0]["image"]) == LARGE


def test_without_the_bucket_nothing_is_accepted(caller: Caller) -> None:
    before = caller.state
    with listening(caller.world, "before-call.s3.PutObject", After(1, fail)):
        refusal = with_image(caller, data_uri(LARGE))
    check_problem(refusal, 503, "upstream_unavailable", instance=DEV, retryable=True)
    assert caller.state == before


def test_a_data_uri_in_a_prompt_is_words(caller: Caller) -> None:
    prompt = "data:image/png;base64,!!!! " + "x" * 9_000
    created = caller.post(DEV, {"input": {"prompt": prompt}})
    assert (created.status, created.json["input"]["prompt"]) == (201, prompt)
    assert stored(caller) == []


# URLs


def test_a_url_is_sent_as_it_is(caller: Caller) -> None:
    url = "https://example.com/fox.png?a=b#c"
    assert with_image(caller, url).status == 201
    assert caller.sent[0]["image"] == url


@pytest.mark.parametrize("path", [DEV, "/generate"])
def test_a_url_without_tls_is_refused(caller: Caller, path: str) -> None:
    given = {"prompt": "a fox", "image": "http://example.com/fox.png"}
    body = {"input": given} if path == DEV else {"prompt": "a fox", "input": given}
    check_problem(caller.post(path, body), 422, "invalid_input", instance=path, fields={"input.image"})


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/a", "s3://b/k", "/files/x/0.webp", "fox.png"])
def test_what_is_no_url_is_refused(caller: Caller, url: str) -> None:
    check_problem(with_image(caller, url), 422, "invalid_input", instance=DEV, fields={"input.image"})


# Our own files


def test_ones_own_file_is_signed_for_replicate(caller: Caller) -> None:
    done, links = finished(caller)
    created = with_image(caller, links[2])
    assert created.status == 201
    assert created.json["input"]["image"] == links[2].partition("?")[0]
    assert urlsplit(caller.sent[0]["image"]).path.endswith(done.files[2].key)
    assert read(caller.sent[0]["image"]) == caller.world.object(done.files[2].key)
    assert stored(caller) == [], "it is not copied"


def test_ones_own_file_needs_no_signature_and_no_certain_origin(caller: Caller) -> None:
    _, links = finished(caller)
    bare = links[0].partition("?")[0]
    with configured(caller.world, PublicUrl=f"{ORIGIN},http://127.0.0.1:8080"):
        for link in (bare, f"{bare}?e=1&s=x", bare.replace(ORIGIN, "http://127.0.0.1:8080")):
            assert with_image(caller, link).status == 201
    assert len(caller.sent) == 3
    assert len({urlsplit(sent["image"]).path for sent in caller.sent}) == 1


def test_another_tenants_file_needs_a_valid_link(caller: Caller, other: Caller) -> None:
    done, links = finished(other)
    assert with_image(caller, links[0]).status == 201
    assert read(caller.sent[0]["image"]) == caller.world.object(done.files[0].key)


@pytest.mark.parametrize("forge", ["no signature", "another file", "expired", "garbage", "unicode", "twice"])
def test_another_tenants_file_is_not_had_by_a_forged_link(caller: Caller, other: Caller, forge: str) -> None:
    _, links = finished(other)
    link, query = links[0].split("?")
    wrong = {
        "no signature": link,
        "another file": f"{link.replace('/0.', '/1.')}?{query}",
        "expired": f"{link}?e={now() // 1000 - 1}&s={parse_qs(query)['s'][0]}",
        "garbage": f"{link}?e=%00&s=%ff",
        "unicode": f"{link}?e=\u0661&s=\u00e9",
        "twice": f"{link}?e=1&s=x&{query}",
    }[forge]
    refusal = with_image(caller, wrong)
    check_problem(refusal, 422, "invalid_input", instance=DEV, fields={"input.image"})
    assert caller.replicate.calls == []


@pytest.mark.parametrize(
    "path",
    [
        "/files/",
        "/files/x",
        "/files/x/0.webp",
        "/files/../../jobs/a/b",
        "/files/" + "a" * 5_000 + "/0.webp",
        "/files/" + "0" * 26 + "/0.webp",
        "/files/{id}/9.webp",
        "/files/{id}/0.webp/x",
        "/files/{id}/manifest.json",
        "/files/{id}/%30.webp",
        "/files/{id}/",
        "/files/\u00e9/0.webp",
        "/v1/files/" + "a" * 5_000,
        "/v1/files/" + "0" * 26,
    ],
)
def test_a_link_of_ours_that_leads_nowhere_is_refused(caller: Caller, path: str) -> None:
    done, _ = finished(caller)
    refusal = with_image(caller, ORIGIN + path.replace("{id}", done.id))
    problem = check_problem(refusal, 422, "invalid_input", instance=DEV, fields={"input.image"})
    assert len(problem["detail"]) < 200
    assert caller.replicate.calls == []


@pytest.mark.parametrize("gone", ["deleted", "expired"])
def test_a_file_that_is_gone_is_refused(caller: Caller, gone: str) -> None:
    done, links = finished(caller)
    days = "0"
    if gone == "deleted":
        caller.world.put(replace(done, deleted_at=now()))
    else:
        days = "1"
        caller.world.put(replace(done, completed_at=Millis(now() - 86_400_000)))
    with configured(caller.world, FileRetentionDays=days):
        refusal = with_image(caller, links[0])
    check_problem(refusal, 422, "invalid_input", instance=DEV, fields={"input.image"})


def test_a_prompt_that_names_a_link_stays_words(caller: Caller) -> None:
    _, links = finished(caller)
    prompt = f"{links[0]} but at night"
    assert caller.post(DEV, {"input": {"prompt": prompt}}).json["input"]["prompt"] == prompt


def test_weights_that_were_trained_here_can_be_loaded_by_their_link(caller: Caller) -> None:
    done, _ = finished(caller)
    tar = StoredFile(7, f"jobs/{caller.tenant}/{done.id}/7.tar", "application/x-tar", 3, "a" * 64)
    caller.world.s3.put_object(Bucket=caller.world.bucket, Key=tar.key, Body=b"tar")
    caller.world.put(replace(done, files=(*done.files, tar), status=Status.SUCCEEDED))
    body = {
        "prompt": "a fox",
        "model": "black-forest-labs/flux-dev-lora",
        "input": {"lora_weights": f"{ORIGIN}/files/{done.id}/7.tar"},
    }
    assert caller.generate(body).status == 202
    assert read(caller.sent[0]["lora_weights"]) == b"tar"


# Models that nobody has described


@pytest.fixture
def liberal(caller: Caller) -> Iterator[Caller]:
    """A tenant of a deployment that calls any model of acme's."""
    caller.replicate.catalog["models/acme/anything"] = {"is_official": True}
    with configured(caller.world, AllowedModels="acme/*,black-forest-labs/*", FallbackPriceUsd="0.01"):
        yield caller


def ask(caller: Caller, given: Any) -> Answered:
    return caller.post(ANYTHING, {"input": given})


def test_files_are_found_wherever_they_are(liberal: Caller) -> None:
    done, links = finished(liberal)
    large, small = data_uri(LARGE, "image/png"), data_uri(PNG, "image/png")
    given = {"a": [{"b": large}, small, links[1]], "c": large, "d": {"e/f~": links[0]}, "n": 5, "x": None}
    created = ask(liberal, given)
    assert created.status == 201
    (sent,) = liberal.sent
    assert read(sent["a"][0]["b"]) == read(sent["c"]) == LARGE
    assert sent["a"][1] == small
    assert read(sent["a"][2]) == liberal.world.object(done.files[1].key)
    assert read(sent["d"]["e/f~"]) == liberal.world.object(done.files[0].key)
    assert (sent["n"], set(sent)) == (5, {"a", "c", "d", "n"})
    assert liberal.job(created).altered == ("a", "c", "d")
    assert len(stored(liberal)) == 2


def test_names_with_slashes_are_not_mistaken_for_paths(liberal: Caller) -> None:
    large = data_uri(LARGE, "image/png")
    given = {"a/b": "words", "a": {"b": large}, "a~1b": "more", "~": {"/": large}}
    created = ask(liberal, given)
    assert created.status == 201
    (sent,) = liberal.sent
    assert (sent["a/b"], sent["a~1b"]) == ("words", "more")
    assert read(sent["a"]["b"]) == read(sent["~"]["/"]) == LARGE
    assert liberal.job(created).altered == ("a", "~")


@pytest.mark.parametrize(
    "text",
    ["data: that is all", "data:", "http://example.com/x", "https://example.com/x", "data:image/png", "dataset:a,b"],
)
def test_what_looks_like_a_file_and_is_none_is_left_alone(liberal: Caller, text: str) -> None:
    assert ask(liberal, {"text": text}).status == 201
    assert liberal.sent == [{"text": text}]


def test_a_broken_file_is_named_by_its_place(liberal: Caller) -> None:
    refusal = ask(liberal, {"a": [{"b": "data:image/png;base64,!"}]})
    check_problem(refusal, 422, "invalid_input", instance=ANYTHING, fields={"input.a.0.b"})


@pytest.mark.parametrize("depth", [150, 1_000, 5_000])
def test_an_input_that_is_too_deep_is_no_bug(liberal: Caller, depth: int) -> None:
    body = b'{"input": {"a": ' + b"[" * depth + b'"x"' + b"]" * depth + b"}}"
    answered = liberal.post(ANYTHING, body, content_type="application/json")
    if depth == 150:
        assert answered.status == 201
    else:
        assert answered.json["code"] in {"invalid_input", "malformed_json"}
        assert len(answered.body) < 2_000


@pytest.mark.parametrize("broken", ["data:image/png;base64,!", "x"])
def test_a_name_that_is_too_long_is_refused_in_a_short_answer(liberal: Caller, broken: str) -> None:
    for given in ({"n" * 3_000_000: broken}, {"a": {"n" * 3_000_000: [broken] * 9}}, {"n" * 401: {"": [broken]}}):
        refusal = ask(liberal, given)
        assert (refusal.status, refusal.json["code"]) == (422, "invalid_input")
        assert len(refusal.body) < 2_000


@pytest.mark.parametrize("extra", [0, 1])
def test_more_files_than_can_be_kept_are_refused(liberal: Caller, extra: int) -> None:
    _, links = finished(liberal)
    answered = ask(liberal, {"images": [links[0].partition("?")[0]] * (MOST_FILES + extra)})
    if extra:
        check_problem(answered, 422, "invalid_input", instance=ANYTHING, fields={f"input.images.{MOST_FILES}"})
    else:
        assert answered.status == 201


def test_a_link_of_nobodys_is_refused_without_a_look(liberal: Caller) -> None:
    refusal = ask(liberal, {"image": f"{ORIGIN}/files/{some_id()}/0.webp"})
    check_problem(refusal, 422, "invalid_input", instance=ANYTHING, fields={"input.image"})
