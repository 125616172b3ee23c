"""`status`: one job, lists, and what no other route takes; only the caller's own."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import Code, Problem
from shared.identifiers import new_job_id
from shared.job import Job, Kind, Makes, Millis, Status, StoredFile
from shared.services import now
from tests.support.problems import check_problem
from tests.support.world import ALICE, BOB, ORIGIN, Answered, World, adopted, job

FILES = tuple(StoredFile(n, f"jobs/alice/x/{n}.webp", "image/webp", 12 + n, "a" * 64, 48, 32) for n in range(2))


def recent(**changes: Any) -> Job:
    return adopted(**{"created_at": now(), **changes})


def succeeded(**changes: Any) -> Job:
    ended = {"status": Status.SUCCEEDED, "files": FILES, "cost": 6_000, "hold": None, "completed_at": now()}
    return recent(**{**ended, **changes})


def get(world: World, path: str, *, tenant: str = ALICE, **headers: str) -> Answered:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return world.request("GET", path, key=world.keys[tenant], headers=sent)


BATCH = new_job_id(Millis(now() - 1_000))
BOTH = pytest.mark.parametrize("base", ["/v1/predictions", "/predictions"])


# Refusals


@BOTH
def test_another_tenants_job_looks_as_if_it_did_not_exist(world: World, base: str) -> None:
    one = world.put(recent())
    foreign = get(world, f"{base}/{one.id}", tenant=BOB)
    check_problem(foreign, 404, "not_found", instance=f"{base}/{one.id}")
    unknown = get(world, f"{base}/{new_job_id(now())}", tenant=BOB)
    assert set(foreign.json) == set(unknown.json)
    assert foreign.json["detail"].replace(one.id, "") == unknown.json["detail"].replace(
        unknown.json["instance"].rpartition("/")[2], ""
    )


@BOTH
@pytest.mark.parametrize("job_id", ["x", "0" * 26, "é", "..", "job#x", "a" * 5_000, "%00", "{}", "'"])
def test_an_id_that_is_none_is_not_found(world: World, base: str, job_id: str) -> None:
    answered = get(world, f"{base}/{job_id}")
    assert answered.status == 404
    assert len(answered.body) < 10_000


@BOTH
def test_a_deleted_job_is_not_found(world: World, base: str) -> None:
    one = world.put(succeeded(archived_at=1, deleted_at=2))
    check_problem(get(world, f"{base}/{one.id}"), 404, "not_found", instance=f"{base}/{one.id}")


@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/predictions/x", "/predictions", "/predictions/x"])
def test_without_a_key_nothing_is_told(world: World, path: str) -> None:
    one = world.put(recent())
    for url in (path, path.replace("/x", f"/{one.id}")):
        check_problem(world.request("GET", url), 401, "unauthorized", instance=url)
        wrong = {"authorization": "Bearer aft_alice_" + "x" * 32}
        check_problem(world.request("GET", url, headers=wrong), 401, "unauthorized", instance=url)


@pytest.mark.parametrize(
    ("path", "code", "hint"),
    [
        ("/v1/v1/predictions", "not_offered", "without /v1"),
        ("/trainings", "not_offered", "with /v1"),
        ("/v1/nonsense", "not_offered", "not offered"),
        ("/v1/predictions/a/b/c", "not_offered", "not offered"),
        ("/nonsense", "not_found", "nothing"),
        ("/v1", "not_found", "nothing"),
    ],
)
def test_what_no_route_takes_is_a_problem_with_a_hint(world: World, path: str, code: str, hint: str) -> None:
    problem = check_problem(get(world, path), 404, code, instance=path)
    assert hint in problem["detail"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "X"])
def test_any_other_method_is_a_problem_too(world: World, method: str) -> None:
    check_problem(world.request(method, "/v1/nonsense"), 404, "not_offered", instance="/v1/nonsense")


def test_health_needs_no_key(world: World) -> None:
    answered = world.request("GET", "/health")
    assert (answered.status, answered.json) == (200, {"status": "ok"})


def test_every_answer_has_its_request_id(world: World) -> None:
    ids = {world.request("GET", "/health").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize("parameter", ["JobsTable", "AccountsTable"])
def test_what_nobody_expected_is_a_problem_without_details(world: World, parameter: str) -> None:
    one = world.put(recent())
    world.physical[parameter] = "no-such-table"
    answered = get(world, f"/v1/predictions/{one.id}")
    problem = check_problem(answered, 500, "internal", instance=f"/v1/predictions/{one.id}", retryable=True)
    assert "no-such-table" not in answered.body.decode()
    assert "ResourceNotFound" not in problem["detail"]


# One job


@pytest.mark.parametrize(
    ("stage", "outside"),
    [
        (Status.QUEUED, "starting"),
        (Status.STARTING, "starting"),
        (Status.PROCESSING, "processing"),
        (Status.STORING, "processing"),
        (Status.SUCCEEDED, "succeeded"),
        (Status.FAILED, "failed"),
        (Status.CANCELED, "canceled"),
    ],
)
def test_a_job_is_told_in_replicates_words(world: World, stage: Status, outside: str) -> None:
    one = world.put(recent(status=stage, percent=43))
    document = get(world, f"/v1/predictions/{one.id}").json
    assert (document["status"], document["afterimage"]["stage"]) == (outside, stage)
    assert get(world, f"/predictions/{one.id}").json["status"] == outside
    assert document["afterimage"]["progress"] == (1.0 if stage is Status.SUCCEEDED else 0.43)


def test_a_finished_job_gives_links_of_ours(world: World) -> None:
    one = world.put(succeeded())
    document = get(world, f"/v1/predictions/{one.id}").json
    assert [url.partition("?")[0] for url in document["output"]] == [
        f"{ORIGIN}/files/{one.id}/{n}.webp" for n in (0, 1)
    ]
    assert document["afterimage"]["cost_usd"] == 0.006
    assert document["afterimage"]["files"][1] == {
        "url": document["output"][1],
        "content_type": "image/webp",
        "bytes": 13,
        "sha256": "a" * 64,
        "width": 48,
        "height": 32,
    }
    assert document["data_removed"] is False
    short = get(world, f"/predictions/{one.id}").json
    assert short == {
        "prediction_id": one.id,
        "status": "succeeded",
        "images": document["output"],
        "progress": 1.0,
        "problem": None,
    }


def test_a_single_output_is_no_list(world: World) -> None:
    one = world.put(succeeded(files=FILES[:1], files_shape="single"))
    assert get(world, f"/v1/predictions/{one.id}").json["output"].startswith(f"{ORIGIN}/files/")


def test_a_job_that_failed_says_why_in_both_interfaces(world: World) -> None:
    problem = Problem(Code.NSFW_CONTENT, "All generated images contained NSFW content.")
    one = world.put(succeeded(status=Status.FAILED, problem=problem, error="NSFW content", files=()))
    document = get(world, f"/v1/predictions/{one.id}").json
    assert (document["output"], document["error"]) == (None, "NSFW content")
    found = document["afterimage"]["problem"]
    assert (found["code"], found["detail"], found["retryable"]) == ("nsfw_content", problem.detail, False)
    short = get(world, f"/predictions/{one.id}").json
    assert (short["images"], short["problem"]["code"]) == (None, "nsfw_content")


def test_after_the_files_life_the_status_stays_and_the_output_is_gone(world: World) -> None:
    world.parameters["FileRetentionDays"] = "1"
    one = world.put(succeeded(completed_at=Millis(now() - 86_400_000)))
    document = get(world, f"/v1/predictions/{one.id}").json
    assert (document["status"], document["output"], document["data_removed"]) == ("succeeded", None, True)
    assert document["afterimage"]["files"] == []
    assert get(world, f"/predictions/{one.id}").json["images"] is None


@BOTH
def test_an_unfinished_job_says_where_and_when_to_ask_again(world: World, moment: Millis, base: str) -> None:
    one = world.put(recent(created_at=moment))
    young = get(world, f"{base}/{one.id}")
    assert (young.headers["retry-after"], young.headers["retry-after-ms"]) == ("1", "1000")
    assert young.headers["location"] == f"{ORIGIN}{base}/{one.id}"
    world.put(replace(one, created_at=Millis(moment - 1_200)))
    assert get(world, f"{base}/{one.id}").headers["retry-after-ms"] == "1500"
    world.put(replace(one, created_at=Millis(moment - 60_000)))
    old = get(world, f"{base}/{one.id}")
    assert (old.headers["retry-after"], old.headers["retry-after-ms"]) == ("5", "5000")
    world.put(succeeded(id=one.id))
    done = get(world, f"{base}/{one.id}")
    assert not {"location", "retry-after", "retry-after-ms"} & set(done.headers)


# Conditional reads


@BOTH
def test_a_tag_that_is_known_is_answered_with_nothing_new(world: World, base: str) -> None:
    one = world.put(recent())
    url = f"{base}/{one.id}"
    tag = get(world, url).headers["etag"]
    for given in (tag, f'"other", {tag}', f'{tag} , W/"x"'):
        same = get(world, url, If_None_Match=given)
        assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
        assert "retry-after" in same.headers
    assert get(world, url, If_None_Match='"other"').status == 200


@BOTH
@pytest.mark.parametrize("changes", [{"status": Status.STORING}, {"percent": 50}, {"status": Status.FAILED}])
def test_a_tag_changes_with_the_job(world: World, base: str, changes: dict[str, Any]) -> None:
    one = world.put(recent(status=Status.STARTING))
    tag = get(world, f"{base}/{one.id}").headers["etag"]
    world.put(replace(one, **changes))
    changed = get(world, f"{base}/{one.id}", If_None_Match=tag)
    assert changed.status == 200
    assert changed.headers["etag"] != tag


@BOTH
def test_a_tag_does_not_change_while_nothing_does(world: World, base: str) -> None:
    one = world.put(succeeded(created_at=now() - 10_000))
    first = get(world, f"{base}/{one.id}").headers["etag"]
    time.sleep(0.01)
    assert get(world, f"{base}/{one.id}").headers["etag"] == first


def test_a_tag_differs_between_origins_since_links_do(world: World) -> None:
    world.parameters["PublicUrl"] = f"{ORIGIN},http://127.0.0.1:8080"
    one = world.put(succeeded())
    tags = {
        get(world, f"/v1/predictions/{one.id}", host=host, x_forwarded_proto=scheme).headers["etag"]
        for scheme, host in (("https", "images.example.com"), ("http", "127.0.0.1:8080"))
    }
    assert len(tags) == 2


# Waiting


@BOTH
def test_a_read_can_wait_for_the_end(world: World, base: str) -> None:
    world.parameters["MaxWaitSeconds"] = "2"
    one = world.put(recent())
    started = time.monotonic()
    answered = get(world, f"{base}/{one.id}", Prefer="wait=60")
    assert time.monotonic() - started > 0.5
    assert (answered.status, answered.json["status"]) == (200, "starting")
    world.put(succeeded(id=one.id))
    assert get(world, f"{base}/{one.id}", Prefer="wait=60").json["status"] == "succeeded"


# Lists


def several(world: World, count: int, **changes: Any) -> list[str]:
    at = now()
    return [str(world.put(recent(created_at=Millis(at + n), **changes)).id) for n in range(count)][::-1]


def test_a_list_holds_the_callers_own_predictions_newest_first(world: World) -> None:
    ids = several(world, 3)
    several(world, 2, tenant=BOB)
    several(world, 1, kind=Kind.TRAINING)
    page = get(world, "/v1/predictions").json
    assert [one["id"] for one in page["results"]] == ids
    assert (page["next"], page["previous"]) == (None, None)


def test_a_listed_job_equals_a_single_read_of_it(world: World) -> None:
    one = world.put(succeeded())
    (listed,) = get(world, "/v1/predictions").json["results"]
    assert listed == get(world, f"/v1/predictions/{one.id}").json
    (short,) = get(world, "/predictions").json["predictions"]
    assert short == get(world, f"/predictions/{one.id}").json


def test_pages_lead_to_each_other_by_whole_urls(world: World) -> None:
    ids = several(world, 102)
    first = get(world, "/v1/predictions").json
    assert [one["id"] for one in first["results"]] == ids[:100]
    assert first["next"].startswith(f"{ORIGIN}/v1/predictions?cursor=")
    second = get(world, first["next"].removeprefix(ORIGIN)).json
    assert [one["id"] for one in second["results"]] == ids[100:]
    assert second["next"] is None
    short = get(world, "/predictions").json
    rest = get(world, f"/predictions?cursor={short['next_cursor']}").json
    assert [one["prediction_id"] for one in short["predictions"] + rest["predictions"]] == ids
    assert rest["next_cursor"] is None


def test_replicates_list_is_narrowed_by_time_as_its_clients_ask(world: World) -> None:
    old, middle, new = (world.put(recent(created_at=Millis(n * 1_000))).id for n in (1, 2, 3))

    def found(query: str) -> list[str]:
        return [one["id"] for one in get(world, f"/v1/predictions?{query}").json["results"]]

    assert found("created_after=1970-01-01T00:00:02Z") == [new, middle]
    assert found("created_before=1970-01-01T00:00:02Z") == [old]
    assert found("created_after=1970-01-01T00:00:02Z&created_before=1970-01-01T00:00:03Z") == [middle]
    assert found("created_after=1970-01-01T01:00:02.001%2B01:00") == [new]
    assert found("created_before=1970-01-01T00:00:00&created_after=1970-01-01") == []
    assert found("created_after=9999-12-31T23:59:59Z") == found("created_before=0001-01-01T00:00:00%2B23:59") == []
    assert found("created_after=&created_before=") == [new, middle, old]


def test_the_pages_of_a_list_that_is_narrowed_are_narrowed_too(world: World) -> None:
    one = world.put(recent(created_at=Millis(1)))
    ids = several(world, 101)
    narrowed = "created_after=1970-01-01T00:00:01%2B00:00"
    first = get(world, f"/v1/predictions?{narrowed}").json
    second = get(world, first["next"].removeprefix(ORIGIN)).json
    assert [each["id"] for each in first["results"] + second["results"]] == ids
    assert one.id not in ids
    assert second["next"] is None


@pytest.mark.parametrize("name", ["created_after", "created_before"])
@pytest.mark.parametrize("given", ["yesterday", "1764547200", "2026-02-30T00:00:00Z", "%00"])
def test_a_time_that_is_none_is_refused(world: World, name: str, given: str) -> None:
    answered = get(world, f"/v1/predictions?{name}={given}")
    check_problem(answered, 422, "invalid_input", instance="/v1/predictions", fields={name})


def test_a_cursor_that_is_none_is_refused_also_where_nothing_could_be_found(world: World) -> None:
    answered = get(world, "/v1/predictions?created_before=2020-01-01&created_after=2021-01-01&cursor=x")
    check_problem(answered, 422, "invalid_input", instance="/v1/predictions", fields={"cursor"})


def test_the_short_list_is_filtered_in_replicates_words(world: World) -> None:
    waiting = [*several(world, 1, status=Status.QUEUED), *several(world, 1, status=Status.STARTING)]
    working = [*several(world, 1, status=Status.PROCESSING), *several(world, 1, status=Status.STORING)]
    trained = several(world, 1, kind=Kind.TRAINING, status=Status.FAILED, batch_id=BATCH)

    def found(query: str) -> set[str]:
        return {one["prediction_id"] for one in get(world, f"/predictions?{query}").json["predictions"]}

    assert found("status=starting") == set(waiting)
    assert found("status=processing") == set(working)
    assert found("status=failed") == set(trained)
    assert found(f"batch_id={BATCH}") == found(f"batch_id={BATCH}&status=failed") == set(trained)
    assert found("status=succeeded") == found(f"batch_id={BATCH}&status=starting") == set()
    assert found(f"batch_id={new_job_id(now())}") == set()
    assert found("") == {*waiting, *working, *trained}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=queued", "status"),
        ("status=nonsense", "status"),
        ("status=failed&status=canceled", "status"),
        ("cursor=x", "cursor"),
        ("cursor=" + "A" * 26, "cursor"),
        ("batch_id=" + "x" * 65, "batch_id"),
        ("batch_id=" + "z" * 26, "batch_id"),
        ("batch_id=8" + "0" * 25, "batch_id"),
        ("batch_id=%23", "batch_id"),
    ],
)
def test_a_filter_that_is_none_is_refused(world: World, query: str, field: str) -> None:
    check_problem(get(world, f"/predictions?{query}"), 422, "invalid_input", instance="/predictions", fields={field})


def test_a_batch_is_counted_by_what_became_of_its_jobs(world: World) -> None:
    stages = [Status.QUEUED, Status.STARTING, Status.PROCESSING, Status.STORING, Status.SUCCEEDED, Status.SUCCEEDED]
    for stage in stages:
        several(world, 1, status=stage, batch_id=BATCH)
    several(world, 3, status=Status.FAILED)
    expected = {"starting": 2, "processing": 2, "succeeded": 2, "failed": 0, "canceled": 0}
    assert get(world, f"/predictions?batch_id={BATCH}").json["counts"] == expected
    narrowed = get(world, f"/predictions?batch_id={BATCH}&status=starting").json
    assert (len(narrowed["predictions"]), narrowed["counts"]) == (2, expected)
    assert "counts" not in get(world, "/predictions").json


def test_another_tenants_batch_shows_nothing(world: World) -> None:
    several(world, 2, tenant=BOB, batch_id=BATCH)
    page = get(world, f"/predictions?batch_id={BATCH}").json
    assert (page["predictions"], page["next_cursor"], sum(page["counts"].values())) == ([], None, 0)


@pytest.mark.parametrize("batch_id", ["7" + "z" * 25, "0" * 26])
def test_a_batch_at_the_end_of_time_is_found_empty(world: World, batch_id: str) -> None:
    assert get(world, f"/predictions?batch_id={batch_id}").json["predictions"] == []


# Trainings


def test_trainings_are_read_and_listed_apart_from_predictions(world: World) -> None:
    (trained,) = several(world, 1, kind=Kind.TRAINING)
    (predicted,) = several(world, 1)
    assert [one["id"] for one in get(world, "/v1/trainings").json["results"]] == [trained]
    assert [one["id"] for one in get(world, "/v1/predictions").json["results"]] == [predicted]
    read = get(world, f"/v1/trainings/{trained}")
    assert (read.status, read.json["urls"]["get"]) == (200, f"{ORIGIN}/v1/trainings/{trained}")
    for path in (f"/v1/trainings/{predicted}", f"/v1/predictions/{trained}"):
        check_problem(get(world, path), 404, "not_found", instance=path)
    assert get(world, f"/predictions/{trained}").status == get(world, f"/predictions/{predicted}").status == 200


def test_a_training_of_another_tenant_looks_as_if_it_did_not_exist(world: World) -> None:
    (foreign,) = several(world, 1, kind=Kind.TRAINING, tenant=BOB)
    check_problem(get(world, f"/v1/trainings/{foreign}"), 404, "not_found", instance=f"/v1/trainings/{foreign}")
    assert get(world, "/v1/trainings").json["results"] == []


def test_another_tenants_cursor_shows_nothing_of_theirs(world: World) -> None:
    (foreign,) = several(world, 1, tenant=BOB)
    own = several(world, 2)
    page = get(world, f"/predictions?cursor={foreign}").json
    assert {one["prediction_id"] for one in page["predictions"]} <= set(own)


def test_deleted_jobs_are_not_listed(world: World) -> None:
    world.put(succeeded(archived_at=1, deleted_at=2))
    kept = world.put(job(created_at=now()))
    assert [one["id"] for one in get(world, "/v1/predictions").json["results"]] == [kept.id]


@pytest.mark.parametrize(("prompt", "count"), [("x" * 190_000, 40), ('"' * 90_000, 25), ("\u00e9" * 90_000, 16)])
def test_a_page_ends_before_it_is_too_large_and_goes_on_with_its_cursor(world: World, prompt: str, count: int) -> None:
    ids = several(world, count, input={"prompt": prompt})
    found: list[str] = []
    url: str | None = "/v1/predictions"
    pages = 0
    while url:
        answered = get(world, url.removeprefix(ORIGIN))
        assert len(json.dumps(answered.body.decode())) < 6_000_000, "a Lambda answer holds 6 MB, as JSON in JSON"
        found += [one["id"] for one in answered.json["results"]]
        url = answered.json["next"]
        pages += 1
    assert (found, pages) == (ids, 2)


def test_a_short_page_ends_before_it_is_too_large_too(world: World) -> None:
    ids = several(world, 25, status=Status.SUCCEEDED, makes=Makes.ANYTHING, text="x" * 390_000, input={})
    first = get(world, "/predictions").json
    assert 0 < len(first["predictions"]) < 25
    second = get(world, f"/predictions?cursor={first['next_cursor']}").json
    assert [one["prediction_id"] for one in first["predictions"] + second["predictions"]] == ids
    assert second["next_cursor"] is None
