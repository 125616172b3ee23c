"""Past one machine, by simulation: `make capacity` writes what binds, how long jobs wait, and what a month costs.

It takes calls and units from the functions themselves (`infra.bench.calls`), defaults from template.yaml, limits from
`infra.bench.quotas`. Running it again gives the same files, byte for byte.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from infra.bench import calls, capacity_text, prices, quotas, readme
from infra.bench.capacity_plot import draw
from infra.bench.ceilings import ceilings
from infra.bench.demand import FIGURES, Demand, demand
from infra.bench.scenarios import EQUAL, UNEQUAL, all_scenarios, simulate
from infra.bench.simulation import Settings
from shared.job_store import SHARDS
from shared.upstream_limit import MOST_LEASED
from tests.support.template import read_template
from tests.support.world import environment

if TYPE_CHECKING:
    from collections.abc import Mapping

RESULTS = Path(__file__).parent / "results"
SEED = 1


def main() -> int:
    """Simulate everything, write it down and show it."""
    console = Console(width=160)
    job, defaults = one_image(counted()["one_image"]), defaults_of_template()
    found: dict[str, Any] = {
        "seed": SEED,
        "demand": told(job),
        "figures": {name: asdict(one) for name, one in FIGURES.items()},
        "quotas": [asdict(one) for one in quotas.ALL],
        "quotas_of": quotas.READ_ON,
        "prices_of": prices.READ_ON,
        "code": {"most_leased": MOST_LEASED, "shards": SHARDS, "secrets_of_submit": secrets_of_submit()},
        "ceilings": {
            name: [asdict(one) for one in ceilings(job, defaults, largest_share=max(tenants.values()))]
            for name, tenants in (("equal", EQUAL), ("unequal", UNEQUAL), ("one", {"": 1.0}))
        },
        "scenarios": {},
    }
    scenarios = all_scenarios(job, defaults)
    for key, scenario in track(scenarios.items(), "simulating", console=console, transient=True):
        found["scenarios"][key] = simulate(scenario, job, seed=SEED)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "capacity.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "capacity.md").write_text(capacity_text.text(found))
    readme.put("capacity", capacity_text.for_readme(found))
    draw(found, RESULTS / "capacity.svg")
    _show(console, found)
    return 0


def counted() -> dict[str, list[dict[str, Any]]]:
    """Let the functions work, and give the calls that they make, by the kind of job."""
    functions = str(Path(__file__).parents[2] / "functions")
    if functions not in sys.path:
        sys.path.append(functions)
    # What stands in for AWS wants somebody's keys; standard output has the functions' logs.
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")
    nobody = {**keys, "AWS_DEFAULT_REGION": "us-east-1"}
    with environment(nobody), redirect_stdout(io.StringIO()):
        return {kind: [asdict(call) for call in made] for kind, made in calls.count().items()}


def one_image(made: list[dict[str, Any]]) -> Demand:
    """Give the demand of a job of one image, which made these calls."""
    webhooks = calls.INVOCATIONS["webhook"]
    return demand(made, seconds=calls.SECONDS, webhooks=webhooks, reads=calls.READS_A_JOB)


def told(job: Demand) -> dict[str, Any]:
    """Give a demand as the results have it."""
    sums = {"units": dict(job.units), "requests": job.requests, "execution_seconds": job.execution_seconds}
    return asdict(job) | sums


def defaults_of_template() -> Settings:
    """Give what is deployed where the operator sets nothing."""
    document = read_template()
    parameters = {name: spec["Default"] for name, spec in document["Parameters"].items()}
    return Settings(
        replicate_rate=parameters["ReplicateRatePerMinute"],
        dispatch_concurrency=parameters["DispatchConcurrency"],
        archive_concurrency=parameters["ArchiveConcurrency"],
        notify_concurrency=parameters["NotifyConcurrency"],
        requests_per_second=parameters["RequestsPerSecond"],
        requests_at_once=parameters["RequestsAtOnce"],
    )


def secrets_of_submit() -> int:
    """Give the calls in which `submit` reads its secrets when it starts cold; tests/functions/test_starts.py counts."""
    return 1


def _show(console: Console, found: Mapping[str, Any]) -> None:
    header, rows = capacity_text.overview(found)
    table = Table(*header, title="Loads, and what they meet", title_justify="left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    header, rows = capacity_text.settings(found)
    table = Table(*header, title="What to set", title_justify="left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(f"{RESULTS.relative_to(Path.cwd())}/capacity.json, .md and .svg are written.")


if __name__ == "__main__":
    sys.exit(main())
