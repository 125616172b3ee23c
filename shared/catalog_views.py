"""What callers see of models and of their account: our own listing, and Replicate's documents."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from shared.identifiers import canonical
from shared.job import Kind
from shared.presets import PRESETS, fill
from shared.pricing import MICRO, usd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.accounts import Account
    from shared.inputs.fields import ModelInput
    from shared.ledger import Spent
    from shared.pricing import Tariff
    from shared.registry import Model
    from shared.targets import Target
    from shared.upstream_catalog import Document

USUAL_STEPS = 1_000  # of a training, for its estimate
LARGEST_PAGE = 4_000_000  # bytes: a Lambda answer holds 6 MB, and a version brings its whole schema
UNKNOWN_TIME = "1970-01-01T00:00:00.000Z"  # where 1.0.7 requires one
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def catalog_of(
    models: Sequence[Target], deployments: Sequence[Target], presets: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Give everything that a caller may name, with what it takes and costs; `presets` are the operator's."""
    known = {**PRESETS, **presets}
    runs: dict[str, list[Target]] = {}
    for one in deployments:
        runs.setdefault(one.model.name, []).append(one)
    return {
        "models": [_model(target, runs.get(target.model.name, []), known) for target in models],
        "presets": {name: dict(preset) for name, preset in known.items()},
    }


def _model(target: Target, deployments: Sequence[Target], presets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    model = target.model
    return {
        "name": model.name,
        "kind": model.kind,
        "makes": model.makes,
        "max_images": _most_images(model),
        "version": target.version,
        "trigger_word": target.trigger_word,
        "trained": target.training_id is not None,
        "training_id": target.training_id,
        **_cost(target),
        "deadline_seconds": model.deadline_s,
        "defaults": dict(model.defaults),
        "presets": [name for name, preset in presets.items() if fill(preset, model.input, {})[0]],
        "deployments": [{"name": one.deployment, **_cost(one)} for one in deployments],
        "input_schema": None if model.input is None else input_schema(model.input),
    }


def _most_images(model: Model) -> int | None:
    if model.kind is Kind.TRAINING:
        return 0
    return None if model.input is None else model.most_images


def _cost(target: Target) -> dict[str, Any]:
    """Give the price, and what one image, or a training of 1,000 steps, is expected to cost."""
    amount = USUAL_STEPS if target.model.kind is Kind.TRAINING else 1
    return {
        "price": _price(target.model.tariff),
        "estimate_usd": target.model.tariff.estimate(amount) / MICRO,
    }


def _price(tariff: Tariff) -> dict[str, Any]:
    found = {
        "usd": tariff.price.micro_usd / MICRO,
        "per": tariff.price.unit,
        "read": tariff.read or None,
        "source": tariff.source,
        "is_certain": tariff.is_certain,
    }
    return {**found, "usual_seconds": tariff.seconds} if tariff.seconds else found


@cache
def input_schema(input: type[ModelInput]) -> Mapping[str, Any]:
    """Give the JSON Schema of a model's input; a secret is marked on the field itself, also one that may be null."""
    schema = input.model_json_schema()
    for name in input.secret_fields():
        schema["properties"][name]["writeOnly"] = True
    return {"$schema": DIALECT, **schema}


def replicate_model(target: Target) -> dict[str, Any]:
    """Give a model as Replicate's list does, as far as it is known here."""
    owner, _, name = target.model.name.partition("/")
    return {
        "url": target.model.page,
        "owner": owner,
        "name": name,
        "description": _description(target),
        "visibility": "private" if target.training_id else "public",
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "run_count": 0,
        "cover_image_url": None,
        "default_example": None,
        "latest_version": None if target.version is None else _version(target, target.version),
    }


def _description(target: Target) -> str:
    price = target.model.tariff.price
    text = f"Costs {usd(price.micro_usd)} USD per {price.unit}."
    return f"{text} Its trigger word is {target.trigger_word}." if target.trigger_word else text


def _version(target: Target, version: str) -> dict[str, Any]:
    schema = {"type": "object"} if target.model.input is None else input_schema(target.model.input)
    return {
        "id": version,
        "created_at": UNKNOWN_TIME,
        "cog_version": "",
        "openapi_schema": {"components": {"schemas": {"Input": schema, "Output": {}}}},
    }


def versions_page(document: Document) -> dict[str, Any]:
    """Give Replicate's list of versions as one page: the latest ones, as many as an answer holds."""
    results: list[Document] = []
    size = 0
    for version in document.get("results", []):
        size += len(canonical(version))
        if results and size > LARGEST_PAGE:
            break
        results.append(version)
    return {"previous": None, "next": None, "results": results}


def account_of(account: Account, spent: Spent, day: str) -> dict[str, Any]:
    """Give a tenant's account as Replicate does, with the money of a UTC day (YYYYMMDD)."""
    settled = sum(spent.by_model.values())
    limits = account.limits
    return {
        "type": "organization",
        "username": account.tenant,
        "name": account.tenant,
        "avatar_url": None,
        "github_url": None,
        "afterimage": {
            "day": day,
            "budget_usd": limits.daily_budget / MICRO,
            "committed_usd": spent.committed / MICRO,
            "spent_usd": settled / MICRO,
            # The two are read one after the other: a job may have ended in between.
            "reserved_usd": max(0, spent.committed - settled) / MICRO,
            "in_flight": spent.in_flight,
            "limits": {"requests_per_minute": limits.rate_per_minute, "max_in_flight": limits.max_in_flight},
            "by_model": {name: cost / MICRO for name, cost in sorted(spent.by_model.items())},
        },
    }
