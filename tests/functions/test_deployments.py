"""Deployments, and models that nobody has described: what may be called, at which price, and how it is checked."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared.job import Makes, Shape, Status
from shared.pricing import Price, Unit
from tests.support.catalog import train, version_of
from tests.support.problems import check_problem
from tests.support.replicate import answer
from tests.support.submits import Caller, configured
from tests.support.world import Answered, data_uri, image

pytestmark = pytest.mark.sockets

FAST = "/v1/deployments/acme/fast/predictions"
ANYTHING = "/v1/models/acme/anything/predictions"
DEV, SDXL = "black-forest-labs/flux-dev", "stability-ai/sdxl"
CONFIG = {"acme/fast": {"model": DEV, "usd_per_image": "0.02"}}
VERSION = version_of("a")


@contextmanager
def operated(
    caller: Caller, *, allowed: str = "deployments/acme/*", fallback: str = "none", **config: Any
) -> Iterator[None]:
    parameters = {
        "AllowedModels": f"black-forest-labs/*,{allowed}",
        "FallbackPriceUsd": fallback,
        "ModelConfig": json.dumps(config),
    }
    with configured(caller.world, **parameters):
        yield


def released(caller: Caller, model: str = DEV) -> None:
    """Let Replicate say what the deployment runs."""
    release = {"number": 1, "model": model, "version": VERSION}
    caller.replicate.catalog["deployments/acme/fast"] = {"owner": "acme", "current_release": release}


@pytest.fixture(autouse=True)
def _nothing_is_kept(caller: Caller) -> Iterator[None]:
    """Let each test begin with a catalog of its own."""
    yield
    caller.replicate.catalog.clear()
    table = caller.world.jobs_table
    for item in caller.world.dynamodb.scan(TableName=table)["Items"]:
        if item["pk"]["S"].startswith("catalog#"):
            caller.world.dynamodb.delete_item(TableName=table, Key={"pk": item["pk"]})


def on_deployment(caller: Caller, interface: str = "v1", **fields: Any) -> Answered:
    given = {"prompt": "a fox", "num_outputs": 2, "seed": 1, **fields}
    if interface == "v1":
        return caller.post(FAST, {"input": given})
    return caller.generate({"prompt": given.pop("prompt"), "deployment": "acme/fast", "input": given})


both = pytest.mark.parametrize("interface", ["v1", "short"])


# Deployments


@both
def test_a_configured_deployment_is_called_without_asking_replicate(caller: Caller, interface: str) -> None:
    with operated(caller, deployments=CONFIG):
        answered = on_deployment(caller, interface)
    assert answered.status == (201 if interface == "v1" else 202)
    (call,) = caller.replicate.calls
    assert (call.method, call.path) == ("POST", FAST)
    assert "version" not in json.loads(call.body)
    job = caller.job(answered)
    assert (job.deployment, job.model, job.makes) == ("acme/fast", DEV, Makes.IMAGES)
    assert (job.price, job.estimate) == (Price(20_000), 40_000)
    assert caller.replicate.catalog_calls == []


@both
def test_replicate_says_what_a_deployment_runs_that_nobody_has_configured(caller: Caller, interface: str) -> None:
    released(caller)
    with operated(caller):
        job = caller.job(on_deployment(caller, interface))
    assert caller.replicate.calls[0].path == FAST
    assert (job.model, job.version, job.deployment) == (DEV, VERSION, "acme/fast")
    assert (job.price, job.estimate) == (Price(25_000), 50_000)


@both
@pytest.mark.parametrize("is_configured", [True, False])
def test_the_type_of_its_model_validates_the_input(caller: Caller, interface: str, *, is_configured: bool) -> None:
    released(caller)
    config: dict[str, Any] = {"deployments": CONFIG} if is_configured else {}
    with operated(caller, **config):
        refusal = on_deployment(caller, interface, guidance=99, num_inference_steps=0)
    instance = FAST if interface == "v1" else "/generate"
    fields = {"input.guidance", "input.num_inference_steps"}
    check_problem(refusal, 422, "invalid_input", instance=instance, fields=fields)
    assert caller.jobs() == []


@both
@pytest.mark.parametrize(
    ("allowed", "is_allowed"),
    [
        ("deployments/acme/*", True),
        ("deployments/acme/fast", True),
        ("acme/fast", True),
        ("acme/slow", False),
        ("deployments/other/*", False),
        ("*/slow", False),
    ],
)
def test_a_deployment_is_allowed_by_its_name(caller: Caller, *, interface: str, allowed: str, is_allowed: bool) -> None:
    released(caller)
    with operated(caller, allowed=allowed):
        answered = on_deployment(caller, interface)
    if is_allowed:
        assert answered.status in {201, 202}
    else:
        instance = FAST if interface == "v1" else "/generate"
        check_problem(answered, 403, "model_not_allowed", instance=instance)
        assert caller.replicate.catalog_calls == [], "nor is told whether it is there"


def test_a_deployment_that_is_not_there_is_not_found(caller: Caller) -> None:
    with operated(caller):
        check_problem(on_deployment(caller), 404, "model_not_found", instance=FAST)
    assert caller.jobs() == []


def test_a_deployment_of_a_model_without_a_price_is_not_called(caller: Caller) -> None:
    released(caller, "acme/secret")
    with operated(caller):
        check_problem(on_deployment(caller), 404, "model_not_found", instance=FAST)
    with operated(caller, fallback="0.5"):
        job = caller.job(on_deployment(caller))
    assert (job.price, job.estimate) == (Price(500_000, Unit.PREDICTION), 500_000)
    assert caller.sent == [{"prompt": "a fox", "num_outputs": 2, "seed": 1}]


def test_a_deployment_of_a_trainer_makes_no_predictions(caller: Caller) -> None:
    released(caller, "ostris/flux-dev-lora-trainer")
    with operated(caller):
        check_problem(on_deployment(caller), 404, "model_not_found", instance=FAST)


@pytest.mark.parametrize("more", [{"model": DEV}, {"lora_model_id": "acme/fox"}, {"use_lora": True}])
def test_a_deployment_is_the_only_thing_that_is_named(caller: Caller, more: dict[str, Any]) -> None:
    with operated(caller, deployments=CONFIG):
        refusal = caller.generate({"prompt": "a fox", "deployment": "acme/fast", **more})
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"deployment"})


def test_a_batch_runs_on_a_deployment(caller: Caller) -> None:
    with operated(caller, deployments=CONFIG):
        caller.generate({"prompts": ["a", "b"], "deployment": "acme/fast", "num_images": 5})
        caller.world.dispatch()
    assert {call.path for call in caller.replicate.calls} == {FAST}
    assert sorted(sent["num_outputs"] for sent in caller.sent) == [1, 1, 4, 4]


def test_a_deployment_is_told_apart_from_its_model_by_reuse(caller: Caller) -> None:
    body = {"prompt": "a fox", "seed": 1, "reuse": True}
    with operated(caller, deployments=CONFIG):
        ids = [
            caller.generate({**body, **more}).json["prediction_id"] for more in ({}, {"deployment": "acme/fast"}, {})
        ]
    assert ids[0] == ids[2] != ids[1]


# Models that nobody has described


def anything(caller: Caller, interface: str = "v1", **fields: Any) -> Answered:
    if interface == "v1":
        return caller.post(ANYTHING, {"input": {"text": "a fox", **fields}})
    return caller.generate({"prompt": "a fox", "model": "acme/anything", **fields})


@both
def test_without_a_fallback_price_they_are_refused_and_what_there_is_is_told(caller: Caller, interface: str) -> None:
    with operated(caller, allowed="acme/*"):
        refusal = anything(caller, interface)
    problem = check_problem(refusal, 404, "model_not_found", instance=ANYTHING if interface == "v1" else "/generate")
    assert DEV in problem["detail"]
    assert SDXL not in problem["detail"], "it is not allowed"
    assert caller.replicate.catalog_calls == []


def test_with_one_their_input_passes_through(caller: Caller) -> None:
    caller.replicate.catalog["models/acme/anything"] = {"is_official": True}
    given: dict[str, Any] = {
        "nested": {"a": [1, 2.5, None, True]},
        "prompt": 5,
        "num_outputs": "many",
        "null": None,
        "seed": True,
    }
    with operated(caller, allowed="acme/*", fallback="0.5"):
        created = anything(caller, **given)
    assert created.status == 201
    assert caller.replicate.calls[0].path == ANYTHING
    expected = {"text": "a fox", **{name: value for name, value in given.items() if value is not None}}
    assert caller.sent == [expected]
    job = caller.job(created)
    assert (job.input, job.seed, job.drawn_seed, job.makes) == (expected, None, None, Makes.ANYTHING)
    assert (job.price, job.estimate) == (Price(500_000, Unit.PREDICTION), 500_000)


@pytest.mark.parametrize("seed", [5, -5, 2**63 - 1, 2**63, 10**40, 1.5, "5", True, [5], {}])
def test_any_seed_of_theirs_is_kept(caller: Caller, seed: Any) -> None:
    caller.replicate.catalog["models/acme/anything"] = {"is_official": True}
    with operated(caller, allowed="acme/*", fallback="0.5"):
        created = anything(caller, seed=seed)
    assert created.status == 201
    assert caller.sent[0]["seed"] == caller.job(created).input["seed"] == seed
    is_number = type(seed) is int and seed < 2**63
    assert created.json["afterimage"]["seed"] == (seed if is_number else None)


def test_a_version_of_theirs_is_run_as_it_is_named_or_as_the_latest(caller: Caller) -> None:
    caller.replicate.catalog["models/acme/anything"] = {"latest_version": {"id": VERSION}}
    caller.replicate.catalog[f"models/acme/anything/versions/{version_of('b')}"] = {"id": version_of("b")}
    body = {"input": {"text": "a"}}
    with operated(caller, allowed="acme/*", fallback="0.5"):
        for name in ("acme/anything", f"acme/anything:{version_of('b')}"):
            assert caller.post("/v1/predictions", {**body, "version": name}).status == 201
    assert [job.version for job in caller.jobs()] == [VERSION, version_of("b")]


def test_the_number_of_images_is_asked_for_only_where_the_caller_gives_it(caller: Caller) -> None:
    caller.replicate.catalog["models/acme/anything"] = {"is_official": True}
    with operated(caller, allowed="acme/*", fallback="0.5"):
        one, many = anything(caller, "short"), anything(caller, "short", num_images=7)
    assert caller.sent == [{"prompt": "a fox"}, {"prompt": "a fox", "num_outputs": 7}]
    assert [caller.job(answered).estimate for answered in (one, many)] == [500_000, 500_000]


@pytest.mark.parametrize(("asked", "counted"), [(1, 1), (7, 7), (100, 100), (5_000, 100), (0, 1), (-3, 1), ("7", 1)])
def test_a_price_per_image_is_estimated_by_the_number_that_is_asked_for(
    caller: Caller, asked: Any, counted: int
) -> None:
    caller.replicate.catalog["models/acme/anything"] = {"is_official": True}
    with operated(caller, allowed="acme/*", models={"acme/anything": {"usd_per_image": "0.01"}}):
        job = caller.job(anything(caller, num_outputs=asked))
    assert job.estimate == counted * 10_000


@pytest.mark.parametrize(
    ("status", "document", "cost"),
    [
        ("succeeded", {"output": "some words", "metrics": {"predict_time": 1}}, 500_000),
        ("failed", {"error": "no", "metrics": {"predict_time": 1}}, 500_000),
        ("canceled", {"started_at": None, "metrics": {}}, 0),
        ("failed", {"error": "no", "started_at": None, "metrics": {}}, 0),
    ],
)
def test_what_they_cost_is_the_price_if_they_ran(
    caller: Caller, status: str, document: dict[str, Any], cost: int
) -> None:
    caller.replicate.catalog["models/acme/anything"] = {"is_official": True}
    with operated(caller, allowed="acme/*", fallback="0.5"):
        job = caller.finish(caller.job(anything(caller)), status, **document)
    assert (job.cost, caller.committed, caller.account["inflight"]) == (cost, cost, 0)


def test_whatever_they_make_is_given(caller: Caller) -> None:
    caller.replicate.catalog["models/acme/anything"] = {"is_official": True}
    picture = data_uri(image("PNG"), "image/png")
    with operated(caller, allowed="acme/*", fallback="0.5"):
        done = caller.finish(caller.job(anything(caller)), output={"title": "a fox", "pictures": [picture, picture]})
    assert (done.status, done.files_shape) == (Status.SUCCEEDED, Shape.NESTED)
    full = caller.get(f"/v1/predictions/{done.id}").json["output"]
    short = caller.get(f"/predictions/{done.id}").json
    assert full == short["output"]
    assert full["title"] == "a fox"
    assert set(full["pictures"]) == set(short["images"])


@pytest.mark.parametrize("down", [500, 429, 401])
def test_while_replicate_cannot_say_what_they_are_nothing_is_guessed(caller: Caller, down: int) -> None:
    caller.replicate.catalog["models/acme/anything"] = answer(down, {"detail": "no"})
    with operated(caller, allowed="acme/*", fallback="0.5"):
        check_problem(anything(caller), 503, "upstream_unavailable", instance=ANYTHING, retryable=True)
    assert caller.jobs() == []


def test_a_model_of_ones_own_is_called_without_being_allowed_or_priced(caller: Caller) -> None:
    train(caller.world, tenant=caller.tenant)
    with operated(caller):
        created = caller.post("/v1/models/acme/fox/predictions", {"input": {"prompt": "a fox"}})
    assert (created.status, created.json["model"]) == (201, "acme/fox")
