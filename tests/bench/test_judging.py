"""What a load means: the checks fail when they should, and figures are of what they say."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from infra.bench.load.judging import Books, Target, described, judge, limits, of_jobs, server_errors
from infra.bench.load.processes import Processes
from infra.bench.load.report import section
from infra.bench.load.run import Done, latencies, since

GOOD = Books(
    wanted=2,
    accepted={"a": "succeeded", "b": "succeeded"},
    manifests={"a": "succeeded", "b": "succeeded"},
    charged=["a", "b"],
    webhooks={"start: 200": 2, "completed: 200": 2},
)
CALLS = {
    "submit": {"dynamodb TransactWriteItems": 20, "dynamodb GetItem jobs": 7},
    "archive": {"s3 PUT": 20},
    "status": {"dynamodb GetItem jobs": 30},
    "reconcile": {"dynamodb Query jobs": 8},
}
DONE = Done(
    wanted=10,
    jobs=10,
    users=2,
    seconds=5.0,
    rest_s=1.0,
    accepted=[{"id": "a", "end": "succeeded"}],
    answers={"create: 201": 10, "status: 200": 30},
    latency={"create": {"count": 10, "p50": 50.0, "p95": 90.0, "p99": 99.0}},
    counts={"calls": CALLS, "refused": {}, "write_units": {"submit": {"dynamodb": 120.0}}, "read_units": {}},
    resident_mb={"submit": 90.0, "emulator": 200.0},
    cpu_s={"emulator": 1.0, "functions": 0.5, "simulator": 0.25, "load tool": 0.25, "others": 5.0},
)


def growth(*, calls: int = 20, memory: float = 90.0) -> list[dict[str, Any]]:
    """Give two runs, the second with other figures."""
    later = {**DONE.counts, "calls": {**CALLS, "archive": {"s3 PUT": calls}}}
    second = replace(DONE, counts=later, resident_mb={"submit": memory, "emulator": 900.0})
    return [{"total": total, **described(done)} for total, done in ((10, DONE), (20, second))]


def missed(books: Books = GOOD, answers: Mapping[str, int] = {}, runs: list[dict[str, Any]] | None = None) -> list[str]:
    """Give the names of the targets that are not met."""
    return [one.name for one in judge(runs or growth(), books, [answers]) if not one.is_met]


def test_create_that_was_refused_or_never_made_is_found() -> None:
    assert missed(replace(GOOD, wanted=3)) == ["every create is accepted"]


def test_everything_is_met_where_the_books_agree() -> None:
    assert missed() == []


@pytest.mark.parametrize("manifests", [{"a": "succeeded"}, {"a": "succeeded", "b": "failed"}])
def test_job_without_a_manifest_or_with_another_end_is_lost(manifests: Mapping[str, str]) -> None:
    assert missed(replace(GOOD, manifests=manifests)) == ["no job is lost"]


def test_job_that_nobody_was_told_of_is_found() -> None:
    books = replace(GOOD, manifests={**GOOD.manifests, "c": "succeeded"}, charged=["a", "b", "c"])

    assert missed(books) == ["no job that nobody was told of", "each job is paid for once"]


@pytest.mark.parametrize("charged", [["a"], ["a", "b", "b"], ["a", "b", "c"]])
def test_job_that_is_not_paid_for_exactly_once_is_found(charged: list[str]) -> None:
    assert missed(replace(GOOD, charged=charged)) == ["each job is paid for once"]


def test_answers_that_are_the_servers_fault_are_told_from_those_that_are_not() -> None:
    answers = {"create: 201": 5, "create: 429": 2, "status: 502": 1, "list: ConnectionError": 1}

    assert server_errors([answers, {"status: 502": 1}]) == {"status: 502": 2, "list: ConnectionError": 1}
    assert missed(answers=answers) == ["no 5xx for callers"]


def test_webhook_that_is_answered_too_late_is_no_5xx() -> None:
    late = replace(GOOD, webhooks={"start: TimeoutError: timed out": 1})

    assert missed(late) == ["webhooks are answered within 10 s"]
    assert missed(replace(GOOD, webhooks={"start: 503": 1})) == ["no 5xx for Replicate"]


def test_only_what_callers_or_replicate_would_suffer_from_fails_the_run() -> None:
    hard = [one.name for one in judge(growth(), GOOD, []) if one.is_hard]

    assert hard == [
        "no job is lost",
        "no job that nobody was told of",
        "each job is paid for once",
        "no 5xx for callers",
        "no 5xx for Replicate",
    ]


def test_one_more_call_in_ten_is_too_much() -> None:
    assert missed(runs=growth(calls=24)) == []
    assert missed(runs=growth(calls=25)) == ["calls to AWS a job"]


def test_memory_is_judged_by_functions_and_not_by_the_emulator_which_stores_everything() -> None:
    assert missed(runs=growth(memory=98.0)) == []
    assert missed(runs=growth(memory=100.0)) == ["memory of a function's process"]


def test_looks_of_a_waiting_submit_and_calls_of_others_are_not_a_jobs() -> None:
    assert of_jobs(CALLS) == 40
    assert described(DONE)["a_job"]["calls"] == 4
    assert described(DONE)["waiting_reads"] == 7
    assert described(DONE)["calls_a_status_read"] == 1


def test_counts_are_those_since_the_last_reading() -> None:
    before = {"submit": {"s3 PUT": 3, "sqs SendMessage": 1}}
    now = {"submit": {"s3 PUT": 5, "sqs SendMessage": 1}, "archive": {"s3 PUT": 1}}

    assert since(before, now) == {"archive": {"s3 PUT": 1}, "submit": {"s3 PUT": 2}}


def test_percentile_is_the_least_time_within_which_so_many_were_answered() -> None:
    histogram = {"100": 94, "9": 1, "200": 4, "1000": 1}  # keys of JSON are in no order

    assert latencies(histogram) == {"count": 100, "p50": 100, "p95": 100, "p99": 200}


def test_limit_is_what_allows_the_fewest_jobs_a_second() -> None:
    found = limits(described(DONE), {"nothing": 100.0, "put": 100.0}, cores=2, nothing="nothing", put="put")

    assert found["reached"] == 2
    assert found["emulator_process"] == pytest.approx(10)
    assert found["emulator_work"] == pytest.approx(1 / (9 / 100 + 8.5 / 100))
    assert found["machine"] == pytest.approx(1 / 0.2)  # one core of two is left, and a job takes 200 ms of it


def test_section_of_the_readme_is_made_of_the_results() -> None:
    runs = growth()
    ceilings = {"GET /health": 100.0, "DynamoDB PutItem": 100.0}
    text = section(
        {
            "at": "2026-11-30T18:00:00+00:00",
            "machine": "x86_64, 2 cores",
            "tool": "locust 2.47.0",
            "targets": [vars(Target("no job is lost", "0 of 2", "0", is_met=True, is_hard=True))],
            "growth": runs,
            "steps": [described(DONE)],
            "idle": {"seconds": 65.0, "calls": {"reconcile": {"dynamodb Query jobs": 8}}},
            "ceilings": ceilings,
            "limits": limits(runs[-1], ceilings, cores=2, nothing="GET /health", put="DynamoDB PutItem"),
        }
    )

    assert "| no job is lost | 0 of 2 | 0 | met |" in text
    assert "| calls to AWS | 4.00 | 4.00 |" in text
    assert "| submit | dynamodb TransactWriteItems | 2.00 |  |" in text
    assert "| 2 | 2.0 | 50 / 90 / 99 |" in text
    assert "Calls in 65 idle seconds: reconcile 8." in text
    assert "The limit of the largest run was this machine" in text


def test_process_that_has_ended_is_left_out() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert list(Processes(emulator=os.getpid(), simulator=ended.pid).resident_mb()) == ["emulator"]


def test_processes_say_what_they_take() -> None:
    processes = Processes(emulator=os.getpid(), simulator=os.getpid())

    assert processes.resident_mb()["emulator"] > 1
    assert processes.cpu().machine >= processes.cpu().emulator > 0
