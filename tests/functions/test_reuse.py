"""Reuse: an equal request is given the job that is there, if its result can be had, and pays nothing."""

from dataclasses import replace
from typing import Any

import pytest

from shared.identifiers import new_job_id
from shared.job import Job, Status
from shared.services import now
from tests.support.catalog import version_of
from tests.support.problems import check_problem
from tests.support.submits import DEV, SCHNELL, After, Caller, Died, configured, die, fail, listening
from tests.support.world import Answered, data_uri, image

pytestmark = pytest.mark.sockets

FOX = {"prompt": "a fox"}
REUSE = {"afterimage_reuse": "true"}


def reuse(caller: Caller, **fields: Any) -> Answered:
    return caller.generate({**FOX, "reuse": True, **fields})


def on_v1(caller: Caller, path: str = DEV, **fields: Any) -> Answered:
    return caller.post(path, {"input": {**FOX, "num_outputs": 4, **fields}}, **REUSE)


def changed(caller: Caller, job: Job, **changes: Any) -> Job:
    """Write the job as something has changed it."""
    return caller.world.put(replace(job, **changes))


# What is equal


def test_an_equal_request_is_given_the_job_and_charged_nothing(caller: Caller) -> None:
    first = reuse(caller)
    assert "reused" not in first.json
    before = caller.account
    again = reuse(caller)
    assert again.status == 202
    assert (again.json["prediction_id"], again.json["reused"]) == (first.json["prediction_id"], True)
    assert caller.account == before
    assert len(caller.replicate.created) == 1
    assert caller.job(first).joined == 1


def test_both_interfaces_meet_and_say_so(caller: Caller) -> None:
    first, again = reuse(caller), on_v1(caller)
    assert again.status == 201
    assert again.json["id"] == first.json["prediction_id"]
    assert again.json["afterimage"]["reused"] is True
    assert again.json["status"] == "starting"
    assert reuse(caller).json["reused"] is True
    assert caller.job(first).joined == 2
    read = caller.get(f"/v1/predictions/{again.json['id']}").json
    assert read["afterimage"]["reused"] is False, "that is a property of an answer, not of the job"


def test_a_result_that_is_there_is_given_at_once(caller: Caller) -> None:
    done = caller.finish(caller.job(reuse(caller)))
    short, full = reuse(caller), on_v1(caller)
    assert (short.status, short.json["status"], len(short.json["images"])) == (200, "succeeded", 4)
    assert (full.status, full.json["status"], len(full.json["output"])) == (201, "succeeded", 4)
    assert {short.json["prediction_id"], full.json["id"]} == {done.id}
    assert caller.committed == done.cost


@pytest.mark.parametrize("interface", ["body", "header", "header in capitals"])
def test_reuse_is_asked_for_in_the_body_or_by_a_header(caller: Caller, interface: str) -> None:
    first = reuse(caller)
    match interface:
        case "body":
            again = reuse(caller)
        case "header":
            again = caller.generate(FOX, **REUSE)
        case _:
            again = caller.generate(FOX, Afterimage_Reuse=" TRUE ")
    assert again.json["prediction_id"] == first.json["prediction_id"]


@pytest.mark.parametrize("header", ["yes", "1", "", "true, false", "t"])
@pytest.mark.parametrize("path", ["/generate", DEV])
def test_a_header_that_is_neither_true_nor_false_is_refused(caller: Caller, path: str, header: str) -> None:
    body = FOX if path == "/generate" else {"input": FOX}
    refusal = caller.post(path, body, afterimage_reuse=header)
    check_problem(refusal, 422, "invalid_input", instance=path, fields={"Afterimage-Reuse"})
    assert caller.replicate.calls == []


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/generate", FOX, {}),
        ("/generate", {**FOX, "reuse": False}, {}),
        ("/generate", {**FOX, "reuse": None}, {"afterimage_reuse": "false"}),
        (DEV, {"input": {**FOX, "num_outputs": 4}}, {}),
    ],
)
def test_nothing_is_reused_unless_that_is_asked_for(
    caller: Caller, path: str, body: Any, headers: dict[str, str]
) -> None:
    reuse(caller)
    caller.post(path, body, **headers)
    assert len(caller.jobs()) == len(caller.replicate.created) == 2
    reuse(caller)
    assert len(caller.jobs()) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"num_images": 4},
        {"input": {"guidance": 3}},
        {"input": {"guidance": 3.0, "go_fast": True}},
        {"input": {"guidance_scale": 3}},
        {"input": {"output_format": "webp", "output_quality": 80, "megapixels": "1"}},
        {"input": {"num_outputs": 4, "image": None}},
        {"model": "black-forest-labs/flux-dev"},
        {"seed": None, "preset": None},
        {"input": {"prompt": "a fox"}},
    ],
)
def test_what_means_the_same_meets_however_it_is_written(caller: Caller, fields: dict[str, Any]) -> None:
    first = reuse(caller)
    assert reuse(caller, **fields).json["prediction_id"] == first.json["prediction_id"]


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "a Fox"},
        {"prompt": "a fox "},
        {"seed": 1},
        {"num_images": 3},
        {"input": {"guidance": 3.1}},
        {"input": {"go_fast": False}},
        {"preset": "portrait"},
        {"model": "black-forest-labs/flux-schnell"},
        {"trigger_word": "TOK"},
        {"input": {"image": "https://example.com/fox.png"}},
    ],
)
def test_what_means_something_else_does_not(caller: Caller, fields: dict[str, Any]) -> None:
    first = reuse(caller)
    assert reuse(caller, **fields).json["prediction_id"] != first.json["prediction_id"]


def test_a_seed_that_was_drawn_is_not_one_that_was_given(caller: Caller) -> None:
    first = reuse(caller)
    drawn = caller.job(first).seed
    assert reuse(caller, seed=drawn).json["prediction_id"] != first.json["prediction_id"]
    assert reuse(caller, seed=5).json["prediction_id"] == reuse(caller, seed=5).json["prediction_id"]


def test_tenants_do_not_meet(caller: Caller, other: Caller) -> None:
    assert reuse(caller).json["prediction_id"] != reuse(other).json["prediction_id"]
    assert len(caller.replicate.created) == 2


def test_versions_of_a_model_do_not_meet(caller: Caller) -> None:
    name, body = "stability-ai/sdxl", {"input": FOX}
    for letter in "ab":
        caller.replicate.catalog[f"models/{name}/versions/{version_of(letter)}"] = {"id": version_of(letter)}
    first, second, again = (
        caller.post("/v1/predictions", {**body, "version": f"{name}:{version_of(letter)}"}, **REUSE) for letter in "aba"
    )
    assert first.status == second.status == again.status == 201
    assert first.json["id"] == again.json["id"] != second.json["id"]


def test_files_are_compared_by_their_bytes(caller: Caller) -> None:
    large, another = data_uri(b"\x89PNG\r\n\x1a\n" + b"x" * 9_000), data_uri(b"\x89PNG\r\n\x1a\n" + b"y" * 9_000)
    small = data_uri(image(size=(2, 2)))
    for uri in (large, small):
        first = reuse(caller, input={"image": uri})
        assert reuse(caller, input={"image": uri}).json["prediction_id"] == first.json["prediction_id"]
        assert reuse(caller, input={"image": another}).json["prediction_id"] != first.json["prediction_id"]


def test_our_own_files_are_the_same_by_any_link(caller: Caller) -> None:
    done = caller.finish(caller.job(reuse(caller)))
    url = caller.get(f"/predictions/{done.id}").json["images"][0]
    first = reuse(caller, input={"image": url})
    again = reuse(caller, input={"image": url.partition("?")[0]})
    assert first.json["prediction_id"] == again.json["prediction_id"] != done.id
    other_file = caller.get(f"/predictions/{done.id}").json["images"][1]
    assert reuse(caller, input={"image": other_file}).json["prediction_id"] != first.json["prediction_id"]


# Whose result cannot be had


@pytest.mark.parametrize(
    "changes",
    [
        {"status": Status.FAILED, "hold": None},
        {"status": Status.CANCELED, "hold": None},
        {"cancel_requested_at": 1},
        {"status": Status.PROCESSING, "cancel_requested_at": 1},
        {"status": Status.SUCCEEDED, "hold": None, "deleted_at": 1},
    ],
)
def test_a_job_that_gives_no_result_is_replaced(caller: Caller, changes: dict[str, Any]) -> None:
    first = reuse(caller)
    before = changed(caller, caller.job(first), **changes)
    second = reuse(caller)
    assert second.json["prediction_id"] != before.id
    assert "reused" not in second.json
    assert caller.world.read(before.id) == before, "it is not even counted"
    assert reuse(caller).json["prediction_id"] == second.json["prediction_id"]
    assert len(caller.replicate.created) == 2


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STARTING, Status.PROCESSING, Status.STORING])
def test_a_job_that_is_under_way_is_met(caller: Caller, status: Status) -> None:
    first = changed(caller, caller.job(reuse(caller)), status=status)
    again = on_v1(caller)
    assert again.json["id"] == first.id
    assert (again.json["status"], again.json["afterimage"]["stage"]) == ("starting", status)


def test_a_job_that_replicate_refused_is_not_met(caller: Caller) -> None:
    failed = caller.finish(caller.job(reuse(caller)), "failed", error="out of memory")
    assert failed.status is Status.FAILED
    again = reuse(caller)
    assert again.status == 202
    assert again.json["prediction_id"] != failed.id


def test_a_pointer_that_is_outdated_is_replaced(caller: Caller) -> None:
    first = reuse(caller)
    ((pk, pointer),) = caller.pointers().items()
    assert "expires_at" not in pointer, "files are kept for good"
    outdated = {**pointer, "valid_until": {"N": str(now() - 1)}}
    caller.world.dynamodb.put_item(TableName=caller.world.jobs_table, Item=outdated)
    second = reuse(caller)
    assert second.json["prediction_id"] != first.json["prediction_id"]
    assert caller.pointers()[pk]["job_id"]["S"] == second.json["prediction_id"]


def test_nothing_is_given_whose_files_are_about_to_go(caller: Caller) -> None:
    with configured(caller.world, FileRetentionDays="30"):
        done = caller.finish(caller.job(reuse(caller)))
    (pointer,) = caller.pointers().values()
    assert int(pointer["valid_until"]["N"]) == done.created_at + 29 * 86_400_000
    assert int(pointer["expires_at"]["N"]) == int(pointer["valid_until"]["N"]) // 1000
    with configured(caller.world, FileRetentionDays="1"):
        short_lived = caller.job(reuse(caller, seed=1))
        assert reuse(caller, seed=1).json["prediction_id"] == short_lived.id
    assert {int(one["valid_until"]["N"]) - short_lived.created_at for one in caller.pointers().values()} >= {43_200_000}


def test_trainings_are_never_reused(caller: Caller) -> None:
    trainer = "ostris/flux-dev-lora-trainer"
    caller.replicate.catalog[f"models/{trainer}"] = {"latest_version": {"id": version_of("d")}}
    caller.replicate.catalog["models/acme/fox"] = {"name": "fox"}
    body = {"images_zip_url": "https://example.com/fox.zip", "destination": "acme/fox"}
    ids = {caller.post("/train", body, **REUSE).json["prediction_id"] for _ in range(2)}
    v1 = {"input": {"input_images": "https://example.com/fox.zip"}, "destination": "acme/fox"}
    path = f"/v1/models/{trainer}/versions/None/trainings"
    ids |= {caller.post(path, v1, **REUSE).json["id"] for _ in range(2)}
    assert len(ids) == 4
    assert caller.pointers() == {}


# Together with an idempotency key


def test_a_key_leads_to_the_job_that_was_reused_whatever_becomes_of_it(caller: Caller) -> None:
    first = reuse(caller)
    by_key = caller.generate({**FOX, "reuse": True}, Idempotency_Key="k")
    assert by_key.json["prediction_id"] == first.json["prediction_id"]
    changed(caller, caller.job(first), status=Status.FAILED, hold=None)
    again = caller.generate({**FOX, "reuse": True}, Idempotency_Key="k")
    assert (again.json["prediction_id"], again.json["status"]) == (first.json["prediction_id"], "failed")
    assert reuse(caller).json["prediction_id"] != first.json["prediction_id"]


def test_a_key_that_was_used_for_another_request_is_refused_and_joins_nothing(caller: Caller) -> None:
    first = reuse(caller)
    caller.generate({"prompt": "a hen"}, Idempotency_Key="k")
    refusal = caller.generate({**FOX, "reuse": True}, Idempotency_Key="k")
    check_problem(refusal, 422, "idempotency_key_reused", instance="/generate")
    assert caller.job(first).joined == 0


def test_a_key_of_a_new_job_is_its_own_and_reuse_meets_it(caller: Caller) -> None:
    first = caller.generate({**FOX, "reuse": True}, Idempotency_Key="k")
    assert reuse(caller).json["prediction_id"] == first.json["prediction_id"]
    assert len(caller.pointers()) == 2


def test_a_key_whose_job_was_deleted_says_so(caller: Caller) -> None:
    first = caller.generate(FOX, Idempotency_Key="k")
    changed(caller, caller.job(first), status=Status.SUCCEEDED, hold=None, deleted_at=1)
    check_problem(caller.generate(FOX, Idempotency_Key="k"), 404, "not_found", instance="/generate")
    assert len(caller.jobs()) == 1


def test_a_key_is_met_whatever_the_budget_has_become(caller: Caller) -> None:
    first = caller.generate({**FOX, "reuse": True}, Idempotency_Key="k")
    caller.world.dynamodb.update_item(
        TableName=caller.world.accounts_table,
        Key={"pk": {"S": f"account#{caller.tenant}"}},
        UpdateExpression="SET daily_budget = :none, max_in_flight = :none, rate_per_minute = :none",
        ExpressionAttributeValues={":none": {"N": "0"}},
    )
    caller.key = caller.world.accounts.create_key(caller.tenant)
    assert caller.generate({**FOX, "reuse": True}, Idempotency_Key="k").json == first.json
    assert reuse(caller).json["reused"] is True
    refusal = caller.generate({"prompt": "a hen"})
    assert (refusal.status, refusal.json["code"]) == (429, "rate_limited")


# At the same instant


@pytest.mark.parametrize("keyed", [False, True])
def test_equal_requests_at_the_same_instant_are_one(caller: Caller, *, keyed: bool) -> None:
    headers = {"Idempotency_Key": "k"} if keyed else {}
    answers: list[Answered] = []
    meanwhile = After(1, lambda: answers.append(caller.generate({**FOX, "reuse": True}, **headers)))
    with listening(caller.world, "before-call.dynamodb.TransactWriteItems", meanwhile):
        outer = caller.generate({**FOX, "reuse": True}, **headers)
    assert outer.json["prediction_id"] == answers[0].json["prediction_id"]
    assert len(caller.jobs()) == len(caller.replicate.created) == 1
    assert caller.account["inflight"] == 1


def test_of_two_that_replace_the_same_job_one_meets_the_other(caller: Caller) -> None:
    first = changed(caller, caller.job(reuse(caller)), status=Status.FAILED, hold=None)
    answers: list[Answered] = []
    # The second transaction of the request replaces the pointer that the first has met.
    meanwhile = After(2, lambda: answers.append(reuse(caller)))
    with listening(caller.world, "before-call.dynamodb.TransactWriteItems", meanwhile):
        outer = reuse(caller)
    assert outer.json["prediction_id"] == answers[0].json["prediction_id"] != first.id
    assert (outer.json["reused"], len(caller.jobs())) == (True, 2)


def test_a_job_that_fails_right_before_it_is_met_is_replaced(caller: Caller) -> None:
    first = caller.job(reuse(caller))
    fails = After(1, lambda: changed(caller, first, status=Status.FAILED, hold=None))
    with listening(caller.world, "before-call.dynamodb.UpdateItem", fails):
        again = reuse(caller)
    assert again.json["prediction_id"] != first.id
    assert caller.world.read(first.id).joined == 0


def test_a_key_that_another_request_takes_while_a_job_is_met_wins(caller: Caller) -> None:
    first = reuse(caller)
    taken = After(2, lambda: caller.generate({"prompt": "a hen"}, Idempotency_Key="k"))
    with listening(caller.world, "before-call.dynamodb.TransactWriteItems", taken):
        refusal = caller.generate({**FOX, "reuse": True}, Idempotency_Key="k")
    check_problem(refusal, 422, "idempotency_key_reused", instance="/generate")
    assert caller.job(first).status is Status.STARTING


@pytest.mark.parametrize("event", ["before-call.dynamodb.TransactWriteItems", "after-call.dynamodb.TransactWriteItems"])
@pytest.mark.parametrize("call", [1, 2])
def test_a_process_that_dies_while_a_job_is_met_costs_nothing(caller: Caller, event: str, call: int) -> None:
    first = reuse(caller)
    with listening(caller.world, event, After(call, die)), pytest.raises(Died):
        caller.generate({**FOX, "reuse": True}, Idempotency_Key="k")
    again = caller.generate({**FOX, "reuse": True}, Idempotency_Key="k")
    assert again.json["prediction_id"] == first.json["prediction_id"]
    assert len(caller.jobs()) == len(caller.replicate.created) == 1


def test_a_transaction_that_is_in_the_way_of_a_key_is_waited_for(caller: Caller) -> None:
    first = reuse(caller)

    def conflict() -> None:
        fail("TransactionConflictException")

    with listening(caller.world, "before-call.dynamodb.TransactWriteItems", After(2, conflict)):
        again = caller.generate({**FOX, "reuse": True}, Idempotency_Key="k")
    assert again.json["prediction_id"] == first.json["prediction_id"]
    assert len(caller.pointers()) == 2


# In batches


def test_equal_parts_of_one_request_are_jobs_of_their_own_and_a_repeat_meets_all(caller: Caller) -> None:
    body = {"prompts": ["a fox", "a hen", "a fox"], "reuse": True}
    first, again = caller.generate(body), caller.generate(body)
    ids = [one["prediction_id"] for one in first.json["predictions"]]
    assert len(set(ids)) == 3
    assert [one["prediction_id"] for one in again.json["predictions"]] == ids
    assert [one["reused"] for one in again.json["predictions"]] == [True] * 3
    assert (caller.account["n"], caller.account["inflight"]) == (1, 3)
    single = reuse(caller)
    assert single.json["prediction_id"] == ids[0]


def test_eight_images_are_eight_different_ones_also_with_reuse(caller: Caller) -> None:
    first, again = (reuse(caller, num_images=8) for _ in range(2))
    ids = [one["prediction_id"] for one in first.json["predictions"]]
    assert len(set(ids)) == 2
    assert [one["prediction_id"] for one in again.json["predictions"]] == ids
    assert len({caller.world.read(job_id).seed for job_id in ids}) == 2


def test_a_batch_meets_what_is_there_and_pays_for_the_rest(caller: Caller) -> None:
    first = reuse(caller)
    answered = caller.generate({"prompts": ["a fox", "a hen"], "reuse": True}, Idempotency_Key="k")
    fox, hen = answered.json["predictions"]
    assert (fox["prediction_id"], fox["reused"]) == (first.json["prediction_id"], True)
    assert "reused" not in hen
    assert caller.account["inflight"] == 2
    again = caller.generate({"prompts": ["a fox", "a hen"], "reuse": True}, Idempotency_Key="k")
    assert [one["prediction_id"] for one in again.json["predictions"]] == [fox["prediction_id"], hen["prediction_id"]]
    assert again.json["batch_id"] == answered.json["batch_id"] != caller.job(first).batch_id


# Canceling


@pytest.mark.parametrize("base", ["/predictions", "/v1/predictions"])
def test_a_cancel_of_what_others_share_says_so(caller: Caller, base: str) -> None:
    first = reuse(caller)
    for _ in range(2):
        reuse(caller)
    canceled = caller.post(f"{base}/{first.json['prediction_id']}/cancel", None).json
    warnings = canceled["warnings"] if base == "/predictions" else canceled["afterimage"]["warnings"]
    assert warnings == ["This job is shared by 3 requests; it is canceled for all of them."]
    assert reuse(caller).json["prediction_id"] != first.json["prediction_id"]


def test_a_cancel_of_ones_own_says_nothing(caller: Caller) -> None:
    canceled = caller.post(f"/predictions/{reuse(caller).json['prediction_id']}/cancel", None)
    assert "warnings" not in canceled.json


def test_ids_that_lead_nowhere_are_replaced(caller: Caller) -> None:
    reuse(caller)
    ((pk, pointer),) = caller.pointers().items()
    lost = {**pointer, "job_id": {"S": new_job_id(now())}}
    caller.world.dynamodb.put_item(TableName=caller.world.jobs_table, Item=lost)
    again = reuse(caller)
    assert caller.pointers()[pk]["job_id"]["S"] == again.json["prediction_id"]


def test_models_do_not_meet(caller: Caller) -> None:
    assert on_v1(caller).json["id"] != on_v1(caller, SCHNELL).json["id"]
