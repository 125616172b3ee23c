"""What a load means: figures for each job, and which targets are met."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from infra.bench.load.run import Counts, Done

MOST_GROWTH = 1.10
# What a job causes, whoever looks at it.
WORKERS = ("submit", "dispatch", "webhook", "archive", "notify")
# How often `submit` looks for the end of a job that its caller waits for depends on how long that takes.
WAITING = ("dynamodb GetItem jobs", "dynamodb BatchGetItem jobs")
STATUS_READ = "dynamodb GetItem jobs"
_SERVER_ERROR = 500
WEBHOOKS, MESSAGES = 3, 2  # a job: start, logs and completed; to archive and notify
OTHERS = "others"  # among the processor times: programs that have nothing to do with this
_OTHERS = ("emulator", "simulator")  # among the processes: all else are functions


@dataclass(frozen=True)
class Target:
    """Something that should hold; a hard one fails the run where it does not."""

    name: str
    found: str
    wanted: str
    is_met: bool
    is_hard: bool = False


@dataclass(frozen=True)
class Books:
    """What should agree: the jobs that callers were promised, those with a manifest, and what Replicate charges."""

    wanted: int  # creates that callers were to make
    accepted: Mapping[str, str | None]  # how each ended as its caller saw it, by job
    manifests: Mapping[str, str]  # the status in it, by job
    charged: Sequence[str]  # the job of each prediction that is paid for
    webhooks: Mapping[str, int]  # answers to Replicate, by event and status or error

    @property
    def lost(self) -> list[str]:
        """Give the accepted jobs that did not succeed, and those whose manifest is not there."""
        return [job for job in self.accepted if self.manifests.get(job) != "succeeded"]

    @property
    def unknown(self) -> list[str]:
        """Give the jobs that were made though nobody was told that they are accepted."""
        return sorted(set(self.manifests) - set(self.accepted))

    @property
    def wrongly_paid(self) -> dict[str, int]:
        """Give the jobs that were not paid for exactly once, with how often they were."""
        paid = Counter(self.charged)
        return {job: paid[job] for job in {*self.accepted, *paid} if paid[job] != (job in self.accepted)}

    @property
    def unseen(self) -> list[str]:
        """Give the jobs whose callers did not see that they succeeded."""
        return [job for job, end in self.accepted.items() if end != "succeeded"]


def server_errors(answers: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Count the answers that were the server's fault: those of 5xx, and connections that ended without one."""
    found: Counter[str] = Counter()
    for one in answers:
        found.update(one)
    return {name: n for name, n in sorted(found.items()) if _is_fault(name.rpartition(": ")[2])}


def _is_fault(status: str) -> bool:
    return not status.isdecimal() or int(status) >= _SERVER_ERROR


def of_jobs(counts: Counts) -> float:
    """Add up what jobs caused, without the looks of those who wait for their end."""
    return sum(
        n for who in WORKERS for name, n in counts.get(who, {}).items() if not (who == "submit" and name in WAITING)
    )


def described(done: Done) -> dict[str, Any]:
    """Give a run for the results: what it did, and what each job took."""
    jobs, counts = done.jobs, done.counts
    status_reads = sum(n for name, n in done.answers.items() if name.startswith("status: "))
    return {
        "jobs": jobs,
        "users": done.users,
        "seconds": done.seconds,
        "rest_s": done.rest_s,
        "jobs_a_second": jobs / done.seconds,
        "a_job": {
            "calls": of_jobs(counts["calls"]) / jobs,
            "refused": of_jobs(counts["refused"]) / jobs,
            "write_units": of_jobs(counts["write_units"]) / jobs,
            "read_units": of_jobs(counts["read_units"]) / jobs,
            "functions_cpu_ms": 1000 * done.cpu_s["functions"] / jobs,
            "emulator_cpu_ms": 1000 * done.cpu_s["emulator"] / jobs,
        },
        "calls_a_status_read": counts["calls"].get("status", {}).get(STATUS_READ, 0) / max(1, status_reads),
        "waiting_reads": sum(counts["calls"].get("submit", {}).get(name, 0) for name in WAITING),
        "calls": counts["calls"],
        "refused": {
            who: kept for who, names in counts["refused"].items() if (kept := {k: n for k, n in names.items() if n})
        },
        "resident_mb": done.resident_mb,
        "cpu_s": done.cpu_s,
        "answers": done.answers,
        "latency_ms": done.latency,
    }


def judge(growth: Sequence[Mapping[str, Any]], books: Books, answers: Iterable[Mapping[str, int]]) -> list[Target]:
    """Judge everything; `answers` are those that callers were given, by what was asked for and status or error."""
    accepted, faults, told = len(books.accepted), server_errors(answers), server_errors([books.webhooks])
    refused = {name: n for name, n in told.items() if name.rpartition(": ")[2].isdecimal()}
    late = sum(told.values()) - sum(refused.values())
    return [
        Target("every create is accepted", f"{accepted} of {books.wanted}", "all", accepted == books.wanted),
        Target("no job is lost", f"{len(books.lost)} of {accepted}", "0", not books.lost, is_hard=True),
        Target("no job that nobody was told of", f"{len(books.unknown)}", "0", not books.unknown, is_hard=True),
        Target(
            "each job is paid for once",
            f"{len(books.charged)} paid, {len(books.wrongly_paid)} wrongly",
            f"{accepted} paid",
            not books.wrongly_paid,
            is_hard=True,
        ),
        Target("no 5xx for callers", f"{sum(faults.values())}", "0", not faults, is_hard=True),
        Target("no 5xx for Replicate", f"{sum(refused.values())}", "0", not refused, is_hard=True),
        Target(
            "webhooks are answered within 10 s", f"all but {late} of {sum(books.webhooks.values())}", "all", not late
        ),
        Target("callers see the end of their jobs", f"all but {len(books.unseen)}", "all", not books.unseen),
        _flat("calls to AWS a job", [one["a_job"]["calls"] for one in growth]),
        _flat("DynamoDB units a job", [one["a_job"]["write_units"] + one["a_job"]["read_units"] for one in growth]),
        _flat("calls to AWS a status read", [one["calls_a_status_read"] for one in growth]),
        _flat_memory([one["resident_mb"] for one in growth]),
    ]


def _flat(name: str, values: Sequence[float]) -> Target:
    """Judge that something grows by no more than it may, from the first to any later."""
    most = max(value / values[0] for value in values[1:])
    shown = " → ".join(f"{value:.2f}" for value in values)
    return Target(name, f"{shown} ({most:.2f}x)", f"at most {MOST_GROWTH:.2f}x", most <= MOST_GROWTH)


def _flat_memory(sizes: Sequence[Mapping[str, float]]) -> Target:
    """Judge the largest process of each function that worked from the first to the last."""
    names = [name for name in sizes[0] if name not in _OTHERS and all(name in one for one in sizes)]
    grown = {name: max(one[name] for one in sizes[1:]) / sizes[0][name] for name in names}
    worst = max(grown, key=lambda name: grown[name])
    shown = " → ".join(f"{one[worst]:.0f}" for one in sizes)
    found = f"{worst} {shown} MB ({grown[worst]:.2f}x)"
    return Target("memory of a function's process", found, f"at most {MOST_GROWTH:.2f}x", grown[worst] <= MOST_GROWTH)


def limits(
    last: Mapping[str, Any], ceilings: Mapping[str, float], *, cores: int, nothing: str, put: str
) -> dict[str, float]:
    """Say how many jobs a second different things allow here, going by the largest run.

    `emulator_process`: the emulator is one process, which takes so long for each job, and of one core at most.
    `emulator_work`: with functions that take no time it would need, for each job, its requests and invocations, and
    its calls to AWS, each at the rate that was measured with nothing else to do.
    `machine`: what all that is on this machine takes for each job, on the cores that other programs left.
    """
    requests = sum(last["answers"].values()) / last["jobs"] + WEBHOOKS + MESSAGES
    calls = sum(n for names in last["calls"].values() for n in names.values()) / last["jobs"]
    ours_s = sum(n for name, n in last["cpu_s"].items() if name != OTHERS) / last["jobs"]
    left = cores - last["cpu_s"][OTHERS] / last["seconds"]
    return {
        "reached": last["jobs_a_second"],
        "emulator_process": 1000 / last["a_job"]["emulator_cpu_ms"],
        "emulator_work": 1 / (requests / ceilings[nothing] + calls / ceilings[put]),
        "machine": left / ours_s,
        "cores_left": left,
    }
