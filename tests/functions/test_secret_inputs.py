"""Secrets among the inputs: passed on, sealed until the job has started, and to be seen nowhere."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from shared.job import Job, Status
from tests.support.catalog import version_of
from tests.support.loopback import Answer
from tests.support.problems import check_problem
from tests.support.replicate import answer
from tests.support.submits import After, Caller, configured, fail, listening
from tests.support.world import Answered

pytestmark = pytest.mark.sockets

TOKEN = "hf_A_VERY_SECRET_TOKEN"
OTHER_TOKEN = "cv_ANOTHER_SECRET"
LORA = "/v1/models/black-forest-labs/flux-dev-lora/predictions"
ANYTHING = "/v1/models/acme/anything/predictions"
TRAININGS = f"/v1/models/ostris/flux-dev-lora-trainer/versions/{version_of('d')}/trainings"
INPUT = {
    "prompt": "a fox",
    "lora_weights": "huggingface.co/acme/fox",
    "hf_api_token": TOKEN,
    "civitai_api_token": OTHER_TOKEN,
}
THROTTLED = answer(429, {"detail": "slow down"}, {"retry-after": "0"})


def submit(caller: Caller, **headers: str) -> Answered:
    return caller.post(LORA, {"input": INPUT}, **headers)


def queued(caller: Caller) -> Job:
    """Give a job that Replicate did not take, and that waits with its secrets."""
    caller.replicate.will(THROTTLED)
    job = caller.job(submit(caller))
    caller.replicate.forget()
    assert job.status is Status.QUEUED
    return job


def item_of(caller: Caller, job: Job) -> dict[str, Any]:
    key = {"pk": {"S": f"job#{job.id}"}}
    item: dict[str, Any] = caller.world.dynamodb.get_item(TableName=caller.world.jobs_table, Key=key)["Item"]
    return item


@pytest.fixture(autouse=True)
def _nothing_is_told(caller: Caller, logged: list[str]) -> Iterator[None]:
    """Require of each test that no secret is in the tables, the bucket, the queues or the logs."""
    yield
    world = caller.world
    kept = json.dumps(world.everything()) + json.dumps(world.orders()) + str(world.dispatch_orders()) + "".join(logged)
    kept += "".join(world.object(key).decode(errors="replace") for key in world.stored())
    assert TOKEN not in kept
    assert OTHER_TOKEN not in kept


# What is sent, and what is seen


def test_secrets_are_sent_and_shown_nowhere(caller: Caller) -> None:
    created = submit(caller)
    assert created.status == 201
    assert caller.sent[0] == {**INPUT, "seed": created.json["input"]["seed"]}
    job = caller.job(created)
    assert set(job.altered) == {"hf_api_token", "civitai_api_token"}
    shown = [created, caller.get(f"/v1/predictions/{job.id}"), caller.get(f"/predictions/{job.id}")]
    done = caller.finish(job)
    shown += [caller.get(f"/v1/predictions/{job.id}"), caller.get("/v1/predictions"), caller.get("/predictions")]
    for answered in shown:
        assert answered.status in {200, 201}
        assert "TOKEN" not in answered.body.decode()
        assert OTHER_TOKEN not in answered.body.decode()
    assert set(caller.world.manifest(done)["input"]) == {"prompt", "lora_weights", "seed"}


def test_secrets_are_gone_once_the_job_has_started(caller: Caller) -> None:
    job = caller.job(submit(caller))
    assert (job.prediction_id, job.sealed) != (None, None)
    assert "sealed" not in item_of(caller, job)


def test_the_short_interface_takes_secrets_too(caller: Caller) -> None:
    body = {"prompt": "a fox", "model": "black-forest-labs/flux-dev-lora", "input": {"hf_api_token": TOKEN}}
    answered = caller.generate(body)
    assert answered.status == 202
    assert caller.sent[0]["hf_api_token"] == TOKEN


def test_secrets_of_a_training_are_passed_on(caller: Caller) -> None:
    caller.replicate.catalog[f"models/ostris/flux-dev-lora-trainer/versions/{version_of('d')}"] = {"id": "x"}
    caller.replicate.catalog["models/acme/secret"] = {"name": "secret"}
    secrets = {"hf_token": TOKEN, "wandb_api_key": OTHER_TOKEN}
    given = {"input_images": "https://example.com/fox.zip", **secrets}
    created = caller.post(TRAININGS, {"input": given, "destination": "acme/secret"})
    assert created.status == 201
    assert not secrets.keys() & created.json["input"].keys()
    assert caller.job(created).sealed is not None
    assert caller.world.dispatch() == []
    assert caller.job(created).sealed is None
    assert given.items() <= caller.sent[0].items()


@pytest.mark.parametrize("secret", [{"hf_api_token": ""}, {"hf_api_token": "x" * 501}, {"hf_api_token": 5}])
def test_what_is_no_token_is_refused_without_being_repeated(caller: Caller, secret: dict[str, Any]) -> None:
    refusal = caller.post(LORA, {"input": {"prompt": "a", **secret}})
    check_problem(refusal, 422, "invalid_input", instance=LORA, fields={"input.hf_api_token"})
    assert "xxxx" not in refusal.body.decode()


@pytest.mark.parametrize("words", [f"- input.hf_api_token: {TOKEN} is not valid", f"no {TOKEN}{OTHER_TOKEN}{TOKEN}"])
def test_a_secret_that_replicate_repeats_is_taken_out_of_its_words(caller: Caller, words: str) -> None:
    fields = [{"field": "input.hf_api_token", "description": f"{TOKEN} is not valid"}]
    caller.replicate.will(answer(422, {"detail": words, "status": 422, "invalid_fields": fields}))
    refusal = submit(caller)
    check_problem_of_replicates(refusal)
    job_id = refusal.headers["location"].rpartition("/")[2]
    for read in (caller.get(f"/v1/predictions/{job_id}"), caller.get(f"/predictions/{job_id}")):
        assert "[REDACTED]" in read.body.decode()
        assert TOKEN not in read.body.decode()


def check_problem_of_replicates(refusal: Answered) -> None:
    assert (refusal.status, refusal.json["code"]) == (422, "upstream_rejected")
    assert "[REDACTED]" in refusal.json["detail"]
    for secret in (TOKEN, OTHER_TOKEN):
        assert secret not in refusal.body.decode()


# While the job waits


def test_secrets_wait_sealed_and_are_sent_by_dispatch(caller: Caller) -> None:
    job = queued(caller)
    assert job.sealed is not None
    assert len(job.sealed) < 1_000
    assert caller.world.dispatch() == []
    assert (caller.sent[0]["hf_api_token"], caller.sent[0]["civitai_api_token"]) == (TOKEN, OTHER_TOKEN)
    assert caller.world.read(job.id).sealed is None


def test_each_job_of_a_batch_has_its_secrets(caller: Caller) -> None:
    body = {"prompts": ["a", "b"], "model": "black-forest-labs/flux-dev-lora", "input": {"hf_api_token": TOKEN}}
    caller.generate(body)
    assert len({job.sealed for job in caller.jobs()}) == 2
    caller.world.dispatch()
    assert [sent["hf_api_token"] for sent in caller.sent] == [TOKEN] * 2


def test_what_was_sealed_for_one_job_opens_for_no_other(caller: Caller, other: Caller, logged: list[str]) -> None:
    job, foreign = queued(caller), queued(other)
    for stolen in (replace(job, sealed=queued(caller).sealed), replace(foreign, sealed=job.sealed)):
        caller.world.put(stolen)
    caller.world.dispatch()
    assert len(caller.sent) == 1, "only the third"
    for one in (job, foreign):
        assert caller.world.read(one.id).status is Status.QUEUED
    assert sum("start_not_prepared" in line for line in logged) == 2


@pytest.mark.parametrize("end", ["canceled", "refused", "too late"])
def test_secrets_do_not_outlive_a_job_that_never_ran(caller: Caller, end: str) -> None:
    job = queued(caller)
    match end:
        case "canceled":
            caller.post(f"/v1/predictions/{job.id}/cancel", None)
        case "refused":
            caller.replicate.will(answer(422, {"detail": "no", "status": 422}))
            caller.world.dispatch()
        case _:
            caller.world.put(replace(job, cancel_after_at=job.created_at))
            caller.world.dispatch()
    ended = caller.world.read(job.id)
    assert ended.ended
    assert "sealed" not in item_of(caller, job)
    assert caller.world.archive() == []
    assert set(caller.world.manifest(ended)["input"]) == {"prompt", "lora_weights", "seed"}


@pytest.mark.parametrize("unclear", [Answer(500), Answer(cut=0)])
def test_secrets_stay_sealed_while_it_is_unclear_whether_the_job_runs(caller: Caller, unclear: Answer) -> None:
    caller.replicate.will(unclear)
    job = caller.job(submit(caller))
    assert (job.status, job.unclear_at is None, job.sealed is None) == (Status.STARTING, False, False)


# Without the key


def test_a_job_whose_secrets_cannot_be_opened_now_waits(caller: Caller) -> None:
    with listening(caller.world, "before-call.kms.Decrypt", After(1, fail)):
        created = submit(caller)
    assert (created.status, created.json["afterimage"]["stage"]) == (201, "queued")
    assert caller.replicate.calls == [], "nothing was sent without them"
    job = caller.job(created)
    assert (job.attempt, job.sealed is None) == (1, False)
    assert job.due_at is not None
    message = {"job_id": job.id, "tenant": job.tenant, "attempt": 1}
    records = [{"messageId": "m", "body": json.dumps(message)}]
    caller.world.call("DispatchFunction", {"Records": records})
    assert caller.sent[0]["hf_api_token"] == TOKEN


def test_a_request_whose_secrets_cannot_be_sealed_is_refused(caller: Caller) -> None:
    before = caller.state
    with listening(caller.world, "before-call.kms.Encrypt", After(1, fail)):
        refusal = submit(caller)
    check_problem(refusal, 503, "upstream_unavailable", instance=LORA, retryable=True)
    assert caller.state == before


def test_without_secrets_no_key_is_asked_for(caller: Caller) -> None:
    calls = After(99, fail)
    with listening(caller.world, "before-call.kms", calls):
        assert caller.post(LORA, {"input": {"prompt": "a fox"}}).status == 201
    assert calls.calls == 0


# Equal requests


def test_secrets_do_not_tell_equal_requests_apart(caller: Caller) -> None:
    first = submit(caller, afterimage_reuse="true")
    without = {name: value for name, value in INPUT.items() if not name.endswith("token")}
    again = caller.post(LORA, {"input": without}, afterimage_reuse="true")
    assert first.json["id"] == again.json["id"]


def test_another_secret_is_another_request_for_a_key(caller: Caller) -> None:
    submit(caller, idempotency_key="k")
    refusal = caller.post(LORA, {"input": {**INPUT, "hf_api_token": "another"}}, idempotency_key="k")
    check_problem(refusal, 422, "idempotency_key_reused", instance=LORA)


# Models that nobody has described


@pytest.fixture
def liberal(caller: Caller) -> Iterator[Caller]:
    caller.replicate.catalog["models/acme/anything"] = {"is_official": True}
    with configured(caller.world, AllowedModels="acme/*", FallbackPriceUsd="0.01"):
        yield caller


@pytest.mark.parametrize(
    "name",
    [
        "token", "hf_token", "api_key", "openai_api_key", "SECRET", "my_secret", "password", "db_Password", "passwd",
        "credential", "aws_credentials", "auth", "Authorization", "apikey", "key", "x-api-key",
    ],
)  # fmt: skip
def test_what_is_named_like_a_secret_is_one(liberal: Caller, name: str) -> None:
    created = liberal.post(ANYTHING, {"input": {"text": "a fox", name: TOKEN}})
    assert created.status == 201
    assert created.json["input"] == {"text": "a fox"}
    assert liberal.sent == [{"text": "a fox", name: TOKEN}]


@pytest.mark.parametrize(
    "name", ["tokens", "max_tokens", "tokenizer", "passwords", "keys", "api_keys", "monkey", "author"]
)
def test_what_is_not_named_like_one_is_shown(liberal: Caller, name: str) -> None:
    created = liberal.post(ANYTHING, {"input": {name: "a fox"}})
    assert created.json["input"] == {name: "a fox"}


def test_what_may_be_no_secret_after_all_is_never_taken_for_equal(liberal: Caller) -> None:
    ids = {
        liberal.post(ANYTHING, {"input": {"instance_token": word}}, afterimage_reuse="true").json["id"]
        for word in ("one", "two", "two")
    }
    assert len(ids) == 3


@pytest.mark.parametrize(
    "secrets",
    [
        {"token": "x" * 4_000},
        {f"{n}_token": "x" for n in range(2_000)},
        {"n" * 3_000_000 + "_token": "x"},
    ],
    ids=["long", "many", "long name"],
)
def test_secrets_that_are_no_tokens_are_refused_in_a_short_answer(liberal: Caller, secrets: dict[str, str]) -> None:
    refusal = liberal.post(ANYTHING, {"input": secrets})
    assert (refusal.status, refusal.json["code"]) == (422, "invalid_input")
    assert len(refusal.body) < 15_000
    assert liberal.jobs() == []
