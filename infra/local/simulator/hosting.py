"""Replicate's interface to models, their versions, and deployments.

Seen in answers of Replicate: the words of 409 (not its title), of an unknown hardware, and how `errors` are shaped.
The other words are made up in their manner.
"""

import re
from collections.abc import Mapping
from typing import Any

from infra.local.simulator import problems
from infra.local.simulator.catalog import DETAILS, USERNAME, Catalog
from infra.local.simulator.listener import Answer, Places, Request, reply
from infra.local.simulator.pages import paged
from infra.local.simulator.problems import not_found

MODELS_PAGE = 10  # Replicate's has 25, which all models here would fit on.
DEPLOYMENTS_PAGE = 100
HARDWARE = ("cpu", "gpu-a100-large", "gpu-a100-large-2x", "gpu-h100", "gpu-l40s", "gpu-l40s-2x")
VISIBILITIES = ("public", "private")
SLUG = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")


class Hosting:
    """Answers what is asked of the catalog."""

    def __init__(self, *, catalog: Catalog, places: Places) -> None:
        self._catalog = catalog
        self._places = places

    def models(self, request: Request) -> Answer:
        """List the public models."""
        listed = self._catalog.newest_first()
        return paged(request, self._places.api, listed, lambda entry: entry.shown(), MODELS_PAGE)

    def create_model(self, body: Mapping[str, Any]) -> Answer:
        """Make a model without a version."""
        if wrong := _wrong(body):
            return problems.errors(400, "Validation failed", *wrong)
        if body["owner"] != USERNAME:
            return problems.problem(403, "Forbidden", "You do not have permission to create a model for this owner.")
        details = {name: body[name] for name in DETAILS if name in body}
        entry = self._catalog.create(f"{body['owner']}/{body['name']}", details)
        if entry is None:
            return problems.errors(409, "Conflict", ("", "A model with that name and owner already exists."))
        return reply(201, entry.shown())

    def model(self, _: Request, name: str) -> Answer:
        """Show a model."""
        entry = self._catalog.get(name)
        return reply(200, entry.shown()) if entry else not_found()

    def versions(self, _: Request, name: str) -> Answer:
        """List a model's versions."""
        entry = self._catalog.get(name)
        if not entry:
            return not_found()
        return reply(200, {"previous": None, "next": None, "results": [each.shown() for each in entry.versions]})

    def version(self, _: Request, name: str, version: str) -> Answer:
        """Show one version of a model."""
        entry = self._catalog.get(name)
        found = [each for each in entry.versions if each.id == version] if entry else []
        return reply(200, found[0].shown()) if found else not_found()

    def deployments(self, request: Request) -> Answer:
        """List the account's deployments."""
        listed = list(reversed(self._catalog.deployments.values()))
        return paged(request, self._places.api, listed, lambda each: each.shown(), DEPLOYMENTS_PAGE)

    def deployment(self, _: Request, name: str) -> Answer:
        """Show a deployment."""
        deployment = self._catalog.deployments.get(name)
        return reply(200, deployment.shown()) if deployment else not_found()


def _wrong(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the fields that are wrong, each with what is wrong with it."""
    required = ("owner", "name", "visibility", "hardware")
    if missing := [(name, "This field is required.") for name in required if not isinstance(body.get(name), str)]:
        return missing
    wrong = []
    if not SLUG.fullmatch(body["name"]):
        allowed = "lowercase letters, numbers, dashes, underscores, or periods"
        edges = "a dash, underscore, or period"
        wrong.append(("name", f"Model name can only contain {allowed}, and cannot start or end with {edges}."))
    if body["visibility"] not in VISIBILITIES:
        wrong.append(("visibility", f"Must be one of: {', '.join(VISIBILITIES)}."))
    if body["hardware"] not in HARDWARE:
        options = ", ".join(HARDWARE)
        wrong.append(("hardware", f"{body['hardware']} is not a valid hardware SKU. Your options are: {options}."))
    return wrong
