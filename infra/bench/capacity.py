"""Past one machine, by simulation: `make capacity` writes what binds, how long jobs wait, and what a month costs.

It takes calls and units from the functions themselves (`infra.bench.calls`), defaults from template.yaml, limits from
`infra.bench.quotas`. Running it again gives the same files, byte for byte.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from infra.bench import calls, capacity_text, prices, quotas
from infra.bench.capacity_plot import draw
from infra.bench.ceilings import ceilings
from infra.bench.demand import FIGURES, Demand, demand
from infra.bench.scenarios import EQUAL, UNEQUAL, all_scenarios, simulate
from infra.bench.simulation import Settings
from shared.job_store import SHARDS
from shared.upstream_limit import BATCHES
from tests.support.template import read_template

if TYPE_CHECKING:
    from collections.abc import Mapping

RESULTS = Path(__file__).parent / "results"
SEED = 1


def main() -> int:
    """Simulate everything, write it down and show it."""
    console = Console(width=160)
    counted = _count()
    job, defaults = one_image(counted), defaults_of_template()
    found: dict[str, Any] = {
        "seed": SEED,
        "demand": asdict(job)
        | {"units": dict(job.units), "requests": job.requests}
        | {"execution_seconds": job.execution_seconds},
        "calls": len(counted),
        "figures": {name: asdict(one) for name, one in FIGURES.items()},
        "quotas": [asdict(one) for one in quotas.ALL],
        "quotas_of": quotas.READ_ON,
        "prices_of": prices.READ_ON,
        "code": {"leases_a_window": BATCHES, "shards": SHARDS, "secrets_of_submit": secrets_of_submit()},
        "ceilings": {
            name: [asdict(one) for one in ceilings(job, defaults, largest_share=max(tenants.values()))]
            for name, tenants in (("equal", EQUAL), ("unequal", UNEQUAL), ("one", {"": 1.0}))
        },
        "scenarios": {},
    }
    samples = {}
    scenarios = all_scenarios(job, defaults)
    for key, scenario in track(scenarios.items(), "simulating", console=console, transient=True):
        run, report = simulate(scenario, job, seed=SEED)
        found["scenarios"][key] = report
        samples[key] = run.samples
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "capacity.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "capacity.md").write_text(capacity_text.text(found))
    draw(found, samples, RESULTS / "capacity.svg")
    _show(console, found)
    return 0


def one_image(counted: list[dict[str, Any]]) -> Demand:
    """Give the demand of a job of one image."""
    webhooks = calls.INVOCATIONS["webhook"]
    return demand(counted, seconds=calls.SECONDS, webhooks=webhooks, reads=calls.READS_A_JOB)


def defaults_of_template() -> Settings:
    """Give what is deployed where the operator sets nothing."""
    document = read_template()
    parameters = {name: spec["Default"] for name, spec in document["Parameters"].items()}
    return Settings(
        replicate_rate=parameters["ReplicateRatePerMinute"],
        dispatch_concurrency=parameters["DispatchConcurrency"],
        archive_concurrency=parameters["ArchiveConcurrency"],
        notify_concurrency=parameters["NotifyConcurrency"],
        stage_rate=parameters["RequestsPerSecond"],
        stage_burst=parameters["RequestsAtOnce"],
    )


def secrets_of_submit() -> int:
    """Count the parameters that `submit` reads when it starts cold."""
    properties = read_template()["Resources"]["SubmitFunction"]["Properties"]
    return sum(name.endswith("_PARAMETER") for name in properties["Environment"]["Variables"])


def _count() -> list[dict[str, Any]]:
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1")  # noqa: S106
    functions = str(Path(__file__).parents[2] / "functions")
    if functions not in sys.path:
        sys.path.append(functions)
    with redirect_stdout(io.StringIO()):  # the functions' logs
        return list(calls.report()["calls"]["one_image"])


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
