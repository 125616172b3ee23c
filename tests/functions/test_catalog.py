"""`catalog`: what may be called is told with schemas and prices, Replicate's documents as they are, money exactly."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, override
from urllib.parse import quote

import httpx
import pytest
from jsonschema import Draft202012Validator
from replicate.client import Client
from replicate.exceptions import ReplicateError
from replicate.pagination import paginate

from catalog import handler
from shared import services
from shared.catalog_views import input_schema
from shared.endpoint import Request
from shared.errors import Refusal
from shared.input_check import check_input
from shared.inputs.fields import LARGEST_SEED
from shared.job import Hold, Kind, Makes, Millis, Outcome, PredictionId, Settled, Status
from shared.ledger import Ledger, day_of
from shared.presets import PRESETS
from shared.pricing import Unit
from shared.registry import MODELS, Model
from shared.services import CatalogParts, now
from shared.settings import CatalogSettings
from shared.trained_models import TrainedModel, models_pk
from tests.support.catalog import MADE_UP, TRAINER, MadeUpInput, PlayedCatalog, targets, train, version_of
from tests.support.loopback import serving
from tests.support.problems import check_problem
from tests.support.replicate import TOKEN, answer
from tests.support.world import ALICE, BOB, LIMITS, ORIGIN, Answered, World, environment, fresh_wiring, job

SCHNELL = "black-forest-labs/flux-schnell"
DEV = "black-forest-labs/flux-dev"
SDXL = "stability-ai/sdxl"
A, B, F = (version_of(letter) for letter in "abf")
ROOT = Path(__file__).parents[2]
ROUTES = [
    "/models",
    "/v1/models",
    f"/v1/models/{SCHNELL}",
    f"/v1/models/{SCHNELL}/versions",
    f"/v1/models/{SCHNELL}/versions/{A}",
    "/v1/account",
]
MODEL_ROUTES = ROUTES[2:5]


@pytest.fixture
def upstream(world: World) -> Iterator[PlayedCatalog]:
    """Replicate's catalog, on loopback, where the world's functions find it."""
    fake = PlayedCatalog()
    fake.has_model(SCHNELL, A, is_official=True)
    with serving(fake.respond) as origin:
        world.parameters["ReplicateApiUrl"] = origin
        yield fake


def get(world: World, path: str, *, tenant: str = ALICE, **headers: str) -> Answered:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return world.request("GET", path, key=world.keys[tenant], headers=sent)


def listed(world: World, tenant: str = ALICE) -> dict[str, Any]:
    answered = get(world, "/models", tenant=tenant)
    assert answered.status == 200, answered.body
    return {one["name"]: one for one in answered.json["models"]}


def configure(world: World, **document: Any) -> None:
    world.parameters["ModelConfig"] = json.dumps(document)


class WorldTransport(httpx.BaseTransport):
    """Leads Replicate's own client to the world's functions."""

    def __init__(self, world: World) -> None:
        self._world = world

    @override
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answered = self._world.request(
            request.method, str(request.url), headers={"authorization": request.headers["authorization"]}
        )
        return httpx.Response(answered.status, headers=dict(answered.headers), content=answered.body)


def client(world: World, tenant: str = ALICE) -> Client:
    return Client(api_token=world.keys[tenant], base_url=ORIGIN, transport=WorldTransport(world))


# Who may ask


@pytest.mark.parametrize("path", ROUTES)
def test_without_a_key_nothing_is_told(world: World, path: str) -> None:
    check_problem(world.request("GET", path), 401, "unauthorized", instance=path)
    wrong = {"authorization": "Bearer aft_alice_" + "x" * 32}
    check_problem(world.request("GET", path, headers=wrong), 401, "unauthorized", instance=path)


@pytest.mark.parametrize("path", ["/v1/models/a", "/v1/models/a/b/c", f"/v1/models/{SCHNELL}/versions/{A}/x"])
def test_what_is_beside_the_routes_is_not_offered(world: World, path: str) -> None:
    check_problem(get(world, path), 404, "not_offered", instance=path)


@pytest.mark.parametrize("path", ["/models", "/v1/models", "/v1/account"])
def test_our_own_answers_need_neither_replicate_nor_its_package(world: World, path: str) -> None:
    assert get(world, path).status == 200
    assert services._replicate.cache_info().misses == 0


def test_replicates_package_is_loaded_only_when_replicate_is_asked() -> None:
    code = "import sys, catalog.handler, shared.targets, shared.upstream_catalog; print(sorted(sys.modules))"
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'functions'}"}
    loaded = subprocess.run([sys.executable, "-c", code], env=path, check=True, capture_output=True, text=True).stdout
    assert "'catalog.handler'" in loaded
    for name in ("replicate", "httpx"):
        assert f"'{name}'" not in loaded


# GET /models


def test_a_model_is_listed_with_all_a_caller_must_know(world: World) -> None:
    schnell = listed(world)[SCHNELL]
    assert Draft202012Validator(schnell.pop("input_schema")).is_valid({"prompt": "a fox"})
    assert schnell == {
        "name": SCHNELL,
        "kind": "prediction",
        "makes": "images",
        "max_images": 4,
        "version": None,
        "trigger_word": None,
        "trained": False,
        "training_id": None,
        "price": {
            "usd": 0.003,
            "per": "image",
            "read": "2026-10",
            "source": f"https://replicate.com/{SCHNELL}",
            "is_certain": True,
        },
        "estimate_usd": 0.003,
        "deadline_seconds": 300,
        "defaults": {},
        "presets": ["portrait", "landscape", "square", "draft", "print"],
        "deployments": [],
    }


def test_everything_that_may_be_called_is_listed_and_nothing_else(world: World) -> None:
    assert set(listed(world)) == set(MODELS)
    world.parameters["AllowedModels"] = "stability-ai/*"
    fresh_wiring()
    assert set(listed(world)) == {SDXL}


def test_what_costs_by_the_second_says_how_long_it_takes(world: World) -> None:
    sdxl = listed(world)[SDXL]
    assert (sdxl["price"]["per"], sdxl["price"]["usual_seconds"], sdxl["price"]["is_certain"]) == ("second", 6, False)
    assert sdxl["estimate_usd"] == pytest.approx(sdxl["price"]["usd"] * 6)


def test_a_trainer_is_estimated_for_a_thousand_steps(world: World) -> None:
    trainer = listed(world)[TRAINER]
    assert (trainer["kind"], trainer["makes"], trainer["max_images"]) == ("training", "model", 0)
    assert trainer["deadline_seconds"] == 7_200
    assert 1.5 <= trainer["estimate_usd"] <= 2


def test_what_the_tenant_has_trained_is_listed_for_it_alone(world: World) -> None:
    job_id = train(world, "acme/fox", F, word="FOX")
    fox = listed(world)["acme/fox"]
    assert (fox["version"], fox["trigger_word"], fox["trained"], fox["training_id"]) == (F, "FOX", True, job_id)
    assert fox["input_schema"]["title"] == "FluxLora"
    assert "acme/fox" not in listed(world, BOB)
    assert "acme/fox" not in get(world, "/v1/models", tenant=BOB).body.decode()


def test_the_configuration_is_part_of_the_listing(world: World) -> None:
    world.parameters["AllowedModels"] = f"{SCHNELL},{SDXL},acme/*"
    world.parameters["LoraModelId"] = f"zoo/house:{B}"
    configure(
        world,
        models={
            SDXL: {"version": A, "defaults": {"num_inference_steps": 20}},
            "acme/video": {"usd_per_prediction": "0.25", "deadline_seconds": 600},
        },
        deployments={
            "acme/fast": {"model": SCHNELL, "usd_per_second": "0.001", "seconds": 2},
            "acme/same": {"model": SCHNELL},
            "else/where": {"model": SCHNELL},
        },
        presets={"banner": {"aspect_ratio": "21:9"}, "portrait": {"aspect_ratio": "4:5"}},
    )
    models = listed(world)
    assert set(models) == {SCHNELL, SDXL, "acme/video", "zoo/house"}
    assert (models[SDXL]["version"], models[SDXL]["defaults"]) == (A, {"num_inference_steps": 20})
    assert models["zoo/house"]["version"] == B
    video = models["acme/video"]
    assert (video["input_schema"], video["max_images"], video["makes"], video["presets"]) == (
        None,
        None,
        "anything",
        [],
    )
    assert (video["estimate_usd"], video["deadline_seconds"]) == (0.25, 600)
    assert video["price"] == {
        "usd": 0.25,
        "per": "prediction",
        "read": None,
        "source": "configuration",
        "is_certain": True,
    }
    fast, same = models[SCHNELL]["deployments"]
    assert (fast["name"], fast["price"]["per"], fast["estimate_usd"]) == ("acme/fast", "second", 0.002)
    assert (same["name"], same["price"]) == ("acme/same", models[SCHNELL]["price"])
    presets = get(world, "/models").json["presets"]
    assert presets["portrait"] == {"aspect_ratio": "4:5"}
    assert set(presets) == {*PRESETS, "banner"}
    assert "banner" in models[SCHNELL]["presets"]
    assert "banner" not in models[SDXL]["presets"]


def test_a_bad_configuration_is_our_fault_and_shows_nothing_of_itself(world: World) -> None:
    configure(world, models={"acme/x": {"version": "secret"}})
    answered = get(world, "/models")
    check_problem(answered, 500, "internal", instance="/models", retryable=True)
    assert "secret" not in answered.body.decode()


@pytest.mark.parametrize("name", MODELS)
def test_an_input_schema_says_what_the_validation_does(world: World, name: str) -> None:
    schema = listed(world)[name]["input_schema"]
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    kind = MODELS[name].input
    assert kind is not None
    good = {"input_images": "https://example.com/i.zip"} if name == TRAINER else {"prompt": "a fox"}
    for given in (good, {**good, "seed": LARGEST_SEED}, {**good, "steps": 5_000}, {**good, "num_outputs": 9}, {}):
        assert validator.is_valid(given) == is_valid(MODELS[name], given), given
    assert set(schema["properties"]) == set(kind.model_fields)
    secrets = {field for field, spec in schema["properties"].items() if spec.get("writeOnly")}
    assert secrets == kind.secret_fields()


def is_valid(model: Model, given: dict[str, Any]) -> bool:
    try:
        check_input(model, given, drop_unknown=False)
    except Refusal:
        return False
    return True


def test_a_schema_is_made_once_in_a_process(world: World) -> None:
    input_schema.cache_clear()
    listed(world)
    made = input_schema.cache_info().misses
    listed(world)
    assert input_schema.cache_info().misses == made
    assert made == len({model.input for model in MODELS.values()})


def test_the_presets_of_a_model_change_something_there(world: World) -> None:
    for name, one in listed(world).items():
        kind = MODELS[name].input
        assert kind is not None
        for preset in one["presets"]:
            assert set(PRESETS[preset]) & {*kind.model_fields, "guidance", "guidance_scale"}, (name, preset)
    assert listed(world)[TRAINER]["presets"] == []


def test_adding_a_model_takes_one_entry_in_the_registry(world: World) -> None:
    found = targets(world, PlayedCatalog(), allowed=("acme/*",), models={**MODELS, MADE_UP.name: MADE_UP})
    function = world.template.function("CatalogFunction")
    with environment(function.environment):
        settings = CatalogSettings.load(function.environment)
        parts = CatalogParts(settings=settings, accounts=world.accounts, targets=found, ledger=world.ledger())
        account = world.accounts.authenticate(world.keys[ALICE])
        request = Request("GET", "/models", {}, {}, b"", now(), "r1", ORIGIN, caller=account)
        (one,) = handler.list_models(request, parts).body["models"]
        (as_replicate,) = handler.list_as_replicate(request, parts).body["results"]
    assert (one["name"], one["max_images"], one["estimate_usd"], one["deadline_seconds"]) == (
        "acme/made-up",
        8,
        0.007,
        60,
    )
    assert (as_replicate["owner"], as_replicate["name"]) == ("acme", "made-up")
    assert Draft202012Validator(one["input_schema"]).is_valid({"prompt": "a fox", "num_outputs": 8})
    target = found.model("acme/made-up", ALICE)
    assert (target.model.kind, target.model.makes, target.version) == (Kind.PREDICTION, Makes.IMAGES, None)
    valid = check_input(target.model, {"prompt": "a fox", "num_outputs": 8}, drop_unknown=False)
    assert target.model.tariff.estimate(valid.effort) == 56_000
    with pytest.raises(Refusal, match="num_outputs"):
        check_input(target.model, {"prompt": "a fox", "num_outputs": 9}, drop_unknown=False)
    assert target.model.input is MadeUpInput


# Conditional reads


@pytest.mark.sockets
@pytest.mark.parametrize("path", ROUTES[:5])
def test_a_tag_that_is_known_is_answered_with_nothing_new(world: World, upstream: PlayedCatalog, path: str) -> None:
    first = get(world, path)
    tag = first.headers["etag"]
    same = get(world, path, If_None_Match=f'"other", {tag}')
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
    assert get(world, path, If_None_Match='"other"').status == 200
    expected = "private, max-age=300" if path in MODEL_ROUTES else "private, no-cache"
    assert {first.headers["cache-control"], same.headers["cache-control"]} == {expected}
    assert upstream.asked == ([path] if path in MODEL_ROUTES else [])


@pytest.mark.parametrize("path", ["/models", "/v1/models"])
def test_a_tag_changes_with_what_may_be_called(world: World, path: str) -> None:
    tag = get(world, path).headers["etag"]
    train(world)
    assert get(world, path, If_None_Match=tag).status == 200


# GET /v1/models


def test_replicates_client_reads_the_list(world: World) -> None:
    train(world, "acme/fox", F, word="FOX")
    page = client(world).models.list()
    found = {model.id: model for model in page.results}
    assert set(found) == {*MODELS, "acme/fox"}
    assert [model.id for model in page.results] == sorted(found)
    assert (page.next, page.previous) == (None, None)
    schnell, fox = found[SCHNELL], found["acme/fox"]
    assert (schnell.latest_version, schnell.run_count, schnell.visibility) == (None, 0, "public")
    assert schnell.url == f"https://replicate.com/{SCHNELL}"
    assert schnell.description == "Costs 0.003 USD per image."
    assert fox.visibility == "private"
    assert fox.description is not None
    assert fox.description.endswith("Its trigger word is FOX.")
    assert fox.latest_version is not None
    assert fox.latest_version.id == F
    assert "prompt" in fox.latest_version.openapi_schema["components"]["schemas"]["Input"]["properties"]


def test_a_version_of_a_model_with_unknown_input_is_listed_too(world: World) -> None:
    world.parameters["AllowedModels"] = "acme/*"
    configure(world, models={"acme/video": {"usd_per_prediction": "0.25", "version": A}})
    (video,) = client(world).models.list().results
    assert video.latest_version is not None
    assert video.latest_version.id == A


def has_trained(world: World, count: int) -> list[str]:
    names = [f"acme/model-{n:03}" for n in range(count)]
    item: Any = {"pk": {"S": models_pk(ALICE)}}
    for name in names:
        item[name] = {"S": json.dumps(asdict(TrainedModel(name, F, TRAINER, None, "0" * 26)))}
    world.dynamodb.put_item(TableName=world.accounts_table, Item=item)
    return names


@pytest.mark.parametrize("count", [86, 87, 88, 89, 90, 240])
def test_pages_lead_to_each_other_by_whole_urls_and_miss_nothing(world: World, count: int) -> None:
    names = has_trained(world, count)
    pages = list(paginate(client(world).models.list))
    found = [model.id for page in pages for model in page.results]
    assert found == sorted([*MODELS, *names])
    assert [len(page.results) for page in pages[:-1]] == [100] * (len(pages) - 1)
    assert 0 < len(pages[-1].results) <= 100
    assert all(str(page.next).startswith(f"{ORIGIN}/v1/models?cursor=") for page in pages[:-1])


@pytest.mark.parametrize("cursor", ["", "a", "zzz", "../..", "\x00", "🦊", "x" * 5_000, f"{SCHNELL},{DEV}"])
def test_no_cursor_breaks_the_list(world: World, cursor: str) -> None:
    answered = get(world, f"/v1/models?cursor={quote(cursor)}")
    assert answered.status == 200
    assert all(f"{one['owner']}/{one['name']}" > cursor for one in answered.json["results"])


# Replicate's documents


@pytest.mark.sockets
def test_replicates_client_reads_a_model_and_its_versions(world: World, upstream: PlayedCatalog) -> None:
    upstream.has_model(SDXL, B, A)
    model = client(world).models.get(SDXL)
    assert (model.id, model.run_count) == (SDXL, 7)
    assert model.latest_version is not None
    assert model.latest_version.id == B
    assert [version.id for version in model.versions.list().results] == [B, A]
    assert model.versions.get(A).openapi_schema["components"]["schemas"]["Output"] == {"type": "string"}
    assert len(upstream.calls) == 3
    with pytest.raises(ReplicateError, match="404"):
        model.versions.get(F)


@pytest.mark.sockets
@pytest.mark.parametrize("path", MODEL_ROUTES)
def test_a_document_is_replicates_own_and_asked_for_once(world: World, upstream: PlayedCatalog, path: str) -> None:
    expected = upstream.catalog[path.removeprefix("/v1/")]
    for _ in range(2):
        assert get(world, path).json == expected
    fresh_wiring()
    assert get(world, path, tenant=BOB).json == expected
    (call,) = upstream.calls
    assert call.path == path
    assert call.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.sockets
@pytest.mark.parametrize("path", MODEL_ROUTES)
def test_what_replicate_has_not_is_not_found(world: World, upstream: PlayedCatalog, path: str) -> None:
    upstream.catalog.clear()
    problem = check_problem(get(world, path), 404, "model_not_found", instance=path)
    assert SCHNELL in problem["detail"]


@pytest.mark.sockets
@pytest.mark.parametrize("rest", ["", "/versions", f"/versions/{F}"])
def test_what_may_not_be_called_is_not_shown_and_nobody_is_asked(
    world: World, upstream: PlayedCatalog, rest: str
) -> None:
    train(world, "acme/fox", F)
    upstream.has_model("acme/fox", F)
    for name in ("acme/fox", "acme/nothing"):
        path = f"/v1/models/{name}{rest}"
        check_problem(get(world, path, tenant=BOB), 403, "model_not_allowed", instance=path)
    assert upstream.calls == []
    assert get(world, f"/v1/models/acme/fox{rest}").status == 200


@pytest.mark.sockets
@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/../..",
        "/v1/models/black-forest-labs/..",
        "/v1/models/black-forest-labs/.x/versions",
        "/v1/models/black-forest-labs/x%2F..%2Fy",
        "/v1/models/black-forest-labs/x y",
        "/v1/models/black-forest-labs/" + "x" * 101,
        f"/v1/models/{SCHNELL}/versions/..",
        f"/v1/models/{SCHNELL}/versions/latest",
        f"/v1/models/{SCHNELL}/versions/{A.upper()}",
        f"/v1/models/{SCHNELL}/versions/{A}0",
    ],
)
def test_names_and_versions_that_are_none_are_not_found_and_nobody_is_asked(
    world: World, upstream: PlayedCatalog, path: str
) -> None:
    check_problem(get(world, path), 404, "model_not_found", instance=path)
    assert upstream.calls == []
    assert world.dynamodb.scan(TableName=world.jobs_table)["Items"] == []


@pytest.mark.sockets
@pytest.mark.parametrize("path", MODEL_ROUTES)
def test_when_replicate_cannot_be_asked_the_caller_may_come_back(
    world: World, upstream: PlayedCatalog, path: str
) -> None:
    upstream.will(answer(500, {}))
    answered = get(world, path)
    check_problem(answered, 503, "upstream_unavailable", instance=path, retryable=True)
    assert int(answered.headers["retry-after"]) >= 1
    assert get(world, path).status == 200


@pytest.mark.sockets
def test_versions_are_one_page(world: World, upstream: PlayedCatalog) -> None:
    upstream.catalog[f"models/{SCHNELL}/versions"]["next"] = f"https://api.replicate.com/v1/models/{SCHNELL}/versions?c"
    page = get(world, f"/v1/models/{SCHNELL}/versions").json
    assert (page["next"], page["previous"]) == (None, None)
    assert [one["id"] for one in page["results"]] == [A]


@pytest.mark.sockets
def test_more_versions_than_an_answer_holds_are_left_out_from_the_oldest_on(
    world: World, upstream: PlayedCatalog
) -> None:
    versions = [f"{n:064x}" for n in range(50)]
    upstream.has_model(SDXL, *versions)
    for version in upstream.catalog[f"models/{SDXL}/versions"]["results"]:
        version["openapi_schema"]["filler"] = "x" * 150_000
    answered = get(world, f"/v1/models/{SDXL}/versions")
    found = [one["id"] for one in answered.json["results"]]
    assert len(answered.body) < 4_500_000, "a Lambda answer holds 6 MB"
    assert found == versions[: len(found)]
    assert len(found) > 20


def test_the_role_sees_nothing_of_the_table_of_jobs_but_what_is_kept_of_replicate(world: World) -> None:
    (role,) = (body for name, body in world.template.resources("AWS::IAM::Role") if name == "CatalogRole")
    statements = role["Policies"][0]["PolicyDocument"]["Statement"]
    (jobs,) = (one for one in statements if one["Resource"] == {"Fn::GetAtt": ["JobsTable", "Arn"]})
    assert jobs["Action"] == ["dynamodb:GetItem", "dynamodb:PutItem"]
    assert jobs["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["catalog#*"]}}


# GET /v1/account


def test_replicates_client_reads_the_account(world: World) -> None:
    account = client(world).accounts.current()
    assert (account.type, account.username, account.name, account.github_url) == ("organization", ALICE, ALICE, None)


def test_a_new_account_has_spent_nothing(world: World) -> None:
    answered = get(world, "/v1/account")
    assert answered.headers["cache-control"] == "private, no-cache"
    assert answered.json["afterimage"] == {
        "day": day_of(now()),
        "budget_usd": 25.0,
        "committed_usd": 0.0,
        "spent_usd": 0.0,
        "reserved_usd": 0.0,
        "in_flight": 0,
        "limits": {"requests_per_minute": 50, "max_in_flight": 100},
        "by_model": {},
    }


def test_an_account_tells_the_limits_of_its_own(world: World) -> None:
    world.accounts.create_tenant("carol", {"rate_per_minute": 7, "max_in_flight": 3, "daily_budget": 1_500_000})
    world.keys["carol"] = world.accounts.create_key("carol")
    told = get(world, "/v1/account", tenant="carol").json["afterimage"]
    assert (told["budget_usd"], told["limits"]) == (1.5, {"requests_per_minute": 7, "max_in_flight": 3})


def spend(world: World, ledger: Ledger, model: str, *, held: int, cost: int | None, at: int) -> None:
    """Let a job be admitted, and, if it has a cost, end."""
    one = job(model=model, created_at=Millis(at), hold=Hold(day_of(Millis(at)), held))
    assert ledger.admit(one, LIMITS) is None
    if cost is not None:
        one = world.put(replace(one, status=Status.STORING, lease="me", prediction_id=PredictionId(f"p{one.id}")))
        outcome = Outcome(status=Status.SUCCEEDED, completed_at=now(), cost=cost)
        ledger.settle(one, Settled(outcome=outcome, due_at=now(), lease="me"))


def test_what_is_spent_and_reserved_today_is_told_to_the_micro(world: World) -> None:
    world.clock.at = now()
    ledger, today = world.ledger(), now()
    spend(world, ledger, SCHNELL, held=12_000, cost=9_000, at=today)
    spend(world, ledger, DEV, held=25_000, cost=25_000, at=today)
    spend(world, ledger, SCHNELL, held=3_000, cost=3_001, at=today)
    spend(world, ledger, SCHNELL, held=6_000, cost=None, at=today)
    spend(world, ledger, SDXL, held=7_000, cost=7_000, at=today - 86_400_000)
    told = get(world, "/v1/account").json["afterimage"]
    assert {name: value for name, value in told.items() if name not in {"limits", "day", "budget_usd"}} == {
        "committed_usd": 0.043001,
        "spent_usd": 0.037001,
        "reserved_usd": 0.006,
        "in_flight": 1,
        "by_model": {DEV: 0.025, SCHNELL: 0.012001},
    }
    assert get(world, "/v1/account", tenant=BOB).json["afterimage"]["committed_usd"] == 0


def test_what_is_reserved_is_never_below_nothing(world: World) -> None:
    spending: Any = {"pk": {"S": f"spending#{ALICE}#{day_of(now())}"}, SCHNELL: {"N": "9000"}}
    world.dynamodb.put_item(TableName=world.accounts_table, Item=spending)
    told = get(world, "/v1/account").json["afterimage"]
    assert (told["spent_usd"], told["committed_usd"], told["reserved_usd"]) == (0.009, 0, 0)


def test_a_price_is_told_in_one_of_the_documented_units(world: World) -> None:
    assert {one["price"]["per"] for one in listed(world).values()} <= set(Unit)
