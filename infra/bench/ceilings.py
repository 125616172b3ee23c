"""How many jobs a second each limit lets through, by arithmetic; and what to set for so many."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from infra.bench import quotas, simulation
from infra.bench.demand import JOBS_TABLE
from shared.upstream_limit import BATCHES, WINDOW_MS

if TYPE_CHECKING:
    from infra.bench.demand import Demand
    from infra.bench.simulation import Settings

WINDOW_S = WINDOW_MS / 1000
ROOM = 1.5  # what is set, to what is needed on average
LEASED = 10  # permits at a time that are recommended where the code's own batches are too large


@dataclass(frozen=True)
class Ceiling:
    """A limit, the jobs a second at which it binds, and who can move it."""

    name: str
    jobs_per_s: float
    moved_by: str


def ceilings(demand: Demand, settings: Settings, *, largest_share: float, is_queued: bool = False) -> list[Ceiling]:
    """Give all limits, the lowest first; `largest_share` is what the largest tenant makes of the jobs.

    `is_queued` says that `dispatch` starts them all, as it does those of batches.
    """
    units = demand.units
    seconds = demand.seconds
    table = sum(units[part] for part in JOBS_TABLE)
    template, code = "template.yaml", "the code"
    of_tenant = quotas.PARTITION_WRITES.limit / largest_share
    transactions = sum(step.get("account", 0) > 0 for step in (demand.admission, demand.adoption, demand.ending))
    found = [
        Ceiling(simulation.RATE, settings.replicate_rate / WINDOW_S, "Replicate; ReplicateRatePerMinute"),
        Ceiling(simulation.LEASES, leased_at_most(settings, seconds["submit"]), code),
        Ceiling(simulation.STAGE, settings.stage_rate / demand.requests, template),
        Ceiling(simulation.ARCHIVE, settings.archive_concurrency / seconds["archive"], "ArchiveConcurrency"),
        Ceiling(simulation.NOTIFY, settings.notify_concurrency / seconds["notify"], "NotifyConcurrency"),
        Ceiling(simulation.LAMBDA, settings.lambda_concurrency / demand.execution_seconds, quotas.Change.ON_REQUEST),
        Ceiling(quotas.API_RATE.name, quotas.API_RATE.limit / demand.requests, quotas.API_RATE.change),
        Ceiling(simulation.ACCOUNT, of_tenant / units["account"], code),
        Ceiling(simulation.CONFLICTS, 1 / (transactions * demand.figures["transaction"] * largest_share), code),
        Ceiling(simulation.BY_TENANT, of_tenant / units["by_tenant"], code),
        Ceiling(simulation.DUE, settings.shards * quotas.PARTITION_WRITES.limit / units["due"], code),
        Ceiling(simulation.TABLE, settings.table_writes / table, quotas.NEW_TABLE_WRITES.change),
        Ceiling(
            "index due: write units, while it is new",
            max(settings.table_writes, quotas.NEW_TABLE_WRITES.limit) / units["due"],
            quotas.NEW_TABLE_WRITES.change,
        ),
        Ceiling(quotas.TABLE_WRITES.name, quotas.TABLE_WRITES.limit / table, quotas.TABLE_WRITES.change),
        Ceiling(quotas.S3_PUTS.name, quotas.S3_PUTS.limit / demand.puts, quotas.S3_PUTS.change),
        Ceiling(quotas.EVENTS.name, quotas.EVENTS.limit, quotas.EVENTS.change),
    ]
    if is_queued:
        dispatched = settings.dispatch_concurrency / seconds["submit"]
        found.append(Ceiling(simulation.DISPATCH, dispatched, "DispatchConcurrency"))
    return sorted(found, key=lambda one: one.jobs_per_s)


def leased_at_most(settings: Settings, start_s: float) -> float:
    """Give the jobs a second that can start if permits are leased in batches, each by a process that is always busy.

    A process that starts one job after the other uses `60 / start_s` permits of a window; what it leased beyond that
    lies unused.
    """
    batch = min(max(1, settings.replicate_rate // BATCHES), settings.most_leased or settings.replicate_rate)
    batches = settings.replicate_rate / batch
    return batches * min(batch, WINDOW_S / start_s) / WINDOW_S


def settings_for(jobs_per_s: float, demand: Demand, defaults: Settings) -> Settings:
    """Give parameters and quotas for a steady load, with room; nothing is set below its default."""
    seconds = demand.seconds
    table = sum(demand.units[part] for part in JOBS_TABLE)

    def needed(per_s: float, default: float, step: int = 1) -> int:
        return max(math.ceil(default), step * math.ceil(ROOM * jobs_per_s * per_s / step))

    return replace(
        defaults,
        replicate_rate=max(defaults.replicate_rate, 60 * math.ceil(1.1 * jobs_per_s)),
        dispatch_concurrency=needed(seconds["submit"], defaults.dispatch_concurrency),
        archive_concurrency=needed(seconds["archive"], defaults.archive_concurrency),
        notify_concurrency=needed(seconds["notify"], defaults.notify_concurrency),
        stage_rate=needed(demand.requests, defaults.stage_rate, 100),
        stage_burst=2 * needed(demand.requests, defaults.stage_rate, 100),
        lambda_concurrency=needed(demand.execution_seconds + seconds["submit"], defaults.lambda_concurrency, 100),
        table_writes=needed(max(table, demand.units["due"]), defaults.table_writes, 1_000),
    )
