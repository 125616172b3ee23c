"""What a caller names is resolved to what runs, so that permission, validation, version and price hold for it."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import Code, Refusal
from shared.inputs.fields import ModelInput
from shared.inputs.flux import FluxDev, FluxSchnell
from shared.inputs.flux_lora import FluxLora
from shared.inputs.sdxl import Sdxl
from shared.inputs.training import FluxLoraTrainer
from shared.job import Kind, Makes, TenantId
from shared.model_config import BadModelConfig
from shared.pricing import Price, Tariff, Unit
from shared.registry import MODELS
from shared.targets import Target, Targets, parse_fallback
from tests.support.catalog import ALLOWED, MADE_UP, TRAINER, PlayedCatalog, targets, train, version_of
from tests.support.replicate import answer
from tests.support.world import ALICE, BOB, World

SCHNELL = "black-forest-labs/flux-schnell"
DEV = "black-forest-labs/flux-dev"
SDXL = "stability-ai/sdxl"
FALLBACK = Price(50_000, Unit.PREDICTION)
A, B, C, D, F = (version_of(letter) for letter in "abcdf")


@pytest.fixture
def replicate() -> PlayedCatalog:
    return PlayedCatalog()


def refused(call: Callable[[], object], code: Code, *fields: str, hint: str = "") -> None:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.code is code
    assert hint in caught.value.detail
    assert [one.field for one in caught.value.invalid_fields] == list(fields)


def input_of(target: Target) -> type[ModelInput] | None:
    return target.model.input


# By name


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if not model.needs_version])
def test_an_official_model_runs_its_latest_version_and_nobody_is_asked(
    world: World, replicate: PlayedCatalog, name: str
) -> None:
    assert targets(world, replicate).model(name, ALICE) == Target(MODELS[name])
    assert replicate.calls == []


@pytest.mark.parametrize("name", ["acme/private", SDXL, "black-forest-labs2/x"])
def test_what_no_pattern_names_is_not_allowed_and_nobody_is_asked(
    world: World, replicate: PlayedCatalog, name: str
) -> None:
    few = targets(world, replicate, allowed=("black-forest-labs/*",), fallback=FALLBACK)
    for text in (name, f"{name}:{A}"):
        refused(lambda text=text: few.model(text, ALICE), Code.MODEL_NOT_ALLOWED, hint=name)  # type: ignore[misc]
    assert replicate.calls == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a/",
        "/b",
        "a/b/c",
        "../b",
        "a/..",
        "../..",
        ".a/b",
        "a/.b",
        "a b/c",
        "a/b\n",
        "a/b?x",
        "a/b#x",
        "a%2Fb",
        "é/b",
        "a/b:",
        "a/b:x",
        "a/b:latest",
        f"a/b:{A}x",
        f"a/b:{A[1:]}",
        f"a/b:{A.upper()}",
        f"a/b:../{A}",
        f"../..:{A}",
        A.upper(),
        A[1:],
        f"{A}0",
        "a/" + "b" * 101,
    ],
)
def test_what_is_no_name_is_refused_before_anything_is_asked(world: World, replicate: PlayedCatalog, text: str) -> None:
    found = targets(world, replicate, allowed=("*",), fallback=FALLBACK)
    refused(lambda: found.model(text, ALICE), Code.INVALID_INPUT, "version", hint="owner/name")
    refused(lambda: found.model(text, ALICE, field="model"), Code.INVALID_INPUT, "model", hint="model:")
    if "/" in text:
        refused(lambda: found.lora(text, ALICE), Code.INVALID_INPUT, "lora_model_id")
        refused(lambda: found.trainer(text), Code.INVALID_INPUT, "version")
        refused(lambda: found.deployment(text), Code.INVALID_INPUT, "deployment")
    assert replicate.calls == []


def test_a_trainer_makes_no_predictions(world: World, replicate: PlayedCatalog) -> None:
    replicate.has_model(TRAINER, A)
    replicate.has_deployment("acme/fast", model=TRAINER, version=A)
    config = {"deployments": {"acme/slow": {"model": TRAINER}}}
    found = targets(world, replicate, allowed=(*ALLOWED, "acme/*"), config=config)
    for call in (
        lambda: found.model(TRAINER, ALICE),
        lambda: found.model(f"{TRAINER}:{A}", ALICE),
        lambda: found.model(A, ALICE),
        lambda: found.lora(TRAINER, ALICE),
        lambda: found.deployment("acme/fast"),
        lambda: found.deployment("acme/slow"),
    ):
        refused(call, Code.MODEL_NOT_FOUND, hint="POST /train")


# Versions


def test_a_model_that_needs_a_version_runs_the_configured_one_and_nobody_is_asked(
    world: World, replicate: PlayedCatalog
) -> None:
    target = targets(world, replicate, config={"models": {SDXL: {"version": A}}}).model(SDXL, ALICE)
    assert (target.model.name, input_of(target), target.version) == (SDXL, Sdxl, A)
    assert replicate.calls == []


def test_without_a_configured_version_it_runs_replicates_latest(world: World, replicate: PlayedCatalog) -> None:
    replicate.has_model(SDXL, B, A)
    assert targets(world, replicate).model(SDXL, ALICE).version == B
    assert replicate.asked == [f"/v1/models/{SDXL}"]


def test_a_model_without_any_version_cannot_run(world: World, replicate: PlayedCatalog) -> None:
    refused(lambda: targets(world, replicate).model(SDXL, ALICE), Code.MODEL_NOT_FOUND, hint="Replicate has no")
    world.clock.go_on(3600)
    replicate.has_model(SDXL)
    refused(lambda: targets(world, replicate).model(SDXL, ALICE), Code.MODEL_NOT_FOUND, hint="no version")


def test_an_official_model_can_be_pinned_by_the_configuration(world: World, replicate: PlayedCatalog) -> None:
    target = targets(world, replicate, config={"models": {SCHNELL: {"version": A}}}).model(SCHNELL, ALICE)
    assert (target.version, input_of(target)) == (A, FluxSchnell)


def test_a_version_behind_a_name_is_proved(world: World, replicate: PlayedCatalog) -> None:
    replicate.has_model(SDXL, B, A)
    replicate.has_model("acme/expensive", C)
    found = targets(world, replicate)
    assert found.model(f"{SDXL}:{A}", ALICE).version == A
    for foreign in (C, D):
        refused(lambda foreign=foreign: found.model(f"{SDXL}:{foreign}", ALICE), Code.MODEL_NOT_FOUND, hint="version")  # type: ignore[misc]


def test_the_configured_version_needs_no_proof(world: World, replicate: PlayedCatalog) -> None:
    found = targets(world, replicate, config={"models": {SDXL: {"version": A}}})
    assert found.model(f"{SDXL}:{A}", ALICE).version == A
    assert replicate.calls == []


def test_when_replicate_cannot_be_asked_the_caller_may_come_back(world: World, replicate: PlayedCatalog) -> None:
    replicate.will(answer(500, {}))
    with pytest.raises(Refusal) as caught:
        targets(world, replicate).model(SDXL, ALICE)
    assert caught.value.code is Code.UPSTREAM_UNAVAILABLE
    assert caught.value.retry_after


# A version alone


def test_a_bare_version_is_found_in_the_configuration(world: World, replicate: PlayedCatalog) -> None:
    config = {"models": {SDXL: {"version": A}, "acme/fox": {"like": "flux-lora", "version": B, "trigger_word": "FOX"}}}
    found = targets(world, replicate, allowed=(*ALLOWED, "acme/fox"), config=config)
    assert found.model(A, ALICE).model.name == SDXL
    target = found.model(B, ALICE)
    assert (target.model.name, input_of(target), target.version, target.trigger_word) == (
        "acme/fox",
        FluxLora,
        B,
        "FOX",
    )
    assert replicate.calls == []


def test_a_bare_version_is_found_among_the_tenants_own(world: World, replicate: PlayedCatalog) -> None:
    job_id = train(world, "acme/fox", F)
    target = targets(world, replicate).model(F, ALICE)
    assert (target.model.name, target.version, target.training_id) == ("acme/fox", F, job_id)
    assert replicate.calls == []


def test_an_earlier_version_of_the_tenants_own_is_found_with_replicate(world: World, replicate: PlayedCatalog) -> None:
    train(world, "acme/fox", F)
    replicate.has_model("acme/fox", F, D)
    target = targets(world, replicate).model(D, ALICE)
    assert (target.model.name, target.version) == ("acme/fox", D)


@pytest.mark.parametrize("name", [SDXL, "acme/configured", "acme/named"])
def test_a_bare_version_is_found_with_replicate_among_what_is_named_somewhere(
    world: World, replicate: PlayedCatalog, name: str
) -> None:
    replicate.has_model(name, B, A)
    config = {"models": {"acme/configured": {"like": "flux-lora"}}}
    allowed = (*ALLOWED, "acme/configured", "acme/named")
    found = targets(world, replicate, allowed=allowed, config=config, fallback=FALLBACK)
    target = found.model(A, ALICE)
    assert (target.model.name, target.version) == (name, A)


def test_a_bare_version_of_an_unknown_model_is_refused(world: World, replicate: PlayedCatalog) -> None:
    replicate.has_model("acme/unnamed", A)
    found = targets(world, replicate, allowed=("*",), fallback=FALLBACK)
    refused(lambda: found.model(A, ALICE), Code.INVALID_INPUT, "version", hint="owner/name:version")
    refused(lambda: found.lora(A, ALICE), Code.INVALID_INPUT, "lora_model_id")


def test_a_bare_version_is_not_looked_for_in_models_that_may_not_be_called(
    world: World, replicate: PlayedCatalog
) -> None:
    replicate.has_model(SDXL, A)
    config = {"models": {"acme/fox": {"like": "flux-lora", "version": B}}}
    found = targets(world, replicate, allowed=("black-forest-labs/*",), config=config)
    refused(lambda: found.model(A, ALICE), Code.INVALID_INPUT, "version")
    assert all(path.startswith("/v1/models/black-forest-labs/") for path in replicate.asked)
    refused(lambda: found.model(B, ALICE), Code.MODEL_NOT_ALLOWED)


# Replicate shows such a version of every official model, whose versions cannot be asked for.
def test_the_version_that_replicate_shows_of_an_official_model_means_the_model(
    world: World, replicate: PlayedCatalog
) -> None:
    replicate.has_model(SCHNELL, A, is_official=True)
    found = targets(world, replicate)
    for named in (A, f"{SCHNELL}:{A}"):
        target = found.model(named, ALICE)
        assert (target.model.name, target.version) == (SCHNELL, None)
    refused(lambda: found.model(f"{SCHNELL}:{C}", ALICE), Code.MODEL_NOT_FOUND, hint="version")


def test_a_model_that_may_not_be_called_is_not_found_by_its_version(world: World, replicate: PlayedCatalog) -> None:
    replicate.has_model(SCHNELL, A, is_official=True)
    found = targets(world, replicate, allowed=("stability-ai/sdxl",))
    refused(lambda: found.model(A, ALICE), Code.INVALID_INPUT, "version")


# What tenants have trained


def test_a_tenant_may_call_what_it_has_trained_though_no_pattern_names_it(
    world: World, replicate: PlayedCatalog
) -> None:
    job_id = train(world, "acme/fox", F, word="FOX")
    found = targets(world, replicate)
    expected = ("acme/fox", FluxLora, Kind.PREDICTION, F, "FOX", job_id)
    for target in (
        found.model("acme/fox", ALICE),
        found.model(f"acme/fox:{F}", ALICE),
        found.model(F, ALICE),
        found.lora("acme/fox", ALICE),
        found.lora(f"acme/fox:{F}", ALICE),
        found.lora("fox", ALICE),
        found.lora(f"fox:{F}", ALICE),
        found.lora(F, ALICE),
    ):
        model = target.model
        seen = (model.name, model.input, model.kind, target.version, target.trigger_word, target.training_id)
        assert seen == expected
        assert model.tariff.price.unit is Unit.SECOND
    assert replicate.calls == []


def test_what_another_tenant_has_trained_may_not_be_called(world: World, replicate: PlayedCatalog) -> None:
    train(world, "acme/fox", F)
    replicate.has_model("acme/fox", F)
    found = targets(world, replicate, fallback=FALLBACK)
    refused(lambda: found.model("acme/fox", BOB), Code.MODEL_NOT_ALLOWED)
    refused(lambda: found.model(f"acme/fox:{F}", BOB), Code.MODEL_NOT_ALLOWED)
    refused(lambda: found.model(F, BOB), Code.INVALID_INPUT, "version")
    refused(lambda: found.lora("acme/fox", BOB), Code.MODEL_NOT_ALLOWED)
    refused(lambda: found.lora("fox", BOB), Code.MODEL_NOT_FOUND, hint="fox")
    refused(lambda: found.lora(F, BOB), Code.INVALID_INPUT, "lora_model_id")
    assert [one for one in found.callable_models(BOB) if one.training_id] == []
    assert not any("acme" in path for path in replicate.asked)


def test_to_train_under_a_known_name_gives_no_right_to_it(world: World, replicate: PlayedCatalog) -> None:
    train(world, SDXL, F)
    found = targets(world, replicate, allowed=("black-forest-labs/*",))
    refused(lambda: found.model(SDXL, ALICE), Code.MODEL_NOT_ALLOWED)
    assert SDXL not in {one.model.name for one in found.callable_models(ALICE)}


def test_without_a_trigger_word_the_trainer_has_taught_its_own(world: World, replicate: PlayedCatalog) -> None:
    train(world, "acme/fox", F, word=None)
    assert targets(world, replicate).model("acme/fox", ALICE).trigger_word == "TOK"


def test_the_configuration_overrides_what_is_known_of_a_trained_model(world: World, replicate: PlayedCatalog) -> None:
    train(world, "acme/fox", F, word="FOX")
    config = {"models": {"acme/fox": {"trigger_word": "VIXEN", "usd_per_image": "0.5"}}}
    target = targets(world, replicate, config=config).model("acme/fox", ALICE)
    assert (target.trigger_word, target.model.tariff.price, target.version) == ("VIXEN", Price(500_000), F)


def test_what_a_trainer_of_the_operators_own_has_made_is_a_lora_too(world: World, replicate: PlayedCatalog) -> None:
    train(world, "acme/fox", F, trainer="acme/trainer", word=None)
    unknown = targets(world, replicate)
    refused(lambda: unknown.model("acme/fox", ALICE), Code.MODEL_NOT_FOUND, hint="no price")
    target = targets(world, replicate, config={"models": {"acme/trainer": {"like": TRAINER}}}).model("acme/fox", ALICE)
    assert (input_of(target), target.trigger_word) == (FluxLora, "TOK")


@pytest.mark.parametrize("name", ["fox", "nothing", "..", "", "x" * 1_000])
def test_a_short_name_that_nothing_was_trained_under_is_not_found(
    world: World, replicate: PlayedCatalog, name: str
) -> None:
    train(world, "acme/bear")
    refused(lambda: targets(world, replicate).lora(name, ALICE), Code.MODEL_NOT_FOUND)


def test_a_short_name_of_several_is_asked_back(world: World, replicate: PlayedCatalog) -> None:
    train(world, "acme/fox", F)
    train(world, "zoo/fox", D)
    found = targets(world, replicate)
    refused(lambda: found.lora("fox", ALICE), Code.INVALID_INPUT, "lora_model_id", hint="acme/fox, zoo/fox")
    assert found.lora("zoo/fox", ALICE).version == D


# The operator's own LoRA, and others


def test_without_a_name_the_operators_lora_is_meant(world: World, replicate: PlayedCatalog) -> None:
    target = targets(world, replicate, lora=f"acme/house:{A}").lora(None, ALICE)
    assert (target.model.name, input_of(target), target.version) == ("acme/house", FluxLora, A)
    assert replicate.calls == []
    replicate.has_model("acme/house", B)
    assert targets(world, replicate, lora="acme/house").lora(None, ALICE).version == B


def test_the_operators_lora_is_allowed_and_listed(world: World, replicate: PlayedCatalog) -> None:
    found = targets(world, replicate, lora=f"acme/house:{A}")
    assert found.model("acme/house", BOB).version == A
    assert "acme/house" in {one.model.name for one in found.callable_models(BOB)}


def test_the_configuration_says_more_of_the_operators_lora(world: World, replicate: PlayedCatalog) -> None:
    config = {"models": {"acme/house": {"like": "flux-lora", "version": B, "trigger_word": "HSE"}}}
    target = targets(world, replicate, lora="acme/house", config=config).lora(None, ALICE)
    assert (target.version, target.trigger_word) == (B, "HSE")


def test_without_any_lora_a_name_is_needed(world: World, replicate: PlayedCatalog) -> None:
    found = targets(world, replicate)
    refused(lambda: found.lora(None, ALICE), Code.INVALID_INPUT, "lora_model_id", hint="LoraModelId")


@pytest.mark.parametrize("text", ["", "house", "../house", "acme/house:latest", "acme/house:"])
def test_a_lora_that_is_none_is_the_operators_mistake(world: World, replicate: PlayedCatalog, text: str) -> None:
    with pytest.raises(BadModelConfig, match="LoraModelId"):
        targets(world, replicate, lora=text)


def test_an_allowed_model_that_nobody_described_is_taken_for_a_flux_lora(
    world: World, replicate: PlayedCatalog
) -> None:
    replicate.has_model("acme/public-lora", A)
    target = targets(world, replicate, allowed=("acme/*",)).lora("acme/public-lora", ALICE)
    assert (target.model.name, input_of(target), target.version) == ("acme/public-lora", FluxLora, A)


def test_a_lora_must_be_allowed(world: World, replicate: PlayedCatalog) -> None:
    refused(lambda: targets(world, replicate).lora("acme/public-lora", ALICE), Code.MODEL_NOT_ALLOWED)


# Models that the registry does not know


def test_an_unknown_model_without_a_price_is_refused_with_what_there_is(world: World, replicate: PlayedCatalog) -> None:
    replicate.has_model("acme/new", A)
    found = targets(world, replicate, allowed=(SCHNELL, "acme/*"))
    refused(lambda: found.model("acme/new", ALICE), Code.MODEL_NOT_FOUND, hint=f"There are: {SCHNELL}.")
    assert replicate.calls == []


def test_an_unknown_model_counts_with_the_fallback_price_and_passes_its_input_through(
    world: World, replicate: PlayedCatalog
) -> None:
    replicate.has_model("acme/new", B, A)
    found = targets(world, replicate, allowed=("acme/*",), fallback=FALLBACK)
    target = found.model("acme/new", ALICE)
    assert (input_of(target), target.model.makes, target.version) == (None, Makes.ANYTHING, B)
    assert target.model.tariff == Tariff(FALLBACK, "", "configuration", is_certain=False)
    assert found.model(f"acme/new:{A}", ALICE).version == A


def test_an_unknown_official_model_runs_its_latest(world: World, replicate: PlayedCatalog) -> None:
    replicate.has_model("acme/new", A, is_official=True)
    found = targets(world, replicate, allowed=("acme/*",), fallback=FALLBACK)
    assert found.model("acme/new", ALICE).version is None


def test_an_unknown_model_that_replicate_has_not_is_not_found(world: World, replicate: PlayedCatalog) -> None:
    found = targets(world, replicate, allowed=("acme/*",), fallback=FALLBACK)
    refused(lambda: found.model("acme/new", ALICE), Code.MODEL_NOT_FOUND, hint="Replicate has no model")


@pytest.mark.parametrize(
    ("entry", "price"),
    [
        ({"usd_per_image": "0.01"}, Price(10_000)),
        ({"usd_per_prediction": "0.2"}, Price(200_000, Unit.PREDICTION)),
        ({"usd_per_second": "0.001", "seconds": 4}, Price(1_000, Unit.SECOND)),
    ],
)
def test_a_price_is_enough_to_know_a_model(
    world: World, replicate: PlayedCatalog, entry: dict[str, Any], price: Price
) -> None:
    replicate.has_model("acme/new", A)
    found = targets(world, replicate, allowed=("acme/*",), config={"models": {"acme/new": entry}})
    target = found.model("acme/new", ALICE)
    assert (input_of(target), target.model.tariff.price, target.version) == (None, price, A)


def test_what_is_configured_holds_with_the_fallback_price_too(world: World, replicate: PlayedCatalog) -> None:
    config = {"models": {"acme/new": {"version": A, "deadline_seconds": 60, "trigger_word": "NEW"}}}
    found = targets(world, replicate, allowed=("acme/*",), config=config, fallback=FALLBACK)
    target = found.model("acme/new", ALICE)
    assert (target.version, target.model.deadline_s, target.trigger_word) == (A, 60, "NEW")
    assert target.model.tariff.price == FALLBACK
    assert "acme/new" in {one.model.name for one in found.callable_models(ALICE)}


def test_to_be_like_an_official_model_is_not_to_be_one(world: World, replicate: PlayedCatalog) -> None:
    config = {"models": {name: {"like": DEV} for name in ("acme/dev", "black-forest-labs/flux-dev-2")}}
    replicate.has_model("acme/dev", A)
    replicate.has_model("black-forest-labs/flux-dev-2", B, is_official=True)
    found = targets(world, replicate, allowed=("*",), config=config)
    for name, version in (("acme/dev", A), ("black-forest-labs/flux-dev-2", None)):
        target = found.model(name, ALICE)
        assert (target.model.name, input_of(target), target.version) == (name, FluxDev, version)
        assert target.model.tariff == MODELS[DEV].tariff


# Deployments


def test_a_configured_deployment_needs_nobody_to_be_asked(world: World, replicate: PlayedCatalog) -> None:
    config = {"deployments": {"acme/fast": {"model": SCHNELL, "usd_per_second": "0.001", "seconds": 1.5}}}
    target = targets(world, replicate, allowed=("acme/fast",), config=config).deployment("acme/fast")
    assert (target.model.name, input_of(target), target.deployment) == (SCHNELL, FluxSchnell, "acme/fast")
    assert target.version is None
    assert (target.model.tariff.price, target.model.tariff.seconds) == (Price(1_000, Unit.SECOND), 1.5)
    assert replicate.calls == []


def test_a_deployment_without_a_price_of_its_own_has_its_models(world: World, replicate: PlayedCatalog) -> None:
    config = {"deployments": {"acme/fast": {"model": SDXL}, "acme/slow": {"model": SDXL, "usd_per_second": "0.002"}}}
    found = targets(world, replicate, allowed=("acme/*",), config=config)
    assert found.deployment("acme/fast").model.tariff == MODELS[SDXL].tariff
    slow = found.deployment("acme/slow").model.tariff
    assert (slow.price, slow.seconds) == (Price(2_000, Unit.SECOND), MODELS[SDXL].tariff.seconds)


def test_a_deployment_of_a_configured_lora_knows_its_trigger_word(world: World, replicate: PlayedCatalog) -> None:
    config = {
        "models": {"acme/fox": {"like": "flux-lora", "trigger_word": "FOX"}},
        "deployments": {"acme/fast": {"model": "acme/fox"}},
    }
    replicate.has_deployment("acme/other", model="acme/fox", version=A)
    found = targets(world, replicate, allowed=("acme/*",), config=config)
    assert found.deployment("acme/fast").trigger_word == "FOX"
    assert found.deployment("acme/other").trigger_word == "FOX"


@pytest.mark.parametrize(
    ("entry", "fallback", "price"),
    [
        ({"usd_per_image": "0.01"}, None, Price(10_000)),
        ({"usd_per_image": "0.01"}, FALLBACK, Price(10_000)),
        ({}, FALLBACK, FALLBACK),
    ],
)
def test_a_deployment_of_an_unknown_model_needs_a_price(
    world: World, replicate: PlayedCatalog, entry: dict[str, Any], fallback: Price | None, price: Price
) -> None:
    config = {"deployments": {"acme/fast": {"model": "acme/new", **entry}}}
    found = targets(world, replicate, allowed=("acme/fast",), config=config, fallback=fallback)
    target = found.deployment("acme/fast")
    assert (target.model.name, input_of(target), target.model.tariff.price) == ("acme/new", None, price)
    assert [one.deployment for one in found.callable_deployments()] == ["acme/fast"]


def test_a_deployment_of_an_unknown_model_without_a_price_is_refused(world: World, replicate: PlayedCatalog) -> None:
    config = {"deployments": {"acme/fast": {"model": "acme/new"}}}
    found = targets(world, replicate, allowed=("acme/*",), config=config)
    refused(lambda: found.deployment("acme/fast"), Code.MODEL_NOT_FOUND, hint="no price")
    assert found.callable_deployments() == []
    replicate.has_deployment("acme/other", model="acme/new", version=A)
    refused(lambda: found.deployment("acme/other"), Code.MODEL_NOT_FOUND, hint="no price")


def test_of_another_deployment_replicate_says_what_it_runs(world: World, replicate: PlayedCatalog) -> None:
    replicate.has_deployment("acme/fast", model=SCHNELL, version=A)
    target = targets(world, replicate, allowed=("acme/*",)).deployment("acme/fast")
    assert target == Target(MODELS[SCHNELL], A, "acme/fast")
    assert replicate.asked == ["/v1/deployments/acme/fast"]


def test_a_deployment_that_replicate_has_not_is_not_found(world: World, replicate: PlayedCatalog) -> None:
    found = targets(world, replicate, allowed=("acme/*",))
    refused(lambda: found.deployment("acme/fast"), Code.MODEL_NOT_FOUND, hint="no deployment")
    replicate.catalog["deployments/acme/idle"] = {"owner": "acme", "name": "idle", "current_release": None}
    refused(lambda: found.deployment("acme/idle"), Code.MODEL_NOT_FOUND, hint="no deployment")


@pytest.mark.parametrize("pattern", ["acme/fast", "acme/*", "deployments/acme/fast", "deployments/acme/*", "*"])
def test_a_deployment_is_allowed_by_its_name(world: World, replicate: PlayedCatalog, pattern: str) -> None:
    config = {"deployments": {"acme/fast": {"model": SCHNELL}}}
    found = targets(world, replicate, allowed=(pattern,), config=config)
    assert found.deployment("acme/fast").model.name == SCHNELL


def test_a_deployment_is_not_allowed_with_its_model(world: World, replicate: PlayedCatalog) -> None:
    found = targets(world, replicate, config={"deployments": {"acme/fast": {"model": SCHNELL}}})
    refused(lambda: found.deployment("acme/fast"), Code.MODEL_NOT_ALLOWED, hint="acme/fast")
    assert found.callable_deployments() == []
    assert replicate.calls == []


# Trainers


@pytest.mark.parametrize("version", [None, "None", "latest"])
def test_a_trainer_runs_the_configured_version_else_replicates_latest(
    world: World, replicate: PlayedCatalog, version: str | None
) -> None:
    configured = targets(world, replicate, config={"models": {TRAINER: {"version": A}}})
    assert configured.trainer(TRAINER, version) == Target(MODELS[TRAINER], A)
    assert replicate.calls == []
    replicate.has_model(TRAINER, B, is_official=True)
    assert targets(world, replicate).trainer(TRAINER, version).version == B


def test_a_trainers_version_is_proved(world: World, replicate: PlayedCatalog) -> None:
    replicate.has_model(TRAINER, B, A)
    found = targets(world, replicate)
    target = found.trainer(TRAINER, A)
    assert (target.version, input_of(target), target.model.kind) == (A, FluxLoraTrainer, Kind.TRAINING)
    refused(lambda: found.trainer(TRAINER, C), Code.MODEL_NOT_FOUND, hint="no version")


@pytest.mark.parametrize("version", ["..", "x", "Latest", f"{A}/x", "a" * 5_000, "none"])
def test_a_trainers_version_that_is_none_is_refused(world: World, replicate: PlayedCatalog, version: str) -> None:
    refused(lambda: targets(world, replicate).trainer(TRAINER, version), Code.INVALID_INPUT, "version")
    assert replicate.calls == []


def test_what_is_no_trainer_trains_nothing(world: World, replicate: PlayedCatalog) -> None:
    found = targets(world, replicate, allowed=("*",), fallback=FALLBACK)
    for name in (SCHNELL, SDXL, "acme/new"):
        refused(lambda name=name: found.trainer(name), Code.MODEL_NOT_FOUND, hint=name)  # type: ignore[misc]


def test_a_trainer_must_be_allowed(world: World, replicate: PlayedCatalog) -> None:
    few = targets(world, replicate, allowed=("black-forest-labs/*",))
    refused(lambda: few.trainer(TRAINER), Code.MODEL_NOT_ALLOWED)


# What may be called


def test_everything_known_that_may_be_called_is_listed_and_nobody_is_asked(
    world: World, replicate: PlayedCatalog
) -> None:
    job_id = train(world, "acme/fox", F)
    train(world, "zoo/bear", D, tenant=BOB)
    config = {
        "models": {
            SDXL: {"version": A},
            "acme/house": {"like": "flux-lora", "version": B, "trigger_word": "HSE"},
            "acme/unpriced": {"version": C},
            "else/where": {"usd_per_image": "1"},
        }
    }
    found = targets(world, replicate, allowed=(*ALLOWED, "acme/*"), config=config)
    listed = {one.model.name: one for one in found.callable_models(ALICE)}
    assert set(listed) == {*MODELS, "acme/house", "acme/fox"}
    assert (listed[SDXL].version, listed[SCHNELL].version, listed[TRAINER].version) == (A, None, None)
    assert (listed["acme/house"].version, listed["acme/house"].trigger_word) == (B, "HSE")
    fox = listed["acme/fox"]
    assert (fox.version, fox.trigger_word, fox.training_id) == (F, "FOX", job_id)
    assert {one.model.name for one in found.callable_models(BOB)} == {*MODELS, "acme/house", "zoo/bear"}
    assert replicate.calls == []


def test_what_is_listed_can_be_called(world: World, replicate: PlayedCatalog) -> None:
    train(world, "acme/fox", F)
    replicate.has_model(SDXL, A)
    found = targets(world, replicate, lora=f"acme/house:{B}")
    for listed in found.callable_models(ALICE):
        found.require_callable(listed.model.name, ALICE)
        if listed.model.kind is Kind.PREDICTION:
            assert found.model(listed.model.name, ALICE).model == listed.model


def test_what_may_not_be_called_is_told_so_whether_it_exists_or_not(world: World, replicate: PlayedCatalog) -> None:
    train(world, "acme/fox", F)
    found = targets(world, replicate)
    found.require_callable("acme/fox", ALICE)
    found.require_callable("black-forest-labs/nothing", BOB)
    for name in ("acme/fox", "acme/nothing"):
        refused(lambda name=name: found.require_callable(name, BOB), Code.MODEL_NOT_ALLOWED)  # type: ignore[misc]
    for name in ("../x", "black-forest-labs/..", "x", ""):
        refused(lambda name=name: found.require_callable(name, BOB), Code.MODEL_NOT_FOUND)  # type: ignore[misc]


# A new model


def with_made_up(world: World, replicate: PlayedCatalog) -> Targets:
    """Add a model as the registry would: by one entry."""
    return targets(world, replicate, allowed=("acme/*",), models={**MODELS, MADE_UP.name: MADE_UP})


def test_a_new_model_takes_one_entry(world: World, replicate: PlayedCatalog) -> None:
    found = with_made_up(world, replicate)
    assert found.model(MADE_UP.name, TenantId("anybody")) == Target(MADE_UP)
    assert [one.model for one in found.callable_models(ALICE)] == [MADE_UP]
    assert found.model(MADE_UP.name, ALICE).model.tariff.estimate(3) == 21_000
    assert replicate.calls == []


@pytest.mark.parametrize(("text", "price"), [("none", None), ("0.05", FALLBACK), ("0", Price(0, Unit.PREDICTION))])
def test_the_fallback_price_is_for_a_prediction_or_none(text: str, price: Price | None) -> None:
    assert parse_fallback(text) == price
