"""A deployment in moto: what template.yaml describes, two tenants, and the functions behind its routes."""

import base64
import importlib
import io
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import boto3
import pytest
from moto import mock_aws
from PIL import Image

from shared import services
from shared.accounts import Accounts, Limits
from shared.archive_queue import ArchiveQueue
from shared.dispatch_queue import DispatchOrder, parse_order
from shared.dynamo import Dynamo
from shared.file_store import FileStore
from shared.identifiers import new_job_id
from shared.job import Hold, Job, Millis, PredictionId, Status, TenantId
from shared.job_store import JobStore, encode, shard_of
from shared.ledger import Ledger, day_of
from shared.pricing import Price
from shared.signatures import decode_secret, sign_callback, sign_webhook
from tests.support.published import check_published
from tests.support.replicate import TOKEN
from tests.support.template import REGION, Template

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

START = Millis(1_793_534_400_000)  # 2026-11-01T12:00:00Z
ORIGIN = "https://images.example.com"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRETS = {
    "replicate-api-token": TOKEN,
    "replicate-webhook-secret": WEBHOOK_SECRET,
    "callback-key": "callback-key-made-up",
    "link-key": "link-key-made-up",
}
LIMITS = Limits(rate_per_minute=50, max_in_flight=100, daily_budget=25_000_000)
ALICE = TenantId("alice")
BOB = TenantId("bob")
_TENANTS: list[Any] = []
_KEYS: dict[str, str] = {}


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, at: int = START) -> None:
        self.at = at

    def __call__(self) -> Millis:
        return Millis(self.at)

    def go_on(self, seconds: float) -> None:
        self.at += round(seconds * 1000)


@dataclass(frozen=True)
class Answered:
    """What a caller sees."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)


def job(**changes: Any) -> Job:
    """Give a job as `submit` writes it, but for these fields."""
    created_at = changes.pop("created_at", START)
    job_id = changes.pop("id", None) or new_job_id(created_at)
    fields: dict[str, Any] = {
        "id": job_id,
        "tenant": ALICE,
        "status": Status.STARTING,
        "model": "black-forest-labs/flux-schnell",
        "input": {"prompt": "a fox", "num_outputs": 1, "seed": 7},
        "fingerprint": "f" * 64,
        "created_at": created_at,
        "attempt": 1,
        "claimed_at": created_at,
        "seed": 7,
        "price": Price(3_000),
        "hold": Hold(day_of(created_at), 3_000),
        "due_at": created_at + 60_000,
        "due_shard": shard_of(job_id),
    }
    return Job(**{**fields, **changes})


def image(kind: str = "WEBP", size: tuple[int, int] = (48, 32), color: str = "teal") -> bytes:
    """Give a real image."""
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, kind)
    return buffer.getvalue()


def data_uri(content: bytes, media_type: str = "image/webp") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


class World:
    """Everything that template.yaml describes, as far as functions need it."""

    def __init__(self) -> None:
        self.parameters: dict[str, str] = {"PublicUrl": ORIGIN}
        self.physical: dict[str, str] = {}
        self.clock = Clock()
        self.sleeps: list[float] = []
        self.dynamodb = _dynamodb()
        self.s3 = _s3()
        self.sqs = _sqs()
        self.ssm = _ssm()
        self._create()
        self.dynamo = Dynamo(self.dynamodb, sleep=self.sleeps.append)
        self.jobs_table = self.physical["JobsTable"]
        self.accounts_table = self.physical["AccountsTable"]
        self.bucket = self.physical["Bucket"]
        self.jobs = JobStore(self.dynamo, self.jobs_table)
        self.accounts = Accounts(self.dynamo, self.accounts_table, defaults=LIMITS, now=self.clock)
        self.files = FileStore(self.s3, self.bucket)
        self.archive_queue = ArchiveQueue(self.sqs, self.physical["ArchiveQueue"])
        self.keys: dict[str, str] = {}
        self._settle_tenants()

    # ---- what is there

    def ledger(self) -> Ledger:
        """Give a ledger of a fresh process."""
        return Ledger(self.dynamo, jobs=self.jobs_table, accounts=self.accounts_table, now=self.clock)

    @property
    def template(self) -> Template:
        return Template(self.parameters, self.physical)

    def put(self, one: Job) -> Job:
        """Write a job as it is, whatever was there, without admission."""
        self.dynamodb.put_item(TableName=self.jobs_table, Item=encode(one))
        return one

    def read(self, job_id: str) -> Job:
        found = self.jobs.get(job_id)
        assert found is not None
        return found

    def account(self, tenant: str = ALICE) -> dict[str, int]:
        """Give the numbers of an account."""
        item = self.dynamodb.get_item(TableName=self.accounts_table, Key={"pk": {"S": f"account#{tenant}"}})["Item"]
        return {name: int(value["N"]) for name, value in item.items() if "N" in value}

    def everything(self) -> dict[str, Any]:
        """Give all items and object keys, to compare before and after."""
        found: dict[str, Any] = {}
        for table in (self.jobs_table, self.accounts_table):
            for item in self.dynamodb.scan(TableName=table)["Items"]:
                found[f"{table}/{item['pk']['S']}"] = item
        for key in self.stored():
            found[f"{self.bucket}/{key}"] = True
        return found

    def jobs_written(self) -> list[str]:
        items = self.dynamodb.scan(TableName=self.jobs_table)["Items"]
        return [item["id"]["S"] for item in items if item["pk"]["S"].startswith("job#")]

    def stored(self) -> list[str]:
        page = self.s3.list_objects_v2(Bucket=self.bucket)
        return [one["Key"] for one in page.get("Contents", [])]

    def object(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def manifest(self, one: Job) -> Any:
        return json.loads(self.object(f"jobs/{one.tenant}/{one.id}/manifest.json"))

    def orders(self) -> list[dict[str, Any]]:
        """Take all messages out of the archive queue."""
        return [json.loads(message["body"]) for message in self._receive()]

    def orders_as_sent(self) -> list[str]:
        """Take all messages out of the archive queue, as they are."""
        return [message["body"] for message in self._receive()]

    def dispatch_orders(self) -> list[DispatchOrder]:
        """Take all messages that are not delayed out of the dispatch queue."""
        return [parse_order(message["body"]) for message in self._receive("DispatchQueue")]

    # ---- calling functions

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        alter: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> Answered:
        """Send a request to the function that the template's routes lead to; `key` is an API key.

        A `body` of bytes is sent as it is, anything else as JSON. `alter` gives the event that arrives instead.
        """
        event = alter(http_event(method, path, body, key=key, headers=headers))
        answer = self.call(self.template.function_of_route(method, event["rawPath"]).name, event)
        text = answer.get("body", "")
        decoded = base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()
        check_published(method, event["rawPath"], answer["statusCode"], answer["headers"], decoded)
        return Answered(answer["statusCode"], answer["headers"], decoded)

    def webhook(
        self,
        job_id: str,
        document: Any,
        *,
        attempt: int = 1,
        headers: Mapping[str, str] | None = None,
        signed_for: str | None = None,
        **signing: Any,
    ) -> Answered:
        """Post a webhook as Replicate does; `signed_for` is the job that the URL was made for, if another."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        k = sign_callback(SECRETS["callback-key"], signed_for or job_id, attempt)
        path = f"/webhooks/replicate/{job_id}?{urlencode({'attempt': attempt, 'k': k})}"
        return self.request("POST", path, body, headers={**signed_headers(body, **signing), **(headers or {})})

    def archive(self) -> list[str]:
        """Let `archive` work on all that waits in its queue; gives the message ids that it could not do."""
        messages = self._receive()
        if not messages:
            return []
        answer = self.call("ArchiveFunction", {"Records": messages})
        return [one["itemIdentifier"] for one in answer["batchItemFailures"]]

    def dispatch(self) -> list[str]:
        """Let `dispatch` work on all that waits in its queue; gives the message ids that it could not do."""
        messages = self._receive("DispatchQueue")
        answer = self.call("DispatchFunction", {"Records": messages})
        return [one["itemIdentifier"] for one in answer["batchItemFailures"]]

    def deliver(self, body: str, message_id: str = "message-1") -> bool:
        """Give `archive` this one message; says whether it was done."""
        event = {"Records": [{"messageId": message_id, "body": body}]}
        return self.call("ArchiveFunction", event) == {"batchItemFailures": []}

    def call(self, name: str, event: Mapping[str, Any], context: Any = None) -> dict[str, Any]:
        """Invoke a function, by its logical id, with its own environment only."""
        function = self.template.function(name)
        module, _, attribute = function.handler.rpartition(".")
        with environment(function.environment):
            handler = getattr(importlib.import_module(module), attribute)
            answer: dict[str, Any] = handler(event, context)
        json.dumps(answer)  # Lambda could not return anything else
        return answer

    def _receive(self, queue: str = "ArchiveQueue") -> list[dict[str, str]]:
        found = []
        url = self.physical[queue]
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append({"messageId": message["MessageId"], "body": message["Body"]})
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def _settle_tenants(self) -> None:
        """Make the tenants; those of the first world move into all that follow, since that is faster."""
        if _TENANTS:
            puts: Any = [{"PutRequest": {"Item": item}} for item in _TENANTS]
            self.dynamodb.batch_write_item(RequestItems={self.accounts_table: puts})
            self.keys |= _KEYS
            return
        for tenant in (ALICE, BOB):
            self.accounts.create_tenant(tenant)
            self.keys[tenant] = self.accounts.create_key(tenant)
        _KEYS.update(self.keys)
        _TENANTS.extend(self.dynamodb.scan(TableName=self.accounts_table)["Items"])

    def _create(self) -> None:
        template = self.template
        for name, properties in template.resources("AWS::DynamoDB::Table"):
            self.physical[name] = f"afterimage-{name}"
            wanted = {"BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes"}
            table = {key: template.resolve(value) for key, value in properties.items() if key in wanted}
            self.dynamodb.create_table(TableName=self.physical[name], **table)
        for name, _ in template.resources("AWS::S3::Bucket"):
            self.physical[name] = f"afterimage-{name.lower()}"
            self.s3.create_bucket(Bucket=self.physical[name])
        for name, properties in template.resources("AWS::SQS::Queue"):
            queue = template.resolve(properties["QueueName"])
            self.physical[name] = self.sqs.create_queue(QueueName=queue)["QueueUrl"]
        for name, _ in template.resources("AWS::KMS::Key"):
            self.physical[name] = _kms().create_key()["KeyMetadata"]["KeyId"]
        for path in {
            value
            for function in self.template.functions()
            for name, value in function.environment.items()
            if name.endswith("_PARAMETER")
        }:
            self.ssm.put_parameter(Name=path, Value=SECRETS[path.rpartition("/")[2]], Type="SecureString")


def adopted(prediction_id: str = "p1", **changes: Any) -> Job:
    """Give a job that knows its prediction."""
    return job(prediction_id=PredictionId(prediction_id), **changes)


# One of each for all tests: to make a client takes longer than most tests.


@cache
def aws_session() -> boto3.Session:
    """Give the session of all clients: to make one takes longer than most tests."""
    return boto3.Session()


@cache
def _dynamodb() -> "DynamoDBClient":
    return aws_session().client("dynamodb")


@cache
def _s3() -> "S3Client":
    return aws_session().client("s3")


@cache
def _sqs() -> "SQSClient":
    return aws_session().client("sqs")


@cache
def _ssm() -> "SSMClient":
    return aws_session().client("ssm")


@cache
def _kms() -> "KMSClient":
    return aws_session().client("kms")


@contextmanager
def deployed() -> Iterator[World]:
    """Deploy the template in moto; the functions are those of fresh processes."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        # moto forgets the default session, and each new one reads all models of AWS again.
        boto3.DEFAULT_SESSION = aws_session()
        fresh_wiring()
        yield World()
        fresh_wiring()


def fresh_wiring() -> None:
    """Forget what functions have composed, as a new process would."""
    for value in vars(services).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def signed_headers(
    body: bytes, *, at: float | None = None, secret: str = WEBHOOK_SECRET, webhook_id: str = "msg_1"
) -> dict[str, str]:
    """Sign a body as Replicate does; `at` is in seconds."""
    timestamp = int(time.time() if at is None else at)
    signature = sign_webhook(decode_secret(secret), webhook_id=webhook_id, timestamp=timestamp, body=body)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
        "content-type": "application/json",
    }


def http_event(
    method: str, url: str, body: Any = None, *, key: str | None = None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Build an event as an HTTP API sends it (payload format 2.0)."""
    parts = urlsplit(url)
    sent = {"host": "images.example.com", "x-forwarded-proto": "https", "user-agent": "test"}
    if key is not None:
        sent["authorization"] = f"Bearer {key}"
    if body is not None and not isinstance(body, bytes):
        sent["content-type"] = "application/json"
        body = json.dumps(body).encode()
    sent |= {name.lower(): value for name, value in (headers or {}).items()}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        "headers": sent,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "api.execute-api.us-east-1.amazonaws.com",
            "http": {"method": method, "path": parts.path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
            "requestId": f"request-{uuid.uuid4()}",
            "stage": "$default",
            "timeEpoch": time.time_ns() // 1_000_000,
        },
        "isBase64Encoded": False,
    }
    if parts.query:
        query: dict[str, str] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            query[name] = f"{query[name]},{value}" if name in query else value
        event["queryStringParameters"] = query
    if body is not None:
        textual = sent.get("content-type", "").partition(";")[0] in {"application/json", "text/plain"}
        try:
            event["body"] = body.decode() if textual else base64.b64encode(body).decode()
        except UnicodeDecodeError:
            textual = False
            event["body"] = base64.b64encode(body).decode()
        event["isBase64Encoded"] = not textual
    return event
