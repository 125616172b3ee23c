"""From what callers send to orders: which model, with which input, and how many jobs that takes."""

from __future__ import annotations

import difflib
import re
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from shared.addresses import check_webhook_url
from shared.errors import Code, InvalidField, Refusal
from shared.inputs.fields import Prompt
from shared.presets import PRESETS
from shared.targets import NAME
from shared.trained_models import TRIGGER_WORD
from shared.validation import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shared.addresses import Places
    from shared.bodies import GenerateBody, ModelPredictionBody, TrainBody, TrainingBody
    from shared.job import TenantId
    from shared.targets import Target, Targets

ALL_EVENTS = ("start", "output", "logs", "completed")
DEFAULT_TRAINER = "ostris/flux-dev-lora-trainer"
DEFAULT_TRIGGER_WORD = "TOK"
WEIGHTS = ("lora_weights", "extra_lora", "replicate_weights")  # inputs that name a model to load
_PROMPT: TypeAdapter[str] = TypeAdapter(Prompt)


@dataclass(frozen=True, kw_only=True)
class Order:
    """One job that is to be made."""

    target: Target
    input: Mapping[str, Any]
    drop_unknown: bool
    preset: Mapping[str, Any] | None = None
    trigger_word: str | None = None
    destination: str | None = None
    webhook: str | None = None
    webhook_events: Sequence[str] = ()
    cancel_after_s: int | None = None
    reuse: bool = False
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Orders:
    """All that one request asks for, in order; a part that cannot be made is there with its refusal."""

    parts: Sequence[Order | Refusal] = field(default_factory=list)
    is_batch: bool = False


class Ordering:
    """Reads bodies."""

    def __init__(
        self, targets: Targets, *, default_model: str, username: str | None, most_jobs: int, webhook_places: Places
    ) -> None:
        """`username` is the Replicate account that new models are made under; `most_jobs` bounds one request.

        `webhook_places` are where callers may be called.
        """
        self._targets = targets
        self._webhook_places = webhook_places
        self._default_model = default_model
        self._username = username
        self._most_jobs = most_jobs
        self._presets = {**PRESETS, **targets.config.presets}

    def prediction(self, name: str, body: ModelPredictionBody, tenant: TenantId) -> Order:
        """Read a create of Replicate's interface, of the model or version of this name.

        Raises:
            Refusal: there is no such model, or it may not be called; so do the other methods.
        """
        self._require_loadable(body.input, tenant)
        return self._as_replicate(self._targets.model(name, tenant), body)

    def of_deployment(self, name: str, body: ModelPredictionBody, tenant: TenantId) -> Order:
        """Read a create of Replicate's interface for a deployment."""
        self._require_loadable(body.input, tenant)
        return self._as_replicate(self._targets.deployment(name), body)

    def training(self, trainer: str, version: str, body: TrainingBody, tenant: TenantId) -> Order:
        """Read a training of Replicate's interface."""
        destination = self._destination(body.destination, tenant)
        return replace(self._as_replicate(self._targets.trainer(trainer, version), body), destination=destination)

    def train(self, body: TrainBody, tenant: TenantId) -> Order:
        """Read `POST /train`."""
        named = {"input_images": body.images_zip_url, **_given(body, "trigger_word", "steps")}
        given = {TRIGGER_WORD: DEFAULT_TRIGGER_WORD, **_merged(named, body.input)}
        word = str(given[TRIGGER_WORD])
        if not {"autocaption_prefix", "caption_prefix"} & set(given):
            given["autocaption_prefix"] = f"a photo of {word}"
        destination = self._destination(body.destination or _model_name(word), tenant)
        return Order(
            target=self._targets.trainer(DEFAULT_TRAINER),
            input=given,
            drop_unknown=False,
            destination=destination,
            **self._webhook(body.webhook, ("completed",)),
        )

    def generate(self, body: GenerateBody, tenant: TenantId) -> Orders:
        """Read `POST /generate`: one job, or several for several prompts, or more images than are made at once."""
        self._require_loadable(body.input, tenant)
        target, weights = self._target(body, tenant)
        given = _merged({**weights, **_given(body, "seed", "lora_scale")}, body.input)
        counts = _counts(body, target, given)
        word = body.trigger_word if body.trigger_word is not None else target.trigger_word
        common = Order(
            target=target,
            input=given,
            drop_unknown=False,
            preset=self._preset(body.preset),
            trigger_word=word,
            reuse=body.reuse,
            **self._webhook(body.webhook, ("completed",)),
        )
        if body.prompts is None:
            given.update(_merged({"prompt": body.prompt}, given))
            parts: list[Order | Refusal] = list(_split(common, given, counts))
        else:
            parts = [
                part for n, prompt in enumerate(body.prompts) for part in _for_prompt(common, given, counts, n, prompt)
            ]
        if len(parts) > self._most_jobs:
            asked = "num_images" if body.prompts is None else "prompts"
            raise _refused(asked, f"This would be {len(parts)} jobs, and one request may be {self._most_jobs}.")
        return Orders(parts, is_batch=body.prompts is not None or len(parts) > 1)

    def _target(self, body: GenerateBody, tenant: TenantId) -> tuple[Target, dict[str, Any]]:
        """Give what is to run, and, where a LoRA is loaded into another model, the input that names it."""
        has_lora = body.use_lora if body.use_lora is not None else body.lora_model_id is not None
        if body.deployment is not None:
            if body.model is not None or has_lora:
                raise _refused("deployment", "Give one of deployment, model and lora_model_id.")
            return self._targets.deployment(body.deployment), {}
        if not has_lora:
            return self._targets.model(body.model or self._default_model, tenant, field="model"), {}
        lora = self._targets.lora(body.lora_model_id, tenant)
        if body.model is None:
            return lora, {}
        host = self._targets.model(body.model, tenant, field="model")
        if host.model.input is None or "lora_weights" not in host.model.input.model_fields:
            raise _refused("lora_model_id", f"{host.model.name} loads no LoRA: leave out model, or lora_model_id.")
        weights = f"{lora.model.name}/{lora.version}" if lora.version else lora.model.name
        return replace(host, trigger_word=lora.trigger_word), {"lora_weights": weights}

    def _as_replicate(self, target: Target, body: ModelPredictionBody) -> Order:
        events = body.webhook_events_filter or (ALL_EVENTS if body.webhook else ("completed",))
        return Order(
            target=target,
            input=body.input,
            drop_unknown=True,
            **self._webhook(
                body.webhook or body.webhook_completed,
                tuple(events),
                field="webhook" if body.webhook else "webhook_completed",
            ),
        )

    def _webhook(self, url: str | None, events: Sequence[str], *, field: str = "webhook") -> dict[str, Any]:
        if url is None:
            return {}
        check_webhook_url(url, self._webhook_places, field=field)
        return {"webhook": url, "webhook_events": events}

    def _require_loadable(self, given: Mapping[str, Any], tenant: TenantId) -> None:
        """Refuse inputs that load what another tenant has trained."""
        for name in WEIGHTS:
            if isinstance(value := given.get(name), str):
                self._targets.require_loadable(value, tenant, name)

    def _preset(self, name: str | None) -> Mapping[str, Any] | None:
        if name is None:
            return None
        if name not in self._presets:
            near = difflib.get_close_matches(name, self._presets, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise _refused("preset", f"There is no such preset. {hint}There are: {', '.join(sorted(self._presets))}.")
        return self._presets[name]

    def _destination(self, text: str, tenant: TenantId) -> str:
        """Give where a training puts its model: under the configured account, if there is one."""
        if "/" not in text and self._username is not None:
            text = f"{self._username}/{text}"
        if not NAME.fullmatch(text):
            detail = "It is owner/name; a name alone needs ReplicateUsername to be configured."
            raise _refused("destination", detail)
        if self._username is not None and text.partition("/")[0].lower() != self._username.lower():
            raise _refused("destination", f"Models are made under {self._username}/ here.")
        self._targets.require_destination(text, tenant, can_be_made=self._username is not None)
        return text


def _given(body: GenerateBody | TrainBody, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(body, name)) is not None}


def _merged(named: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    """Put what a body names beside its `input`, where a field may not say something else."""
    fields = {name: value for name, value in inner.items() if value is not None}
    if twice := [name for name, value in named.items() if name in fields and fields[name] != value]:
        description = "It is given twice, with different values."
        found = tuple(InvalidField(f"input.{name}", description) for name in twice)
        raise Refusal(Code.INVALID_INPUT, "\n".join(f"- {one.field}: {description}" for one in found), found)
    return {**fields, **named}


def _counts(body: GenerateBody, target: Target, given: dict[str, Any]) -> list[int | None]:
    """Say how many images each job for one prompt makes; None leaves that to the model."""
    model, asked = target.model, body.num_images
    if "num_images" not in body.model_fields_set and "num_outputs" in given:
        return [None]  # the input says it, and is checked like any other field
    if "num_outputs" in given and given["num_outputs"] != asked:
        _merged({"num_outputs": asked}, given)
    if model.input is None and "num_images" not in body.model_fields_set:
        return [None]
    takes_number = model.input is None or "num_outputs" in model.input.model_fields
    if not takes_number:
        return [None] * asked
    most = asked if model.input is None else model.most_images
    return [min(most, asked - made) for made in range(0, asked, most)]


def _split(order: Order, given: Mapping[str, Any], counts: Sequence[int | None]) -> Iterator[Order]:
    """Give one order for each job. A seed goes on from job to job, so that no two make the same images."""
    made = 0
    for count in counts:
        fields = dict(given)
        if count is not None:
            fields["num_outputs"] = count
        if made and type(given.get("seed")) is int:  # true would be one, too
            fields["seed"] = given["seed"] + made
        yield replace(order, input=fields)
        made += count or 1


def _for_prompt(
    order: Order, given: Mapping[str, Any], counts: Sequence[int | None], n: int, prompt: object
) -> list[Order | Refusal]:
    try:
        valid = _PROMPT.validate_python(prompt, strict=True)
    except ValidationError as error:
        return [invalid(error, prefix=f"prompts.{n}")]
    return list(_split(order, _merged({"prompt": valid}, given), counts))


def _model_name(trigger_word: str) -> str:
    """Make a name for a new model; the random end keeps trainings apart."""
    words = re.sub(r"[^a-z0-9]+", "-", trigger_word.lower()).strip("-")[:40]
    return f"{words or 'lora'}-{secrets.token_hex(4)}"


def _refused(field: str, description: str) -> Refusal:
    return Refusal(Code.INVALID_INPUT, f"- {field}: {description}", (InvalidField(field, description),))
