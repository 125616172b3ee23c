"""Clients of AWS that start fast: the requests of every day, signed by botocore and sent by urllib3, without boto3.

boto3 reads a description of a whole service before its first request, which takes longer than all the rest of a cold
start (`make bench`). These clients know nothing but names; they are used, answer and fail like boto3's.
"""

from __future__ import annotations

import base64
import json
import random
import time
from functools import cache, partial
from typing import IO, TYPE_CHECKING, Any, NamedTuple, override
from urllib.parse import quote

import certifi
import urllib3
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError

from shared.outages import is_outage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_s3 import S3Client

    type Send = Callable[[AWSPreparedRequest], AWSResponse]

TARGETS = {"dynamodb": ("DynamoDB_20120810", "1.0"), "sqs": ("AmazonSQS", "1.0"), "ssm": ("AmazonSSM", "1.1")}
"""What each service calls its interface, and the version of JSON that it speaks."""
TRIES = 3
BLOCK = 256 * 1024  # bytes of a file that are sent at once
CONNECTIONS = 10  # kept to each host: more than copies at the same time
FIRST_WAIT_S = 0.05  # at most, after the first try; twice as long after the next: boto3's own numbers
_METADATA = "x-amz-meta-"


class Credentials(NamedTuple):
    """What requests are signed with."""

    access_key: str
    secret_key: str
    token: str | None


class Surroundings(NamedTuple):
    """Where the requests of a process go, and in whose name."""

    region: str
    endpoint_url: str | None  # of all services, on the local stack
    credentials: Callable[[], Any]  # `Credentials`, or what botocore has like them
    trace_id: Callable[[], str | None]  # of the invocation that a request belongs to

    def origin(self, host: str) -> str:
        """Give where a service is, or a bucket; only China's partition has other names."""
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        return self.endpoint_url or f"https://{host}.{self.region}.{suffix}"

    def request(self, method: str, url: str, headers: Mapping[str, Any], body: bytes | IO[bytes]) -> AWSRequest:
        """Begin a request, which is still to be signed."""
        trace_id = self.trace_id()
        known = {"Accept-Encoding": "identity", **({"X-Amzn-Trace-Id": trace_id} if trace_id else {})}
        return AWSRequest(method, url, {**known, **headers}, body)


def surroundings(environ: Mapping[str, str]) -> Surroundings:
    """Read what Lambda tells a function: credentials when they are needed, and the trace with each invocation."""
    source = cache(lambda: _credentials(environ))

    def credentials() -> Any:  # noqa: ANN401
        return source()()

    return Surroundings(
        region=environ["AWS_DEFAULT_REGION"],
        endpoint_url=environ.get("AWS_ENDPOINT_URL"),
        credentials=credentials,
        trace_id=lambda: environ.get("_X_AMZN_TRACE_ID"),
    )


def _credentials(environ: Mapping[str, str]) -> Callable[[], Any]:
    """Give what gives the credentials of the moment.

    Raises:
        NoCredentialsError: there are none.
    """
    if key := environ.get("AWS_ACCESS_KEY_ID"):
        static = Credentials(key, environ["AWS_SECRET_ACCESS_KEY"], environ.get("AWS_SESSION_TOKEN"))
        return lambda: static
    # A copy that SnapStart made has to ask for its credentials, and again before they end.
    from botocore.credentials import ContainerProvider  # noqa: PLC0415

    found: Any = ContainerProvider(dict(environ)).load()
    if found is None:
        raise NoCredentialsError
    credentials: Callable[[], Any] = found.get_frozen_credentials
    return credentials


def sender(*, connect_s: float, read_s: float) -> Send:
    """Give what sends requests, over connections that are kept, and waits so long for each.

    It fails with botocore's `HTTPClientError`.
    """
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=connect_s, read=read_s),
        retries=False,
        ca_certs=certifi.where(),
        maxsize=CONNECTIONS,
        blocksize=BLOCK,
    )

    def send(request: AWSPreparedRequest) -> AWSResponse:
        told: Any = request  # the stubs of both sides do not agree
        try:
            raw: Any = pool.urlopen(
                told.method, told.url, body=told.body, headers=told.headers, redirect=False, preload_content=False
            )
            answer = AWSResponse(told.url, raw.status, raw.headers, raw)
            if not told.stream_output:
                answer.content  # noqa: B018 - it is read now, and the connection is free
        except urllib3.exceptions.HTTPError as error:
            raise HTTPClientError(error=error) from error
        return answer

    return send


def _persist[T](ask: Callable[[], T], tries: int, sleep: Callable[[float], None]) -> T:
    for number in range(tries - 1):
        try:
            return ask()
        except (BotoCoreError, ClientError) as error:
            if not is_outage(error):
                raise
        # The system's: copies that SnapStart makes of one function share the state of Python's own generator.
        sleep(random.SystemRandom().uniform(0, FIRST_WAIT_S * 2**number))
    return ask()


class JsonClient:
    """A client of a service that speaks JSON."""

    def __init__(
        self,
        service: str,
        around: Surroundings,
        send: Send,
        *,
        tries: int = TRIES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`sleep` (seconds) is what waits between tries."""
        self._service = service
        self._around = around
        self._send = send
        self._tries = tries
        self._sleep = sleep

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        """Give an operation by boto3's name for it, such as `get_item`."""
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self._call, "".join(part.capitalize() for part in name.split("_")))

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - as AWS has them
        if operation == "TransactWriteItems":
            # By it a repeat is told apart from a second transaction, when the first try took effect unheard.
            parameters = {"ClientRequestToken": f"{random.SystemRandom().getrandbits(128):032x}", **parameters}
        body = json.dumps(parameters).encode()
        return _persist(lambda: self._ask(operation, body), self._tries, self._sleep)

    def _ask(self, operation: str, body: bytes) -> dict[str, Any]:
        interface, version = TARGETS[self._service]
        headers = {"Content-Type": f"application/x-amz-json-{version}", "X-Amz-Target": f"{interface}.{operation}"}
        request = self._around.request("POST", f"{self._around.origin(self._service)}/", headers, body)
        SigV4Auth(self._around.credentials(), self._service, self._around.region).add_auth(request)
        answer = self._send(request.prepare())
        if answer.status_code >= 300:  # noqa: PLR2004
            raise _json_error(answer, operation)
        document: dict[str, Any] = json.loads(answer.content or b"{}")
        return document


class _ObjectAuth(S3SigV4Auth):
    """Signs; a body whose SHA-256 is known is not read for it."""

    def __init__(self, credentials: Any, service: str, region: str, digest: str | None) -> None:  # noqa: ANN401
        super().__init__(credentials, service, region)
        self._digest = digest

    @override
    def payload(self, request: AWSRequest) -> str:
        return self._digest or str(super().payload(request))


class ObjectClient:
    """A client of S3 that reads and writes single objects, and signs links; anything else is left to boto3's."""

    def __init__(
        self,
        around: Surroundings,
        send: Send,
        *,
        boto3s: Callable[[], S3Client],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`boto3s` gives boto3's client; it is asked only for what is not here."""
        self._around = around
        self._send = send
        self._boto3s = boto3s
        self._sleep = sleep

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Give any other operation."""
        return getattr(self._boto3s(), name)

    def generate_presigned_url(self, operation: str, *, Params: Mapping[str, str], ExpiresIn: int) -> str:  # noqa: N803
        """Give a link to an object, for so many seconds."""
        if operation != "get_object":
            raise ValueError(operation)
        request = AWSRequest("GET", self._url(**Params))
        S3SigV4QueryAuth(self._around.credentials(), "s3", self._around.region, expires=ExpiresIn).add_auth(request)
        return str(request.prepare().url)

    def get_object(self, *, Bucket: str, Key: str, Range: str | None = None) -> dict[str, Any]:  # noqa: N803
        """Read an object, or some of it; its `Body` arrives while it is read."""
        from botocore.response import StreamingBody  # noqa: PLC0415 - where nothing is read, it is not needed

        answer = self._persist("GET", self._url(Bucket, Key), {"Range": Range} if Range else {})
        told: dict[str, Any] = {name.lower(): value for name, value in answer.headers.items()}
        return {
            "Body": StreamingBody(answer.raw, told["content-length"]),
            "ETag": told.get("etag"),
            "ContentRange": told.get("content-range"),
            "Metadata": {
                name.removeprefix(_METADATA): value for name, value in told.items() if name.startswith(_METADATA)
            },
        }

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes | IO[bytes],  # noqa: N803
        ContentType: str,  # noqa: N803
        ContentDisposition: str | None = None,  # noqa: N803
        CacheControl: str | None = None,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
        ChecksumSHA256: str | None = None,  # noqa: N803
        Metadata: Mapping[str, str] = {},  # noqa: N803
    ) -> None:
        """Write an object; a file is read from where it stands, and once more to be signed if it has no checksum."""
        optional = {
            "X-Amz-Checksum-Sha256": ChecksumSHA256,
            "Content-Disposition": ContentDisposition,
            "Cache-Control": CacheControl,
            "If-None-Match": IfNoneMatch,
        }
        headers: dict[str, Any] = {name: value for name, value in optional.items() if value is not None}
        headers |= {f"{_METADATA}{name}": value for name, value in Metadata.items()}
        digest = base64.b64decode(ChecksumSHA256).hex() if ChecksumSHA256 else None
        self._persist("PUT", self._url(Bucket, Key), {"Content-Type": ContentType, **headers}, Body, digest)

    def _persist(
        self,
        method: str,
        url: str,
        headers: Mapping[str, Any],
        body: bytes | IO[bytes] = b"",
        digest: str | None = None,
    ) -> AWSResponse:
        begin = None if isinstance(body, bytes) else body.tell()

        def ask() -> AWSResponse:
            if begin is not None and not isinstance(body, bytes):
                body.seek(begin)
            request = self._around.request(method, url, headers, body)
            request.stream_output = method == "GET"
            _ObjectAuth(self._around.credentials(), "s3", self._around.region, digest).add_auth(request)
            answer = self._send(request.prepare())
            if answer.status_code >= 300:  # noqa: PLR2004
                raise _xml_error(answer, method)
            return answer

        return _persist(ask, TRIES, self._sleep)

    def _url(self, Bucket: str, Key: str) -> str:  # noqa: N803
        # A host of its own in AWS; the local stack has one address for all.
        path = quote(Key, safe="/~")
        if self._around.endpoint_url:
            return f"{self._around.endpoint_url}/{Bucket}/{path}"
        return f"{self._around.origin(f'{Bucket}.s3')}/{path}"


def _json_error(answer: AWSResponse, operation: str) -> ClientError:
    try:
        told = json.loads(answer.content)
    except ValueError:
        told = {}  # something in between has answered, and knows no JSON
    code = told.pop("__type", str(answer.status_code)).rpartition("#")[2]
    message = told.pop("message", told.pop("Message", ""))
    return _error(answer, operation, code, message, told)


def _xml_error(answer: AWSResponse, operation: str) -> ClientError:
    from xml.etree import ElementTree as ET  # noqa: PLC0415  # nosec B405 - of S3, over TLS

    try:
        told = {one.tag: one.text or "" for one in ET.fromstring(answer.content)}  # noqa: S314  # nosec B314
    except ET.ParseError:
        told = {}
    return _error(answer, operation, told.get("Code", str(answer.status_code)), told.get("Message", ""), {})


def _error(answer: AWSResponse, operation: str, code: str, message: str, more: Mapping[str, Any]) -> ClientError:
    response: Any = {
        **more,
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": answer.status_code},
    }
    return ClientError(response, operation)
