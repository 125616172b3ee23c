"""The service as a discrete-event simulation: jobs, queues, functions, and the limits that they meet.

Every job is simulated by itself, every message with its receipts and delays, every lease of permits by the process that
holds it. What is left out is said in infra/bench/results/capacity.md.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any

import simpy

from infra.bench import quotas
from shared import aws, dynamo, reconciling, schedule
from shared.dispatching import SPREAD_S
from shared.job_store import SHARDS
from shared.prediction import OUTPUTS_LIVE_S
from shared.services import SECRET_TRIES
from shared.upstream_limit import BATCHES, MOST_LEASED, WINDOW_MS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from infra.bench.demand import Demand, Units

type Process = Generator[simpy.Event, Any, Any]

WINDOW_S = WINDOW_MS / 1000
# What the tries of a transaction wait together, on average, before it is given up.
PATIENCE_S = sum(min(dynamo.LONGEST_WAIT_S, dynamo.FIRST_WAIT_S * 2**number) for number in range(1, dynamo.TRIES)) / 2
NOTICED_S = 1.0  # a wait that counts as meeting a limit
FORGETTING_S = 60.0  # in which SQS forgets who used the consumers: an assumption, AWS publishes none
WEBHOOK_RETRIES_S = (1, 2, 4, 8, 16, 32)  # about a minute, as Replicate's documentation says; the steps are assumed
RUN_S = 75.0  # of a run of `reconcile`: its timeout less the margin
LOOK: Units = {"job": 1, "due": 2}  # what `reconcile` writes before it looks after a job

STAGE, WEBHOOKS = "RequestsPerSecond: callers", "RequestsPerSecond: webhooks"
LAMBDA, SCALING, SECRETS = "Lambda concurrency", "Lambda scaling rate", "SSM GetParameter"
RATE, LEASES = "Replicate's rate", "leases of permits that lie unused"
DISPATCH, ARCHIVE, NOTIFY = "DispatchConcurrency", "ArchiveConcurrency", "NotifyConcurrency"
ACCOUNT, CONFLICTS = "account item: write units", "account item: one transaction at a time"
BY_TENANT, DUE, TABLE = "index by_tenant of one tenant", "shards of the due index", "table Jobs: write units"
_HOT = {"account": ACCOUNT, "by_tenant": BY_TENANT, "spending": ACCOUNT}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Parameters of the template, and what the operator asks AWS for.

    `shards` of the due index are the code's; `is_fair` says whether SQS prefers quiet groups: False is a queue that
    knows no tenants.
    """

    replicate_rate: int
    dispatch_concurrency: int
    archive_concurrency: int
    notify_concurrency: int
    requests_per_second: int
    requests_at_once: int
    lambda_concurrency: float = quotas.LAMBDA_CONCURRENCY.limit
    secrets_rate: float = quotas.SECRETS.limit
    table_writes: float = quotas.NEW_TABLE_WRITES.limit
    shards: int = SHARDS
    is_fair: bool = True


@dataclass(frozen=True, kw_only=True)
class Load:
    """What comes in: so many jobs a second for `seconds`, one by one, and `burst` jobs at the beginning.

    Tenants have shares of both; those of `burst_tenants` alone send the burst, if any are named. It is sent over
    `connections`, each with a request of `batch` jobs after the other, and what is refused is sent again. `is_warm`
    says that functions need no cold starts.
    """

    tenants: Mapping[str, float]
    rate: float = 0
    seconds: float = 0
    burst: int = 0
    batch: int = 1
    connections: int = 50
    burst_tenants: tuple[str, ...] = ()
    is_warm: bool = True


def next_look(age_s: float) -> float:
    """Give the seconds after which a queued job is looked at again, as `shared.schedule` does."""
    return min(max(schedule.QUEUED_S, 2 * age_s), schedule.LONGEST_QUEUED_S)


class Bucket:
    """Tokens that come back at a rate, up to a size."""

    __slots__ = ("_at", "_rate", "_size", "_tokens")

    def __init__(self, rate: float, size: float | None = None) -> None:
        self._rate = rate
        self._size = self._tokens = rate if size is None else size
        self._at = 0.0

    def take(self, now: float, count: float = 1) -> bool:
        """Take tokens if they are there."""
        if self.wait(now, count) > 0:
            return False
        self._tokens -= count
        return True

    def wait(self, now: float, count: float) -> float:
        """Give the seconds until so many are there."""
        tokens = self._tokens + (now - self._at) * self._rate
        self._tokens = tokens = min(tokens, self._size)
        self._at = now
        return 0.0 if tokens >= count else (count - tokens) / self._rate

    def book(self, now: float, count: float) -> float:
        """Take tokens, and give the seconds until they are there."""
        wait = self.wait(now, count)
        self._tokens -= count
        return wait

    def give_back(self, count: float) -> None:
        """Return tokens that were not used."""
        self._tokens += count


class SharedLimit:
    """`shared.upstream_limit` in memory, while Replicate does not throttle. Times are in seconds."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._batch = max(1, min(MOST_LEASED, rate // BATCHES))
        self._begun = -math.inf
        self._used = 0

    def lease(self, now: float) -> tuple[int, float]:
        """Give permits and until when they hold; no permits, and when to ask again."""
        if self._begun <= now - WINDOW_S:
            self._begun, self._used = now, 0
        taken = min(self._batch, self._rate - self._used)
        self._used += max(0, taken)
        return max(0, taken), self._begun + WINDOW_S


class Lease:
    """The permits of one process."""

    __slots__ = ("_limit", "_permits", "_until")

    def __init__(self, limit: SharedLimit) -> None:
        self._limit = limit
        self._permits = 0
        self._until = 0.0

    def take(self, now: float) -> float:
        """Take a permit: 0 if it was granted, else the seconds after which to ask again."""
        if not (self._permits and now < self._until):
            permits, until = self._limit.lease(now)
            if not permits:
                return until - now
            self._permits, self._until = permits, until
        self._permits -= 1
        return 0.0

    def give_back(self) -> None:
        """Return a permit that was not used."""
        self._permits += 1


@dataclass(slots=True, eq=False)
class Job:
    """One job; times are None until they have come."""

    tenant: str
    shard: int
    asked_at: float
    status: str = "new"
    put_at: float = 0.0
    started_at: float | None = None
    ended_at: float = 0.0
    done_at: float | None = None


class Queue:
    """SQS: first in first out, but for the tenants that use more than their share, if it is `fair`."""

    def __init__(self, env: simpy.Environment, *, is_fair: bool) -> None:
        self._env = env
        self._is_fair = is_fair
        self._waiting: dict[str, deque[tuple[int, Job]]] = defaultdict(deque)
        self._consumers: deque[simpy.Event] = deque()
        self._used: dict[str, float] = defaultdict(float)
        self._used_by_all = 0.0
        self._number = 0
        self.visible = 0
        self.delayed = 0

    def __len__(self) -> int:
        return self.visible + self.delayed

    def put(self, job: Job) -> None:
        """Send a message that can be received at once."""
        job.put_at = self._env.now
        if self._consumers:
            self._consumers.popleft().succeed(job)
            return
        self._number += 1
        self.visible += 1
        self._waiting[job.tenant if self._is_fair else ""].append((self._number, job))

    def put_later(self, job: Job, seconds: float) -> None:
        """Send a message with a delay, which SQS knows in whole seconds."""
        self.delayed += 1

        def appear(_: simpy.Event) -> None:
            self.delayed -= 1
            self.put(job)

        event = self._env.timeout(math.ceil(seconds))
        assert event.callbacks is not None  # noqa: S101 - told to the type checker
        event.callbacks.append(appear)

    def get(self) -> simpy.Event:
        """Give an event that brings a message."""
        event = self._env.event()
        if self.visible:
            self.visible -= 1
            event.succeed(self._next())
        else:
            self._consumers.append(event)
        return event

    def worked(self, tenant: str, seconds: float) -> None:
        """Note who used a consumer for how long."""
        # What is new weighs more, instead of what is old weighing less: only shares are asked for.
        weighed = seconds * math.exp(self._env.now / FORGETTING_S)
        self._used[tenant] += weighed
        self._used_by_all += weighed

    def _next(self) -> Job:
        noisy = quotas.NOISY_SHARE * self._used_by_all
        *_, name = min(
            (self._used[name] > noisy, waiting[0][0], name) for name, waiting in self._waiting.items() if waiting
        )
        return self._waiting[name].popleft()[1]


@dataclass(slots=True)
class _Environment:
    lease: Lease
    has_secrets: bool


@dataclass
class Run:
    """What a simulation saw. `met` says when a limit first refused something or made it wait."""

    jobs: list[Job] = field(default_factory=list)
    met: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[float, int, int, int]] = field(default_factory=list)  # time, to dispatch, to archive, running
    latest_look_s: float = 0.0
    longest_unstored_s: float = 0.0  # from Replicate's end of a job to the beginning of its archiving
    seconds: float = 0.0
    peak_running: int = 0


class Simulation:
    """One load on one configuration."""

    def __init__(self, demand: Demand, settings: Settings, load: Load, *, secrets: int = 1, seed: int = 1) -> None:
        """`secrets` is how many calls `submit` reads its parameters in when it starts cold."""
        self.run_ = Run()
        self._env = simpy.Environment()
        self._demand, self._settings, self._load = demand, settings, load
        self._figures, self._seconds = demand.figures, demand.seconds
        self._random = Random(seed)  # noqa: S311  # nosec B311 - a simulation is to be repeatable
        self._secrets = secrets
        self._limit = SharedLimit(settings.replicate_rate)
        self._stage = Bucket(settings.requests_per_second, settings.requests_at_once)
        self._webhooks = Bucket(settings.requests_per_second, settings.requests_at_once)
        self._scaling = Bucket(quotas.LAMBDA_SCALING.limit / quotas.LAMBDA_SCALING_S, quotas.LAMBDA_SCALING.limit)
        self._parameters = Bucket(settings.secrets_rate)
        self._idle: list[_Environment] = []
        self._hot: dict[tuple[str, str], Bucket] = {}
        self._shards = [Bucket(quotas.PARTITION_WRITES.limit) for _ in range(settings.shards)]
        self._table = Bucket(settings.table_writes)
        self._busy_until: dict[str, float] = defaultdict(float)
        self._dispatch_queue = Queue(self._env, is_fair=settings.is_fair)
        self._archive_queue = Queue(self._env, is_fair=False)
        self._notify_queue = Queue(self._env, is_fair=False)
        self._due: list[tuple[float, int, Job]] = []
        self._looks = 0
        self._running = 0
        self._open = 0
        self._sources = 0
        self._created: Counter[int] = Counter()
        self._all_done = self._env.event()

    def run(self, *, until: float | None = None) -> Run:
        """Let it run for so long; None: until all is done."""
        env, settings = self._env, self._settings
        for count, work in (
            (settings.dispatch_concurrency, self._dispatch),
            (settings.archive_concurrency, self._archive),
            (settings.notify_concurrency, self._notify),
        ):
            for _ in range(count):
                env.process(work())
        env.process(self._reconcile())
        self._sources = 1
        env.process(self._sample(max(1.0, (until or 0) / 300)))
        for source in self._sources_of_jobs():
            self._sources += 1
            env.process(self._ending(source))
        self._source_ended()
        env.run(until=self._all_done if until is None else until)
        found = self.run_
        found.seconds = env.now
        self._find_unused_leases()
        self._conserve()
        return found

    # ---- what comes in

    def _sources_of_jobs(self) -> Iterator[Process]:
        load = self._load
        if load.rate:
            yield self._arrivals()
        if load.burst:
            names = load.burst_tenants or tuple(load.tenants)
            tenants = self._random.choices(names, [load.tenants[name] for name in names], k=load.burst)
            # A request is one tenant's.
            requests = [part for name in names for part in _parts([one for one in tenants if one == name], load.batch)]
            self._random.shuffle(requests)
            for number in range(load.connections):
                yield self._connection(requests[number :: load.connections])

    def _ending(self, source: Process) -> Process:
        yield self._env.process(source)
        self._source_ended()

    def _source_ended(self) -> None:
        self._sources -= 1
        self._check_whether_all_is_done()

    def _arrivals(self) -> Process:
        names, shares = list(self._load.tenants), list(self._load.tenants.values())
        while True:
            yield self._env.timeout(self._random.expovariate(self._load.rate))
            if self._env.now >= self._load.seconds:
                return
            (tenant,) = self._random.choices(names, shares)
            self._env.process(self._send_once(self._job(tenant)))

    def _send_once(self, job: Job) -> Process:
        if not (yield from self._submit([job])):
            job.status = "refused"
            self._close(job)

    def _connection(self, requests: Sequence[Sequence[str]]) -> Process:
        for tenants in requests:
            left = [self._job(tenant) for tenant in tenants]
            tries = 0
            while left:
                accepted = yield from self._submit(left)
                left = [job for job in left if job.status == "new"]
                if left:
                    tries = 0 if accepted else tries + 1
                    yield self._env.timeout(self._random.uniform(0.5, 1) * min(30, 2**tries))

    def _job(self, tenant: str) -> Job:
        job = Job(tenant, self._random.randrange(self._settings.shards), self._env.now)
        self.run_.jobs.append(job)
        self._open += 1
        return job

    # ---- functions that requests call

    def _enter(self) -> tuple[_Environment, float] | None:
        """Find an environment of `submit` and the seconds that it takes to be ready; None if there is none."""
        now, delay = self._env.now, 0.0
        if not self._stage.take(now):
            self._refuse(STAGE)
            return None
        if self._running >= self._settings.lambda_concurrency:
            self._refuse(LAMBDA)
            return None
        if self._idle:
            found = self._idle.pop()
        elif not self._scaling.take(now):
            self._refuse(SCALING)
            return None
        else:
            found = _Environment(Lease(self._limit), self._load.is_warm)
            delay = 0.0 if self._load.is_warm else self._figures["start"]
            self.run_.counts["environments"] += 1
        return found, delay

    def _read_secrets(self, environment: _Environment) -> Generator[simpy.Event, Any, bool]:
        """Read one parameter after the other, with the tries that `shared.aws` makes; who fails begins anew."""
        for _ in range(self._secrets):
            for number in range(SECRET_TRIES):
                if number:
                    yield self._env.timeout(self._random.uniform(0, aws.FIRST_WAIT_S * 2 ** (number - 1)))
                if self._parameters.take(self._env.now):
                    break
            else:
                self._refuse(SECRETS)
                return False
        environment.has_secrets = True
        return True

    def _refuse(self, limit: str) -> None:
        self.run_.counts[f"refused: {limit}"] += 1
        self.run_.met.setdefault(limit, self._env.now)

    def _submit(self, jobs: Sequence[Job]) -> Generator[simpy.Event, Any, int]:
        """Answer one request for these jobs, and say how many were accepted; the others stay `new`."""
        if (entered := self._enter()) is None:
            yield self._env.timeout(0)
            return 0
        environment, delay = entered
        with self._executing("submit"):
            if delay:
                yield self._env.timeout(delay)
            is_ready = environment.has_secrets or (yield from self._read_secrets(environment))
            admitted = (yield from self._admit(environment, jobs)) if is_ready else 0
        self._idle.append(environment)
        return admitted

    def _admit(self, environment: _Environment, jobs: Sequence[Job]) -> Generator[simpy.Event, Any, int]:
        is_batch = len(jobs) > 1
        wait = 0.0 if is_batch else environment.lease.take(self._env.now)
        admitted = []
        for job in jobs:
            if is_batch:
                yield self._env.timeout(self._figures["admit"])
            if not (yield from self._transact(job.tenant)):
                self._refuse(CONFLICTS)
            elif self._write(self._demand.admission, job, patience=PATIENCE_S) <= PATIENCE_S:
                admitted.append(job)
        starts_now = not is_batch and not wait
        if starts_now and not admitted:
            environment.lease.give_back()
        queueing = 0.0 if is_batch else self._seconds["submit"] - self._figures["create"]
        yield self._env.timeout(self._seconds["submit"] if starts_now else queueing)
        for job in admitted:
            if starts_now:
                self._start(job)
            else:
                self._meet(RATE, wait)
                job.status = "queued"
                self._look_at(job, self._env.now + wait + schedule.QUEUED_S)
                self._send(self._dispatch_queue, job, wait)
        return len(admitted)

    def _start(self, job: Job) -> None:
        self._write(self._demand.adoption, job)
        job.status, job.started_at = "running", self._env.now
        self.run_.counts["started"] += 1
        self._created[int(self._env.now // WINDOW_S)] += 1
        self._env.process(self._predict(job))

    def _predict(self, job: Job) -> Process:
        """Let Replicate make it, and call back; reads of the caller come beside."""
        reads = self._demand.reads
        yield from self._hear()
        self._read(reads // 2)
        yield self._env.timeout(self._figures["prediction"] * math.exp(self._random.gauss(0, self._figures["spread"])))
        job.ended_at, job.status = self._env.now, "ended"
        self._read(reads - reads // 2)
        for pause in (0, *WEBHOOK_RETRIES_S):
            if pause:
                yield self._env.timeout(pause)
            if job.status != "ended":
                return  # a poll was faster
            if (yield from self._hear()):
                self._hand_over(job)
                return
            if not pause:
                assert job.started_at is not None  # noqa: S101 - told to the type checker
                self._look_at(job, job.started_at + schedule.POLL_S)
        self.run_.counts["webhooks lost"] += 1

    def _hand_over(self, job: Job) -> None:
        if job.status == "ended":
            job.status = "storing"
            self._write(self._demand.report, job)
            self._send(self._archive_queue, job)

    def _hear(self) -> Generator[simpy.Event, Any, bool]:
        if not self._webhooks.take(self._env.now):
            self.run_.counts["webhooks refused"] += 1
            self.run_.met.setdefault(WEBHOOKS, self._env.now)
            return False
        if self._running >= self._settings.lambda_concurrency:
            self.run_.counts["webhooks refused"] += 1
            self.run_.met.setdefault(LAMBDA, self._env.now)
            return False
        with self._executing("webhook"):
            yield self._env.timeout(self._seconds["webhook"])
        return True

    def _read(self, times: int) -> None:
        for _ in range(times):
            is_answered = self._stage.take(self._env.now)
            self.run_.counts["reads" if is_answered else "reads refused"] += 1

    # ---- functions that queues call

    def _dispatch(self) -> Process:
        lease, queue, counts = Lease(self._limit), self._dispatch_queue, self.run_.counts
        while True:
            job: Job = yield queue.get()
            self._meet(DISPATCH, self._env.now - job.put_at)
            yield from self._await_place()
            begun = self._env.now
            with self._executing("dispatch"):
                if (wait := lease.take(begun)) > 0:
                    yield self._env.timeout(self._figures["postpone"])
                    counts["postponed"] += 1
                    self._meet(RATE, wait)
                    self._send(queue, job, wait + self._random.uniform(0, SPREAD_S))
                elif job.status != "queued":
                    lease.give_back()
                    counts["superfluous"] += 1
                    yield self._env.timeout(self._figures["postpone"])
                else:
                    job.status = "starting"
                    wait = self._write(self._demand.dispatching, job)
                    yield self._env.timeout(self._seconds["submit"] + wait)
                    self._start(job)
            queue.worked(job.tenant, self._env.now - begun)

    def _archive(self) -> Process:
        while True:
            job: Job = yield self._archive_queue.get()
            self._meet(ARCHIVE, self._env.now - job.put_at)
            yield from self._await_place()
            with self._executing("archive"):
                age = self._env.now - job.ended_at
                self.run_.longest_unstored_s = max(self.run_.longest_unstored_s, age)
                if age > OUTPUTS_LIVE_S:
                    self.run_.counts["results lost"] += 1
                yield self._env.timeout(self._seconds["archive"])
                while not (yield from self._transact(job.tenant)):
                    self.run_.counts["settlements contended"] += 1
                if (wait := self._write(self._demand.ending, job)) > 0:
                    yield self._env.timeout(wait)
            job.status, job.done_at = "done", self._env.now
            self._close(job)
            self._send(self._notify_queue, job)

    def _notify(self) -> Process:
        while True:
            job: Job = yield self._notify_queue.get()
            self._meet(NOTIFY, self._env.now - job.put_at)
            yield from self._await_place()
            with self._executing("notify"):
                yield self._env.timeout(self._seconds["notify"])

    def _reconcile(self) -> Process:
        """Every minute, for up to 75 s: so that two runs may be at work at once, as in the code."""
        while True:
            yield self._env.timeout(60)
            self._env.process(self._reconcile_once())

    def _reconcile_once(self) -> Process:
        env, until = self._env, self._env.now + RUN_S
        while env.now < until:
            yield env.timeout(self._figures["page"])
            page: list[tuple[float, Job]] = []
            while self._due and self._due[0][0] <= env.now and len(page) < SHARDS * reconciling.PAGE:
                due_at, _, job = heapq.heappop(self._due)
                if job.status in {"queued", "ended"}:
                    page.append((due_at, job))
            if not page:
                return
            page.sort(key=lambda one: one[1].status == "queued")  # those first that Replicate has
            for due_at, job in page:
                if env.now >= until:
                    self._look_at(job, due_at)
                    continue
                self.run_.latest_look_s = max(self.run_.latest_look_s, env.now - due_at)
                if job.status == "ended":
                    yield env.timeout(self._figures["poll"])
                    self.run_.counts["polls"] += 1
                    self._hand_over(job)
                elif job.status == "queued":
                    yield env.timeout(self._figures["look"])
                    self.run_.counts["woken"] += 1
                    self._look_at(job, env.now + next_look(env.now - job.asked_at))
                    self._write(LOOK, job)
                    self._send(self._dispatch_queue, job)

    def _look_at(self, job: Job, due_at: float) -> None:
        self._looks += 1
        heapq.heappush(self._due, (due_at, self._looks, job))

    # ---- limits

    def _executing(self, function: str) -> _Execution:
        return _Execution(self, function)

    def enter(self, function: str) -> None:
        """Count an execution that begins."""
        self._running += 1
        self.run_.counts[f"executions: {function}"] += 1
        self.run_.peak_running = max(self.run_.peak_running, self._running)

    def leave(self, function: str, seconds: float) -> None:
        """Count an execution that ends."""
        self._running -= 1
        self.run_.counts[f"ms: {function}"] += round(1000 * seconds)

    @property
    def now(self) -> float:
        """Give the simulated time."""
        return float(self._env.now)

    def _await_place(self) -> Process:
        while self._running >= self._settings.lambda_concurrency:
            self.run_.met.setdefault(LAMBDA, self._env.now)
            yield self._env.timeout(0.1)

    def _transact(self, tenant: str) -> Generator[simpy.Event, Any, bool]:
        """Do a transaction on a tenant's account, one at a time, with the tries that `shared.dynamo` makes."""
        for number in range(dynamo.TRIES):
            if number:
                longest = min(dynamo.LONGEST_WAIT_S, dynamo.FIRST_WAIT_S * 2**number)
                yield self._env.timeout(self._random.uniform(0, longest))
            if self._busy_until[tenant] <= self._env.now:
                self._busy_until[tenant] = self._env.now + self._figures["transaction"]
                return True
            self.run_.counts["conflicts"] += 1
        self.run_.met.setdefault(CONFLICTS, self._env.now)
        return False

    def _write(self, units: Units, job: Job, *, patience: float = math.inf) -> float:
        """Use write units, and give the seconds until they are there; above `patience` it is refused."""
        now = self._env.now
        longest, limit = 0.0, ""
        booked = []
        for part, count in units.items():
            name, bucket = self._bucket(part, job)
            if (wait := bucket.book(now, count)) > longest:
                longest, limit = wait, name
            booked.append((bucket, count))
        if longest > patience:
            for bucket, count in booked:
                bucket.give_back(count)
            self._refuse(limit)
        else:
            self._meet(limit, longest)
        return longest

    def _bucket(self, part: str, job: Job) -> tuple[str, Bucket]:
        """Give the limit of what writes to this kind of item or index use."""
        if part == "due":
            return DUE, self._shards[job.shard]
        if part not in _HOT:
            return TABLE, self._table
        key = (part, job.tenant)
        if (found := self._hot.get(key)) is None:
            found = self._hot[key] = Bucket(quotas.PARTITION_WRITES.limit)
        return _HOT[part], found

    def _meet(self, limit: str, seconds: float) -> None:
        if seconds > NOTICED_S:
            self.run_.met.setdefault(limit, self._env.now)

    def _send(self, queue: Queue, job: Job, delay_s: float = 0.0) -> None:
        self.run_.counts["messages"] += 1
        if delay_s > 0:
            queue.put_later(job, delay_s)
        else:
            queue.put(job)

    # ---- books

    def _close(self, job: Job) -> None:
        self.run_.counts[job.status] += 1
        self._open -= 1
        self._check_whether_all_is_done()

    def _check_whether_all_is_done(self) -> None:
        if not self._open and not self._sources and not self._all_done.triggered:
            self._all_done.succeed()

    def _sample(self, every: float) -> Process:
        samples = self.run_.samples
        while True:
            samples.append((self._env.now, len(self._dispatch_queue), len(self._archive_queue), self._running))
            if len(samples) >= 600:  # noqa: PLR2004 - enough for a plot; a longer run is sampled half as often
                del samples[1::2]
                every *= 2
            yield self._env.timeout(every)

    def _find_unused_leases(self) -> None:
        """Tell a limit that is used up from one that is only leased out: by the creates that were made."""
        if RATE not in self.run_.met:
            return
        first = int(self.run_.met[RATE] // WINDOW_S)
        # A window of permits begins anywhere, so that two minutes are looked at together.
        whole = [self._created[n] + self._created[n + 1] for n in range(first, int(self._env.now // WINDOW_S) - 1)]
        if whole and median(whole) < 0.9 * 2 * self._settings.replicate_rate:
            self.run_.met[LEASES] = self.run_.met.pop(RATE)

    def _conserve(self) -> None:
        """Jobs that came are refused, done, or still in the system."""
        statuses = Counter(job.status for job in self.run_.jobs)
        closed = statuses["done"] + statuses["refused"]
        if len(self.run_.jobs) != closed + self._open:
            raise ArithmeticError(f"{len(self.run_.jobs)} jobs came, {closed} ended, {self._open} are open")


class _Execution:
    """An execution of a function, for as long as the block lasts."""

    __slots__ = ("_begun", "_function", "_simulation")

    def __init__(self, simulation: Simulation, function: str) -> None:
        self._simulation = simulation
        self._function = function
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = self._simulation.now
        self._simulation.enter(self._function)

    def __exit__(self, *_: object) -> None:
        self._simulation.leave(self._function, self._simulation.now - self._begun)


def _parts(items: Sequence[str], size: int) -> list[Sequence[str]]:
    return [items[begin : begin + size] for begin in range(0, len(items), size)]
