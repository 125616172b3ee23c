"""From what a caller names to the model that is meant, its version, and whether it may be called.

A version alone says nothing of its model, and a name before it proves nothing: both are resolved, through the
configuration, the tenant's own trainings, or Replicate, so that permission, validation and price hold for what runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from shared.errors import Code, InvalidField, Refusal
from shared.job import Kind, Makes
from shared.model_config import NAME as NAME_PATTERN
from shared.model_config import VERSION as VERSION_PATTERN
from shared.model_config import BadModelConfig, ModelEntry
from shared.pricing import Price, Tariff, Unit, micro_usd
from shared.registry import FINE_TUNED, MODELS, Model
from shared.trained_models import TRIGGER_WORD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.job import TenantId
    from shared.model_config import DeploymentEntry, ModelConfig
    from shared.trained_models import TrainedModel, TrainedModels
    from shared.upstream_catalog import UpstreamCatalog

NAME = re.compile(NAME_PATTERN)
VERSION = re.compile(VERSION_PATTERN)
REFERENCE = re.compile(f"{NAME_PATTERN}(:{VERSION_PATTERN})?")
LATEST = frozenset({"None", "latest"})  # what the client 1.0.7 sends for a trainer without a version, and we offer
LONGEST_SHOWN = 200  # characters of a name that is none


@dataclass(frozen=True)
class Target:
    """What is to run; `trigger_word` belongs into its prompts.

    `training_id` is the tenant's own training that made the model.
    """

    model: Model
    version: str | None = None
    deployment: str | None = None
    trigger_word: str | None = None
    training_id: str | None = None


class Targets:
    """Finds models."""

    def __init__(
        self,
        *,
        config: ModelConfig,
        allowed: Sequence[str],
        fallback: Price | None,
        lora: str | None,
        trained: TrainedModels,
        catalog: UpstreamCatalog,
        models: Mapping[str, Model] = MODELS,
    ) -> None:
        """`allowed` are patterns of names; `fallback` is the price of models that nobody has described.

        `lora` is the operator's own LoRA, as `owner/name` or `owner/name:version`; to name it is to allow it.

        Raises:
            BadModelConfig: `lora` is neither.
        """
        self.config = config
        self.catalog = catalog
        self._models = models
        self._allowed = allowed
        self._fallback = None if fallback is None else Tariff(fallback, "", "configuration", is_certain=False)
        self._lora = lora
        self._trained = trained
        self._entries: dict[str, ModelEntry] = dict(config.models)
        if lora is not None:
            if not REFERENCE.fullmatch(lora):
                raise BadModelConfig("LoraModelId is owner/name or owner/name:version")
            name, _, version = lora.partition(":")
            self._allowed = (*allowed, name)
            self._entries.setdefault(name, ModelEntry(like="flux-lora", version=version or None))

    def model(self, text: str, tenant: TenantId, *, field: str = "version") -> Target:
        """Give the model that `owner/name`, `owner/name:version` or a version alone means.

        `field` is where the caller has put it, for refusals.

        Raises:
            Refusal: `model_not_allowed`, `model_not_found`, `invalid_input` or `upstream_unavailable`.
        """
        if VERSION.fullmatch(text):
            name, version = self._owner_of(text, tenant, field), text
        else:
            name, version = _parse(text, field)
        name = self._spelled(name)
        own = self._require_allowed(name, tenant)
        return self._target(self._known(name, own) or self._unknown(name), version, own)

    def lora(self, text: str | None, tenant: TenantId) -> Target:
        """Give a fine-tuned model: by the name of one that the tenant trained, like `model`, or the operator's own.

        Raises as `model` does.
        """
        if text is None and (text := self._lora) is None:
            raise _invalid("lora_model_id", "Name a LoRA: none is configured here (LoraModelId).")
        if VERSION.fullmatch(text):
            name, version = self._owner_of(text, tenant, "lora_model_id"), text
        else:
            if "/" not in text:
                text = self._trained_as(text, tenant)
            name, version = _parse(text, "lora_model_id")
        name = self._spelled(name)
        own = self._require_allowed(name, tenant)
        return self._target(self._known(name, own) or self._fine_tuned(name), version, own)

    def deployment(self, name: str) -> Target:
        """Give what runs on a deployment (`owner/name`). Raises as `model` does."""
        if not NAME.fullmatch(name):
            raise _invalid("deployment", "It is owner/name.")
        if not self._allows_deployment(name):
            raise Refusal(Code.MODEL_NOT_ALLOWED, f"Calling the deployment {name!r} is not allowed here.")
        if (entry := self.config.deployments.get(name)) is not None:
            if (configured := self._configured(name, entry)) is None:
                raise self._unpriced(entry.model)
            return replace(configured, model=_predicting(configured.model))
        match self.catalog.deployment(name):
            case {"current_release": {"model": str() as runs, "version": str() as version}}:
                model = _predicting(self._known(runs, None) or self._unknown(runs))
                return Target(model, version, name, self._trigger_word(runs, None))
        raise Refusal(Code.MODEL_NOT_FOUND, f"There is no deployment {name!r}.")

    def trainer(self, name: str, version: str | None = None) -> Target:
        """Give a trainer and the version that is to run. Raises as `model` does."""
        wanted = "" if version is None or version in LATEST else version
        _parse(f"{name}:{wanted}" if wanted else name, "version")
        self._require_pattern(name)
        model = self._known(name, None)
        if model is None or model.kind is not Kind.TRAINING:
            raise Refusal(Code.MODEL_NOT_FOUND, f"There is no trainer {name!r} here.")
        return Target(model, self._version(model, wanted, None))

    def callable_models(self, tenant: TenantId) -> Sequence[Target]:
        """Give everything that is known and that the tenant may call, without asking Replicate."""
        trained = self._trained.of(tenant)
        found = []
        for name in dict.fromkeys([*self._models, *self._entries, *trained]):
            own = None if name in self._models else trained.get(name)
            model = self._known(name, own)
            if model is not None and (own is not None or self._allows(name)):
                version = own.version if own else self._configured_version(name)
                word = self._trigger_word(name, own)
                found.append(Target(model, version, None, word, own.job_id if own else None))
        return found

    def callable_deployments(self) -> Sequence[Target]:
        """Give all deployments that are configured and may be called, without asking Replicate."""
        targets = [
            self._configured(name, entry)
            for name, entry in self.config.deployments.items()
            if self._allows_deployment(name)
        ]
        return [target for target in targets if target is not None]

    def require_callable(self, name: str, tenant: TenantId) -> None:
        """Require that a tenant may call the model of this name, if there is one.

        Raises:
            Refusal: `model_not_allowed`, or `model_not_found` for what is no name at all.
        """
        if not NAME.fullmatch(name):
            raise Refusal(Code.MODEL_NOT_FOUND, f"There is no model {name[:LONGEST_SHOWN]!r}.")
        self._require_allowed(name, tenant)

    def _spelled(self, name: str) -> str:
        """Spell a name as we know it: in another case it may be the same model to Replicate, at another price."""
        known = {one.lower(): one for one in (*self._models, *self._entries)}
        return known.get(name.lower(), name)

    def _allows(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._allowed)

    def _allows_deployment(self, name: str) -> bool:
        return self._allows(name) or self._allows(f"deployments/{name}")

    def _require_pattern(self, name: str) -> None:
        if not self._allows(name):
            raise Refusal(Code.MODEL_NOT_ALLOWED, f"Calling {name!r} is not allowed here.")

    def _require_allowed(self, name: str, tenant: TenantId) -> TrainedModel | None:
        """Refuse what may not be called, and give the tenant's own model if it is one: that is always allowed."""
        if name in self._models:
            self._require_pattern(name)
            return None
        own = self._trained.of(tenant).get(name)
        if own is None:
            self._require_pattern(name)
            if self._trained.owner(name) not in {None, tenant}:
                raise Refusal(Code.MODEL_NOT_ALLOWED, f"The model {name!r} is another tenant's.")
        return own

    def _known(self, name: str, own: TrainedModel | None) -> Model | None:
        known = self._models.get(name)
        if own is not None and self._trainer_of(own) is not None:
            known = replace(FINE_TUNED, name=name)
        entry = self._entries.get(name)
        return entry.apply(name, known, self._fallback) if entry else known

    def _trainer_of(self, own: TrainedModel) -> Model | None:
        trainer = self._known(own.trainer, None)
        return trainer if trainer is not None and trainer.kind is Kind.TRAINING else None

    def _unknown(self, name: str) -> Model:
        """Give a model that we do not know: its input passes through, and its price is the fallback."""
        if self._fallback is None:
            raise self._unpriced(name)
        return Model(name=name, input=None, tariff=self._fallback, makes=Makes.ANYTHING)

    def _fine_tuned(self, name: str) -> Model:
        """Take the word of a caller that a model is a fine-tuned one, unless it is one of Replicate's official ones."""
        document = self.catalog.model(name)
        if document is None:
            raise Refusal(Code.MODEL_NOT_FOUND, f"Replicate has no model {name!r}.")
        return self._unknown(name) if document.get("is_official") is True else replace(FINE_TUNED, name=name)

    def require_loadable(self, weights: str, tenant: TenantId, field: str) -> None:
        """Refuse weights that another tenant has trained.

        Raises:
            Refusal: `invalid_input`.
        """
        name = "/".join(weights.partition(":")[0].split("/")[:2])
        if NAME.fullmatch(name) and self._trained.owner(name) not in {None, tenant}:
            raise _invalid(f"input.{field}", "These weights are another tenant's.")

    def require_destination(self, name: str, tenant: TenantId, *, can_be_made: bool) -> None:
        """Refuse to train under a name that is not the tenant's to use.

        One that Replicate has versions of already, from elsewhere, needs the operator's permission (`AllowedModels`);
        one that it does not have is made, if we know the account (`can_be_made`).

        Raises:
            Refusal: `invalid_input`, or `upstream_unavailable`.
        """
        if self._trained.owner(name) not in {None, tenant}:
            raise _invalid("destination", f"Another tenant trains under {name}.")
        if name in self._trained.of(tenant):
            return
        document = self.catalog.model(name)
        if document is None and not can_be_made:
            raise _invalid("destination", "Replicate has no such model; make it there, or configure ReplicateUsername.")
        if document is not None and document.get("latest_version") is not None and not self._allows(name):
            raise _invalid("destination", f"Replicate has versions of {name} that were not trained here.")

    def _unpriced(self, name: str) -> Refusal:
        listed = ", ".join(sorted(known for known in {**self._models, **self._entries} if self._allows(known)))
        detail = f"The model {name!r} is not known here, and has no price. There are: {listed}."
        return Refusal(Code.MODEL_NOT_FOUND, detail)

    def _configured(self, name: str, entry: DeploymentEntry) -> Target | None:
        model = self._known(entry.model, None)
        tariff = entry.tariff(model.tariff if model else self._fallback)
        if tariff is None:
            return None
        if model is None:
            model = Model(name=entry.model, input=None, tariff=tariff, makes=Makes.ANYTHING)
        return Target(replace(model, tariff=tariff), None, name, self._trigger_word(entry.model, None))

    def _target(self, model: Model, version: str, own: TrainedModel | None) -> Target:
        word = self._trigger_word(model.name, own)
        return Target(_predicting(model), self._version(model, version, own), None, word, own.job_id if own else None)

    def _trigger_word(self, name: str, own: TrainedModel | None) -> str | None:
        """Give what the operator says, or what was learned: that is the trainer's own word if none was given."""
        entry = self._entries.get(name)
        if entry is not None and entry.trigger_word is not None:
            return entry.trigger_word
        if own is None or own.trigger_word is not None:
            return own.trigger_word if own else None
        trainer = self._trainer_of(own)
        known = trainer.input.model_fields.get(TRIGGER_WORD) if trainer and trainer.input else None
        return known.default if known and isinstance(known.default, str) else None

    def _is_official(self, name: str) -> bool:
        registered = self._models.get(name)
        return registered is not None and not registered.needs_version

    def _latest(self, name: str) -> str | None:
        """Give the version that Replicate shows as the model's latest."""
        match self.catalog.model(name):
            case {"latest_version": {"id": str() as latest}}:
                return latest
        return None

    def _configured_version(self, name: str) -> str | None:
        entry = self._entries.get(name)
        return entry.version if entry else None

    def _version(self, model: Model, wanted: str, own: TrainedModel | None) -> str | None:
        """Give the version to run: the one that is wanted, if it is this model's, else the latest that is known."""
        known = [own.version] if own else []
        known += [version] if (version := self._configured_version(model.name)) else []
        if wanted:
            if self._is_official(model.name) and wanted == self._latest(model.name):
                return None  # which is how official models are asked for their latest
            if wanted not in known and self.catalog.version(model.name, wanted) is None:
                raise Refusal(Code.MODEL_NOT_FOUND, f"{model.name!r} has no version {wanted!r}.")
            return wanted
        if known:
            return known[0]
        # To be like an official model is not to be one: of all but the registry's own, Replicate says what they are.
        if self._is_official(model.name):
            return None
        document = self.catalog.model(model.name)
        if document is None:
            raise Refusal(Code.MODEL_NOT_FOUND, f"Replicate has no model {model.name!r}.")
        if document.get("is_official") is True and model.kind is Kind.PREDICTION:
            return None
        if (latest := self._latest(model.name)) is not None:
            return latest
        raise Refusal(Code.MODEL_NOT_FOUND, f"The model {model.name!r} has no version that could run.")

    def _owner_of(self, version: str, tenant: TenantId, field: str) -> str:
        """Find the model that a version belongs to, among those that are named somewhere and may be called."""
        trained = self._trained.of(tenant)
        named = {entry.version: name for name, entry in self._entries.items() if entry.version}
        named |= {own.version: name for name, own in trained.items()}
        if version in named:
            return named[version]
        with_versions = [name for name, model in self._models.items() if model.needs_version]
        literal = [pattern for pattern in self._allowed if NAME.fullmatch(pattern) and pattern not in self._models]
        callable_ = [name for name in (*with_versions, *self._entries, *literal) if self._allows(name)]
        for candidate in dict.fromkeys([*callable_, *trained]):
            if self.catalog.version(candidate, version) is not None:
                return candidate
        for official in filter(self._allows, filter(self._is_official, self._models)):
            if self._latest(official) == version:
                return official
        raise _invalid(field, "It belongs to no model that is known here. Send it as owner/name:version.")

    def _trained_as(self, short: str, tenant: TenantId) -> str:
        """Give the whole name of a model of the tenant's, and leave a version behind it where it is."""
        wanted, colon, version = short.partition(":")
        names = [name for name in self._trained.of(tenant) if name.partition("/")[2] == wanted]
        match names:
            case [name]:
                return f"{name}{colon}{version}"
            case []:
                raise Refusal(Code.MODEL_NOT_FOUND, f"No model named {wanted[:LONGEST_SHOWN]!r} has been trained here.")
        raise _invalid("lora_model_id", f"Which one is meant: {', '.join(sorted(names))}?")


def _predicting(model: Model) -> Model:
    if model.kind is Kind.TRAINING:
        raise Refusal(Code.MODEL_NOT_FOUND, f"{model.name!r} is a trainer: it makes models, by POST /train.")
    return model


def _parse(text: str, field: str) -> tuple[str, str]:
    """Take `owner/name` or `owner/name:version` apart; the version is empty if there is none."""
    if not REFERENCE.fullmatch(text):
        raise _invalid(field, "It is owner/name, owner/name:version, or a version of 64 hexadecimal digits.")
    name, _, version = text.partition(":")
    return name, version


def _invalid(field: str, description: str) -> Refusal:
    return Refusal(Code.INVALID_INPUT, f"- {field}: {description}", (InvalidField(field, description),))


def parse_fallback(text: str) -> Price | None:
    """Read `FallbackPriceUsd`: an amount for each prediction, or `none`."""
    return None if text == "none" else Price(micro_usd(text), Unit.PREDICTION)
