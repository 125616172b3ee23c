"""One run of locust against the local stack, and everything that came of it."""

from __future__ import annotations

import json
import resource
import subprocess
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.bench.load.emulator import METER
from infra.bench.places import ROOT
from infra.local.processes import bare_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra.bench.load.processes import Processes
    from tests.journey.local import Local, Tenant

LOCUST = ROOT / ".local" / "load" / "bin" / "locust"
TRAFFIC = Path(__file__).parent / "traffic.py"
LONGEST_S = 1800  # of one run
REST_S = 240  # until everything that was accepted has to be finished after a run
_LOOK_S = 0.5

type Counts = Mapping[str, Mapping[str, float]]  # by function, and by what it asked for


@dataclass(frozen=True)
class Done:
    """What a run did, with so many jobs that were accepted, by so many callers."""

    wanted: int
    jobs: int
    users: int
    seconds: float
    rest_s: float  # from the last answer until nothing was left to do
    accepted: Sequence[Mapping[str, Any]]
    answers: Mapping[str, int]
    latency: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, Counts]
    resident_mb: Mapping[str, float]
    cpu_s: Mapping[str, float]


class Runs:
    """Makes runs, one after the other, on one stack."""

    def __init__(self, local: Local, tenants: Sequence[Tenant], processes: Processes, folder: Path) -> None:
        self._local = local
        self._tenants = tenants
        self._processes = processes
        self._folder = folder

    def run(self, jobs: int, users: int) -> Done:
        """Let so many callers start so many jobs, and wait until all is done and quiet."""
        record, stats, spec = (self._folder / name for name in ("record.json", "stats.json", "spec.json"))
        keys = [tenant.key for tenant in self._tenants]
        given = {"api_url": self._local.stack.api_url, "keys": keys, "jobs": jobs, "record": str(record)}
        spec.write_text(json.dumps(given))
        self._processes.begin()
        metered, cpu, tool = self.metered(), self._processes.cpu(), _children_s()
        self._locust(users, spec, stats)
        cpu_of_tool = _children_s() - tool
        rest_s = self._rest()
        used, now = self._processes.cpu(), self.metered()
        recorded = json.loads(record.read_text())
        by = {name: getattr(used, name) - getattr(cpu, name) for name in ("emulator", "functions", "simulator")}
        others = used.machine - cpu.machine - sum(by.values()) - cpu_of_tool
        return Done(
            wanted=jobs,
            jobs=len(recorded["accepted"]),
            users=users,
            seconds=recorded["seconds"],
            rest_s=rest_s,
            accepted=recorded["accepted"],
            answers=recorded["answers"],
            latency={one["name"]: latencies(one["response_times"]) for one in _stats(stats)},
            counts={name: since(metered[name], counted) for name, counted in now.items()},
            resident_mb=self._processes.resident_mb(),
            cpu_s={**by, "load tool": cpu_of_tool, "others": max(0.0, others)},
        )

    def idle(self, seconds: float) -> Counts:
        """Give what is asked of AWS while nobody does anything."""
        before = self.metered()
        time.sleep(seconds)
        return since(before["calls"], self.metered()["calls"])

    def metered(self) -> dict[str, Counts]:
        """Read the emulator's meter."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(self._local.stack.aws_endpoint_url + METER, timeout=60) as answer:
            shown: dict[str, Counts] = json.load(answer)
        return shown

    def _locust(self, users: int, spec: Path, stats: Path) -> None:
        arguments = ["--headless", "--locustfile", str(TRAFFIC), "--users", str(users), "--spawn-rate", "1000"]
        arguments += ["--run-time", str(LONGEST_S), "--stop-timeout", "1", "--json-file", str(stats.with_suffix(""))]
        environment = bare_environment(self._folder) | {"LOAD_SPEC": str(spec)}
        with (self._folder / "locust.log").open("wb") as log:
            # Locust says 1 when any request failed; what failed is judged from the record.
            subprocess.run(
                [LOCUST, *arguments, "--exit-code-on-error", "0"],
                env=environment,
                stdout=log,
                stderr=log,
                timeout=LONGEST_S + 60,
                check=True,
            )

    def _rest(self) -> float:
        """Wait until no job is due and no queue holds a message, or the patience for it is over."""
        stack, began = self._local.stack, time.monotonic()
        queues = (stack.archive_queue_url, stack.dispatch_queue_url, stack.notify_queue_url)
        while time.monotonic() < began + REST_S and (
            any(self._local.waiting(queue) for queue in queues) or self._local.due()
        ):
            time.sleep(_LOOK_S)
        return time.monotonic() - began


def since(before: Counts, now: Counts) -> Counts:
    """Give what was counted meanwhile."""
    found = {
        who: {name: n - before.get(who, {}).get(name, 0) for name, n in names.items()} for who, names in now.items()
    }
    return {
        who: kept for who, names in sorted(found.items()) if (kept := {k: n for k, n in sorted(names.items()) if n})
    }


def latencies(histogram: Mapping[str, int]) -> dict[str, float]:
    """Give count and percentiles, in ms, of a histogram by locust: how many requests took how many ms."""
    counted = Counter({float(ms): n for ms, n in histogram.items()})
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {"count": counted.total(), **{name: _percentile(counted, share) for name, share in shares.items()}}


def _percentile(counted: Counter[float], share: float) -> float:
    """Give the least time within which so large a share of them was answered."""
    wanted, seen = share * counted.total(), 0
    for ms in sorted(counted):
        seen += counted[ms]
        if seen >= wanted:
            return ms
    return 0.0


def _stats(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def _children_s() -> float:
    """Give the processor time of children that have ended: of locust alone, since the stack's live on."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
