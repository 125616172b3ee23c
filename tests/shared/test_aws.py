"""Our clients beside boto3's: the same requests, the same answers, the same failures."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import botocore.client
import pytest
from botocore import exceptions as aws
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from shared import services
from shared.aws import TRIES, Credentials, JsonClient, ObjectClient, Surroundings, sender, surroundings
from shared.outages import is_outage
from tests.support.loopback import Answer, Call, serving
from tests.support.world import World, aws_session, fresh_wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REGION = "us-east-1"
KEYS = Credentials("AKIDMADEUP", "made-up", "token-made-up")
AROUND = Surroundings(REGION, None, lambda: KEYS, lambda: None)
TABLE = "afterimage-JobsTable"
REQUESTS: Sequence[tuple[str, str, Mapping[str, Any]]] = [
    ("dynamodb", "get_item", {"TableName": "t", "Key": {"pk": {"S": "é\ud83d\ude00"}}, "ConsistentRead": True}),
    ("dynamodb", "batch_get_item", {"RequestItems": {"t": {"Keys": [{"pk": {"S": "a"}}], "ConsistentRead": True}}}),
    ("dynamodb", "put_item", {"TableName": "t", "Item": {"pk": {"S": "a"}, "n": {"N": "1"}}}),
    ("dynamodb", "delete_item", {"TableName": "t", "Key": {"pk": {"S": "a"}}}),
    ("dynamodb", "update_item", {"TableName": "t", "Key": {"pk": {"S": "a"}}, "UpdateExpression": "REMOVE b"}),
    ("dynamodb", "query", {"TableName": "t", "KeyConditionExpression": "a = :a", "ScanIndexForward": False}),
    (
        "dynamodb",
        "transact_write_items",
        {"TransactItems": [{"Delete": {"TableName": "t", "Key": {"pk": {"S": "a"}}}}], "ClientRequestToken": "once"},
    ),
    ("sqs", "send_message", {"QueueUrl": "https://q", "MessageBody": "{}", "DelaySeconds": 3, "MessageGroupId": "g"}),
    ("sqs", "send_message_batch", {"QueueUrl": "https://q", "Entries": [{"Id": "0", "MessageBody": "{}"}]}),
    ("sqs", "change_message_visibility", {"QueueUrl": "https://q", "ReceiptHandle": "r", "VisibilityTimeout": 3}),
    ("ssm", "get_parameters", {"Names": ["/a", "/b"], "WithDecryption": True}),
]


def answered(status: int, document: Any, headers: Mapping[str, str] | None = None) -> AWSResponse:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    answer = AWSResponse("", status, dict(headers or {}), None)  # type: ignore[arg-type]
    answer._content = content  # type: ignore[attr-defined]
    return answer


def moto(request: AWSPreparedRequest) -> AWSResponse:
    """Send a request to moto, as boto3's clients do here."""
    heard: Any = aws_session().events.emit("before-send", request=request)
    answers: list[AWSResponse] = [answer for _, answer in heard if answer is not None]
    return answers[0]


def ours(service: str, send: Callable[[AWSPreparedRequest], AWSResponse] = moto, **changes: Any) -> Any:
    return JsonClient(service, AROUND, send, sleep=lambda _: None, **changes)


def body_of(request: AWSPreparedRequest) -> Any:
    body: Any = request.body
    return json.loads(body)


class Sequel:
    """Answers one after the other; an exception is raised."""

    def __init__(self, *answers: AWSResponse | Exception) -> None:
        self.requests: list[AWSPreparedRequest] = []
        self._answers = list(answers)

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


# ---- requests


@pytest.mark.parametrize(("service", "operation", "parameters"), REQUESTS, ids=[one[1] for one in REQUESTS])
def test_a_request_is_the_one_that_boto3_sends(service: Any, operation: str, parameters: Mapping[str, Any]) -> None:
    sent: list[AWSPreparedRequest] = []

    def note(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        sent.append(request)
        return answered(200, {})

    client = boto3.Session(KEYS.access_key, KEYS.secret_key, KEYS.token, REGION).client(
        service, config=Config(retries={"total_max_attempts": 1})
    )
    client.meta.events.register_first("before-send", note)
    getattr(client, operation)(**parameters)
    mine = Sequel(answered(200, {}))
    getattr(ours(service, mine), operation)(**parameters)
    ((its,), (own,)) = sent, mine.requests
    assert (own.method, own.url) == (its.method, its.url)
    assert body_of(own) == body_of(its)
    for name in ("X-Amz-Target", "Content-Type", "X-Amz-Security-Token"):
        assert _text(own.headers[name]) == _text(its.headers[name]), name


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def test_a_request_is_signed_as_botocore_signs_and_carries_the_invocations_trace() -> None:
    send = Sequel(answered(200, {}))
    around = AROUND._replace(trace_id=lambda: "Root=1-made-up")
    JsonClient("ssm", around, send).get_parameter(Name="/a")
    (request,) = send.requests
    signature = request.headers["Authorization"]
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AKIDMADEUP/")
    assert "/us-east-1/ssm/aws4_request" in signature
    assert "host;x-amz-date;x-amz-security-token;x-amz-target" in signature
    assert request.headers["X-Amzn-Trace-Id"] == "Root=1-made-up"
    assert "x-amzn-trace-id" not in signature


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-central-1", "https://sqs.eu-central-1.amazonaws.com/"),
        ("us-gov-west-1", "https://sqs.us-gov-west-1.amazonaws.com/"),
        ("cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn/"),
    ],
)
def test_every_region_is_where_boto3_finds_it(region: Any, url: str) -> None:
    send = Sequel(answered(200, {}))
    JsonClient("sqs", AROUND._replace(region=region), send).send_message(QueueUrl="q", MessageBody="b")
    assert send.requests[0].url == url
    assert boto3.Session(*KEYS, region_name=region).client("sqs").meta.endpoint_url + "/" == url


# ---- answers


def outcome(do: Callable[[], Any]) -> Any:
    """Give what came of a call, without what only says how it came."""
    try:
        document = do()
    except aws.ClientError as error:
        document = dict(error.response)
        document["status"] = document["ResponseMetadata"]["HTTPStatusCode"]
        document.pop("message", None)  # boto3 repeats it beside `Error`
        document.pop("Message", None)
    return {name: value for name, value in document.items() if name != "ResponseMetadata"}


PUT = {"TableName": TABLE, "Item": {"pk": {"S": "a"}, "status": {"S": "queued"}}}
TAKEN = {"ConditionExpression": "attribute_not_exists(pk)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
CALLS: Sequence[tuple[str, str, Mapping[str, Any]]] = [
    ("dynamodb", "get_item", {"TableName": TABLE, "Key": {"pk": {"S": "a"}}}),
    ("dynamodb", "get_item", {"TableName": TABLE, "Key": {"pk": {"S": "nobody"}}}),
    ("dynamodb", "get_item", {"TableName": "no-such-table", "Key": {"pk": {"S": "a"}}}),
    ("dynamodb", "put_item", {**PUT, **TAKEN}),
    (
        "dynamodb",
        "update_item",
        {
            "TableName": TABLE,
            "Key": {"pk": {"S": "a"}},
            "UpdateExpression": "SET #s = :s",
            "ExpressionAttributeNames": {"#s": "status"},
            "ExpressionAttributeValues": {":s": {"S": "starting"}},
            "ReturnValues": "ALL_NEW",
        },
    ),
    ("dynamodb", "transact_write_items", {"TransactItems": [{"Put": {**PUT, **TAKEN}}]}),
    ("dynamodb", "batch_get_item", {"RequestItems": {TABLE: {"Keys": [{"pk": {"S": "a"}}, {"pk": {"S": "b"}}]}}}),
    (
        "dynamodb",
        "query",
        {
            "TableName": TABLE,
            "KeyConditionExpression": "pk = :p",
            "ExpressionAttributeValues": {":p": {"S": "a"}},
        },
    ),
    ("sqs", "send_message", {"QueueUrl": "http://localhost/no-such-queue", "MessageBody": "{}"}),
    ("ssm", "get_parameters", {"Names": ["/afterimage/dev/link-key", "/no/such"], "WithDecryption": True}),
    ("ssm", "get_parameter", {"Name": "/no/such/parameter"}),
]


@pytest.mark.parametrize(("service", "operation", "parameters"), CALLS)
def test_an_answer_is_the_one_that_boto3_gives(
    world: World, service: Any, operation: str, parameters: Mapping[str, Any]
) -> None:
    world.dynamodb.put_item(**PUT)  # type: ignore[arg-type]
    its = outcome(lambda: getattr(aws_session().client(service), operation)(**parameters))
    mine = outcome(lambda: getattr(ours(service), operation)(**parameters))
    for parameter in its.get("Parameters", []):
        parameter["LastModifiedDate"] = parameter["LastModifiedDate"].timestamp()  # JSON has no dates
    if service == "sqs":
        # What SQS was called in XML, which boto3 goes on to say; nobody asks for it here.
        assert mine["Error"]["Code"] in its["Error"].get("Type", "") + its["Error"]["Code"] + "QueueDoesNotExist"
        assert mine["status"] == its["status"]
        return
    assert mine == its


def test_what_is_sent_arrives(world: World) -> None:
    url = world.physical["ArchiveQueue"]
    ours("sqs").send_message(QueueUrl=url, MessageBody='{"job_id": "a"}')
    assert world.orders() == [{"job_id": "a"}]


# ---- failures


THROTTLED = {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "slower"}
GET = {"TableName": "t", "Key": {"pk": {"S": "a"}}}


@pytest.mark.parametrize(
    "failure",
    [
        answered(400, THROTTLED),
        answered(500, {"__type": "InternalServerError"}),
        answered(503, b"<html>not JSON</html>"),
        aws.ReadTimeoutError(endpoint_url="u"),
        aws.EndpointConnectionError(endpoint_url="u"),
        aws.ConnectionClosedError(endpoint_url="u"),
    ],
)
def test_an_outage_is_tried_again_and_told_in_the_end(failure: Any) -> None:
    send = Sequel(failure, failure, answered(200, {"Item": {}}))
    assert ours("dynamodb", send).get_item(**GET) == {"Item": {}}
    send = Sequel(*[failure] * TRIES)
    with pytest.raises((aws.ClientError, aws.BotoCoreError)):
        ours("dynamodb", send).get_item(**GET)
    assert len(send.requests) == TRIES
    send = Sequel(failure)
    with pytest.raises((aws.ClientError, aws.BotoCoreError)):
        ours("dynamodb", send, tries=1).get_item(**GET)


def test_what_is_wrong_is_not_tried_again() -> None:
    send = Sequel(answered(400, {"__type": "com.amazon.coral.validate#ValidationException", "Message": "no"}))
    with pytest.raises(aws.ClientError) as raised:
        ours("dynamodb", send).get_item(**GET)
    assert raised.value.response["Error"] == {"Code": "ValidationException", "Message": "no"}


def test_a_transaction_that_is_sent_again_is_the_same_one() -> None:
    send = Sequel(aws.ReadTimeoutError(endpoint_url="u"), answered(200, {}), answered(200, {}))
    client = ours("dynamodb", send)
    client.transact_write_items(TransactItems=[])
    client.transact_write_items(TransactItems=[])
    first, again, other = [body_of(one)["ClientRequestToken"] for one in send.requests]
    assert first == again != other


def test_nobody_waits_longer_than_boto3_would() -> None:
    waits: list[float] = []
    send = Sequel(*[answered(500, {})] * TRIES)
    with pytest.raises(aws.ClientError):
        JsonClient("ssm", AROUND, send, sleep=waits.append).get_parameter(Name="/a")
    assert len(waits) == TRIES - 1
    assert 0 <= waits[0] <= 0.05
    assert 0 <= waits[1] <= 0.1


# ---- objects


AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


def reading(send: Any = moto, around: Surroundings = AROUND) -> Any:
    return ObjectClient(around, send, boto3s=lambda: aws_session().client("s3"), sleep=lambda _: None)


@pytest.mark.parametrize("key", ["jobs/alice/01/0.webp", "uploads/a b/é+&=?#%.png", "inputs/~(1)'!*/x", "a//b/../c"])
@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:4566"])
@pytest.mark.parametrize("keys", [KEYS, KEYS._replace(token=None)])
def test_a_link_is_the_one_that_boto3_signs(
    monkeypatch: pytest.MonkeyPatch, key: str, endpoint: str | None, keys: Credentials
) -> None:
    # boto3 signs by another library where that is installed, as it is here and is not in Lambda: two opinions.
    for signer in ("botocore.auth", "botocore.crt.auth"):
        monkeypatch.setattr(f"{signer}.get_current_datetime", lambda *_, **__: AT.replace(tzinfo=None))
    session = boto3.Session(*keys, region_name="eu-central-1")
    config = Config(signature_version="s3v4", s3={"addressing_style": "path" if endpoint else "virtual"})
    its: Any = session.client("s3", config=config, endpoint_url=endpoint)
    around = Surroundings("eu-central-1", endpoint, lambda: keys, lambda: None)
    asked = {"Params": {"Bucket": "images-made-up", "Key": key}, "ExpiresIn": 300}
    urls = [client.generate_presigned_url("get_object", **asked) for client in (reading(around=around), its)]
    mine, boto3s = [urlsplit(url) for url in urls]
    assert mine[:3] == boto3s[:3]
    assert sorted(parse_qsl(mine.query)) == sorted(parse_qsl(boto3s.query))


def test_objects_are_read_as_boto3_reads_them(world: World) -> None:
    key, client = "jobs/alice/é 1/0.webp", reading()
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"0123456789", Metadata={"job-id": "j", "prediction-id": ""})
    boto3s: Any = world.s3
    for asked in ({}, {"Range": "bytes=2-5"}):
        its = boto3s.get_object(Bucket=world.bucket, Key=key, **asked)
        mine = client.get_object(Bucket=world.bucket, Key=key, **asked)
        for name in ("ETag", "ContentRange", "Metadata"):
            assert mine[name] == its.get(name), name
        with mine["Body"] as body:
            assert body.read(3) + body.read() == its["Body"].read()


@pytest.mark.parametrize(("bucket", "code"), [(None, "NoSuchKey"), ("no-such-bucket", "NoSuchBucket")])
def test_an_object_that_is_not_there_is_missed_as_boto3_misses_it(world: World, bucket: str | None, code: str) -> None:
    for client in (reading(), world.s3):
        with pytest.raises(aws.ClientError) as raised:
            client.get_object(Bucket=bucket or world.bucket, Key="nothing")
        assert raised.value.response["Error"]["Code"] == code


def test_a_bucket_that_is_out_of_reach_is_asked_again() -> None:
    raw = BytesIO(b"abc")
    found = AWSResponse("", 200, {"Content-Length": "3"}, raw)  # type: ignore[arg-type]
    send = Sequel(aws.ConnectTimeoutError(endpoint_url="u"), answered(503, b"Slow Down"), found)
    assert reading(send).get_object(Bucket="b", Key="k")["Body"].read() == b"abc"
    with pytest.raises(aws.ClientError):
        reading(Sequel(*[answered(503, b"<Error><Code>SlowDown</Code></Error>")] * TRIES)).get_object(
            Bucket="b", Key="k"
        )


WRITTEN = {
    "ContentType": "image/webp",
    "CacheControl": "private",
    "ContentDisposition": "attachment",
    "Metadata": {"job-id": "j", "prediction-id": ""},
}


@pytest.mark.parametrize("body", [b"0123456789", b""])
@pytest.mark.parametrize("is_file", [False, True])
def test_objects_are_written_as_boto3_writes_them(world: World, body: bytes, *, is_file: bool) -> None:
    boto3s: Any = world.s3
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    for key, client in (("mine é/1", reading()), ("its", boto3s)):
        with SpooledTemporaryFile(max_size=4) as file:
            file.write(body)
            file.seek(0)
            given = file if is_file else body
            client.put_object(
                Bucket=world.bucket, Key=key, Body=given, IfNoneMatch="*", ChecksumSHA256=checksum, **WRITTEN
            )
    mine, its = (boto3s.get_object(Bucket=world.bucket, Key=key) for key in ("mine é/1", "its"))
    assert mine["Body"].read() == its["Body"].read() == body
    for name in ("ETag", "ContentLength", "ContentType", "CacheControl", "ContentDisposition", "Metadata"):
        assert mine[name] == its[name], name


def test_an_object_that_is_there_is_not_overwritten(world: World) -> None:
    world.s3.put_object(Bucket=world.bucket, Key="a", Body=b"first")
    with pytest.raises(aws.ClientError) as raised:
        reading().put_object(Bucket=world.bucket, Key="a", Body=b"second", IfNoneMatch="*", **WRITTEN)
    assert raised.value.response["Error"]["Code"] == "PreconditionFailed"
    assert world.object("a") == b"first"


@pytest.mark.parametrize("checksum", [None, base64.b64encode(hashlib.sha256(b"0123").digest()).decode()])
def test_what_is_written_is_signed_with_its_digest(checksum: str | None) -> None:
    send = Sequel(answered(200, b""))
    reading(send).put_object(Bucket="b", Key="k", Body=BytesIO(b"0123"), ChecksumSHA256=checksum, **WRITTEN)
    headers = send.requests[0].headers
    assert headers["X-Amz-Content-SHA256"] == hashlib.sha256(b"0123").hexdigest()
    assert headers.get("X-Amz-Checksum-Sha256") == checksum


def test_a_file_that_is_sent_again_begins_where_it_stood() -> None:
    bodies: list[bytes] = []

    def send(request: AWSPreparedRequest) -> AWSResponse:
        body: Any = request.body
        bodies.append(body.read())
        return answered(500 if len(bodies) == 1 else 200, b"")

    body = BytesIO(b"not this, but this")
    body.seek(10)
    reading(send).put_object(Bucket="b", Key="k", Body=body, **WRITTEN)
    assert bodies == [b"but this"] * 2


def test_what_the_client_of_objects_does_not_know_is_boto3s(world: World) -> None:
    world.s3.put_object(Bucket=world.bucket, Key="a", Body=b"x")
    reading().delete_object(Bucket=world.bucket, Key="a")
    assert world.stored() == []
    with pytest.raises(ValueError, match="put_object"):
        reading().generate_presigned_url("put_object", Params={}, ExpiresIn=1)


# ---- where and who

LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "afterimage-dev-status",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "AKID",
    "AWS_SECRET_ACCESS_KEY": "made-up",
    "AWS_SESSION_TOKEN": "token",
}


def test_lambda_tells_where_and_in_whose_name() -> None:
    environ = dict(LAMBDA)
    around = surroundings(environ)
    assert around.region == "eu-west-1"
    assert around.credentials() == Credentials("AKID", "made-up", "token")
    assert around.trace_id() is None
    environ["_X_AMZN_TRACE_ID"] = "Root=1"  # Lambda sets it anew for each invocation
    assert around.trace_id() == "Root=1"


def test_without_credentials_nothing_is_sent() -> None:
    send = Sequel()
    with pytest.raises(aws.NoCredentialsError):
        JsonClient("ssm", surroundings({"AWS_DEFAULT_REGION": "eu-west-1"}), send).get_parameters(Names=["/a"])
    assert send.requests == []


@pytest.mark.sockets
def test_a_copy_that_snapstart_made_asks_for_credentials_and_again_before_they_end() -> None:
    lives = [timedelta(minutes=5), timedelta(hours=6), timedelta(hours=6)]
    asked: list[str] = []

    def respond(call: Call) -> Answer:
        told = {
            "AccessKeyId": f"AKID{len(asked)}",
            "SecretAccessKey": "made-up",
            "Token": "token",
            "Expiration": (datetime.now(UTC) + lives[len(asked)]).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        asked.append(call.headers["authorization"])
        return Answer(body=json.dumps(told).encode())

    with serving(respond) as origin:
        told = {
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{origin}/2021-04-23/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "its-word",
        }
        around = surroundings(told)
        assert [around.credentials().access_key for _ in range(2)] == ["AKID1", "AKID1"]
    assert asked == ["its-word", "its-word"]


@pytest.mark.sockets
def test_requests_are_sent_over_one_connection_and_not_waited_for_too_long() -> None:
    def respond(call: Call) -> Answer:
        time.sleep(0.5 if b"slow" in call.body else 0)
        return Answer(body=b'{"Item": {}}')

    with serving(respond) as origin:
        around = AROUND._replace(endpoint_url=origin)
        client = JsonClient("dynamodb", around, sender(connect_s=1, read_s=0.2), tries=1)
        assert client.get_item(TableName="fast") == {"Item": {}}
        with pytest.raises(aws.HTTPClientError) as slow:
            client.get_item(TableName="slow")
    with pytest.raises(aws.HTTPClientError) as gone:
        client.get_item(TableName="gone")
    assert is_outage(slow.value)
    assert is_outage(gone.value)


def test_functions_have_the_clients_that_start_fast_and_operators_boto3s(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh_wiring()
    for name, value in LAMBDA.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME")
    assert isinstance(services._dynamo().client, botocore.client.BaseClient)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "afterimage-dev-status")
    assert isinstance(services._dynamo().client, JsonClient)
    assert isinstance(services._files("b")._client, ObjectClient)
    fresh_wiring()
