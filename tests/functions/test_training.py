"""Training: asked for by both interfaces, put where it may go, paid for by its time, and usable at once."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.job import Job, Kind, Makes, Status
from shared.pricing import Price, Unit
from shared.services import now
from shared.upstream_limit import PK
from tests.support.catalog import version_of
from tests.support.loopback import Answer
from tests.support.problems import check_problem
from tests.support.replicate import answer, training
from tests.support.submits import After, Caller, configured, listening
from tests.support.world import ORIGIN, Answered, data_uri

pytestmark = pytest.mark.sockets

TRAINER = "ostris/flux-dev-lora-trainer"
VERSION, NEW = version_of("d"), version_of("9")
LATEST = f"/v1/models/{TRAINER}/versions/latest/trainings"
ZIP = "https://example.com/fox.zip"
INPUT = {"input_images": ZIP, "trigger_word": "FOXY"}
STEP = 1_830  # micro-USD: 1.2 seconds of an H100
NOT_FOUND = answer(404, {"detail": "The requested resource could not be found.", "status": 404})


@pytest.fixture(autouse=True)
def _catalog(caller: Caller) -> Iterator[None]:
    """Let Replicate have the trainer, and a model to fill."""
    catalog = caller.replicate.catalog
    catalog[f"models/{TRAINER}"] = {"latest_version": {"id": VERSION}}
    catalog[f"models/{TRAINER}/versions/{VERSION}"] = {"id": VERSION}
    catalog[f"models/{own(caller)}"] = {"latest_version": None}
    yield
    catalog.clear()


def own(caller: Caller) -> str:
    """Give the name of a model that is the tenant's to make: names belong to whoever trains first."""
    return f"acme/{caller.tenant}"


def on_v1(caller: Caller, path: str = LATEST, **changes: Any) -> Answered:
    return caller.post(path, {"input": INPUT, "destination": own(caller), **changes})


def train(caller: Caller, **changes: Any) -> Answered:
    return caller.post("/train", {"images_zip_url": ZIP, "destination": own(caller), **changes})


def started(caller: Caller, answered: Answered) -> Job:
    """Let `dispatch` start what was accepted, and give the job as it is then."""
    assert answered.status in {201, 202}, answered.body
    assert caller.world.dispatch() == []
    return caller.job(answered)


def posts(caller: Caller, path: str) -> list[Any]:
    return [json.loads(call.body) for call in caller.replicate.calls if call.path == path]


TRAININGS = f"/v1/models/{TRAINER}/versions/{VERSION}/trainings"


# Asking for one


def test_a_training_is_asked_for_as_replicate_wants_it(caller: Caller) -> None:
    created = on_v1(caller)
    assert created.status == 201
    assert caller.replicate.calls == [], "dispatch starts it, since it may take long"
    job = started(caller, created)
    assert (job.kind, job.makes, job.model, job.version) == (Kind.TRAINING, Makes.MODEL, TRAINER, VERSION)
    assert (job.status, job.destination) == (Status.STARTING, own(caller))
    (call,) = caller.replicate.calls
    assert (call.method, call.path) == ("POST", TRAININGS)
    body = json.loads(call.body)
    assert body.pop("webhook").startswith(f"{ORIGIN}/webhooks/replicate/{job.id}?attempt=1&k=")
    assert body == {
        "input": {**INPUT, "steps": 1_000},
        "destination": own(caller),
        "webhook_events_filter": ["start", "logs", "completed"],
    }


def test_it_answers_as_replicate_does(caller: Caller) -> None:
    created = on_v1(caller)
    document = created.json
    url = f"{ORIGIN}/v1/trainings/{document['id']}"
    assert document["urls"] == {"get": url, "cancel": f"{url}/cancel", "web": f"{ORIGIN}/#{document['id']}"}
    assert (document["status"], document["model"], document["version"]) == ("starting", TRAINER, VERSION)
    assert (document["output"], document["logs"], document["error"]) == (None, "", None)
    assert created.headers["location"] == url
    assert document["afterimage"]["estimated_cost_usd"] == 1.83


def test_the_short_interface_fills_in_what_most_want(caller: Caller) -> None:
    answered = train(caller)
    assert answered.status == 202
    job = caller.job(answered)
    assert answered.json == {
        "prediction_id": job.id,
        "status": "starting",
        "images": None,
        "progress": None,
        "problem": None,
        "trained_model": None,
    }
    assert answered.headers["location"] == f"{ORIGIN}/predictions/{job.id}"
    expected = {"input_images": ZIP, "trigger_word": "TOK", "steps": 1_000, "autocaption_prefix": "a photo of TOK"}
    started(caller, answered)
    assert caller.sent == [expected]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"trigger_word": "FOXY"}, {"trigger_word": "FOXY", "autocaption_prefix": "a photo of FOXY"}),
        ({"input": {"trigger_word": "FOXY"}}, {"trigger_word": "FOXY", "autocaption_prefix": "a photo of FOXY"}),
        ({"trigger_word": None, "steps": None, "input": None}, {"trigger_word": "TOK", "steps": 1_000}),
        ({"steps": 500, "input": {"steps": 500}}, {"steps": 500}),
        ({"input": {"autocaption_prefix": "a drawing of FOXY"}}, {"autocaption_prefix": "a drawing of FOXY"}),
        ({"input": {"caption_prefix": "a drawing of FOXY"}}, {"autocaption_prefix": "a drawing of FOXY"}),
        (
            {"input": {"lora_rank": 32, "optimizer": "prodigy", "batch_size": 2, "learning_rate": 1e-4}},
            {"lora_rank": 32, "optimizer": "prodigy", "batch_size": 2, "learning_rate": 1e-4},
        ),
    ],
)
def test_whatever_else_the_trainer_takes_can_be_given(
    caller: Caller, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    started(caller, train(caller, **body))
    assert expected.items() <= caller.sent[0].items()
    assert "caption_prefix" not in caller.sent[0]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"steps": 2}, {"input.steps"}),
        ({"steps": 6_001}, {"input.steps"}),
        ({"input": {"lora_rank": 129}}, {"input.lora_rank"}),
        ({"input": {"resolution": "2048"}}, {"input.resolution"}),
        ({"input": {"lora_ranc": 1}}, {"input.lora_ranc"}),
        ({"images_zip_url": "fox.zip"}, {"input.input_images"}),
        ({"images_zip_url": "http://example.com/fox.zip"}, {"input.input_images"}),
        ({"steps": 5, "input": {"steps": 6}}, {"input.steps"}),
        ({"trigger_word": "A", "input": {"trigger_word": "B"}}, {"input.trigger_word"}),
        ({"input": {"trigger_word": 5}}, {"input.trigger_word"}),
        ({"destination": "acme/"}, {"destination"}),
        ({"destination": "fox"}, {"destination"}),
        ({"destination": None}, {"destination"}),
    ],
)
def test_what_is_wrong_is_refused(caller: Caller, body: dict[str, Any], fields: set[str]) -> None:
    check_problem(train(caller, **body), 422, "invalid_input", instance="/train", fields=fields)
    assert (caller.jobs(), caller.replicate.calls) == ([], [])


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"input": {}}, {"input.input_images"}),
        ({"destination": None}, {"destination"}),
        ({"destination": "fox"}, {"destination"}),
        ({"input": {**INPUT, "steps": "1000"}}, {"input.steps"}),
    ],
)
def test_what_is_wrong_is_refused_on_replicates_interface(
    caller: Caller, changes: dict[str, Any], fields: set[str]
) -> None:
    check_problem(on_v1(caller, **changes), 422, "invalid_input", instance=LATEST, fields=fields)
    assert (caller.jobs(), caller.replicate.calls) == ([], [])


def test_unknown_fields_are_dropped_on_replicates_interface(caller: Caller) -> None:
    created = on_v1(caller, input={**INPUT, "is_style": True})
    assert created.status == 201
    assert [one.partition(":")[0] for one in created.json["afterimage"]["warnings"]] == ["input.is_style"]


def test_images_can_come_with_the_request(caller: Caller) -> None:
    content = b"PK\x03\x04" + b"x" * 100_000
    job = started(caller, train(caller, images_zip_url=data_uri(content, "application/zip")))
    (key,) = job.stored_inputs.values()
    assert key.endswith(".zip")
    assert caller.world.object(key) == content
    assert urlsplit(caller.sent[0]["input_images"]).path.endswith(key)


def test_a_repeat_with_its_key_is_the_same_training_also_where_we_choose_its_place(caller: Caller) -> None:
    with configured(caller.world, ReplicateUsername="acme"):
        first, again = (
            caller.post("/train", {"images_zip_url": ZIP}, idempotency_key="k").json["prediction_id"] for _ in range(2)
        )
    assert first == again
    assert [order.job_id for order in caller.world.dispatch_orders()].count(first) == 1


# Which trainer


@pytest.mark.parametrize("version", ["None", "latest", VERSION])
def test_the_version_is_the_latest_unless_it_is_named(caller: Caller, version: str) -> None:
    created = on_v1(caller, f"/v1/models/{TRAINER}/versions/{version}/trainings")
    assert (created.status, created.json["version"]) == (201, VERSION)


def test_the_operator_can_name_the_version(caller: Caller) -> None:
    config = json.dumps({"models": {TRAINER: {"version": NEW}}})
    with configured(caller.world, ModelConfig=config):
        assert [on_v1(caller).json["version"], train(caller).status] == [NEW, 202]
    assert {job.version for job in caller.jobs()} == {NEW}


@pytest.mark.parametrize(
    ("trainer", "version", "status", "code"),
    [
        (TRAINER, version_of("0"), 404, "model_not_found"),
        (TRAINER, "v1", 422, "invalid_input"),
        (TRAINER, "none", 422, "invalid_input"),
        ("black-forest-labs/flux-dev", "latest", 404, "model_not_found"),
        ("black-forest-labs/none", "latest", 404, "model_not_found"),
        ("evil/trainer", "latest", 403, "model_not_allowed"),
        ("stability-ai/sdxl", VERSION, 404, "model_not_found"),
    ],
)
def test_what_is_no_trainer_trains_nothing(caller: Caller, trainer: str, version: str, status: int, code: str) -> None:
    refusal = on_v1(caller, f"/v1/models/{trainer}/versions/{version}/trainings")
    assert (refusal.status, refusal.json["code"]) == (status, code)
    assert (caller.jobs(), caller.replicate.calls) == ([], [])


def test_a_trainer_that_may_not_be_called_is_not_called(caller: Caller) -> None:
    with configured(caller.world, AllowedModels="black-forest-labs/*"):
        check_problem(train(caller), 403, "model_not_allowed", instance="/train")
        check_problem(on_v1(caller), 403, "model_not_allowed", instance=LATEST)


# Where it goes


@pytest.mark.parametrize("given", ["acme/{}", "ACME/{}", "{}", "red.{}_2"])
def test_models_are_made_under_the_configured_account(caller: Caller, given: str) -> None:
    name = given.format(caller.tenant)
    destination = name if "/" in name else f"acme/{name}"
    caller.replicate.catalog[f"models/{destination}"] = {"latest_version": None}
    with configured(caller.world, ReplicateUsername="acme"):
        jobs = [started(caller, train(caller, destination=name)), started(caller, on_v1(caller, destination=name))]
    assert [job.destination for job in jobs] == [destination] * 2
    assert [body["destination"] for body in posts(caller, TRAININGS)] == [destination] * 2


@pytest.mark.parametrize("destination", ["evil/fox", "acme2/fox", "acme/../fox", "..", "acme/..", "fox bar", "f" * 101])
def test_no_model_is_made_anywhere_else(caller: Caller, destination: str) -> None:
    with configured(caller.world, ReplicateUsername="acme"):
        for refusal, path in (
            (train(caller, destination=destination), "/train"),
            (on_v1(caller, destination=destination), LATEST),
        ):
            check_problem(refusal, 422, "invalid_input", instance=path, fields={"destination"})
    assert (caller.replicate.calls, caller.replicate.catalog_calls) == ([], [])


@pytest.mark.parametrize(
    ("word", "start"),
    [("FOXY", "foxy-"), (None, "tok-"), ("Red Fox!", "red-fox-"), ("\u72d0\u72f8", "lora-"), ("--", "lora-")],
)
def test_a_model_without_a_name_is_given_one(caller: Caller, word: str | None, start: str) -> None:
    with configured(caller.world, ReplicateUsername="acme"):
        names = {str(caller.job(train(caller, destination=None, trigger_word=word)).destination) for _ in range(2)}
    assert len(names) == 2, "trainings are kept apart"
    assert all(name.startswith(f"acme/{start}") for name in names)


def test_a_model_that_is_missing_is_made_before_the_training(caller: Caller) -> None:
    with configured(caller.world, ReplicateUsername="acme"):
        for _ in range(2):
            started(caller, train(caller, destination="new-fox"))
    assert [call.path for call in caller.replicate.calls] == ["/v1/models", TRAININGS, TRAININGS]
    (made,) = posts(caller, "/v1/models")
    assert made == {"owner": "acme", "name": "new-fox", "visibility": "private", "hardware": "cpu"}


def test_a_model_that_is_there_is_not_made(caller: Caller) -> None:
    with configured(caller.world, ReplicateUsername="acme"):
        started(caller, train(caller))
    assert posts(caller, "/v1/models") == []
    assert len(posts(caller, TRAININGS)) == 1


def test_without_an_account_a_missing_model_is_not_made(caller: Caller) -> None:
    refusal = train(caller, destination="acme/none")
    problem = check_problem(refusal, 422, "invalid_input", instance="/train", fields={"destination"})
    assert "ReplicateUsername" in problem["detail"]
    assert (caller.jobs(), caller.replicate.calls) == ([], [])


def test_a_model_that_has_gone_by_the_time_of_the_start_ends_the_training(caller: Caller) -> None:
    caller.replicate.catalog["models/acme/going"] = [{"latest_version": None}, NOT_FOUND]
    job = started(caller, train(caller, destination="acme/going"))
    assert (job.status, job.cost) == (Status.FAILED, 0)
    problem = caller.get(f"/predictions/{job.id}").json["problem"]
    assert (problem["code"], problem["invalid_fields"][0]["field"]) == ("upstream_rejected", "destination")
    assert (caller.account["inflight"], caller.committed, caller.replicate.calls) == (0, 0, [])
    assert caller.world.archive() == []
    assert caller.world.manifest(job)["status"] == "failed"


def test_a_model_that_somebody_else_makes_meanwhile_will_do(caller: Caller) -> None:
    caller.replicate.catalog["models/acme/raced"] = [NOT_FOUND, NOT_FOUND, {"latest_version": None}]
    caller.replicate.will(answer(409, {"detail": "A model with that name and owner already exists", "status": 409}))
    with configured(caller.world, ReplicateUsername="acme"):
        job = started(caller, train(caller, destination="raced"))
    assert job.prediction_id is not None
    assert [call.path for call in caller.replicate.calls] == ["/v1/models", TRAININGS]


def test_a_model_that_cannot_be_made_ends_the_training_with_the_reason(caller: Caller) -> None:
    caller.replicate.will(answer(422, {"detail": "The name is reserved.", "status": 422}))
    with configured(caller.world, ReplicateUsername="acme"):
        job = started(caller, train(caller, destination="reserved"))
    problem = caller.get(f"/predictions/{job.id}").json["problem"]
    assert (problem["code"], problem["invalid_fields"][0]["field"]) == ("upstream_rejected", "destination")
    assert "The name is reserved." in problem["detail"]
    assert posts(caller, TRAININGS) == []
    assert (caller.account["inflight"], caller.committed) == (0, 0)


UNABLE = [Answer(500), Answer(503), Answer(cut=0), answer(401, {}), answer(402, {}), answer(429, {"detail": "slow"})]


@pytest.mark.parametrize("unable", UNABLE, ids=lambda one: f"{one.status}-{one.cut}")
@pytest.mark.parametrize("step", ["look", "make"])
def test_while_replicate_cannot_say_or_make_it_the_training_waits(caller: Caller, unable: Answer, step: str) -> None:
    name = f"{step}-{caller.tenant}"
    if step == "look":
        caller.replicate.catalog[f"models/acme/{name}"] = [{"latest_version": None}, unable]
    else:
        caller.replicate.will(unable)
    with configured(caller.world, ReplicateUsername="acme"):
        job = started(caller, train(caller, destination=name))
        assert (job.status, job.attempt, job.prediction_id) == (Status.QUEUED, 1, None)
        assert job.due_at is not None
        assert job.due_at > now()
        assert posts(caller, TRAININGS) == [], "surely nothing is paid for"
        caller.replicate.catalog[f"models/acme/{name}"] = {"latest_version": None}
        caller.world.dynamodb.delete_item(TableName=caller.world.accounts_table, Key={"pk": {"S": PK}})
        order = {"job_id": job.id, "tenant": job.tenant, "attempt": job.attempt}
        with configured(caller.world):
            caller.world.call("DispatchFunction", {"Records": [{"messageId": "m", "body": json.dumps(order)}]})
    assert caller.world.read(job.id).prediction_id is not None
    assert len(posts(caller, TRAININGS)) == 1
    assert caller.account["inflight"] == 1


def test_while_replicate_cannot_say_what_is_there_nothing_is_accepted(caller: Caller) -> None:
    caller.replicate.catalog["models/acme/unknown"] = Answer(500)
    refusal = train(caller, destination="acme/unknown")
    check_problem(refusal, 503, "upstream_unavailable", instance="/train", retryable=True)
    assert caller.jobs() == []


def test_what_others_have_made_is_not_trained_over(caller: Caller) -> None:
    caller.replicate.catalog["models/acme/old"] = {"latest_version": {"id": NEW}}
    refusal = train(caller, destination="acme/old")
    check_problem(refusal, 422, "invalid_input", instance="/train", fields={"destination"})
    with configured(caller.world, AllowedModels=f"{TRAINER},acme/old"):
        assert train(caller, destination="acme/old").status == 202


# Whose it is


def test_a_name_belongs_to_whoever_trains_under_it_first(caller: Caller, other: Caller) -> None:
    name = own(caller)
    assert train(caller).status == 202
    assert on_v1(caller).status == 201, "and again"
    for refusal, path in (
        (train(other, destination=name), "/train"),
        (on_v1(other, destination=name.upper()), LATEST),
    ):
        check_problem(refusal, 422, "invalid_input", instance=path, fields={"destination"})
    assert (other.jobs(), other.committed) == ([], 0)


def test_of_two_who_train_under_a_name_at_the_same_instant_one_is_refused(caller: Caller, other: Caller) -> None:
    answers: list[Answered] = []
    meanwhile = After(1, lambda: answers.append(train(other, destination=own(caller))))
    with listening(caller.world, "before-call.dynamodb.TransactWriteItems", meanwhile):
        refusal = train(caller)
    assert answers[0].status == 202
    check_problem(refusal, 422, "invalid_input", instance="/train", fields={"destination"})
    assert caller.account["inflight"] == caller.account["n"] == 0


def test_a_refused_training_claims_no_name(caller: Caller, other: Caller) -> None:
    poor = Caller(caller.world, caller.replicate, daily_budget=1)
    assert train(poor, destination=own(caller)).status == 402
    assert train(other, destination=own(caller)).status == 202


def test_what_another_tenant_trains_is_neither_called_nor_loaded(caller: Caller, other: Caller) -> None:
    name = own(caller)
    ended(caller, started(caller, train(caller)))
    with configured(caller.world, AllowedModels=f"{TRAINER},acme/*,black-forest-labs/*", FallbackPriceUsd="0.5"):
        assert caller.generate({"prompt": "a", "model": name}).status == 202
        for body in ({"model": name}, {"lora_model_id": name}, {"model": f"{name}:{NEW}"}):
            refusal = other.generate({"prompt": "a", **body})
            check_problem(refusal, 403, "model_not_allowed", instance="/generate")
        refusal = other.post("/v1/predictions", {"version": f"{name}:{NEW}", "input": {"prompt": "a"}})
        check_problem(refusal, 403, "model_not_allowed", instance="/v1/predictions")
        for weights in (name, f"{name}/{NEW}", f"{name}:{NEW}", name.upper()):
            for field in ("lora_weights", "extra_lora"):
                given = {"prompt": "a", field: weights}
                path = "/v1/models/black-forest-labs/flux-dev-lora/predictions"
                refusal = other.post(path, {"input": given})
                check_problem(refusal, 422, "invalid_input", instance=path, fields={f"input.{field}"})
    assert other.jobs() == []


# What it costs


@pytest.mark.parametrize(("steps", "cost"), [(None, 1_000 * STEP), (3, 100 * STEP), (2_000, 2_000 * STEP)])
def test_its_steps_are_what_is_held(caller: Caller, steps: int | None, cost: int) -> None:
    job = caller.job(train(caller, steps=steps))
    assert (job.price, job.estimate) == (Price(1_525, Unit.SECOND), cost)
    assert job.hold is not None
    assert job.hold.amount == caller.committed == cost


def test_a_budget_that_does_not_reach_refuses_it(caller: Caller) -> None:
    poor = Caller(caller.world, caller.replicate, daily_budget=1_000_000)
    check_problem(train(poor, destination=own(caller)), 402, "budget_exceeded", instance="/train")
    assert train(poor, destination=own(caller), steps=500).status == 202


@pytest.mark.parametrize(("given", "cost"), [({"batch_size": 2}, 2_000 * STEP), ({"batch_size": 100}, 7_200 * 1_525)])
def test_more_work_is_held_for_up_to_the_deadline(caller: Caller, given: dict[str, Any], cost: int) -> None:
    assert caller.job(train(caller, input=given)).estimate == cost


# From its start to its end


def ended(caller: Caller, job: Job, status: str = "succeeded", **fields: Any) -> Job:
    output = {"version": f"{job.destination}:{NEW}", "weights": data_uri(b"tar")} if status == "succeeded" else None
    document = training(
        str(job.prediction_id), status, **{"output": output, "metrics": {"predict_time": 1_200}, **fields}
    )
    assert caller.world.webhook(job.id, document, attempt=job.attempt).status == 200
    assert caller.world.archive() == []
    return caller.world.read(job.id)


def test_what_was_trained_can_be_used_at_once(caller: Caller) -> None:
    job = started(caller, train(caller, trigger_word="FOXY"))
    assert caller.generate({"prompt": "a fox", "lora_model_id": caller.tenant}).status == 404
    done = ended(caller, job)
    assert done.status is Status.SUCCEEDED
    read = caller.get(f"/predictions/{job.id}").json
    assert (read["status"], read["trained_model"]) == ("succeeded", f"{own(caller)}:{NEW}")
    caller.replicate.forget()
    answered = caller.generate({"prompt": "a fox", "lora_model_id": caller.tenant, "num_images": 1})
    assert answered.status == 202
    used = caller.job(answered)
    assert (used.model, used.version, used.input["prompt"]) == (own(caller), NEW, "FOXY a fox")


def test_a_training_without_a_word_teaches_the_trainers_own(caller: Caller) -> None:
    ended(caller, started(caller, on_v1(caller, input={"input_images": ZIP})))
    assert (
        caller.job(caller.generate({"prompt": "a fox", "lora_model_id": caller.tenant})).input["prompt"] == "TOK a fox"
    )


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_what_was_not_trained_cannot_be_used(caller: Caller, status: str) -> None:
    ended(caller, started(caller, train(caller)), status)
    assert caller.generate({"prompt": "a fox", "lora_model_id": caller.tenant}).status == 404


def test_progress_is_told_from_the_logs(caller: Caller) -> None:
    job = started(caller, train(caller))
    logs = "flux_train_replicate:  25%|##5       | 250/1000 [05:00<15:00]"
    document = training(str(job.prediction_id), "processing", logs=logs, input={"steps": 1_000})
    assert caller.world.webhook(job.id, document).status == 200
    assert caller.get(f"/predictions/{job.id}").json["progress"] == 0.25
    full = caller.get(f"/v1/trainings/{job.id}").json
    assert (full["afterimage"]["progress"], full["status"]) == (0.25, "processing")


def test_trainings_and_predictions_are_apart_on_replicates_interface(caller: Caller) -> None:
    trained = started(caller, train(caller))
    predicted = caller.job(caller.generate({"prompt": "a fox"}))
    assert [one["id"] for one in caller.get("/v1/trainings").json["results"]] == [trained.id]
    assert [one["id"] for one in caller.get("/v1/predictions").json["results"]] == [predicted.id]
    for path in (f"/v1/trainings/{predicted.id}", f"/v1/predictions/{trained.id}"):
        check_problem(caller.get(path), 404, "not_found", instance=path)
        refusal = caller.post(f"{path}/cancel", None)
        check_problem(refusal, 404, "not_found", instance=f"{path}/cancel")
    assert caller.get(f"/v1/trainings/{trained.id}").status == 200
    assert {one["prediction_id"] for one in caller.get("/predictions").json["predictions"]} == {
        trained.id,
        predicted.id,
    }


@pytest.mark.parametrize(("base", "status"), [("/v1/trainings", 200), ("/predictions", 202)])
def test_a_training_is_canceled_with_replicate(caller: Caller, base: str, status: int) -> None:
    job = started(caller, train(caller))
    caller.replicate.forget()
    caller.replicate.will(answer(200, training(str(job.prediction_id), "processing")))
    canceled = caller.post(f"{base}/{job.id}/cancel", None)
    assert canceled.status == status
    assert [call.path for call in caller.replicate.calls] == [f"/v1/trainings/{job.prediction_id}/cancel"]


def test_a_training_that_waits_is_canceled_at_once_and_costs_nothing(caller: Caller) -> None:
    caller.replicate.will(answer(429, {"detail": "slow down"}, {"retry-after": "0"}))
    job = started(caller, train(caller))
    assert job.status is Status.QUEUED
    canceled = caller.post(f"/v1/trainings/{job.id}/cancel", None)
    assert (canceled.status, canceled.json["status"]) == (200, "canceled")
    assert (caller.account["inflight"], caller.committed) == (0, 0)


def test_another_tenants_training_is_not_there(caller: Caller, other: Caller) -> None:
    job = started(caller, train(caller))
    path = f"/v1/trainings/{job.id}"
    check_problem(other.get(path), 404, "not_found", instance=path)
    check_problem(other.post(f"{path}/cancel", None), 404, "not_found", instance=f"{path}/cancel")
    assert other.get("/v1/trainings").json["results"] == []
