"""The capacity simulation: against closed forms, against the code that it stands for, and against itself."""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import simpy

from infra.bench import bills, quotas, readme, simulation
from infra.bench.capacity import counted, defaults_of_template, one_image, secrets_of_submit, told
from infra.bench.capacity_plot import draw
from infra.bench.capacity_text import for_readme, text
from infra.bench.ceilings import ceilings, settings_for, starts_at_once
from infra.bench.demand import Demand, demand
from infra.bench.prices import SECONDS_A_MONTH
from infra.bench.scenarios import EQUAL, LADDER, UNEQUAL, WHALE
from infra.bench.simulation import (
    Bucket,
    Job,
    Lease,
    Load,
    Queue,
    Run,
    Settings,
    SharedLimit,
    Simulation,
    next_look,
)
from shared import schedule
from shared.job import Status
from shared.upstream_limit import PK as LIMIT
from shared.upstream_limit import UpstreamLimit
from tests.support.template import read_template
from tests.support.world import START, World
from tests.support.world import job as given

RESULTS = Path(__file__).parents[2] / "infra" / "bench" / "results"
SECONDS = {"submit": 0.45, "webhook": 0.02, "archive": 0.4, "notify": 0.02}
ONE = {"only": 1.0}
ENOUGH = 1_000_000


def call(service: str, **parts: int) -> dict[str, Any]:
    return {"service": service, "parts": parts, "write_units": sum(parts.values()), "read_units": 0}


CALLS = (
    call("dynamodb", account=2, job=2, by_tenant=1, due=1),
    call("dynamodb", job=2, due=2, prediction=2),
    call("dynamodb", job=1, by_tenant=1),
    call("sqs"),
    call("dynamodb", job=1, by_tenant=1, due=2),
    call("s3"),
    call("dynamodb", job=2, by_tenant=1, due=2, account=2, spending=2),
    call("s3"),
    call("dynamodb", job=1, due=1),
)


def parts(calls: Sequence[Mapping[str, Any]]) -> Counter[str]:
    return sum((Counter(one["parts"]) for one in calls), Counter())


@pytest.fixture(name="job")
def given_job() -> Demand:
    """Predictions take 2 s each, so that times can be computed."""
    found = demand(CALLS, seconds=SECONDS, webhooks=2, reads=2)
    return replace(found, figures={**found.figures, "spread": 0.0})


def unlimited(**settings: Any) -> Settings:
    """Give a configuration in which nothing binds but what is named."""
    free: dict[str, Any] = {
        "replicate_rate": ENOUGH,
        "dispatch_concurrency": 5,
        "archive_concurrency": 200,
        "notify_concurrency": 50,
        "requests_per_second": ENOUGH,
        "requests_at_once": ENOUGH,
        "lambda_concurrency": ENOUGH,
        "secrets_rate": ENOUGH,
        "table_writes": ENOUGH,
    }
    return Settings(**free | settings)


def steady(job: Demand, settings: Settings, rate: float, seconds: float, tenants: Mapping[str, float] = ONE) -> Run:
    return Simulation(job, settings, Load(tenants=tenants, rate=rate, seconds=seconds)).run(until=seconds)


def burst(job: Demand, settings: Settings, count: int, **load: Any) -> Run:
    return Simulation(job, settings, Load(tenants=ONE, burst=count, **load)).run()


def without_conflicts(job: Demand) -> Demand:
    return replace(job, figures={**job.figures, "transaction": 0.0})


# What a job asks for


def test_units_go_to_the_steps_in_which_they_are_written(job: Demand) -> None:
    assert job.admission == {"account": 2, "job": 2, "by_tenant": 1, "due": 1}
    assert job.adoption == {"job": 2, "due": 2, "prediction": 2}
    assert job.report == {"job": 1, "by_tenant": 1}
    assert job.ending == {"job": 4, "by_tenant": 2, "due": 5, "account": 2, "spending": 2}
    assert job.units.total() == job.write_units == sum(one["write_units"] for one in CALLS)
    assert (job.puts, job.messages, job.requests) == (2, 1, 5)


def test_defaults_are_those_of_the_template() -> None:
    assert defaults_of_template() == Settings(
        replicate_rate=600,
        dispatch_concurrency=5,
        archive_concurrency=10,
        notify_concurrency=20,
        requests_per_second=500,
        requests_at_once=1000,
    )
    assert secrets_of_submit() == 1


# Closed forms


def test_a_bucket_lets_its_size_and_then_its_rate_through() -> None:
    bucket = Bucket(rate=500, size=1000)
    taken = sum(bucket.take(n / 1000) for n in range(10_000))  # 1,000 tries a second, for 10 s
    assert taken == pytest.approx(1000 + 500 * 10, abs=1)


def test_executions_follow_littles_law(job: Demand) -> None:
    run = steady(without_conflicts(job), unlimited(), rate=50, seconds=40)
    in_functions = sum(count for name, count in run.counts.items() if name.startswith("ms: ")) / 1000 / run.seconds
    expected = 50 * (SECONDS["submit"] + 2 * SECONDS["webhook"] + SECONDS["archive"] + SECONDS["notify"])
    assert in_functions == pytest.approx(expected, rel=0.05)
    half = run.samples[len(run.samples) // 2 :]
    assert sum(one[3] for one in half) / len(half) == pytest.approx(expected, rel=0.05)


def test_a_single_archiver_lets_wait_as_an_m_d_1_queue(job: Demand) -> None:
    service, load = SECONDS["archive"], 0.5
    run = steady(without_conflicts(job), unlimited(archive_concurrency=1), rate=load / service, seconds=3_000)
    # All before it takes as long for every job, so that jobs still come as a Poisson process.
    spent = [job.done_at - job.ended_at for job in run.jobs if job.done_at is not None]
    waited = sum(spent) / len(spent) - SECONDS["webhook"] - service
    assert waited == pytest.approx(load * service / (2 * (1 - load)), rel=0.1)


def test_a_burst_drains_as_fast_as_dispatch_starts_it(job: Demand) -> None:
    run = burst(without_conflicts(job), unlimited(), 1_000, batch=100, connections=10)
    started = sorted(one.started_at for one in run.jobs if one.started_at is not None)
    assert len(started) == 1_000
    assert started[-1] == pytest.approx(2 + 1_000 * SECONDS["submit"] / 5, rel=0.01)  # a batch is admitted in 2 s


def test_a_burst_drains_as_fast_as_replicate_allows(job: Demand) -> None:
    run = burst(job, unlimited(replicate_rate=120, dispatch_concurrency=20), 600, batch=100, connections=6)
    started = [one.started_at for one in run.jobs if one.started_at is not None]
    assert max(started) == pytest.approx(4 * 60, abs=30)  # five windows, the first of which begins at once
    for minute in range(5):
        assert sum(60 * minute <= at < 60 * (minute + 1) for at in started) <= 2 * 120
    assert run.met.keys() >= {simulation.RATE}


def test_an_overload_grows_by_what_is_above_the_rate(job: Demand) -> None:
    run = steady(job, unlimited(replicate_rate=300), rate=15, seconds=120)
    waiting = sum(one.status == "queued" for one in run.jobs)
    assert waiting / 120 == pytest.approx(15 - 300 / 60, rel=0.1)


def test_the_throttle_of_the_stage_refuses_what_is_above_it(job: Demand) -> None:
    quiet = replace(job, reads=0)
    run = steady(quiet, unlimited(requests_per_second=10, requests_at_once=10), rate=100, seconds=40)
    assert run.counts["executions: submit"] == pytest.approx(10 + 10 * 40, rel=0.02)
    # Webhooks have as much for themselves, and it is not enough for two of each job.
    assert run.counts["executions: webhook"] == pytest.approx(10 + 10 * 40, rel=0.02)
    assert run.counts["webhooks refused"] > 0
    assert list(run.met) == [simulation.STAGE, simulation.WEBHOOKS]


def test_callers_who_press_do_not_crowd_out_webhooks(job: Demand) -> None:
    few = unlimited(requests_per_second=30, requests_at_once=30, replicate_rate=30)
    run = steady(job, few, rate=100, seconds=10)
    assert run.counts["refused: " + simulation.STAGE] > 0
    assert run.counts["webhooks refused"] == 0


def test_as_many_processes_can_start_at_once_as_arithmetic_says(job: Demand) -> None:
    settings = unlimited(secrets_rate=quotas.SECRETS.limit)
    number = starts_at_once(1)
    # The waits between tries are drawn: near the number itself, some are unlucky.
    for count, least, most in ((number * 3 // 4, 0, 0), (4 * number, 2 * number, 4 * number)):
        run = burst(without_conflicts(job), settings, count, connections=count, is_warm=False)
        assert least <= run.counts["refused: " + simulation.SECRETS] <= most


def test_shards_of_the_due_index_bind_where_arithmetic_says(job: Demand) -> None:
    settings = unlimited(shards=1, archive_concurrency=400)
    (bound,) = (one for one in ceilings(job, settings, largest_share=0.01) if one.name == simulation.DUE)
    assert bound.jobs_per_s == quotas.PARTITION_WRITES.limit / job.units["due"]
    many = {f"{n}": 1 / 100 for n in range(100)}
    quiet = replace(job, reads=0)
    below = steady(quiet, settings, rate=0.9 * bound.jobs_per_s, seconds=10, tenants=many)
    above = steady(quiet, settings, rate=1.5 * bound.jobs_per_s, seconds=8, tenants=many)
    assert simulation.DUE not in below.met
    assert simulation.DUE in above.met


def test_one_account_settles_one_transaction_at_a_time(job: Demand) -> None:
    slow = replace(job, figures={**job.figures, "transaction": 0.05})
    run = burst(slow, unlimited(dispatch_concurrency=100), 200, batch=50, connections=4)
    done = max(one.done_at for one in run.jobs if one.done_at is not None)
    assert done >= 2 * 200 * 0.05  # an admission and a settlement of each


# The code that it stands for


def test_permits_are_leased_as_the_code_leases_them(world: World) -> None:
    chosen = random.Random(1)  # noqa: S311 - the same in every run
    for rate in (5, 600, 3_000):
        world.dynamodb.delete_item(TableName=world.accounts_table, Key={"pk": {"S": LIMIT}})
        begun = world.clock()
        shared = SharedLimit(rate)
        ours = [Lease(shared) for _ in range(4)]
        code = [UpstreamLimit(world.dynamo, world.accounts_table, rate=rate, now=world.clock) for _ in ours]
        for _ in range(50):
            number = chosen.randrange(len(ours))
            expected = code[number].take()
            assert ours[number].take((world.clock() - begun) / 1000) == pytest.approx(expected, abs=0.002)
            if not expected and chosen.random() < 0.1:
                code[number].give_back()
                ours[number].give_back()
            world.clock.go_on(chosen.choice((0, 0, 0.25, 9)))


def test_queued_jobs_are_looked_at_when_the_code_looks_at_them() -> None:
    queued = given(status=Status.QUEUED, claimed_at=None)
    for age_s in (0, 100, 500, 1_000, 3_000):
        now = schedule.after(START, age_s)
        assert next_look(age_s) == (schedule.next_look(queued, now, poll_s=schedule.POLL_S) - now) / 1000


# Itself


def test_every_job_is_refused_done_or_still_there(job: Demand) -> None:
    tight = Settings(
        replicate_rate=60,
        dispatch_concurrency=2,
        archive_concurrency=2,
        notify_concurrency=2,
        requests_per_second=8,
        requests_at_once=5,
        lambda_concurrency=20,
    )
    load = Load(tenants=UNEQUAL, rate=10, seconds=100, burst=300, batch=10, connections=5, is_warm=False)
    run = Simulation(job, tight, load).run(until=100)
    by_status = Counter(one.status for one in run.jobs)
    assert min(by_status[name] for name in ("refused", "done", "queued")) > 0
    assert by_status.total() == len(run.jobs)
    assert by_status["done"] == run.counts["done"]
    assert run.counts["started"] == sum(one.started_at is not None for one in run.jobs)
    # The simulation itself refuses to end with books that do not balance.
    broken = Simulation(job, tight, replace(load, burst=0))
    broken._open = 1
    with pytest.raises(ArithmeticError):
        broken.run(until=10)


def test_nothing_is_started_twice_whatever_is_sent_twice(job: Demand) -> None:
    """Reconciling sends more messages for what waits long: none of them starts a job again."""
    run = burst(job, unlimited(replicate_rate=60), 600, batch=100, connections=6)
    assert run.counts["woken"] > 0
    assert run.counts["superfluous"] > 0
    assert run.counts["started"] == run.counts["done"] == 600


def test_the_same_seed_gives_the_same_run(job: Demand) -> None:
    load = Load(tenants=UNEQUAL, rate=20, seconds=20)
    runs = [Simulation(job, unlimited(), load, seed=seed).run(until=20) for seed in (1, 1, 2)]
    histories = [[(job.tenant, job.asked_at, job.started_at, job.done_at) for job in run.jobs] for run in runs]
    assert histories[0] == histories[1] != histories[2]


def test_lost_webhooks_are_found_by_polls(job: Demand) -> None:
    run = burst(job, unlimited(requests_per_second=2, requests_at_once=2), 100, batch=100, connections=1)
    assert run.counts["webhooks refused"] > 0
    assert run.counts["polls"] > 0
    assert run.counts["done"] == 100


def test_results_are_lost_when_archiving_takes_longer_than_replicate_keeps_them(job: Demand) -> None:
    slow = replace(job, seconds={**SECONDS, "archive": 60.0})
    run = burst(slow, unlimited(archive_concurrency=1), 70, connections=70)
    assert run.longest_unstored_s > 3_600
    assert run.counts["results lost"] == pytest.approx(70 - 3_600 / 60, abs=2)


def test_quiet_tenants_pass_a_backlog_only_in_a_fair_queue() -> None:
    for is_fair, first in ((True, "quiet"), (False, WHALE)):
        queue = Queue(simpy.Environment(), is_fair=is_fair)
        for tenant in (WHALE, WHALE, "quiet"):
            queue.put(Job(tenant, shard=0, asked_at=0))
        queue.worked(WHALE, 9.5)
        queue.worked("quiet", 0.5)
        received: Any = queue.get().value
        assert received.tenant == first


def test_settings_for_a_load_are_above_every_limit_that_they_move(job: Demand) -> None:
    defaults = defaults_of_template()
    for rate in (1, *LADDER):
        given = settings_for(rate, job, defaults)
        fixed = {simulation.DUE, quotas.TABLE_WRITES.name}
        assert all(one.jobs_per_s >= rate for one in ceilings(job, given, largest_share=0.01) if one.name not in fixed)
    assert settings_for(1, job, defaults).archive_concurrency == defaults.archive_concurrency


def test_the_template_takes_every_setting_that_is_recommended(job: Demand) -> None:
    parameters = read_template()["Parameters"]
    for rate in LADDER:
        given = settings_for(rate, job, defaults_of_template())
        for name, value in {
            "ReplicateRatePerMinute": given.replicate_rate,
            "DispatchConcurrency": given.dispatch_concurrency,
            "ArchiveConcurrency": given.archive_concurrency,
            "NotifyConcurrency": given.notify_concurrency,
            "RequestsPerSecond": given.requests_per_second,
            "RequestsAtOnce": given.requests_at_once,
        }.items():
            assert parameters[name]["MinValue"] <= value <= parameters[name]["MaxValue"]


def test_a_month_costs_what_its_jobs_cost_and_what_stands(job: Demand) -> None:
    run = steady(job, unlimited(), rate=10, seconds=150)
    usd = bills.monthly(run, job)
    assert usd["total"] == pytest.approx(sum(value for name, value in usd.items() if name != "total"))
    jobs = run.counts["done"] * bills.times_a_month(run)
    assert jobs == pytest.approx(10 * SECONDS_A_MONTH, rel=0.05)
    least = jobs * (job.write_units * 0.625e-6 + job.puts * 0.005e-3)
    assert usd["DynamoDB"] + usd["S3"] > least
    assert 2 < usd["Standing"] < 20


# What is committed

FOUND: dict[str, Any] = json.loads((RESULTS / "capacity.json").read_text())


@pytest.mark.sockets
def test_the_committed_results_were_made_of_the_calls_that_the_code_makes_today() -> None:
    made = counted()
    job = one_image(made["one_image"])
    assert FOUND["demand"] == told(job), "run `make capacity`"
    # A job that Replicate throttled is put back and claimed again, each as a job is claimed that had to wait.
    more = parts(made["throttled"]) - parts(made["one_image"])
    more.pop("upstream")
    assert more == Counter({part: 2 * count for part, count in job.dispatching.items()})


def test_the_committed_text_is_made_of_the_committed_figures() -> None:
    assert (RESULTS / "capacity.md").read_text() == text(FOUND)
    assert readme.shown("capacity") == for_readme(FOUND).strip()


def test_the_main_part_of_the_text_is_short_enough_for_the_readme() -> None:
    main_part, _, assumed = text(FOUND).partition("### What is assumed")
    assert len(main_part.splitlines()) <= 95
    assert assumed


def test_the_committed_plot_is_made_of_the_committed_figures(tmp_path: Path) -> None:
    draw(FOUND, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == (RESULTS / "capacity.svg").read_bytes()
    assert (RESULTS / "capacity.svg").stat().st_size < 150_000


@pytest.mark.parametrize(("kind", "tenants"), [("equal", EQUAL), ("unequal", UNEQUAL), ("one", ONE)])
def test_the_committed_ceilings_follow_from_the_committed_demand(kind: str, tenants: Mapping[str, float]) -> None:
    names = ("admission", "adoption", "report", "ending", "write_units", "read_units", "puts", "messages")
    counted = Demand(**{name: FOUND["demand"][name] for name in (*names, "webhooks", "reads", "seconds", "figures")})
    again = ceilings(counted, defaults_of_template(), largest_share=max(tenants.values()))
    assert [(one.name, one.jobs_per_s) for one in again] == [
        (one["name"], one["jobs_per_s"]) for one in FOUND["ceilings"][kind]
    ]


def test_every_committed_scenario_balances() -> None:
    for one in FOUND["scenarios"].values():
        jobs = one["jobs"]
        assert jobs["came"] == jobs["refused"] + jobs["done"] + jobs["open"]
        assert one["waits_s"]["all"]["started"] == one["counts"]["started"]


def test_the_committed_flood_reaches_small_tenants_only_in_one_line() -> None:
    fair, line = (FOUND["scenarios"][f"flood, {name}"]["waits_s"]["small"]["p95"] for name in ("fair", "one line"))
    assert fair < line / 2
