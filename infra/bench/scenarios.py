"""The loads that are simulated, and what is told of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from infra.bench import bills
from infra.bench.ceilings import ceilings, settings_for
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
SAMPLES = 120  # of a run, at most, that are kept
BILLS = ("1/s", "10/s set", "100/s set", "1,000/s shards")
GROUPS = (("largest", 0.1), ("middle", 0.01), ("small", 0.0))  # by share


@dataclass(frozen=True)
class Scenario:
    """A load on a configuration; `until` is how long it is watched, None: until the last job is done."""

    what: str
    setup: str
    settings: Settings
    load: Load
    until: float | None


def all_scenarios(demand: Demand, defaults: Settings) -> dict[str, Scenario]:
    """Give every scenario, by its key."""
    found: dict[str, Scenario] = {}

    def steady(key: str, setup: str, rate: float, settings: Settings, tenants: Mapping[str, float] = EQUAL) -> None:
        seconds = 300.0 if rate <= 100 else 130.0  # noqa: PLR2004 - more would only take longer
        what = f"{rate:,} a second" + (", unequal" if tenants is UNEQUAL else "")
        found[key] = Scenario(what, setup, settings, Load(tenants=tenants, rate=rate, seconds=seconds), seconds)

    def burst(key: str, setup: str, settings: Settings, *, batch: int, connections: int) -> None:
        what = f"{BURST:,} at once, " + ("in batches" if batch > 1 else "singly")
        load = Load(tenants=EQUAL, burst=BURST, batch=batch, connections=connections, is_warm=False)
        found[key] = Scenario(what, setup, settings, load, None)

    def tuned(rate: float) -> Settings:
        return settings_for(rate, demand, defaults)

    def with_rate(rate: int) -> Settings:
        return replace(defaults, replicate_rate=rate)

    steady("1/s", "defaults", 1, defaults)
    steady("10/s", "defaults", 10, defaults)
    steady("100/s at 600", "defaults", 100, defaults)
    steady("100/s at 6,600", "Replicate 6,600 a minute", 100, with_rate(6_600))
    steady("1,000/s at 600", "defaults", 1_000, defaults)
    steady("1,000/s at 66,000", "Replicate 66,000 a minute", 1_000, with_rate(66_000))
    for rate in LADDER:
        steady(f"{rate:,}/s set", "set for it", rate, tuned(rate))
    steady("1,000/s shards", f"set for it, {2 * SHARDS} shards", 1_000, replace(tuned(1_000), shards=2 * SHARDS))
    batches, singles = {"batch": 100, "connections": 50}, {"batch": 1, "connections": 1_000}
    burst("burst at 600", "defaults", defaults, **batches)
    burst("burst at 6,000", "Replicate 6,000 a minute", with_rate(6_000), **batches)
    burst("burst at 6,000 set", "the same, set for 100 a second", replace(tuned(100), replicate_rate=6_000), **batches)
    burst("singles at 60,000", "Replicate 60,000 a minute", with_rate(60_000), **singles)
    set_for_500 = replace(tuned(500), replicate_rate=60_000)
    burst("singles at 60,000 set", "the same, set for 500 a second", set_for_500, **singles)
    steady("unequal 12/s", "defaults", 12, defaults, UNEQUAL)
    steady("unequal 100/s", "set for it", 100, tuned(100), UNEQUAL)
    for is_fair in (True, False):
        name = "fair" if is_fair else "one line"
        found[f"flood, {name}"] = Scenario(
            "10,000 of the largest, 2 a second beside",
            "defaults" if is_fair else "defaults, but one line for all",
            replace(defaults, is_fair=is_fair),
            Load(tenants=UNEQUAL, rate=2, seconds=900, burst=10_000, batch=100, burst_tenants=(WHALE,), connections=2),
            None,
        )
    return found


def simulate(scenario: Scenario, demand: Demand, *, seed: int = 1) -> dict[str, Any]:
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
    lowest = found[0]
    report: dict[str, Any] = {
        "what": scenario.what,
        "setup": scenario.setup,
        "settings": asdict(scenario.settings),
        "load": asdict(load) | {"tenants": len(load.tenants), "largest_share": max(load.tenants.values())},
        "simulated_s": round(run.seconds, 1),
        "first_to_bind": bound[0] if bound else None,
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
        drained = max(job.done_at or 0 for job in run.jobs)
        report["drained_after_s"] = round(drained, 1)
        # What is the slowest by arithmetic holds a burst, unless its callers are slower still.
        report["held_by"] = lowest.name if done / drained > 0.8 * lowest.jobs_per_s else None
        report["samples"] = _thinned(run)
        report["usd"] = {name: round(usd, 4) for name, usd in bills.running(run, demand).items()}
        report["usd_replicate"] = round(done * demand.figures["usd_an_image"], 2)
    else:
        report["usd_a_month"] = {name: round(usd, 2) for name, usd in bills.monthly(run, demand).items()}
        report["usd_a_month_replicate"] = round(bills.times_a_month(run) * done * demand.figures["usd_an_image"])
    return report


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


def _thinned(run: Run) -> dict[str, list[float]]:
    """Give some samples of the queues, for the plot."""
    samples = run.samples[:: 1 + len(run.samples) // SAMPLES]
    return {
        "minutes": [round(one[0] / 60, 2) for one in samples],
        "to_dispatch": [one[1] for one in samples],
        "to_archive": [one[2] for one in samples],
    }
