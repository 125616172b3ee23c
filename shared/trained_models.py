"""Models that tenants have trained here: claimed by the admission of a training, registered by its success.

All tenants share one account with Replicate. So the first who trains under a name owns it here: nobody else may
train under it, call it, or load its weights.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shared.dynamo import Expression, plain, put_action, typed, update_action
from shared.job import Kind, Status, TenantId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.dynamo import Dynamo
    from shared.job import Job, Outcome

TRIGGER_WORD = "trigger_word"
NOBODY = "-"  # no tenant is called so


@dataclass(frozen=True)
class TrainedModel:
    """The latest model that a tenant trained under a name. `trainer` is what made it, `job_id` the training."""

    name: str  # owner/name
    version: str
    trainer: str
    trigger_word: str | None
    job_id: str


def models_pk(tenant: str) -> str:
    """Give the primary key of the item that holds a tenant's models, each under its name."""
    return f"models#{tenant}"


class TrainedModels:
    """Reads what tenants have trained."""

    def __init__(self, dynamo: Dynamo, table: str) -> None:
        """Work on the table of accounts."""
        self._dynamo = dynamo
        self._table = table

    def of(self, tenant: TenantId) -> Mapping[str, TrainedModel]:
        """Give the models of a tenant by their names."""
        item = self._dynamo.get(self._table, models_pk(tenant)) or {}
        return {name: TrainedModel(**json.loads(str(plain(value)))) for name, value in item.items() if name != "pk"}

    def retire(self, tenant: str) -> list[str]:
        """Forget what a tenant has trained, and give the names; nobody can use them here any more.

        The models are still at Replicate, whose account all tenants share: what is nobody's is not free for others.
        """
        claims = Expression()
        claims.when(claims.begins_with("pk", claim_pk("")))
        claims.when(claims.compare("tenant", "=", tenant))
        # Those too that are nobody's already, if this was interrupted.
        names = {name.lower() for name in self.of(TenantId(tenant))}
        for item in self._dynamo.scan(self._table, claims):
            pk = str(plain(item["pk"]))
            nobody = Expression()
            nobody.set("tenant", NOBODY)
            self._dynamo.update(self._table, pk, nobody)
            names.add(pk.removeprefix(claim_pk("")))
        self._dynamo.delete(self._table, models_pk(tenant))
        return sorted(names)

    def owner(self, name: str) -> str | None:
        """Give the tenant that has claimed a name; Replicate's names do not differ by case."""
        item = self._dynamo.get(self._table, claim_pk(name))
        return str(plain(item["tenant"])) if item else None


def claim_pk(name: str) -> str:
    """Give the primary key of the item that says whose a name is."""
    return f"destination#{name.lower()}"


def claim(table: str, job: Job) -> dict[str, Any] | None:
    """Give the write that claims the name under which a job trains, unless it is another tenant's."""
    if job.destination is None:
        return None
    condition = Expression()
    condition.when(condition.is_absent("pk"), condition.compare("tenant", "=", job.tenant))
    return put_action(table, {"pk": typed(claim_pk(job.destination)), "tenant": typed(job.tenant)}, condition)


def registration(table: str, job: Job, outcome: Outcome) -> dict[str, Any] | None:
    """Give the write that registers what a job has trained, if it has."""
    trained = _trained(job, outcome)
    if trained is None:
        return None
    update = Expression()
    update.set(trained.name, json.dumps(asdict(trained), ensure_ascii=False))
    return update_action(table, models_pk(job.tenant), update)


def _trained(job: Job, outcome: Outcome) -> TrainedModel | None:
    if job.kind is not Kind.TRAINING or outcome.status is not Status.SUCCEEDED:
        return None
    match outcome.text:
        case {"version": str() as text}:
            name, _, version = text.rpartition(":")
            name = name or job.destination or ""
            # Only the name that was claimed; and as an attribute, what is none would spoil the settlement.
            if "/" not in name or not version or name.lower() != (job.destination or "").lower():
                return None
            word = job.input.get(TRIGGER_WORD)
            return TrainedModel(name, version, job.model, word if isinstance(word, str) else None, job.id)
    return None
