"""What `submit` refuses: one problem document each, nobody asked, nothing written, nothing consumed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.loopback import serving
from tests.support.problems import check_problem
from tests.support.replicate import FakeReplicate
from tests.support.world import ALICE, Answered, World, deployed, fresh_wiring

pytestmark = pytest.mark.sockets

SCHNELL = "/v1/models/black-forest-labs/flux-schnell/predictions"
DEV = "/v1/models/black-forest-labs/flux-dev/predictions"
FOX = {"input": {"prompt": "a fox"}}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One for all, since no refusal changes it."""
    with deployed() as one:
        yield one


@pytest.fixture(scope="module")
def replicate(world: World) -> Iterator[FakeReplicate]:
    fake = FakeReplicate()
    with serving(fake.respond) as origin:
        world.parameters["ReplicateApiUrl"] = origin
        yield fake


def submit(world: World, body: Any, path: str = SCHNELL, **headers: str) -> Answered:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return world.request("POST", path, body, key=world.keys[ALICE], headers=sent)


def with_input(**fields: Any) -> dict[str, Any]:
    return {"input": {"prompt": "a fox", **fields}}


INPUTS: list[Any] = [
    # of /generate
    pytest.param("/generate", {"prompt": "a", "colour": 1}, {"colour"}, id="generate-unknown"),
    pytest.param("/generate", {}, {"prompt"}, id="generate-nothing"),
    pytest.param("/generate", {"prompt": ""}, {"prompt"}, id="generate-empty-prompt"),
    pytest.param("/generate", {"prompt": 5}, {"prompt"}, id="generate-number-for-prompt"),
    pytest.param("/generate", {"prompt": None}, {"prompt"}, id="generate-null-prompt"),
    pytest.param("/generate", {"prompt": "a" * 1_000_000}, {"prompt"}, id="generate-1-MB-prompt"),
    pytest.param("/generate", {"prompt": "a", "prompts": ["b"]}, {"prompt"}, id="generate-prompt-and-prompts"),
    pytest.param("/generate", {"prompts": []}, {"prompts"}, id="generate-no-prompts"),
    pytest.param("/generate", {"prompts": "a"}, {"prompts"}, id="generate-text-for-prompts"),
    pytest.param("/generate", {"prompts": ["a"] * 101}, {"prompts"}, id="generate-too-many-prompts"),
    pytest.param("/generate", {"prompt": "a", "num_images": 101}, {"num_images"}, id="generate-101-images"),
    pytest.param("/generate", {"prompt": "a", "preset": "portrat"}, {"preset"}, id="generate-preset"),
    pytest.param("/generate", {"prompt": "a", "reuse": "yes"}, {"reuse"}, id="generate-reuse"),
    pytest.param("/generate", {"prompt": "a", "use_lora": 1}, {"use_lora"}, id="generate-use-lora"),
    pytest.param("/generate", {"prompt": "a", "lora_scale": 3.1}, {"lora_scale"}, id="generate-lora-scale"),
    pytest.param("/generate", {"prompt": "a", "trigger_word": "x" * 101}, {"trigger_word"}, id="generate-trigger"),
    # of /train
    pytest.param("/train", {}, {"images_zip_url"}, id="train-nothing"),
    pytest.param("/train", {"images_zip_url": "x", "destinaton": "a/b"}, {"destinaton"}, id="train-unknown"),
    pytest.param("/generate", {"prompt": "a", "num_images": 0}, {"num_images"}, id="generate-no-images"),
    pytest.param("/generate", {"prompt": "a", "num_images": "2"}, {"num_images"}, id="generate-text-for-number"),
    pytest.param("/generate", {"prompt": "a", "num_images": 1.5}, {"num_images"}, id="generate-half-an-image"),
    pytest.param("/generate", {"prompt": "a", "num_images": True}, {"num_images"}, id="generate-true-images"),
    pytest.param("/generate", {"prompt": "a", "seed": 2**63}, {"seed"}, id="generate-large-seed"),
    pytest.param("/generate", {"prompt": "a", "model": "x"}, {"model"}, id="generate-model-without-owner"),
    pytest.param("/generate", {"prompt": "a", "input": {"colour": 1}}, {"input.colour"}, id="generate-unknown-input"),
    pytest.param("/generate", {"prompt": "a", "input": []}, {"input"}, id="generate-input-list"),
    pytest.param(
        "/generate", {"num_images": 0, "seed": "x", "b": 1}, {"prompt", "num_images", "seed", "b"}, id="generate-many"
    ),
    # of Replicate's interface
    pytest.param(SCHNELL, {}, {"input"}, id="no-input"),
    pytest.param(SCHNELL, {"input": None}, {"input"}, id="null-input"),
    pytest.param(SCHNELL, {"input": "a fox"}, {"input"}, id="text-input"),
    pytest.param(SCHNELL, {"input": {}}, {"input.prompt"}, id="no-prompt"),
    pytest.param(SCHNELL, {"input": {"prompt": None}}, {"input.prompt"}, id="null-prompt"),
    pytest.param(SCHNELL, {**FOX, "unknown": 1}, {"unknown"}, id="unknown-beside-input"),
    pytest.param(SCHNELL, {**FOX, "webhook": "ftp://x"}, {"webhook"}, id="webhook-scheme"),
    pytest.param(SCHNELL, {**FOX, "webhook_events_filter": ["x"]}, {"webhook_events_filter.0"}, id="webhook-events"),
    pytest.param(SCHNELL, with_input(num_outputs=0), {"input.num_outputs"}, id="no-outputs"),
    pytest.param(SCHNELL, with_input(num_outputs=5), {"input.num_outputs"}, id="five-outputs"),
    pytest.param(SCHNELL, with_input(num_outputs="2"), {"input.num_outputs"}, id="text-outputs"),
    pytest.param(SCHNELL, with_input(num_inference_steps=5), {"input.num_inference_steps"}, id="schnell-steps"),
    pytest.param(SCHNELL, with_input(aspect_ratio="7:3"), {"input.aspect_ratio"}, id="aspect-ratio"),
    pytest.param(SCHNELL, with_input(output_format="gif"), {"input.output_format"}, id="format"),
    pytest.param(SCHNELL, with_input(output_quality=101), {"input.output_quality"}, id="quality"),
    pytest.param(SCHNELL, with_input(megapixels="2"), {"input.megapixels"}, id="megapixels"),
    pytest.param(SCHNELL, with_input(go_fast="yes"), {"input.go_fast"}, id="text-for-flag"),
    pytest.param(SCHNELL, with_input(seed=1.5), {"input.seed"}, id="half-a-seed"),
    pytest.param(SCHNELL, with_input(seed=10**400), {"input.seed"}, id="endless-seed"),
    pytest.param(SCHNELL, {"input": {"prompt": "a" * 1_000_000}}, {"input.prompt"}, id="1-MB-prompt"),
    pytest.param(DEV, with_input(guidance=10.1), {"input.guidance"}, id="guidance"),
    pytest.param(DEV, with_input(guidance=-1), {"input.guidance"}, id="negative-guidance"),
    pytest.param(DEV, with_input(guidance_scale=11), {"input.guidance"}, id="guidance-by-another-name"),
    pytest.param(DEV, with_input(num_inference_steps=51), {"input.num_inference_steps"}, id="dev-steps"),
    pytest.param(DEV, with_input(image="file:///etc/passwd"), {"input.image"}, id="image-scheme"),
    pytest.param(DEV, with_input(prompt_strength=2), {"input.prompt_strength"}, id="prompt-strength"),
    pytest.param(DEV, with_input(seed="x", guidance=99), {"input.seed", "input.guidance"}, id="two-fields"),
    pytest.param("/v1/predictions", FOX, {"version"}, id="no-version"),
    pytest.param("/v1/predictions", {**FOX, "version": ""}, {"version"}, id="empty-version"),
]


@pytest.mark.parametrize(("path", "body", "fields"), INPUTS)
def test_input_that_is_wrong_is_refused_with_every_field(
    world: World, replicate: FakeReplicate, path: str, body: Any, fields: set[str]
) -> None:
    before = world.everything()
    refusal = submit(world, body, path)
    check_problem(refusal, 422, "invalid_input", instance=path, fields=fields)
    assert len(refusal.body) < 10_000, "what was given is not repeated"
    assert not replicate.calls
    assert world.everything() == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"input": {"prompt": "a"}',
        b"{'input': {}}",
        b'{"input": {"prompt": NaN}}',
        b'{"input": {"prompt": "a", "guidance": Infinity}}',
        b'{"input": {"prompt": "a", "guidance": -Infinity}}',
        b'{"input": {"prompt": "a", "guidance": 1e999}}',
        b'{"input": {"prompt": "a", "nested": [{"a": -1e400}]}}',
        b'{"input": {"prompt": "\\ud800"}}',
        b'{"input": {"prompt": "\xff"}}',
        b'{"input": {"prompt": "a"},}',
        b"input=a",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"input": {"prompt": "a", "seed": ' + b"9" * 5_000 + b"}}",
    ],
)
@pytest.mark.parametrize("path", [SCHNELL, "/generate"])
def test_a_body_that_is_not_json_is_refused(world: World, replicate: FakeReplicate, path: str, body: bytes) -> None:
    before = world.everything()
    refusal = submit(world, body, path, content_type="application/json")
    check_problem(refusal, 400, "malformed_json", instance=path)
    assert not replicate.calls
    assert world.everything() == before


@pytest.mark.parametrize("body", ["text", [], [FOX], 5, None, True])
def test_json_that_is_no_object_is_refused(world: World, replicate: FakeReplicate, body: Any) -> None:
    encoded = json.dumps(body).encode()
    refusal = submit(world, encoded, content_type="application/json")
    check_problem(refusal, 422, "invalid_input", instance=SCHNELL)
    assert not replicate.calls


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "", "json"]
)
def test_another_content_type_is_refused(world: World, replicate: FakeReplicate, content_type: str) -> None:
    refusal = submit(world, json.dumps(FOX).encode(), content_type=content_type)
    check_problem(refusal, 415, "unsupported_media_type", instance=SCHNELL)
    assert not replicate.calls


def test_a_body_that_is_too_large_is_refused(world: World, replicate: FakeReplicate) -> None:
    refusal = submit(world, with_input(image="data:," + "x" * 5_000_000), DEV)
    check_problem(refusal, 413, "payload_too_large", instance=DEV)
    assert not replicate.calls


@pytest.fixture
def unknown(world: World, replicate: FakeReplicate) -> Iterator[str]:
    """Give the route of a model that may be called, and that nobody has described."""
    world.parameters |= {"AllowedModels": "black-forest-labs/*,acme/*", "FallbackPriceUsd": "0.01"}
    replicate.catalog["models/acme/anything"] = {"is_official": True}
    fresh_wiring()
    yield "/v1/models/acme/anything/predictions"
    for name in ("AllowedModels", "FallbackPriceUsd"):
        del world.parameters[name]
    fresh_wiring()


@pytest.mark.parametrize(
    "given",
    [
        {"text": "x" * 400_000},
        {"texts": ["x" * 1_000] * 300},
        {"x" * 390: {"y": "z" * 250_000}},
        {f"{n:0390}": n for n in range(600)},
    ],
    ids=["text", "list", "nested", "names"],
)
def test_an_input_that_no_item_holds_is_refused(
    world: World, replicate: FakeReplicate, unknown: str, given: dict[str, Any]
) -> None:
    submit(world, {"input": {"text": 5, "secret": "x" * 5_000}}, unknown)  # so that Replicate's answer is kept
    before = world.everything()
    check_problem(submit(world, {"input": given}, unknown), 413, "payload_too_large", instance=unknown)
    assert not replicate.calls
    assert world.everything() == before


@pytest.mark.parametrize("path", [SCHNELL, "/generate", "/v1/predictions"])
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic YWxpY2U6cGFzc3dvcmQ=",
        "{key}",
        "Bearer {key}x",
        "Bearer {key} {key}",
        "Bearer aft_alice_" + "x" * 32,
        "Bearer " + "x" * 10_000,
    ],
)
def test_without_a_valid_key_nothing_is_told(
    world: World, replicate: FakeReplicate, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization.format(key=world.keys[ALICE])}
    before = world.everything()
    for body in (FOX, {"nonsense": True}, b"not JSON"):
        check_problem(world.request("POST", path, body, headers=headers), 401, "unauthorized", instance=path)
    assert not replicate.calls
    assert world.everything() == before


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/models/black-forest-labs/flux-nonsense/predictions", FOX, 404, "model_not_found"),
        ("/v1/models/evil/model/predictions", FOX, 403, "model_not_allowed"),
        ("/generate", {"prompt": "a", "model": "black-forest-labs/flux-nonsense"}, 404, "model_not_found"),
        ("/generate", {"prompt": "a", "model": "evil/model"}, 403, "model_not_allowed"),
        ("/v1/predictions", {**FOX, "version": "evil/model"}, 403, "model_not_allowed"),
        ("/v1/predictions", {**FOX, "version": "black-forest-labs/flux-nonsense"}, 404, "model_not_found"),
        ("/generate", {"prompt": "a", "lora_model_id": "evil/model"}, 403, "model_not_allowed"),
        ("/generate", {"prompt": "a", "lora_model_id": "nobody"}, 404, "model_not_found"),
        ("/generate", {"prompt": "a", "deployment": "evil/fast"}, 403, "model_not_allowed"),
        ("/v1/deployments/evil/fast/predictions", FOX, 403, "model_not_allowed"),
        ("/generate", {"prompt": "a", "model": "ostris/flux-dev-lora-trainer"}, 404, "model_not_found"),
    ],
)
def test_a_model_that_may_not_be_called_is_not_called(
    world: World, replicate: FakeReplicate, *, path: str, body: Any, status: int, code: str
) -> None:
    before = world.everything()
    check_problem(submit(world, body, path), status, code, instance=path)
    assert not replicate.calls
    assert world.everything() == before


@pytest.mark.parametrize(
    ("name", "status", "code", "fields"),
    [
        ("", 422, "invalid_input", {"version"}),
        ("black-forest-labs/flux-schnell:", 404, "model_not_found", set()),
        ("evil/model:", 403, "model_not_allowed", set()),
    ],
)
def test_a_version_that_is_not_the_models_runs_nothing_at_its_price(
    world: World, replicate: FakeReplicate, *, name: str, status: int, code: str, fields: set[str]
) -> None:
    before = world.everything()
    refusal = submit(world, {**FOX, "version": name + "a" * 64}, "/v1/predictions")
    check_problem(refusal, status, code, instance="/v1/predictions", fields=fields)
    assert not replicate.calls
    assert world.everything() == before


NAMES = [
    "..", "../..", "../../x", "a/..", "./.", "a/.b", "a//b", "/a/b", "a/b/", "a/b/c", "a b/c", "a/b?x=1", "a/b#c",
    "a/b\n", "\u0430cme/fox", "a/\u202ex", "a%2fb", "a/b:", "a/b:latest", "a/b:" + "A" * 64, "a/b:" + "g" * 64,
    "a" * 300, "A" * 64,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("path", "field"),
    [("/v1/predictions", "version"), ("/generate", "model"), ("/generate", "lora_model_id"), ("/train", "destination")],
)
def test_a_name_that_is_none_is_refused_before_anybody_is_asked(
    world: World, replicate: FakeReplicate, path: str, field: str, name: str
) -> None:
    asked = list(replicate.catalog_calls)
    bodies: dict[str, dict[str, Any]] = {
        "/v1/predictions": FOX,
        "/generate": {"prompt": "a fox"},
        "/train": {"images_zip_url": "https://example.com/i.zip"},
    }
    refusal = submit(world, {**bodies[path], field: name}, path)
    if field == "lora_model_id" and "/" not in name and ":" not in name:
        assert refusal.json["code"] in {"model_not_found", "invalid_input"}, "it can be the name of one's own"
    else:
        check_problem(refusal, 422, "invalid_input", instance=path, fields={field})
    assert len(refusal.body) < 2_000
    assert not replicate.calls
    assert path == "/train" or replicate.catalog_calls == asked


@pytest.mark.parametrize("path", ["/v1/models/{}/{}/predictions", "/v1/deployments/{}/{}/predictions"])
@pytest.mark.parametrize("name", ["..", "a b", "%2e%2e", "\u0430", "a" * 200, "*"])
def test_a_name_that_is_none_leads_no_request_elsewhere(
    world: World, replicate: FakeReplicate, path: str, name: str
) -> None:
    asked = list(replicate.catalog_calls)
    refusal = submit(world, FOX, path.format(name, "x"))
    assert (refusal.status, refusal.json["code"]) == (422, "invalid_input")
    assert (replicate.calls, replicate.catalog_calls) == ([], asked)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/v1/v1/predictions", "without /v1"),
        ("/v1/v1/models/black-forest-labs/flux-schnell/predictions", "without /v1"),
        ("/predictions", "with /v1"),
        ("/models/black-forest-labs/flux-schnell/predictions", "with /v1"),
        ("/trainings", "with /v1"),
    ],
)
def test_a_wrong_base_url_is_told_how_to_end(world: World, replicate: FakeReplicate, path: str, hint: str) -> None:
    problem = check_problem(submit(world, FOX, path), 404, "not_offered", instance=path)
    assert hint in problem["detail"]
    assert not replicate.calls


@pytest.mark.parametrize("path", ["/v1/nonsense", "/v1/models", "/v1/hardware", "/v1/predictions/"])
def test_a_route_of_replicates_that_we_do_not_offer_says_so(world: World, replicate: FakeReplicate, path: str) -> None:
    check_problem(submit(world, FOX, path), 404, "not_offered", instance=path)
    assert not replicate.calls


@pytest.mark.parametrize("path", ["/", "/nonsense", "/generate/x", "/.env", "/GENERATE"])
def test_an_unknown_route_is_not_found(world: World, path: str) -> None:
    check_problem(submit(world, FOX, path), 404, "not_found", instance=path)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD"])
def test_another_method_on_a_known_route_is_not_found(world: World, method: str) -> None:
    answered = world.request(method, "/generate", key=world.keys[ALICE])
    check_problem(answered, 404, "not_found", instance="/generate")
