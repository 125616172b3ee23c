"""The local stack as a journey sees it: tenants who call it, and an administrator who looks behind it."""

import json
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import boto3
import httpx

from infra.local.deploy import Aws
from infra.local.stack import Stack
from shared.accounts import Accounts, Limits
from shared.dynamo import Dynamo, plain
from shared.job import Job, Millis, TenantId
from shared.job_store import decode, job_pk
from tests.journey.replicate import PATIENCE_S, Replicate
from tests.support.published import check_published

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

SCHNELL = "black-forest-labs/flux-schnell"
DEV = "black-forest-labs/flux-dev"
PRICES = {SCHNELL: 3_000, DEV: 25_000}  # micro-USD an image
SMALL: Mapping[str, Any] = {"megapixels": "0.25"}  # cheap to make
WIDE = {"rate_per_minute": 10_000, "max_in_flight": 10_000, "daily_budget": 1_000_000_000}
_DEFAULTS = Limits(rate_per_minute=50, max_in_flight=100, daily_budget=25_000_000)
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # for clients of plain HTTP: reading all authorities takes a while
CROWD = 40  # callers at the same time, where it is their number that matters
DAY_S = 86_400
_numbers = count(1)


def until[T](ask: Callable[[], T | None], *, seconds: float = PATIENCE_S, what: str) -> T:
    """Ask until the answer is neither empty nor false, and give it; that it stays so is a failure."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return answer


class Tenant:
    """One tenant, with an API key and a connection of its own."""

    def __init__(self, name: str, key: str, api_url: str) -> None:
        self.name = name
        self.key = key
        self.http = httpx.Client(
            base_url=api_url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=PATIENCE_S,
            trust_env=False,
            verify=NO_TLS,
            limits=httpx.Limits(max_connections=CROWD),
            event_hooks={"response": [self._check]},
        )

    def generate(self, prompt: str = "a quiet harbour", *, headers: Mapping[str, str] = {}, **body: Any) -> str:
        """`POST /generate`: one small image of flux-schnell unless told otherwise; gives the job's id."""
        asked = {"model": SCHNELL, "num_images": 1, "input": SMALL} | body
        answer = self.http.post("/generate", json={"prompt": prompt, **asked}, headers=headers)
        assert answer.status_code in {200, 202}, answer.text
        return str(answer.json()["prediction_id"])

    def predict(
        self,
        model: str = SCHNELL,
        *,
        headers: Mapping[str, str] = {},
        **given: Any,
    ) -> httpx.Response:
        """`POST /v1/models/{model}/predictions`."""
        asked = {"prompt": "a quiet harbour", **SMALL, **given}
        return self.http.post(f"/v1/models/{model}/predictions", json={"input": asked}, headers=headers)

    def at_once[T](self, times: int, do: Callable[[], T], *, callers: int = 6) -> list[T]:
        """Do the same thing many times, so many in parallel; each more costs the start of another worker."""
        with ThreadPoolExecutor(callers) as pool:
            return [doing.result() for doing in [pool.submit(do) for _ in range(times)]]

    def _check(self, response: httpx.Response) -> None:
        url, body = response.url, response.read()
        if url.netloc == self.http.base_url.netloc:
            check_published(response.request.method, url.path, response.status_code, response.headers, body)

    def read(self, job_id: str) -> dict[str, Any]:
        """`GET /v1/predictions/{id}`."""
        answer = self.http.get(f"/v1/predictions/{job_id}")
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document


class Local:
    """The stack from behind, as its administrator."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.aws = Aws(stack.aws_endpoint_url)
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        self.sqs: SQSClient = session.client("sqs", endpoint_url=stack.aws_endpoint_url)
        self.iam = session.client("iam", endpoint_url=stack.aws_endpoint_url)
        self.scheduler = session.client("scheduler", endpoint_url=stack.aws_endpoint_url)
        self._anybody = httpx.Client(timeout=PATIENCE_S, trust_env=False, verify=NO_TLS)
        token = self.aws.ssm.get_parameter(Name="/afterimage/local/replicate-api-token", WithDecryption=True)
        self.replicate = Replicate(stack.simulator_url, stack.replicate_url, token["Parameter"]["Value"])

    def close(self) -> None:
        self._anybody.close()
        self.replicate.close()

    # Tenants

    @contextmanager
    def tenant(self, **limits: int) -> Iterator[Tenant]:
        """Make a tenant that nobody else has, with limits of its own; it has room enough for all but their tests."""
        name = f"journey-{next(_numbers)}"
        accounts = Accounts(
            Dynamo(self.aws.dynamodb), self.stack.accounts_table, defaults=_DEFAULTS, now=lambda: Millis(_now())
        )
        accounts.create_tenant(name, WIDE | limits)
        tenant = Tenant(name, accounts.create_key(name), self.stack.api_url)
        with tenant.http:
            yield tenant

    def account(self, tenant: Tenant) -> tuple[int, int]:
        """Give how many jobs are in flight, and the micro-USD that are reserved or spent on all days."""
        item = self.aws.dynamodb.get_item(
            TableName=self.stack.accounts_table, Key={"pk": {"S": f"account#{tenant.name}"}}, ConsistentRead=True
        )["Item"]
        money = sum(int(plain(value)) for name, value in item.items() if name.startswith("committed_"))
        return int(plain(item["inflight"])), money

    def hold_minute(self, tenant: Tenant) -> None:
        """Let the tenant's minute begin now, and not end by itself."""
        self._set_window(tenant, _now() + DAY_S * 1000)

    def end_minute(self, tenant: Tenant) -> None:
        """Let the tenant's minute end."""
        self._set_window(tenant, 0)

    def _set_window(self, tenant: Tenant, start: int) -> None:
        self.aws.dynamodb.update_item(
            TableName=self.stack.accounts_table,
            Key={"pk": {"S": f"account#{tenant.name}"}},
            UpdateExpression="SET win = :start, n = :none",
            ExpressionAttributeValues={":start": {"N": str(start)}, ":none": {"N": "0"}},
        )

    # Jobs

    def item(self, job_id: str) -> dict[str, Any]:
        """Read a job's row as it is."""
        return dict(
            self.aws.dynamodb.get_item(
                TableName=self.stack.jobs_table, Key={"pk": {"S": job_pk(job_id)}}, ConsistentRead=True
            )["Item"]
        )

    def job(self, job_id: str) -> Job:
        """Read a job."""
        return decode(self.item(job_id))

    def jobs_of(self, tenant: Tenant) -> list[Job]:
        """Read all jobs of a tenant, oldest first."""
        pages = self.aws.dynamodb.get_paginator("query").paginate(
            TableName=self.stack.jobs_table,
            IndexName="by_tenant",
            KeyConditionExpression="tenant = :tenant",
            ExpressionAttributeValues={":tenant": {"S": TenantId(tenant.name)}},
        )
        return [self.job(str(plain(item["id"]))) for page in pages for item in page["Items"]]

    def fetch(self, url: str) -> httpx.Response:
        """Get a link as a browser would, without a key, but follow nothing."""
        return self._anybody.get(url)

    def download(self, url: str) -> bytes:
        """Get what a link leads to, as a browser would."""
        return self._anybody.get(url, follow_redirects=True).raise_for_status().content

    def end(self, job_ids: Iterable[str], *, seconds: float = 180) -> list[Job]:
        """Wait until all these jobs have ended and their manifests are written."""
        wanted = list(job_ids)

        def archived() -> list[Job] | None:
            jobs = [self.job(job_id) for job_id in wanted]
            return jobs if all(job.archived_at for job in jobs) else None

        deadline = time.monotonic() + seconds
        while (jobs := archived()) is None:
            open_jobs = [job for job in map(self.job, wanted) if not job.archived_at]
            assert time.monotonic() < deadline, f"not archived within {seconds} s: {open_jobs}"
            time.sleep(0.05)
        return jobs

    def heard(self, job_id: str, event: str) -> None:
        """Wait until `notify` has noted that a caller has heard of this; then it tells no more of it."""
        key = {"pk": {"S": f"heard#msg_{job_id}_{event}"}}
        get = self.aws.dynamodb.get_item
        until(
            lambda: get(TableName=self.stack.jobs_table, Key=key, ConsistentRead=True).get("Item"),
            what=f"the note that {event} of {job_id} was heard",
        )

    def due(self) -> set[str]:
        """Give the ids of all jobs in the due index."""
        pages = self.aws.dynamodb.get_paginator("scan").paginate(TableName=self.stack.jobs_table, IndexName="due")
        return {str(plain(item["pk"])).removeprefix("job#") for page in pages for item in page["Items"]}

    # Time and repair

    def pass_time(self, job_ids: Iterable[str], seconds: float) -> None:
        """Let time pass for these jobs, and for the limit towards Replicate: all their times move into the past."""
        for job_id in job_ids:
            self.move_back(self.stack.jobs_table, job_pk(job_id), seconds)
        self.move_back(self.stack.accounts_table, "upstream#replicate", seconds)

    def move_back(self, table: str, pk: str, seconds: float) -> None:
        """Move all times of a row into the past."""
        while True:
            try:
                self._move_back(table, pk, seconds)
            except self.aws.dynamodb.exceptions.ConditionalCheckFailedException:
                continue  # Somebody has just written to it.
            return

    def _move_back(self, table: str, pk: str, seconds: float) -> None:
        key = {"pk": {"S": pk}}
        item = self.aws.dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})
        times = [name for name in item if name.endswith(("_at", "_until")) or name == "win"]
        if not times:
            return
        self.aws.dynamodb.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET " + ", ".join(f"#{n} = #{n} - :passed" for n in range(len(times))),
            # What was just written off, such as the due time of a job that has ended, is not brought back.
            ConditionExpression=" AND ".join(f"attribute_exists(#{n})" for n in range(len(times))),
            ExpressionAttributeNames={f"#{n}": name for n, name in enumerate(times)},
            ExpressionAttributeValues={":passed": {"N": str(round(seconds * 1000))}},
        )

    def reconcile(self) -> int:
        """Run `reconcile` as its schedule does, and give how many jobs it looked after."""
        answer = self.aws.lambda_.invoke(FunctionName=self.stack.functions["reconcile"], Payload=b"{}")
        payload = answer["Payload"].read()
        assert "FunctionError" not in answer, payload
        return int(json.loads(payload)["looked_after"])

    def stop_schedule(self) -> None:
        """Have `reconcile` run only when a test says so, or it would come in between at some moment of each minute."""
        self.scheduler.update_schedule(**self._schedule() | {"State": "DISABLED"})

    @contextmanager
    def scheduled_now(self) -> Iterator[None]:
        """Have the schedule of `reconcile` come due."""
        name = f"now-{next(_numbers)}"
        self.scheduler.create_schedule(
            **self._schedule() | {"Name": name, "ScheduleExpression": "at(2000-01-01T00:00:00)", "State": "ENABLED"}
        )
        try:
            yield
        finally:
            self.scheduler.delete_schedule(Name=name)

    def _schedule(self) -> dict[str, Any]:
        found = self.scheduler.get_schedule(Name="afterimage-local-reconcile")
        return {name: found[name] for name in ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")}

    def forget_upstream_limit(self) -> None:
        """Have the limit towards Replicate start anew."""
        self.aws.dynamodb.delete_item(TableName=self.stack.accounts_table, Key={"pk": {"S": "upstream#replicate"}})

    # Bucket, queues and logs

    def objects(self, job: Job) -> dict[str, bytes]:
        """Read everything that is stored of a job, by the last part of its key."""
        prefix = f"jobs/{job.tenant}/{job.id}/"
        listed = self.aws.s3.list_objects_v2(Bucket=self.stack.bucket, Prefix=prefix).get("Contents", [])
        keys = [one["Key"] for one in listed]
        return {
            key.removeprefix(prefix): self.aws.s3.get_object(Bucket=self.stack.bucket, Key=key)["Body"].read()
            for key in keys
        }

    def manifest(self, job: Job) -> dict[str, Any]:
        """Read a job's manifest."""
        manifest: dict[str, Any] = json.loads(self.objects(job)["manifest.json"])
        return manifest

    def dead_letters(self) -> dict[str, int]:
        """Count the messages in each dead-letter queue."""
        urls = [url for url in self.sqs.list_queues()["QueueUrls"] if url.endswith("-dead-letters")]
        return {url.rpartition("/")[2]: self.waiting(url) for url in urls}

    def waiting(self, queue_url: str) -> int:
        """Count the messages of a queue, those included that somebody works on or that are delayed."""
        found = self.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
        return sum(int(value) for name, value in found.items() if name.startswith("ApproximateNumberOfMessages"))

    def forget_messages(self) -> None:
        """Drop what waits in the queues: messages with a long delay, and those that failed and are hidden."""
        for url in (self.stack.dispatch_queue_url, self.stack.archive_queue_url, self.stack.notify_queue_url):
            self.sqs.purge_queue(QueueUrl=url)

    def come_to_rest(self) -> None:
        """Have whatever is unfinished end, so that the next test meets nothing of this one."""
        self.replicate.misbehave()
        self.forget_upstream_limit()
        for rounds in count():
            self.replicate.cancel_all()
            left = self.due()
            if not left:
                break
            assert rounds < PATIENCE_S, f"it does not come to rest: {[self.job(job_id) for job_id in left]}"
            if rounds % 4 == 3:
                # It does not end by itself. No deadline and no wait is longer than this.
                self.pass_time(left, DAY_S + 3600)
                self.reconcile()
            time.sleep(min(0.1 * 2**rounds, 2))
        self.forget_messages()
        self.forget_upstream_limit()
        self.replicate.forget()

    def logged(self, function: str, since: float) -> str:
        """Give what a function has logged since a time."""
        if function == "archive":
            # On a busy machine MiniStack reads the end of what it printed only at its next invocation.
            self.aws.lambda_.invoke(FunctionName=self.stack.functions[function], Payload=b'{"Records": []}')
        pages = self.aws.logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{self.stack.functions[function]}", startTime=round(since * 1000)
        )
        return "\n".join(event["message"] for page in pages for event in page["events"])

    def charged(self, jobs: Sequence[Job]) -> int:
        """Count the predictions that Replicate takes money for on behalf of these jobs."""
        return sum(one["charged"] for job in jobs for one in self.replicate.predictions_of(job.id))


def _now() -> int:
    return time.time_ns() // 1_000_000
