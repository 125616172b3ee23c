"""What can be run at the moment: models with their versions, those that came of trainings too, and deployments."""

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from infra.local.simulator import oddities
from infra.local.simulator.clock import utc_now, written
from infra.local.simulator.models import FLUX_LORA, MODELS
from infra.local.simulator.schemas import Model
from infra.local.simulator.training import TRAINER

USERNAME = oddities.ACCOUNT
ACCOUNT = {
    "type": "user",
    "username": USERNAME,
    "name": "Simulated User",
    "github_url": f"https://github.com/{USERNAME}",
    "avatar_url": None,
}
PUBLISHED = datetime(2025, 1, 1, tzinfo=UTC)
DETAILS: dict[str, Any] = {
    "description": None,
    "visibility": "public",
    "github_url": None,
    "paper_url": None,
    "license_url": None,
    "cover_image_url": None,
}


@dataclass(frozen=True)
class Version:
    """One version of a model."""

    id: str
    model: Model
    created_at: datetime

    def shown(self) -> dict[str, Any]:
        """As Replicate's API has it."""
        return {
            "id": self.id,
            "created_at": written(self.created_at),
            "cog_version": "0.13.6",
            "openapi_schema": self.model.openapi_schema(),
        }


@dataclass(kw_only=True)
class Entry:
    """A model as Replicate lists it: without versions it cannot be run. `number` counts in the order of creation."""

    number: int
    name: str
    details: Mapping[str, Any]
    versions: list[Version] = field(default_factory=list)  # the newest first

    def shown(self) -> dict[str, Any]:
        """As Replicate's API has it."""
        owner, _, name = self.name.partition("/")
        return {
            "url": f"https://replicate.com/{self.name}",
            "owner": owner,
            "name": name,
            **self.details,
            "run_count": 0,
            "default_example": None,
            "latest_version": self.versions[0].shown() if self.versions else None,
        }


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A model on hardware of its own, in its version of the beginning."""

    number: int
    name: str
    model: Model
    hardware: str
    instances: tuple[int, int]

    def shown(self) -> dict[str, Any]:
        """As Replicate's API has it."""
        owner, _, name = self.name.partition("/")
        fewest, most = self.instances
        release = {
            "number": 1,
            "model": self.model.name,
            "version": self.model.version,
            "created_at": written(PUBLISHED),
            "created_by": ACCOUNT,
            "configuration": {"hardware": self.hardware, "min_instances": fewest, "max_instances": most},
        }
        return {"owner": owner, "name": name, "current_release": release}


class Catalog:
    """All models and deployments."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries = {
            model.name: Entry(
                number=number,
                name=model.name,
                details=DETAILS,
                versions=[Version(model.version, model, PUBLISHED)],
            )
            for number, model in enumerate((*MODELS, TRAINER, *oddities.MODELS), 1)
        }
        self._versions = {version.id: version for entry in self._entries.values() for version in entry.versions}
        flux_dev = self._entries["black-forest-labs/flux-dev"].versions[0].model
        self.deployments = {
            deployment.name: deployment
            for deployment in (
                Deployment(
                    number=1,
                    name=f"{USERNAME}/fast-flux",
                    model=flux_dev,
                    hardware="gpu-h100",
                    instances=(0, 2),
                ),
                Deployment(
                    number=2,
                    name=f"{USERNAME}/my-lora",
                    model=FLUX_LORA,
                    hardware="gpu-l40s",
                    instances=(1, 5),
                ),
            )
        }

    def find(self, version: str) -> tuple[Model, str] | None:
        """The model, and the version to show, for what a create calls its `version`."""
        name, _, wanted = version.rpartition(":") if ":" in version else ("", "", version)
        if found := self._versions.get(wanted):
            return (found.model, found.id) if name in {"", found.model.name} else None
        official = self.official(version)
        return (official, "hidden") if official else None

    def official(self, name: str) -> Model | None:
        """The official model of this name."""
        entry = self._entries.get(name)
        model = entry.versions[-1].model if entry and entry.versions else None
        return model if model and model.official else None

    def get(self, name: str) -> Entry | None:
        """A model, run or not."""
        return self._entries.get(name)

    def newest_first(self) -> list[Entry]:
        """List all public models."""
        with self._lock:
            listed = list(self._entries.values())
        return [entry for entry in reversed(listed) if entry.details["visibility"] == "public"]

    def create(self, name: str, details: Mapping[str, Any]) -> Entry | None:
        """Make a model without a version; None if there is one already."""
        with self._lock:
            if name in self._entries:
                return None
            self._entries[name] = Entry(number=len(self._entries) + 1, name=name, details={**DETAILS, **details})
            return self._entries[name]

    def add_version(self, name: str, like: Model) -> str:
        """Give a model a new version that can be run at once."""
        version = Version(secrets.token_hex(32), replace(like, name=name), utc_now())
        with self._lock:
            self._entries[name].versions.insert(0, version)
            self._versions[version.id] = version
        return version.id
