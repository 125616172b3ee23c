"""How many jobs a second each limit lets through, by arithmetic; and what to set for so many."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from infra.bench import quotas, simulation
from infra.bench.demand import JOBS_TABLE
from shared import aws
from shared.services import SECRET_TRIES
from shared.upstream_limit import WINDOW_MS

if TYPE_CHECKING:
    from infra.bench.demand import Demand
    from infra.bench.simulation import Settings

WINDOW_S = WINDOW_MS / 1000
ROOM = 1.5  # what is set, to what is needed on average
# What the tries of one GetParameter wait together, on average.
SECRET_PATIENCE_S = sum(aws.FIRST_WAIT_S * 2**number for number in range(SECRET_TRIES - 1)) / 2
MOST_AT_ONCE = 5_000  # what AWS lets RequestsAtOnce be


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
    code, throttle = "the code", "RequestsPerSecond"
    of_tenant = quotas.PARTITION_WRITES.limit / largest_share
    transactions = sum(step.get("account", 0) > 0 for step in (demand.admission, demand.adoption, demand.ending))
    found = [
        Ceiling(simulation.RATE, settings.replicate_rate / WINDOW_S, "Replicate; ReplicateRatePerMinute"),
        Ceiling(simulation.STAGE, settings.requests_per_second / (1 + demand.reads), throttle),
        Ceiling(simulation.WEBHOOKS, settings.requests_per_second / demand.webhooks, throttle),
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


def settings_for(jobs_per_s: float, demand: Demand, defaults: Settings) -> Settings:
    """Give parameters and quotas for a steady load, with room; nothing is set below its default."""
    seconds = demand.seconds
    table = sum(demand.units[part] for part in JOBS_TABLE)

    def needed(per_s: float, default: float, step: int = 1) -> int:
        return max(math.ceil(default), step * math.ceil(ROOM * jobs_per_s * per_s / step))

    requests_per_second = needed(max(1 + demand.reads, demand.webhooks), defaults.requests_per_second, 100)
    return replace(
        defaults,
        replicate_rate=max(defaults.replicate_rate, 60 * math.ceil(1.1 * jobs_per_s)),
        dispatch_concurrency=needed(seconds["submit"], defaults.dispatch_concurrency),
        archive_concurrency=needed(seconds["archive"], defaults.archive_concurrency),
        notify_concurrency=needed(seconds["notify"], defaults.notify_concurrency),
        requests_per_second=requests_per_second,
        requests_at_once=min(2 * requests_per_second, MOST_AT_ONCE),
        lambda_concurrency=needed(demand.execution_seconds + seconds["submit"], defaults.lambda_concurrency, 100),
        table_writes=needed(max(table, demand.units["due"]), defaults.table_writes, 1_000),
    )


def starts_at_once(secrets: int, rate: float = quotas.SECRETS.limit) -> int:
    """Give how many processes can start at the same moment if each reads so many parameters, one after the other."""
    return int(rate * (1 + SECRET_PATIENCE_S) / secrets)
