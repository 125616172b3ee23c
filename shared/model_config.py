"""What an operator says about models: versions, prices, likenesses and presets, as one JSON document.

    {"models": {"stability-ai/sdxl": {"version": "<hash>", "usd_per_second": "0.000975"},
                "acme/portraits": {"like": "flux-lora", "version": "<hash>", "trigger_word": "ACME"}},
     "deployments": {"acme/fast": {"model": "black-forest-labs/flux-dev", "usd_per_image": "0.02"}},
     "presets": {"banner": {"aspect_ratio": "21:9"}}}

It overrides the registry field by field; what it does not name stays as it is there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.job import Makes
from shared.presets import fill, parse_presets
from shared.pricing import Price, Tariff, Unit, micro_usd
from shared.registry import FAMILIES, MODELS, Model

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# No part begins with a dot: names become parts of URLs, and `..` would lead elsewhere.
PART = "[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}"
NAME = f"{PART}/{PART}"
VERSION = "[0-9a-f]{64}"

Name = Annotated[str, Field(pattern=f"^{NAME}$", description="owner/name")]
Presets = Annotated[dict[str, dict[str, Any]], AfterValidator(lambda document: dict(parse_presets(document)))]
Amount = Annotated[str, AfterValidator(lambda text: str(micro_usd(text)))]


class BadModelConfig(Exception):
    """The operator's document is not one; the text says where."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    usd_per_image: Amount | None = None
    usd_per_second: Amount | None = None
    usd_per_prediction: Amount | None = None
    seconds: Annotated[
        float | None, Field(gt=0, le=86_400, description="Usual time of one image, or of one step of a training.")
    ] = None

    @model_validator(mode="after")
    def _has_one_price(self) -> Self:
        if len(self._prices()) > 1:
            raise ValueError("there is one price, per image, second or prediction")
        return self

    def _prices(self) -> list[Price]:
        given = (
            (self.usd_per_image, Unit.IMAGE),
            (self.usd_per_second, Unit.SECOND),
            (self.usd_per_prediction, Unit.PREDICTION),
        )
        return [Price(int(amount), unit) for amount, unit in given if amount is not None]

    def tariff(self, known: Tariff | None) -> Tariff | None:
        """Give the price that holds, if there is one.

        Raises:
            ValueError: nothing says how long an image takes, whose price is per second.
        """
        price = next(iter(self._prices()), known.price if known else None)
        if price is None:
            return None
        seconds = self.seconds or (known.seconds if known else 0)
        if price.unit is Unit.SECOND and not seconds:
            raise ValueError("a price per second needs `seconds`, for estimates")
        if known is not None and price == known.price:
            return replace(known, seconds=seconds)
        return Tariff(price, "", "configuration", seconds)


class ModelEntry(_Entry):
    """One model, known to the registry or not."""

    like: str | None = None
    version: Annotated[str | None, Field(pattern=f"^{VERSION}$")] = None
    trigger_word: Annotated[str | None, Field(min_length=1, max_length=100)] = None
    deadline_seconds: Annotated[int | None, Field(ge=10, le=86_400)] = None
    defaults: dict[str, Any] = Field(default_factory=dict)

    def apply(self, name: str, known: Model | None, fallback: Tariff | None = None) -> Model | None:
        """Give the model with what this entry says of it, if anything says what it costs. Raises as `tariff` does."""
        family = FAMILIES[self.like] if self.like else known
        tariff = self.tariff(family.tariff if family else fallback)
        if tariff is None:
            return None
        model = (
            replace(family, name=name) if family else Model(name=name, input=None, tariff=tariff, makes=Makes.ANYTHING)
        )
        return replace(
            model,
            tariff=tariff,
            deadline_s=self.deadline_seconds or model.deadline_s,
            defaults={**model.defaults, **self.defaults},
        )

    @model_validator(mode="after")
    def _likeness_exists(self) -> Self:
        if self.like is not None and self.like not in FAMILIES:
            raise ValueError(f"`like` is one of {', '.join(sorted(FAMILIES))}")
        return self

    def check(self, name: str) -> None:
        """Require that it makes sense for the model of this name.

        Raises:
            ValueError: it does not.
        """
        model = self.apply(name, MODELS.get(name))
        if model is None or model.input is None:
            return
        _, unfit = fill(self.defaults, model.input, {})
        if unfit:
            raise ValueError(f"it does not take these `defaults`: {', '.join(unfit)}")


class DeploymentEntry(_Entry):
    """One deployment, and the model that it runs."""

    model: Name


class ModelConfig(BaseModel):
    """The whole document."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    models: dict[Name, ModelEntry] = Field(default_factory=dict)
    deployments: dict[Name, DeploymentEntry] = Field(default_factory=dict)
    presets: Presets = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_the_models(self) -> Self:
        for name, entry in self.models.items():
            try:
                entry.check(name)
            except ValueError as error:
                raise ValueError(f"models.{name}: {error}") from None
        for name, deployment in self.deployments.items():
            runs = self.models.get(deployment.model, ModelEntry()).apply(deployment.model, MODELS.get(deployment.model))
            try:
                deployment.tariff(runs.tariff if runs else None)
            except ValueError as error:
                raise ValueError(f"deployments.{name}: {error}") from None
        return self


def parse_model_config(text: str) -> ModelConfig:
    """Read the document.

    Raises:
        BadModelConfig: it is not one.
    """
    try:
        return ModelConfig.model_validate_json(text)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise BadModelConfig("; ".join(": ".join(filter(None, (_place(one), one["msg"]))) for one in found)) from None


def _place(finding: ErrorDetails) -> str:
    return ".".join(map(str, finding["loc"]))
