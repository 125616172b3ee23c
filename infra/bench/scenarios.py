"""The loads that are simulated, and what is told of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from infra.bench import bills
from infra.bench.ceilings import LEASED, ceilings, settings_for
from infra.bench.simulation import Load, Settings, Simulation
from shared.job_store import SHARDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.bench.demand import Demand
    from infra.bench.simulation import Run

EQUAL = {f"tenant {number:02}": 1 / 20 for number in range(20)}
_TAIL = {f"tenant {number:02}": 1 / number for number in range(2, 51)}
WHALE = "tenant 01"
UNEQUAL = {WHALE: 0.8} | {name: 0.2 * share / sum(_TAIL.values()) for name, share in _TAIL.items()}
"""One tenant has 80 %, the other 49 share the rest as Zipf's law says."""
BURST = 100_000
LADDER = (10, 50, 100, 300, 1_000)  # jobs a second that settings are computed for
GROUPS = (("largest", 0.1), ("middle", 0.01), ("small", 0.0))  # by share


@dataclass(frozen=True)
class Scenario:
    """A load on a configuration; `until` is how long it is watched, None: until the last job is done."""

    title: str
    settings: Settings
    load: Load
    until: float | None


def all_scenarios(demand: Demand, defaults: Settings) -> dict[str, Scenario]:
    """Give every scenario, by its key."""
    found: dict[str, Scenario] = {}

    def steady(key: str, title: str, rate: float, settings: Settings, tenants: Mapping[str, float] = EQUAL) -> None:
        seconds = 300.0 if rate <= 100 else 130.0  # noqa: PLR2004 - more would only take longer
        found[key] = Scenario(title, settings, Load(tenants=tenants, rate=rate, seconds=seconds), seconds)

    def burst(key: str, title: str, settings: Settings, **load: Any) -> None:  # noqa: ANN401
        given: dict[str, Any] = {"tenants": EQUAL, "burst": BURST, "batch": 100, "is_warm": False} | load
        found[key] = Scenario(title, settings, Load(**given), None)

    def tuned(rate: float) -> Settings:
        return settings_for(rate, demand, defaults)

    def with_rate(rate: int) -> Settings:
        return replace(defaults, replicate_rate=rate)

    steady("1/s", "1 a second, defaults", 1, defaults)
    steady("10/s", "10 a second, defaults", 10, defaults)
    steady("100/s at 600", "100 a second, defaults", 100, defaults)
    steady("100/s at 6,600", "100 a second, Replicate at 6,600 a minute, else defaults", 100, with_rate(6_600))
    steady("1,000/s at 600", "1,000 a second, defaults", 1_000, defaults)
    steady("1,000/s at 66,000", "1,000 a second, Replicate at 66,000 a minute, else defaults", 1_000, with_rate(66_000))
    for rate in LADDER:
        steady(f"{rate:,}/s set", f"{rate:,} a second, set for it", rate, tuned(rate))
        changed = replace(tuned(rate), most_leased=LEASED, shards=2 * SHARDS)
        steady(f"{rate:,}/s changed", f"{rate:,} a second, set for it, with both changes", rate, changed)
    burst("burst at 600", "100,000 at once in batches, defaults", defaults)
    burst(
        "burst at 6,000",
        "100,000 at once in batches, Replicate at 6,000 a minute, else defaults",
        with_rate(6_000),
    )
    burst(
        "burst at 6,000 set",
        "100,000 at once in batches, Replicate at 6,000 a minute, set for 100 a second, with both changes",
        replace(tuned(100), replicate_rate=6_000, most_leased=LEASED, shards=2 * SHARDS),
    )
    singles = {"batch": 1, "connections": 1_000}
    burst(
        "singles at 60,000",
        "100,000 at once from 1,000 callers, Replicate at 60,000 a minute, else defaults",
        with_rate(60_000),
        **singles,
    )
    burst(
        "singles at 60,000 set",
        "100,000 at once from 1,000 callers, Replicate at 60,000 a minute, set for 500 a second, with both changes",
        replace(tuned(500), replicate_rate=60_000, most_leased=LEASED, shards=2 * SHARDS),
        **singles,
    )
    steady("unequal 12/s", "12 a second of unequal tenants, defaults", 12, defaults, UNEQUAL)
    steady("unequal 100/s", "100 a second of unequal tenants, set for it", 100, tuned(100), UNEQUAL)
    for is_fair in (True, False):
        name = "fair" if is_fair else "one line"
        found[f"flood, {name}"] = Scenario(
            f"2 a second of unequal tenants, and 10,000 at once of the largest, defaults ({name})",
            replace(defaults, is_fair=is_fair),
            Load(tenants=UNEQUAL, rate=2, seconds=900, burst=10_000, batch=100, burst_tenants=(WHALE,), connections=2),
            None,
        )
    return found


def simulate(scenario: Scenario, demand: Demand, *, seed: int = 1) -> tuple[Run, dict[str, Any]]:
    """Run one scenario, and give what is to be told of it."""
    run = Simulation(demand, scenario.settings, scenario.load, seed=seed).run(until=scenario.until)
    load = scenario.load
    is_queued = load.batch > 1
    found = ceilings(demand, scenario.settings, largest_share=max(load.tenants.values()), is_queued=is_queued)
    met = sorted(run.met.items(), key=lambda one: one[1])
    # A steady load meets what is lowest; a burst, and what arithmetic does not see, is told by the simulation.
    bound = [one.name for one in found if not load.burst and one.jobs_per_s <= load.rate]
    bound = bound or [name for name, _ in met]
    done = run.counts["done"]
    report: dict[str, Any] = {
        "title": scenario.title,
        "settings": asdict(scenario.settings),
        "load": asdict(load) | {"tenants": len(load.tenants), "largest_share": max(load.tenants.values())},
        "simulated_s": round(run.seconds, 1),
        "ceilings": [asdict(one) for one in found[:6]],
        "first_to_bind": bound[0] if bound else None,
        "lowest": asdict(found[0]),
        "met": [{"limit": name, "after_s": round(after, 1)} for name, after in met],
        "jobs": {
            "came": len(run.jobs),
            "refused": run.counts["refused"],
            "done": done,
            "open": len(run.jobs) - run.counts["refused"] - done,
            "results_lost": run.counts["results lost"],
        },
        "started_per_s": round(run.counts["started"] / run.seconds, 2),
        "waits_s": waits(run, load),
        "queue": _queue(run, is_steady=scenario.until is not None),
        "longest_unstored_s": round(run.longest_unstored_s, 1),
        "reconcile_late_s": round(run.latest_look_s, 1),
        "peak_executions": run.peak_running,
        "counts": dict(sorted(run.counts.items())),
    }
    if scenario.until is None:
        report["drained_after_s"] = round(max(job.done_at or 0 for job in run.jobs), 1)
        report["usd"] = {name: round(usd, 4) for name, usd in bills.running(run, demand).items()}
        report["usd_replicate"] = round(done * demand.figures["usd_an_image"], 2)
    else:
        report["usd_a_month"] = {name: round(usd, 2) for name, usd in bills.monthly(run, demand).items()}
        report["usd_a_month_replicate"] = round(bills.times_a_month(run) * done * demand.figures["usd_an_image"])
    return run, report


def waits(run: Run, load: Load) -> dict[str, dict[str, Any]]:
    """Give how long jobs waited for their start at Replicate, by the size of their tenant.

    Those that still wait when the simulation ends count with what they have waited until then: `at_least` names the
    percentiles that may be longer for it.
    """
    waited: dict[str, list[float]] = defaultdict(list)
    waiting: Counter[str] = Counter()
    for job in run.jobs:
        if job.status == "refused":
            continue
        share = load.tenants[job.tenant]
        until = run.seconds if job.started_at is None else job.started_at
        for group in ("all", next(name for name, least in GROUPS if share >= least)):
            waited[group].append(until - job.asked_at)
            waiting[group] += job.started_at is None
    found: dict[str, dict[str, Any]] = {}
    for group, times in sorted(waited.items()):
        cuts = quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
        percentiles = {"median": 50, "p95": 95, "p99": 99}
        found[group] = {name: round(cuts[percent - 1], 2) for name, percent in percentiles.items()} | {
            "at_least": [n for n, percent in percentiles.items() if waiting[group] / len(times) > 1 - percent / 100],
            "started": len(times) - waiting[group],
            "waiting": waiting[group],
        }
    return found


def _queue(run: Run, *, is_steady: bool) -> dict[str, float]:
    dispatch = [one[1] for one in run.samples]
    archive = [one[2] for one in run.samples]
    found: dict[str, float] = {"most_to_dispatch": max(dispatch), "most_to_archive": max(archive)}
    if is_steady:
        half = len(run.samples) // 2
        seconds = run.samples[-1][0] - run.samples[half][0]
        for name, values in (("dispatch", dispatch), ("archive", archive)):
            found[f"{name}_grows_per_s"] = round((values[-1] - values[half]) / seconds, 2)
    return found
