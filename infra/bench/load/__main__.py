"""Load the local stack with ever more jobs, print what it did beside the targets, and keep it: `make load`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from infra.bench import readme
from infra.bench.load import ceiling, judging, report
from infra.bench.load.processes import Processes
from infra.bench.load.run import LOCUST, Runs
from infra.bench.places import ROOT
from infra.local.stack import LocalStack
from tests.journey.local import Local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.bench.load.run import Done

RESULTS = ROOT / "infra" / "bench" / "results"
TENANTS = 3
WARM_UP, WARMERS = 60, 16  # jobs and callers: the gateway lets ten through at the same time
# A limit towards Replicate that was negotiated: at its usual 600 a minute this would measure how jobs wait for it.
PARAMETERS = {"ReplicateRatePerMinute": "6000"}


class MeteredStack(LocalStack):
    """The local stack, with a meter on the wire of its emulator."""

    emulator = "infra.bench.load.emulator"


class Size:
    """How much is done: jobs that there are in all after each run, callers at the same time, and the steps."""

    def __init__(self, *, small: bool) -> None:
        self.totals = (50, 150) if small else (100, 1_000, 5_000)
        self.users = 8
        self.steps = (2, 8) if small else (1, 2, 4, 8, 16, 32)
        self.jobs_a_step = 20 if small else 60
        self.idle_s = 0.0 if small else 65.0  # a run of reconcile is in it
        self.ceiling_s = 1.0 if small else 3.0


def main() -> int:
    """Do it all; 1 if a job was lost or paid for twice, or somebody was answered 5xx."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a quick look, which is not kept")
    parser.add_argument("--again", action="store_true", help="only show and draw what was found before")
    given = parser.parse_args()
    console = Console(width=120)
    folder = ROOT / ".local" / "load" / "small" if given.small else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "load.json"
    if not given.again:
        kept.write_text(json.dumps(measure(Size(small=given.small), console), indent=1) + "\n")
    found = json.loads(kept.read_text())
    section = report.section(found)
    Path(folder, "load.md").write_text(section)
    if not given.small:
        readme.put("load", report.for_readme(section))
    # In the environment of the tool, where matplotlib is.
    subprocess.run([LOCUST.with_name("python"), Path(__file__).with_name("plot.py"), folder], check=True)
    report.show(console, found)
    console.print(f"\nWritten: {folder.relative_to(ROOT)}/load.json, .svg, .md")
    return int(any(one["is_hard"] and not one["is_met"] for one in found["targets"]))


def measure(size: Size, console: Console) -> dict[str, Any]:
    """Run everything on one stack, and judge it."""
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="afterimage-load-")))
        running = MeteredStack(parameters=PARAMETERS)
        local = exits.enter_context(closing(Local(exits.enter_context(running))))
        tenants = [exits.enter_context(local.tenant()) for _ in range(TENANTS)]
        processes = exits.enter_context(Processes(*(child.pid for child in running.children)))
        runs = Runs(local, tenants, processes, folder)

        def run(jobs: int, users: int, what: str) -> Done:
            done = runs.run(jobs, users)
            console.print(
                f"{what}: {jobs} jobs by {users} callers, {done.seconds:.0f} s, {jobs / done.seconds:.1f} a second"
            )
            return done

        ceilings = ceiling.measure(local, size.ceiling_s)
        all_done = [run(WARM_UP, WARMERS, "processes started")]
        before = 0
        for total in size.totals:
            all_done.append(run(total - before, size.users, f"up to {total}"))
            before = total
        grown = all_done[1:]
        all_done += (steps := [run(size.jobs_a_step, users, "step") for users in size.steps])
        idle = runs.idle(size.idle_s)
        books = _books(local, [tenant.name for tenant in tenants], all_done)
    answers = [one.answers for one in all_done]
    growth = [{"total": total, **judging.described(one)} for total, one in zip(size.totals, grown, strict=True)]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "tool": subprocess.run([LOCUST, "--version"], capture_output=True, text=True, check=True).stdout.split(
            " from "
        )[0],
        "targets": [asdict(one) for one in judging.judge(growth, books, answers)],
        "books": {
            "accepted": len(books.accepted),
            "manifests": len(books.manifests),
            "paid": len(books.charged),
            "wrong": {"lost": books.lost, "unknown": books.unknown, "paid": books.wrongly_paid},
            "answers": sum(map(Counter, answers), Counter()),
            "webhooks": books.webhooks,
        },
        "growth": growth,
        "steps": [judging.described(one) for one in steps],
        "idle": {"seconds": size.idle_s, "calls": idle},
        "ceilings": ceilings,
        "limits": judging.limits(
            growth[-1], ceilings, cores=os.cpu_count() or 1, nothing=ceiling.NOTHING, put=ceiling.PUT
        ),
    }


def _books(local: Local, tenants: Sequence[str], done: Sequence[Done]) -> judging.Books:
    """Collect what callers were promised, what is in the bucket, and what the simulator charges and was answered."""
    manifests = {}
    for tenant in tenants:
        pages = local.aws.s3.get_paginator("list_objects_v2").paginate(
            Bucket=local.stack.bucket, Prefix=f"jobs/{tenant}/"
        )
        for key in (one["Key"] for page in pages for one in page.get("Contents", ())):
            if key.endswith("/manifest.json"):
                content = local.aws.s3.get_object(Bucket=local.stack.bucket, Key=key)["Body"].read()
                manifests[key.split("/")[2]] = str(json.loads(content)["status"])
    seen = local.replicate.seen()
    charged = [_job_of(one["webhook"]) for one in seen["predictions"] if one["charged"]]
    webhooks = Counter(f"{one['event']}: {one['status'] or one['error']}" for one in seen["webhooks"])
    accepted = {one["id"]: one["end"] for run in done for one in run.accepted}
    return judging.Books(sum(run.wanted for run in done), accepted, manifests, charged, webhooks)


def _job_of(webhook: str) -> str:
    return webhook.partition("?")[0].rpartition("/")[2]


if __name__ == "__main__":
    sys.exit(main())
