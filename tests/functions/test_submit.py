"""`submit`: what is refused reaches nobody, what is accepted is started once, and what comes of it is told."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from shared import services
from shared.job import Status
from tests.support.loopback import Answer, serving
from tests.support.problems import check_problem
from tests.support.replicate import TOKEN, FakeReplicate, answer, prediction
from tests.support.world import ALICE, BOB, ORIGIN, SECRETS, Answered, World

pytestmark = pytest.mark.sockets

SCHNELL = "/v1/models/black-forest-labs/flux-schnell/predictions"
DEV = "/v1/models/black-forest-labs/flux-dev/predictions"
FOX = {"input": {"prompt": "a fox"}}


def submit(world: World, body: Any = None, path: str = SCHNELL, *, tenant: str = ALICE, **headers: str) -> Answered:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return world.request("POST", path, FOX if body is None else body, key=world.keys[tenant], headers=sent)


def with_input(**fields: Any) -> dict[str, Any]:
    return {"input": {"prompt": "a fox", **fields}}


# Success


@pytest.mark.usefixtures("moment")
def test_a_create_answers_as_replicate_does(world: World, replicate: FakeReplicate) -> None:
    created = submit(world)
    assert len(replicate.calls) == 1
    document = created.json
    assert created.status == 201
    job_id = document["id"]
    url = f"{ORIGIN}/v1/predictions/{job_id}"
    assert document.pop("afterimage") == {
        "stage": "starting",
        "progress": None,
        "files": [],
        "cost_usd": None,
        "estimated_cost_usd": 0.003,
        "batch_id": None,
        "reused": False,
        "seed": document["input"]["seed"],
        "warnings": [],
        "problem": None,
        "poll_after": 1.0,
    }
    created_at = document.pop("created_at")
    assert created_at.endswith("Z")
    assert document == {
        "id": job_id,
        "model": "black-forest-labs/flux-schnell",
        "version": "hidden",
        "status": "starting",
        "input": {"prompt": "a fox", "seed": document["input"]["seed"]},
        "output": None,
        "logs": "",
        "error": None,
        "metrics": {},
        "started_at": None,
        "completed_at": None,
        "data_removed": False,
        "source": "api",
        "urls": {"get": url, "cancel": f"{url}/cancel", "web": f"{ORIGIN}/#{job_id}"},
    }
    assert created.headers["location"] == url
    assert (created.headers["retry-after"], created.headers["retry-after-ms"]) == ("1", "1000")
    assert created.headers["content-type"] == "application/json"


def test_an_accepted_create_is_one_job_and_one_prediction(world: World, replicate: FakeReplicate) -> None:
    created = submit(world, with_input(num_outputs=2, seed=5))
    job = world.read(created.json["id"])
    assert (job.status, job.tenant, job.prediction_id, job.attempt) == (Status.STARTING, ALICE, "prediction1", 1)
    assert (job.input, job.seed) == ({"prompt": "a fox", "num_outputs": 2, "seed": 5}, 5)
    assert job.hold is not None
    assert job.hold.amount == 6_000
    assert job.due_at is not None
    account = world.account()
    assert (account["n"], account["inflight"], account[f"committed_{job.hold.day}"]) == (1, 1, 6_000)
    (body,) = replicate.created
    assert body["input"] == job.input
    assert body["webhook"].startswith(f"{ORIGIN}/webhooks/replicate/{job.id}?attempt=1&k=")


def test_the_short_interface_answers_in_its_own_words(world: World, replicate: FakeReplicate) -> None:
    accepted = submit(world, {"prompt": "a fox"}, "/generate")
    assert accepted.status == 202
    document = accepted.json
    expected = {"status": "starting", "images": None, "progress": None, "problem": None}
    assert document == {"prediction_id": document["prediction_id"], **expected}
    assert accepted.headers["location"] == f"{ORIGIN}/predictions/{document['prediction_id']}"
    (call,) = replicate.calls
    assert call.path == DEV
    assert replicate.created[0]["input"]["num_outputs"] == 4


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"prompt": "a", "num_images": 2, "seed": 3}, {"prompt": "a", "num_outputs": 2, "seed": 3}),
        ({"prompt": "a", "input": {"num_outputs": 2, "seed": 3}}, {"prompt": "a", "num_outputs": 2, "seed": 3}),
        (
            {"prompt": "a", "seed": 3, "input": {"guidance_scale": 2.5}},
            {"prompt": "a", "num_outputs": 4, "seed": 3, "guidance": 2.5},
        ),
    ],
)
def test_the_short_interface_names_fields_in_its_own_way(
    world: World, replicate: FakeReplicate, body: Any, expected: Any
) -> None:
    submit(world, body, "/generate")
    assert replicate.created[0]["input"] == expected


def test_the_first_interface_takes_the_model_from_the_version(world: World, replicate: FakeReplicate) -> None:
    created = submit(world, {**FOX, "version": "black-forest-labs/flux-schnell"}, "/v1/predictions")
    assert (created.status, created.json["model"]) == (201, "black-forest-labs/flux-schnell")
    assert replicate.calls[0].path == SCHNELL


@pytest.mark.parametrize("name", ["Black-Forest-Labs/flux-schnell", "BLACK-FOREST-LABS/FLUX-SCHNELL"])
def test_a_model_is_the_same_in_any_case_and_has_one_price(world: World, replicate: FakeReplicate, name: str) -> None:
    created = submit(world, {**with_input(num_outputs=2), "version": name}, "/v1/predictions")
    assert (created.status, created.json["model"]) == (201, "black-forest-labs/flux-schnell")
    assert created.json["afterimage"]["estimated_cost_usd"] == 0.006
    assert replicate.calls[0].path == SCHNELL
    assert submit(world, {**with_input(num_outputs=9), "version": name}, "/v1/predictions").status == 422


def test_unknown_input_fields_are_dropped_and_named(world: World, replicate: FakeReplicate) -> None:
    created = submit(world, with_input(size="1024x1024", negative_prompt="x", num_outputs=None, seed=1))
    assert created.status == 201
    warnings = created.json["afterimage"]["warnings"]
    assert [warning.partition(":")[0] for warning in warnings] == ["input.size", "input.negative_prompt"]
    assert replicate.created[0]["input"] == {"prompt": "a fox", "seed": 1}


def test_a_seed_is_drawn_where_none_is_given(world: World, replicate: FakeReplicate) -> None:
    seeds = {submit(world).json["input"]["seed"] for _ in range(5)}
    assert len(seeds) == 5
    assert {body["input"]["seed"] for body in replicate.created} == seeds


@pytest.mark.parametrize("upstream", ["starting", "processing", "succeeded", "queued", "paused"])
def test_a_create_answered_before_the_end_always_says_starting(
    world: World, replicate: FakeReplicate, upstream: str
) -> None:
    replicate.will(answer(201, prediction("p1", upstream)))
    created = submit(world)
    assert (created.status, created.json["status"]) == (201, "starting")


@pytest.mark.parametrize("stage", [Status.PROCESSING, Status.STORING])
def test_a_repeated_create_says_starting_too_while_its_job_is_further(
    world: World, replicate: FakeReplicate, stage: Status
) -> None:
    first = submit(world, Idempotency_Key="k")
    world.put(replace(world.read(first.json["id"]), status=stage))
    again = submit(world, Idempotency_Key="k")
    assert (again.json["status"], again.json["afterimage"]["stage"]) == ("starting", stage)
    assert len(replicate.calls) == 1


def test_links_lead_to_where_the_request_came_from_if_that_is_ours(world: World, replicate: FakeReplicate) -> None:
    world.parameters["PublicUrl"] = f"{ORIGIN},http://127.0.0.1:8080"
    local = submit(world, host="127.0.0.1:8080", x_forwarded_proto="http")
    assert local.json["urls"]["get"].startswith("http://127.0.0.1:8080/v1/predictions/")
    forged = submit(world, host="evil.example", x_forwarded_proto="https")
    assert forged.json["urls"]["get"].startswith(f"{ORIGIN}/v1/predictions/")
    assert all(body["webhook"].startswith(f"{ORIGIN}/") for body in replicate.created)


def test_neither_keys_nor_prompts_nor_tokens_are_logged(
    world: World, replicate: FakeReplicate, logged: list[str]
) -> None:
    submit(world, with_input(prompt="a very secret fox"))
    replicate.will(answer(422, {"detail": "a very secret fox is not allowed"}), Answer(cut=0), answer(429, {}))
    for _ in range(3):
        submit(world, with_input(prompt="a very secret fox"))
    submit(world, with_input(prompt="a very secret fox", seed="x"))
    everything = "".join(logged)
    assert "admitted" in everything
    for secret in ("secret fox", TOKEN, world.keys[ALICE], SECRETS["callback-key"], "attempt=1"):
        assert secret not in everything


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/ld+json"]
)
def test_json_by_any_of_its_names_is_taken(world: World, replicate: FakeReplicate, content_type: str) -> None:
    assert submit(world, json.dumps(FOX).encode(), content_type=content_type).status == 201
    assert len(replicate.created) == 1


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Token", "token"])
def test_a_key_is_taken_by_either_scheme(world: World, replicate: FakeReplicate, scheme: str) -> None:
    authorized = {"authorization": f"{scheme} {world.keys[ALICE]}"}
    assert world.request("POST", SCHNELL, FOX, headers=authorized).status == 201
    assert len(replicate.calls) == 1


# What Replicate makes of it


INVALID = {
    "detail": "- input.prompt: is not nice\n",
    "status": 422,
    "title": "Input validation failed",
    "invalid_fields": [{"type": "required", "field": "input.prompt", "description": "is not nice"}],
}


@pytest.mark.parametrize("path", [SCHNELL, "/generate"])
def test_a_definite_no_of_replicates_is_passed_on_and_costs_nothing(
    world: World, replicate: FakeReplicate, path: str
) -> None:
    replicate.will(answer(422, INVALID))
    body = FOX if path == SCHNELL else {"prompt": "a fox"}
    refusal = submit(world, body, path)
    check_problem(refusal, 422, "upstream_rejected", instance=path, fields={"input.prompt"})
    job = world.read(refusal.headers["location"].rpartition("/")[2])
    assert (job.status, job.cost, job.hold) == (Status.FAILED, 0, None)
    assert world.account()["inflight"] == 0
    assert [value for name, value in world.account().items() if name.startswith("committed_")] == [0]
    assert world.orders() == [{"job_id": job.id}]
    read = world.request("GET", f"/v1/predictions/{job.id}", key=world.keys[ALICE])
    assert (read.json["status"], read.json["afterimage"]["problem"]["code"]) == ("failed", "upstream_rejected")


def test_a_model_that_replicate_does_not_know_is_not_found(world: World, replicate: FakeReplicate) -> None:
    replicate.will(answer(404, {"detail": "The requested resource could not be found.", "status": 404}))
    refusal = submit(world)
    check_problem(refusal, 404, "model_not_found", instance=SCHNELL)
    assert "location" in refusal.headers


def test_a_definite_no_is_the_same_for_the_same_key_and_is_not_asked_again(
    world: World, replicate: FakeReplicate
) -> None:
    replicate.will(answer(422, INVALID))
    first, again = submit(world, Idempotency_Key="k"), submit(world, Idempotency_Key="k")
    assert {**first.json, "request_id": ""} == {**again.json, "request_id": ""}
    assert first.headers["location"] == again.headers["location"]
    assert first.status == again.status == 422
    assert len(replicate.calls) == 1


@pytest.mark.parametrize(
    "taken",
    [
        answer(429, {"detail": "Request was throttled. Your rate limit resets in ~30s."}),
        answer(402, {"title": "Insufficient credit", "detail": "You have insufficient credit.", "status": 402}),
        answer(401, {"title": "Unauthenticated", "detail": "You did not pass a valid token", "status": 401}),
        answer(403, {"detail": "no"}),
    ],
)
def test_what_replicate_did_not_take_is_accepted_and_queued(
    world: World, replicate: FakeReplicate, taken: Answer
) -> None:
    replicate.will(taken)
    created = submit(world)
    assert (created.status, created.json["status"]) == (201, "starting")
    assert created.json["afterimage"]["stage"] == "queued"
    job = world.read(created.json["id"])
    assert (job.status, job.prediction_id, job.attempt) == (Status.QUEUED, None, 1)
    assert job.due_at is not None
    assert job.due_at > time.time() * 1000
    assert world.account()["inflight"] == 1
    assert len(replicate.calls) == 1


def test_while_replicate_cannot_be_reached_submits_are_accepted(world: World) -> None:
    with serving(lambda _: Answer()) as origin:
        world.parameters["ReplicateApiUrl"] = origin
    created = submit(world)
    assert (created.status, created.json["status"]) == (201, "starting")
    assert world.read(created.json["id"]).status is Status.QUEUED


@pytest.mark.parametrize(
    "unclear",
    [Answer(500), Answer(502), Answer(503), Answer(cut=0), Answer(200, b"<html>"), Answer(302), Answer(201, b"{}")],
)
def test_what_may_have_been_taken_stays_starting_and_is_not_sent_again(
    world: World, replicate: FakeReplicate, unclear: Answer
) -> None:
    replicate.will(unclear)
    created = submit(world, Idempotency_Key="k")
    assert (created.status, created.json["status"]) == (201, "starting")
    job = world.read(created.json["id"])
    assert (job.status, job.prediction_id, job.attempt) == (Status.STARTING, None, 1)
    assert job.unclear_at is not None
    assert job.due_at is not None
    assert submit(world, Idempotency_Key="k").json["id"] == job.id
    assert len(replicate.calls) == 1, "never pay twice"
    assert world.account()["inflight"] == 1


# Limits of the tenant


def tenant_with(world: World, **limits: int) -> str:
    world.accounts.create_tenant("carol", limits)
    world.keys["carol"] = world.accounts.create_key("carol")
    return "carol"


def test_the_rate_is_limited_with_a_time_to_come_back(world: World, replicate: FakeReplicate) -> None:
    carol = tenant_with(world, rate_per_minute=2)
    assert [submit(world, tenant=carol).status for _ in range(2)] == [201, 201]
    refusal = submit(world, tenant=carol)
    check_problem(refusal, 429, "rate_limited", instance=SCHNELL, retryable=True)
    assert 0 < int(refusal.headers["retry-after"]) <= 60
    assert len(replicate.calls) == 2
    assert submit(world).status == 201, "another tenant is not touched"


def test_refused_input_consumes_no_rate(world: World, replicate: FakeReplicate) -> None:
    carol = tenant_with(world, rate_per_minute=1)
    for _ in range(3):
        assert submit(world, {}, tenant=carol).status == 422
    assert submit(world, tenant=carol).status == 201
    assert len(replicate.calls) == 1


def test_jobs_in_flight_are_limited(world: World, replicate: FakeReplicate) -> None:
    carol = tenant_with(world, max_in_flight=1)
    submit(world, tenant=carol)
    check_problem(submit(world, tenant=carol), 429, "too_many_in_flight", instance=SCHNELL, retryable=True)
    assert len(replicate.calls) == 1


def test_the_budget_is_limited(world: World, replicate: FakeReplicate) -> None:
    carol = tenant_with(world, daily_budget=3_000)
    too_much = submit(world, with_input(num_outputs=2), tenant=carol)
    check_problem(too_much, 402, "budget_exceeded", instance=SCHNELL)
    assert submit(world, tenant=carol).status == 201
    spent = submit(world, tenant=carol)
    check_problem(spent, 402, "budget_exceeded", instance=SCHNELL, retryable=True)
    assert 0 < int(spent.headers["retry-after"]) <= 86_400
    assert len(replicate.calls) == 1


# Idempotency


def test_the_same_key_gives_the_same_job_and_one_charge(world: World, replicate: FakeReplicate) -> None:
    first, again = submit(world, Idempotency_Key="k"), submit(world, Idempotency_Key="k")
    assert first.json["id"] == again.json["id"]
    assert first.status == again.status == 201
    assert len(replicate.calls) == 1
    assert len(world.jobs_written()) == 1
    assert world.account()["n"] == 1


def test_a_key_that_was_used_for_another_body_is_refused(world: World, replicate: FakeReplicate) -> None:
    submit(world, Idempotency_Key="k")
    for body, path in ((with_input(seed=1), SCHNELL), (FOX, DEV)):
        refusal = submit(world, body, path, Idempotency_Key="k")
        check_problem(refusal, 422, "idempotency_key_reused", instance=path)
    assert len(replicate.calls) == 1


def test_keys_of_two_tenants_are_apart(world: World, replicate: FakeReplicate) -> None:
    ids = {submit(world, tenant=tenant, Idempotency_Key="k").json["id"] for tenant in (ALICE, BOB)}
    assert len(ids) == len(replicate.calls) == 2


def test_without_a_key_each_request_is_its_own(world: World, replicate: FakeReplicate) -> None:
    assert len({submit(world).json["id"] for _ in range(3)}) == len(replicate.calls) == 3


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_of_odd_length_is_refused(world: World, replicate: FakeReplicate, key: str) -> None:
    refusal = submit(world, Idempotency_Key=key)
    assert (refusal.status, refusal.json["code"]) == (422, "invalid_input")
    assert not replicate.calls


@pytest.mark.parametrize("key", ["x" * 255, "ключ", "a b", "#"])
def test_a_key_may_be_anything_else(world: World, replicate: FakeReplicate, key: str) -> None:
    assert submit(world, Idempotency_Key=key).json["id"] == submit(world, Idempotency_Key=key).json["id"]
    assert len(replicate.calls) == 1


# Waiting


def test_a_client_that_does_not_want_to_wait_is_told_so(world: World, replicate: FakeReplicate) -> None:
    created = submit(world, Prefer="respond-async")
    assert created.headers["preference-applied"] == "respond-async"
    assert created.status == 201
    assert len(replicate.calls) == 1


def test_waiting_ends_in_time_with_the_unfinished_job(world: World, replicate: FakeReplicate) -> None:
    world.parameters["MaxWaitSeconds"] = "2"
    created = submit(world, Prefer="wait")
    assert (created.status, created.json["status"]) == (202, "starting")
    assert created.headers["preference-applied"].startswith("wait")
    assert len(replicate.calls) == 1


# Found by review


def test_thousands_of_unknown_fields_are_dropped_and_a_few_named(world: World, replicate: FakeReplicate) -> None:
    created = submit(world, with_input(**{f"field{n}": n for n in range(8_000)}))
    assert created.status == 201
    warnings = created.json["afterimage"]["warnings"]
    assert len(warnings) == 21
    assert "7980" in warnings[-1]
    assert len(replicate.created) == 1


def test_thousands_of_wrong_fields_are_refused_in_a_short_answer(world: World, replicate: FakeReplicate) -> None:
    refusal = submit(world, {"prompt": "a", "input": {f"field{n}": n for n in range(8_000)}}, "/generate")
    assert (refusal.status, refusal.json["code"]) == (422, "invalid_input")
    assert len(refusal.body) < 50_000
    assert replicate.calls == []


def test_null_means_not_given_inside_the_short_interfaces_input_too(world: World, replicate: FakeReplicate) -> None:
    submit(world, {"prompt": "a", "input": {"num_outputs": None, "seed": None}}, "/generate")
    assert replicate.created[0]["input"]["num_outputs"] == 4


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"num_images": 2, "input": {"num_outputs": 3}}, "input.num_outputs"),
        ({"seed": 1, "input": {"seed": 2}}, "input.seed"),
        ({"input": {"prompt": "another"}}, "input.prompt"),
    ],
)
def test_what_is_given_twice_with_different_values_is_refused(
    world: World, replicate: FakeReplicate, given: dict[str, Any], field: str
) -> None:
    refusal = submit(world, {"prompt": "a", **given}, "/generate")
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields={field})
    assert replicate.calls == []


def test_a_refusal_leads_to_the_job_in_the_interface_that_was_asked(world: World, replicate: FakeReplicate) -> None:
    replicate.will(answer(422, INVALID))
    refusal = submit(world, {"prompt": "a"}, "/generate")
    assert refusal.headers["location"].startswith(f"{ORIGIN}/predictions/")


def test_a_table_that_is_busy_while_a_caller_waits_does_not_hide_the_job(
    world: World, replicate: FakeReplicate
) -> None:
    world.parameters["MaxWaitSeconds"] = "2"
    submit(world)
    client = services.submit().waiter._jobs._dynamo.client
    busy: Any = {"Error": {"Code": "ThrottlingException", "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 400}}

    def refuse(**_: Any) -> Any:
        return AWSResponse("", 400, {}, None), busy  # type: ignore[arg-type]

    def begin(**_: Any) -> None:
        client.meta.events.register_first("before-call.dynamodb.GetItem", refuse)

    client.meta.events.register("after-call.dynamodb.TransactWriteItems", begin)
    created = submit(world, Prefer="wait=2")
    assert (created.status, created.json["status"]) == (202, "starting")
    assert len(world.jobs_written()) == len(replicate.created) == 2
