"""The operator's document overrides the registry field by field, and a bad one says where it is bad."""

import json
from typing import Any

import pytest

from shared.inputs.flux import FluxDev
from shared.inputs.flux_lora import FluxLora
from shared.inputs.sdxl import Sdxl
from shared.job import Makes
from shared.model_config import BadModelConfig, DeploymentEntry, ModelConfig, ModelEntry, parse_model_config
from shared.pricing import Price, Tariff, Unit
from shared.registry import FAMILIES, FINE_TUNED, MODELS
from tests.support.catalog import TRAINER, version_of

DEV = "black-forest-labs/flux-dev"
SDXL = "stability-ai/sdxl"
A = version_of("a")


def parsed(**document: Any) -> ModelConfig:
    return parse_model_config(json.dumps(document))


def entry(**fields: Any) -> ModelEntry:
    return parsed(models={"acme/x": fields}).models["acme/x"]


# Good documents


def test_nothing_need_be_said() -> None:
    assert parse_model_config("{}") == ModelConfig()
    assert ModelEntry().apply(DEV, MODELS[DEV]) == MODELS[DEV]
    assert DeploymentEntry(model=DEV).tariff(MODELS[DEV].tariff) == MODELS[DEV].tariff


def test_a_document_says_all_it_can() -> None:
    config = parsed(
        models={
            SDXL: {"version": A, "usd_per_second": "0.000725", "seconds": 5, "defaults": {"scheduler": "DDIM"}},
            "acme/portraits": {"like": "flux-lora", "version": A, "trigger_word": "ACME", "deadline_seconds": 60},
        },
        deployments={"acme/fast": {"model": DEV, "usd_per_image": "0.02"}},
        presets={"banner": {"aspect_ratio": "21:9"}},
    )
    sdxl = config.models[SDXL].apply(SDXL, MODELS[SDXL])
    assert sdxl is not None
    assert (sdxl.name, sdxl.input, sdxl.needs_version, sdxl.defaults) == (SDXL, Sdxl, True, {"scheduler": "DDIM"})
    assert sdxl.tariff == Tariff(Price(725, Unit.SECOND), "", "configuration", 5)
    portraits = config.models["acme/portraits"].apply("acme/portraits", None)
    assert portraits is not None
    assert (portraits.name, portraits.input, portraits.deadline_s) == ("acme/portraits", FluxLora, 60)
    assert portraits.tariff == FINE_TUNED.tariff
    assert config.deployments["acme/fast"].tariff(MODELS[DEV].tariff) == Tariff(Price(20_000), "", "configuration")
    assert config.presets == {"banner": {"aspect_ratio": "21:9"}}


def test_what_is_not_said_stays_as_it_is() -> None:
    model = entry(deadline_seconds=20).apply(DEV, MODELS[DEV])
    assert model is not None
    assert (model.tariff, model.deadline_s, model.input) == (MODELS[DEV].tariff, 20, FluxDev)


def test_a_usual_time_alone_keeps_the_published_price() -> None:
    model = entry(seconds=2.5).apply(SDXL, MODELS[SDXL])
    assert model is not None
    published = MODELS[SDXL].tariff
    assert (model.tariff.price, model.tariff.read, model.tariff.seconds) == (published.price, published.read, 2.5)


def test_the_price_alone_keeps_the_usual_time() -> None:
    tariff = entry(like=SDXL, usd_per_second="0.002").tariff(MODELS[SDXL].tariff)
    assert tariff is not None
    assert (tariff.price, tariff.seconds) == (Price(2_000, Unit.SECOND), MODELS[SDXL].tariff.seconds)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_can_be_like_any_that_is_known(name: str) -> None:
    model = entry(like=name).apply("acme/x", None)
    assert model is not None
    assert (model.name, model.input, model.kind) == ("acme/x", FAMILIES[name].input, FAMILIES[name].kind)


def test_a_likeness_wins_over_what_is_known() -> None:
    model = entry(like="flux-lora").apply(DEV, MODELS[DEV])
    assert model is not None
    assert (model.name, model.input) == (DEV, FluxLora)


def test_of_an_unknown_model_a_price_is_enough_and_needed() -> None:
    assert entry(version=A).apply("acme/x", None) is None
    priced = entry(usd_per_prediction="0.5").apply("acme/x", None)
    assert priced is not None
    assert (priced.input, priced.makes, priced.tariff.price) == (None, Makes.ANYTHING, Price(500_000, Unit.PREDICTION))
    fallback = Tariff(Price(9), "", "configuration", is_certain=False)
    fallen = entry(version=A).apply("acme/x", None, fallback)
    assert fallen is not None
    assert fallen.tariff == fallback


# Bad documents


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "object"),
        ("null", "object"),
        ('{"model": {}}', "model: Extra"),
        ('{"models": []}', "models: "),
        ('{"models": {"acme": {}}}', "models.acme"),
        ('{"models": {"../x": {}}}', "models.../x"),
        ('{"models": {"acme/..": {}}}', "models.acme/.."),
        ('{"models": {"acme/x\\n": {}}}', "models.acme/x"),
        ('{"models": {"acme/x": {"versions": "1"}}}', "models.acme/x.versions"),
        ('{"models": {"acme/x": {"version": "latest"}}}', "models.acme/x.version"),
        ('{"models": {"acme/x": {"usd_per_image": 0.5}}}', "models.acme/x.usd_per_image"),
        ('{"models": {"acme/x": {"usd_per_image": "free"}}}', "models.acme/x.usd_per_image"),
        ('{"models": {"acme/x": {"usd_per_image": "-1"}}}', "models.acme/x.usd_per_image"),
        ('{"models": {"acme/x": {"usd_per_image": "1", "usd_per_second": "1"}}}', "models.acme/x: .*one price"),
        ('{"models": {"acme/x": {"usd_per_second": "1"}}}', "models.acme/x: .*seconds"),
        (f'{{"models": {{"{DEV}": {{"usd_per_second": "1"}}}}}}', f"models.{DEV}: .*seconds"),
        ('{"models": {"acme/x": {"seconds": 0}}}', "models.acme/x.seconds"),
        ('{"models": {"acme/x": {"seconds": "9"}}}', "models.acme/x.seconds"),
        ('{"models": {"acme/x": {"deadline_seconds": 9}}}', "models.acme/x.deadline_seconds"),
        ('{"models": {"acme/x": {"trigger_word": ""}}}', "models.acme/x.trigger_word"),
        ('{"models": {"acme/x": {"like": "midjourney"}}}', "models.acme/x: .*`like`"),
        (
            '{"models": {"acme/x": {"like": "flux-lora", "defaults": {"guidance_scale": 99}}}}',
            "acme/x: .*guidance_scale",
        ),
        (f'{{"models": {{"{DEV}": {{"defaults": {{"steps": 9}}}}}}}}', f"models.{DEV}: .*steps"),
        ('{"deployments": {"acme/fast": {}}}', "deployments.acme/fast.model"),
        ('{"deployments": {"acme/fast": {"model": "flux"}}}', "deployments.acme/fast.model"),
        ('{"deployments": {"fast": {"model": "a/b"}}}', "deployments.fast"),
        (f'{{"deployments": {{"a/b": {{"model": "{DEV}", "usd_per_second": "1"}}}}}}', "deployments.a/b: .*seconds"),
        ('{"deployments": {"a/b": {"model": "c/d", "like": "flux-lora"}}}', "deployments.a/b.like"),
        ('{"presets": {"Banner!": {"aspect_ratio": "21:9"}}}', "presets: .*Banner!"),
        ('{"presets": {"banner": {}}}', "presets: .*banner"),
        ('{"presets": {"banner": 1}}', "presets.banner"),
    ],
)
def test_a_bad_document_says_where(text: str, where: str) -> None:
    with pytest.raises(BadModelConfig, match=where):
        parse_model_config(text)


def test_every_mistake_is_named() -> None:
    with pytest.raises(BadModelConfig) as caught:
        parsed(models={"acme/x": {"seconds": -1, "version": "x"}}, deployments={"y": {"model": DEV}})
    for where in ("models.acme/x.seconds", "models.acme/x.version", "deployments.y"):
        assert where in str(caught.value)


def test_a_mistake_does_not_repeat_what_was_given() -> None:
    with pytest.raises(BadModelConfig) as caught:
        parsed(models={"acme/x": {"version": "hf_secret", "wandb_api_key": "w_secret"}})
    assert "secret" not in str(caught.value)


def test_a_deployment_of_a_configured_model_has_its_usual_time() -> None:
    config = parsed(
        models={"acme/x": {"usd_per_second": "0.001", "seconds": 3}},
        deployments={"acme/fast": {"model": "acme/x", "usd_per_second": "0.002"}},
    )
    tariff = config.deployments["acme/fast"].tariff(config.models["acme/x"].tariff(None))
    assert tariff is not None
    assert (tariff.price.micro_usd, tariff.seconds) == (2_000, 3)


def test_a_trainer_can_have_defaults() -> None:
    model = parsed(models={TRAINER: {"defaults": {"steps": 500}}}).models[TRAINER].apply(TRAINER, MODELS[TRAINER])
    assert model is not None
    assert model.defaults == {"steps": 500}
