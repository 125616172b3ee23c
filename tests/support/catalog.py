"""Replicate's catalog, played; and what finds models, composed as `shared.services` does, but on the world's clock."""

from collections.abc import Sequence
from typing import Annotated, Any, override

from pydantic import Field

from shared.inputs.fields import ModelInput, Prompt
from shared.job import Kind, Millis, Outcome, Status
from shared.model_config import ModelConfig
from shared.pricing import Price, Tariff
from shared.registry import Model
from shared.replicate_api import ReplicateApi
from shared.targets import Targets
from shared.trained_models import TrainedModels, registration
from shared.upstream_catalog import UpstreamCatalog
from tests.support.loopback import Answer, Call
from tests.support.replicate import TOKEN, FakeReplicate, answer
from tests.support.world import ALICE, World, job

TRAINER = "ostris/flux-dev-lora-trainer"
NOT_THERE = answer(404, {"detail": "The requested resource could not be found.", "status": 404})
ALLOWED = ("black-forest-labs/*", "stability-ai/sdxl", TRAINER)


class MadeUpInput(ModelInput):
    """The input of a model that nobody has."""

    prompt: Prompt
    num_outputs: Annotated[int, Field(ge=1, le=8)] = 1


MADE_UP = Model(
    name="acme/made-up",
    input=MadeUpInput,
    tariff=Tariff(Price(7_000), "2026-11", "https://example.com/prices"),
    deadline_s=60,
)


def version_of(letter: str) -> str:
    """Give a version: 64 times this hexadecimal digit."""
    return letter * 64


class PlayedCatalog(FakeReplicate):
    """Replicate as far as models are read: what it has is found, nothing else is; lined-up answers come first."""

    def has_model(self, name: str, *versions: str, is_official: bool = False) -> dict[str, Any]:
        """Let there be a model with these versions, the latest first."""
        owner, _, own = name.partition("/")
        found = [version_document(version) for version in versions]
        document = {
            "url": f"https://replicate.com/{name}",
            "owner": owner,
            "name": own,
            "description": "Made up",
            "visibility": "public",
            "is_official": is_official,
            "run_count": 7,
            "latest_version": found[0] if found else None,
        }
        self.catalog[f"models/{name}"] = document
        self.catalog[f"models/{name}/versions"] = {"previous": None, "next": None, "results": found}
        for version in found:
            self.catalog[f"models/{name}/versions/{version['id']}"] = version
        return document

    def has_deployment(self, name: str, *, model: str, version: str) -> None:
        """Let there be a deployment that runs this."""
        owner, _, own = name.partition("/")
        release = {"number": 1, "model": model, "version": version}
        self.catalog[f"deployments/{name}"] = {"owner": owner, "name": own, "current_release": release}

    @property
    def asked(self) -> list[str]:
        """The paths of all requests."""
        return [call.path for call in self.calls]

    @override
    def respond(self, call: Call) -> Answer:
        self.calls.append(call)
        found = self._lined_up.pop(0) if self._lined_up else None
        if isinstance(found, Exception):
            raise found
        document = self.catalog.get(call.path.removeprefix("/v1/"))
        return found or (answer(200, document) if document else NOT_THERE)


def version_document(version: str) -> dict[str, Any]:
    """Give a version as Replicate does."""
    schemas = {"Input": {"type": "object", "properties": {"prompt": {"type": "string"}}}, "Output": {"type": "string"}}
    return {
        "id": version,
        "created_at": "2025-01-01T00:00:00.000Z",
        "cog_version": "0.13.7",
        "openapi_schema": {"openapi": "3.0.2", "components": {"schemas": schemas}},
    }


def upstream_catalog(world: World, replicate: PlayedCatalog) -> UpstreamCatalog:
    """Give the catalog of a fresh process."""
    api = ReplicateApi(token=TOKEN, base_url="https://api.replicate.com", transport=replicate)
    return UpstreamCatalog(world.dynamo, world.jobs_table, replicate=lambda: api, now=world.clock)


def targets(
    world: World,
    replicate: PlayedCatalog,
    *,
    allowed: Sequence[str] = ALLOWED,
    config: dict[str, Any] | None = None,
    **changes: Any,
) -> Targets:
    """Give what finds models, in a fresh process."""
    settings: dict[str, Any] = {"fallback": None, "lora": None, **changes}
    return Targets(
        config=ModelConfig.model_validate(config or {}),
        allowed=allowed,
        trained=TrainedModels(world.dynamo, world.accounts_table),
        catalog=upstream_catalog(world, replicate),
        **settings,
    )


def train(
    world: World,
    name: str = "acme/fox",
    version: str = version_of("f"),
    *,
    word: str | None = "FOX",
    trainer: str = TRAINER,
    tenant: str = ALICE,
) -> str:
    """Let a training of a tenant's end well, as far as its model is concerned; gives its job's id."""
    given = {"input_images": "https://example.com/i.zip"} | ({"trigger_word": word} if word is not None else {})
    one = job(tenant=tenant, kind=Kind.TRAINING, model=trainer, input=given, destination=name)
    outcome = Outcome(
        status=Status.SUCCEEDED,
        completed_at=Millis(1),
        cost=0,
        text={"version": f"{name}:{version}", "weights": "https://x"},
    )
    write = registration(world.accounts_table, one, outcome)
    assert write is not None
    world.dynamo.transact([write])
    return one.id
