"""The models: what each takes, makes and costs. Adding a model is adding one entry to `MODELS`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.inputs.flux import FluxDev, FluxDevLora, FluxSchnell, FluxSchnellLora
from shared.inputs.flux_lora import FluxLora
from shared.inputs.flux_pro import FluxKontext, FluxKontextDev, FluxPro, FluxUltra
from shared.inputs.sdxl import Sdxl
from shared.inputs.training import FluxLoraTrainer
from shared.job import Kind, Makes
from shared.pricing import Price, Tariff, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.inputs.fields import ModelInput

IMAGE_DEADLINE_S = 300
TRAINING_DEADLINE_S = 7_200


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model that Replicate runs.

    `input` is None for a model that we do not know: then Replicate validates. `defaults` fill what a caller leaves
    open. A model that `needs_version` is not one of Replicate's official ones, which always run their latest.
    `deadline_s` counts from the accepted create; then the job is canceled.
    """

    name: str  # owner/name
    input: type[ModelInput] | None
    tariff: Tariff
    makes: Makes = Makes.IMAGES
    needs_version: bool = False
    deadline_s: int = IMAGE_DEADLINE_S
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Whether it is a trainer, or makes predictions."""
        return Kind.TRAINING if self.makes is Makes.MODEL else Kind.PREDICTION

    @property
    def most_images(self) -> int:
        """How many images one prediction can make."""
        return self.input.most_images() if self.input is not None else 1

    @property
    def page(self) -> str:
        """Where Replicate describes it."""
        return f"https://replicate.com/{self.name}"


def _per_second(micro_usd: int, seconds: float, *, least: float = 0) -> Tariff:
    # What a machine costs is published; how long it takes is our estimate.
    price, page = Price(micro_usd, Unit.SECOND), "https://replicate.com/pricing"
    return Tariff(price, "2026-05", page, seconds, is_certain=False, least_seconds=least)


def _official(
    name: str, input: type[ModelInput], micro_usd: int, makes: Makes = Makes.IMAGES, *, is_certain: bool = True
) -> Model:
    tariff = Tariff(Price(micro_usd), "2026-10", f"https://replicate.com/{name}", is_certain=is_certain)
    return Model(name=name, input=input, tariff=tariff, makes=makes)


FINE_TUNED = Model(
    name="a fine-tuned Flux",
    input=FluxLora,
    tariff=_per_second(1_525, 8),  # an H100
    needs_version=True,
)
"""What every Flux LoRA is that somebody has trained: the models have names of their own, and are otherwise alike."""

MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        _official("black-forest-labs/flux-schnell", FluxSchnell, 3_000),
        _official("black-forest-labs/flux-dev", FluxDev, 25_000),
        _official("black-forest-labs/flux-dev-lora", FluxDevLora, 32_000, is_certain=False),
        _official("black-forest-labs/flux-schnell-lora", FluxSchnellLora, 20_000, is_certain=False),
        _official("black-forest-labs/flux-1.1-pro", FluxPro, 40_000, Makes.IMAGE),
        _official("black-forest-labs/flux-1.1-pro-ultra", FluxUltra, 60_000, Makes.IMAGE, is_certain=False),
        _official("black-forest-labs/flux-kontext-pro", FluxKontext, 40_000, Makes.IMAGE, is_certain=False),
        _official("black-forest-labs/flux-kontext-max", FluxKontext, 80_000, Makes.IMAGE, is_certain=False),
        _official("black-forest-labs/flux-kontext-dev", FluxKontextDev, 25_000, Makes.IMAGE, is_certain=False),
        Model(
            name="stability-ai/sdxl",
            input=Sdxl,
            tariff=_per_second(975, 6),  # an L40S; 0.004 to 0.006 USD an image
            needs_version=True,
        ),
        Model(
            name="ostris/flux-dev-lora-trainer",
            input=FluxLoraTrainer,
            tariff=_per_second(1_525, 1.2, least=120),  # an H100; 1,000 steps take 20 to 30 minutes
            makes=Makes.MODEL,
            needs_version=True,
            deadline_s=TRAINING_DEADLINE_S,
            defaults={"steps": 1_000},  # Replicate's own, said aloud: the progress in the logs is known by it
        ),
    )
}

FAMILIES: Mapping[str, Model] = {**MODELS, "flux-lora": FINE_TUNED}
"""What a model of the operator's own can be said to be like."""


def family_of(model: Model) -> str:
    """Give the name that a model is counted as: there are as many others as callers can think of."""
    if model.name in MODELS:
        return model.name
    return "flux-lora" if model.input is FINE_TUNED.input else "other"
