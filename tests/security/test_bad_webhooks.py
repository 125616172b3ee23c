"""Webhooks that Replicate did not send, or sent for something else: refused or acknowledged, and nothing changes.

Whatever is not signed by Replicate, or was not sent to this very URL, gets 401. What only the job can tell to be of no
use is acknowledged, so that nobody sends it again, and dropped. There is never a 5xx.
"""

import base64
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from shared import services
from shared.identifiers import new_job_id
from shared.job import Job, Status
from shared.services import now
from shared.signatures import TOLERANCE_S, decode_secret, sign_callback, sign_link
from tests.support.problems import check_problem
from tests.support.replicate import prediction
from tests.support.world import (
    SECRETS,
    WEBHOOK_SECRET,
    Answered,
    World,
    adopted,
    fresh_wiring,
    http_event,
    signed_headers,
)

pytestmark = pytest.mark.sockets

KEY = decode_secret(WEBHOOK_SECRET)
OTHER_SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
QUEUES = {"ArchiveQueue", "DispatchQueue", "NotifyQueue"}
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
NEVER_MADE = adopted("p")
numbers = itertools.count(1)

type Headers = Mapping[str, str]


def completed(one: Job) -> bytes:
    """Give the body that would end the job's prediction."""
    return document_of(one, status="succeeded", output=["data:image/png;base64,AAAA"])


def document_of(one: Job, **fields: Any) -> bytes:
    return json.dumps({**prediction(str(one.prediction_id)), **fields}).encode()


@dataclass(frozen=True)
class Bad:
    """What is wrong with a webhook; whatever a row does not name is right.

    `body` is what was signed, `ago` when (seconds), `signing` with what; `headers` and `arrives` are what comes of the
    headers and the body on their way, `query` is behind the URL's path, `target` is whose URL it is sent to.
    """

    body: Callable[[Job], bytes] = completed
    ago: float = 0
    signing: Mapping[str, Any] = field(default_factory=dict)
    headers: Callable[[Headers], Headers] = dict
    arrives: Callable[[bytes], bytes] = bytes
    query: Callable[[Job], str] = lambda one: f"attempt=1&k={k(one)}"
    target: Callable[[Job], str] = lambda one: one.id
    event: Callable[[dict[str, Any]], dict[str, Any]] = dict


def k(one: Job, attempt: int = 1, key: str = SECRETS["callback-key"]) -> str:
    return sign_callback(key, one.id, attempt)


def without(*names: str) -> Callable[[Headers], Headers]:
    return lambda headers: {name: value for name, value in headers.items() if name not in names}


def given(name: str, value: str) -> Callable[[Headers], Headers]:
    """Let a header arrive so; `{}` in the value is what it was."""
    return lambda headers: {**headers, name: value.replace("{}", headers[name])}


def renamed(prefix: str) -> Callable[[Headers], Headers]:
    return lambda headers: {name.replace("webhook-", prefix): value for name, value in headers.items()}


def signed(sign: Callable[[str, bytes], str]) -> Callable[[Headers], Headers]:
    """Let the signature be another one, made of the start (`id.timestamp.`) of what is to be signed."""

    def change(headers: Headers) -> Headers:
        return {**headers, SIGNATURE: sign(headers[ID], headers[TIMESTAMP].encode())}

    return change


def digest(algorithm: str, content: bytes, key: bytes = KEY) -> str:
    return base64.b64encode(hmac.digest(key, content, algorithm)).decode()


def recoded(code: Callable[[bytes], str]) -> Callable[[Headers], Headers]:
    """Let the right signature be written in another way."""
    return lambda headers: {
        **headers,
        SIGNATURE: f"v1,{code(base64.b64decode(headers[SIGNATURE].removeprefix('v1,')))}",
    }


BODY = b'{"id": "p", "status": "succeeded"}'  # where the signature is made by hand


def made(content: Callable[[str, bytes], bytes], algorithm: str = "sha256", *, key: bytes = KEY) -> Bad:
    """Give a webhook whose signature is made of another content, or by another algorithm or key."""
    return Bad(lambda _: BODY, headers=signed(lambda one_id, at: f"v1,{digest(algorithm, content(one_id, at), key)}"))


def standard(one_id: str, at: bytes) -> bytes:
    return one_id.encode() + b"." + at + b"." + BODY


FORGED: Mapping[str, Bad] = {
    # Headers
    "no headers at all": Bad(headers=without(ID, TIMESTAMP, SIGNATURE)),
    "no id": Bad(headers=without(ID)),
    "no timestamp": Bad(headers=without(TIMESTAMP)),
    "no signature": Bad(headers=without(SIGNATURE)),
    "two ids": Bad(headers=given(ID, "{},{}")),
    "two timestamps": Bad(headers=given(TIMESTAMP, "{},{}")),
    "two signatures in two headers": Bad(headers=given(SIGNATURE, "{},{}")),
    "a false signature in a header before the true one": Bad(headers=given(SIGNATURE, "v1,AAAA,{}")),
    "an empty id": Bad(headers=given(ID, "")),
    "an empty timestamp": Bad(headers=given(TIMESTAMP, "")),
    "an empty signature": Bad(headers=given(SIGNATURE, "")),
    "a blank signature": Bad(headers=given(SIGNATURE, "  \t ")),
    "an id that is not ASCII": Bad(headers=given(ID, "msg_é")),
    "a timestamp in other digits": Bad(headers=given(TIMESTAMP, "\u0661\u0667\u0669\u0663\u0665\u0663\u0664")),
    "a signature that is not ASCII": Bad(headers=given(SIGNATURE, "v1,é")),
    "a signature that is not text": Bad(headers=given(SIGNATURE, "v1,\udcff")),
    "a huge id": Bad(headers=given(ID, "m" * 100_000)),
    "a huge timestamp": Bad(headers=given(TIMESTAMP, "9" * 100_000)),
    "a huge signature": Bad(headers=given(SIGNATURE, "v1," + "A" * 100_000)),
    "the true signature behind 10,000 false ones": Bad(headers=given(SIGNATURE, "v1,AAAA " * 10_000 + "{}")),
    "headers of another scheme": Bad(headers=renamed("svix-")),
    "headers of GitHub's": Bad(headers=renamed("x-hub-")),
    "another id": Bad(headers=given(ID, "msg_2")),
    "a timestamp later by a second": Bad(headers=lambda one: {**one, TIMESTAMP: str(int(one[TIMESTAMP]) + 1)}),
    "a timestamp with a fraction": Bad(headers=given(TIMESTAMP, "{}.0")),
    "a timestamp in milliseconds": Bad(headers=given(TIMESTAMP, "{}000")),
    "a timestamp with a sign": Bad(headers=given(TIMESTAMP, "+{}")),
    "a negative timestamp": Bad(headers=given(TIMESTAMP, "-{}")),
    "a timestamp with a space": Bad(headers=given(TIMESTAMP, " {}")),
    "a timestamp with a zero in front": Bad(headers=given(TIMESTAMP, "0{}")),
    "a timestamp as a date": Bad(headers=given(TIMESTAMP, "2026-11-01T12:00:00Z")),
    "a timestamp that is no number": Bad(headers=given(TIMESTAMP, "NaN")),
    "the timestamp zero": Bad(headers=given(TIMESTAMP, "0")),
    # Versions and encodings of the signature
    "no version": Bad(headers=lambda one: {**one, SIGNATURE: one[SIGNATURE].removeprefix("v1,")}),
    "version 0": Bad(headers=lambda one: {**one, SIGNATURE: one[SIGNATURE].replace("v1,", "v0,")}),
    "version 2": Bad(headers=lambda one: {**one, SIGNATURE: one[SIGNATURE].replace("v1,", "v2,")}),
    "the asymmetric version": Bad(headers=lambda one: {**one, SIGNATURE: one[SIGNATURE].replace("v1,", "v1a,")}),
    "the version in capitals": Bad(headers=lambda one: {**one, SIGNATURE: one[SIGNATURE].replace("v1,", "V1,")}),
    "an equals sign for a comma": Bad(headers=lambda one: {**one, SIGNATURE: one[SIGNATURE].replace("v1,", "v1=")}),
    "a signature in hexadecimal": Bad(headers=recoded(bytes.hex)),
    "a signature in base32": Bad(headers=recoded(lambda one: base64.b32encode(one).decode())),
    "a signature in base64 twice": Bad(
        headers=recoded(lambda one: base64.b64encode(base64.b64encode(one)).decode())
    ),
    "a signature without its padding": Bad(headers=recoded(lambda one: base64.b64encode(one).decode().rstrip("="))),
    "a signature that ends early": Bad(headers=recoded(lambda one: base64.b64encode(one[:16]).decode())),
    "a signature and something more": Bad(headers=given(SIGNATURE, "{}x")),
    "a signature in other letters": Bad(headers=lambda one: {**one, SIGNATURE: one[SIGNATURE].swapcase()}),
    # Algorithms, keys and contents
    "SHA-1": made(standard, "sha1"),
    "SHA-512": made(standard, "sha512"),
    "MD5": made(standard, "md5"),
    "a hash without a key": Bad(
        lambda _: BODY,
        headers=signed(
            lambda one_id, at: f"v1,{base64.b64encode(hashlib.sha256(standard(one_id, at)).digest()).decode()}"
        ),
    ),
    "another secret": Bad(signing={"secret": OTHER_SECRET}),
    "an empty key": made(standard, key=b""),
    "the secret as it is written": made(standard, key=WEBHOOK_SECRET.encode()),
    "the key of our URLs": made(standard, key=SECRETS["callback-key"].encode()),
    "a signature of the body alone": made(lambda _, __: BODY),
    "a signature without the id": made(lambda _, at: at + b"." + BODY),
    "a signature without the timestamp": made(lambda one_id, _: one_id.encode() + b"." + BODY),
    "a signature with other separators": made(lambda one_id, at: one_id.encode() + b":" + at + b":" + BODY),
    # Time
    "a webhook of five minutes ago": Bad(ago=TOLERANCE_S + 5),
    "a webhook of an hour ago": Bad(ago=3_600),
    "a webhook of a year ago": Bad(ago=365 * 86_400),
    "a webhook of in ten minutes": Bad(ago=-2 * TOLERANCE_S),
    "a webhook of in a year": Bad(ago=-365 * 86_400),
    # Bodies that changed on the way
    "an empty body": Bad(arrives=lambda _: b""),
    "a body without its first byte": Bad(arrives=lambda body: body[1:]),
    "a body without its last byte": Bad(arrives=lambda body: body[:-1]),
    "a body with a line break more": Bad(arrives=lambda body: body + b"\n"),
    "a body with a mark of its byte order": Bad(arrives=lambda body: b"\xef\xbb\xbf" + body),
    "the same JSON without spaces": Bad(arrives=lambda body: body.replace(b", ", b",")),
    "another status": Bad(arrives=lambda body: body.replace(b"succeeded", b"failed")),
    "another output": Bad(arrives=lambda body: body.replace(b"AAAA", b"BBBB")),
    "a body in UTF-16": Bad(arrives=lambda body: body.decode().encode("utf-16")),
    "five megabytes of something else": Bad(arrives=lambda _: b"x" * 5_000_000),
    "the body twice": Bad(arrives=lambda body: body + body),
    "a body in base64 that does not say so": Bad(
        event=lambda event: {**event, "body": base64.b64encode(event["body"].encode()).decode()}
    ),
    "a body in base64 twice": Bad(
        event=lambda event: {
            **event,
            "body": base64.b64encode(base64.b64encode(event["body"].encode())).decode(),
            "isBase64Encoded": True,
        }
    ),
    "no body in the event": Bad(event=lambda event: {key: one for key, one in event.items() if key != "body"}),
    # URLs
    "no query": Bad(query=lambda _: ""),
    "no attempt": Bad(query=lambda one: f"k={k(one)}"),
    "no signature of the URL": Bad(query=lambda _: "attempt=1"),
    "an empty signature of the URL": Bad(query=lambda _: "attempt=1&k="),
    "another attempt": Bad(query=lambda one: f"attempt=2&k={k(one)}"),
    "an attempt in words": Bad(query=lambda one: f"attempt=one&k={k(one)}"),
    "an attempt with a sign": Bad(query=lambda one: f"attempt=%2B1&k={k(one)}"),
    "an attempt with a fraction": Bad(query=lambda one: f"attempt=1.0&k={k(one)}"),
    "an attempt in other digits": Bad(query=lambda one: f"attempt=%D9%A1&k={k(one)}"),
    "two attempts": Bad(query=lambda one: f"attempt=1&attempt=2&k={k(one)}"),
    "an attempt of 5,000 digits": Bad(query=lambda one: f"attempt={'1' * 5_000}&k={k(one)}"),
    "two signatures of the URL": Bad(query=lambda one: f"attempt=1&k={k(one)}&k={k(one)}"),
    "a signature of the URL that is not ASCII": Bad(query=lambda _: "attempt=1&k=%C3%A9"),
    "a signature of the URL with one character more": Bad(query=lambda one: f"attempt=1&k={k(one)}x"),
    "a signature of the URL with one character less": Bad(query=lambda one: f"attempt=1&k={k(one)[:-1]}"),
    "a signature of the URL by another key": Bad(query=lambda one: f"attempt=1&k={k(one, key='other')}"),
    "a signature of a link for one of the URL": Bad(
        query=lambda one: f"attempt=1&k={sign_link(SECRETS['callback-key'], one.id, '1', 1)}"
    ),
    "the URL of another job": Bad(query=lambda _: f"attempt=1&k={k(adopted('other'))}"),
    "a job that does not exist": Bad(target=lambda _: new_job_id(now())),
    "a job whose id is a path": Bad(target=lambda _: "..%2F..%2Fpredictions"),
    "a job whose id is another item's key": Bad(target=lambda _: "account%23alice"),
    "a job whose id is huge": Bad(target=lambda _: "0" * 5_000),
}  # fmt: skip


def fields(**changes: Any) -> Bad:
    """Give a webhook of the job's prediction with these fields."""
    return Bad(lambda one: document_of(one, **changes))


def raw(body: bytes) -> Bad:
    return Bad(lambda _: body)


# Rightly signed and rightly addressed, but of no use.
USELESS: Mapping[str, Bad] = {
    "an empty body": raw(b""),
    "no JSON": raw(b"{"),
    "HTML": raw(b"<html>"),
    "bytes that are no text": raw(b"\xff\xfe\x00"),
    "a list": raw(b"[]"),
    "a text": raw(b'"succeeded"'),
    "a number": raw(b"5"),
    "null": raw(b"null"),
    "an empty object": raw(b"{}"),
    "100,000 brackets": raw(b"[" * 100_000),
    "100,000 objects in each other": raw(b'{"a":' * 100_000),
    "two objects": raw(b"{}{}"),
    "four megabytes of nothing": raw(b" " * 4_000_000),
    "no id": Bad(lambda _: b'{"status": "succeeded"}'),
    "no status": Bad(lambda one: json.dumps({"id": one.prediction_id}).encode()),
    "an id that is a number": fields(id=5, status="succeeded"),
    "an id that is a list": fields(id=["p1"], status="succeeded"),
    "an empty id": fields(id="", status="succeeded"),
    "a status that is null": fields(status=None),
    "a status that is a number": fields(status=1),
    "a status that is an object": fields(status={"succeeded": True}),
    "an empty status": fields(status=""),
    "the start of a prediction that has started": fields(status="starting"),
    "an end of a prediction that is not the job's": Bad(
        lambda _: document_of(adopted("stranger"), status="succeeded", output=["data:image/png;base64,AAAA"])
    ),
    "a failure of a prediction that is not the job's": Bad(lambda _: document_of(adopted("stranger"), status="failed")),
    "an unknown end of a prediction that is not the job's": Bad(
        lambda _: document_of(adopted("stranger"), status="exploded", completed_at="2026-11-01T12:00:09.000Z")
    ),
    "a job that was never made": Bad(
        target=lambda _: NEVER_MADE.id,
        query=lambda _: f"attempt=1&k={k(NEVER_MADE)}",
    ),
}  # fmt: skip


def send(world: World, bad: Bad, one: Job) -> Answered:
    """Send a webhook to the function, as API Gateway would give it."""
    body = bad.body(one)
    headers = bad.headers(signed_headers(body, at=time.time() - bad.ago, **bad.signing))
    url = f"/webhooks/replicate/{bad.target(one)}?{bad.query(one)}"
    return world.request("POST", url, bad.arrives(body), headers=headers, alter=bad.event)


def everything(world: World) -> Any:
    """Give all items, all versions of all objects, and how many messages each queue holds."""
    found = world.s3.list_object_versions(Bucket=world.bucket)
    versions = [(one["Key"], one["VersionId"], one["ETag"]) for one in found.get("Versions", [])]
    queues = {name: waiting(world, url) for name, url in world.physical.items() if name in QUEUES}
    return world.everything(), versions, found.get("DeleteMarkers", []), queues


def waiting(world: World, url: str) -> list[str]:
    names: list[Any] = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
    attributes: Any = world.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return [attributes[name] for name in names]


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_webhook_is_refused_and_changes_nothing(world: World, name: str) -> None:
    bad, one = FORGED[name], world.put(adopted(f"p{next(numbers)}"))
    before = everything(world)
    refusal = send(world, bad, one)
    check_problem(refusal, 401, "unauthorized", instance=refusal.json["instance"])
    assert everything(world) == before


@pytest.mark.parametrize("name", USELESS)
def test_a_useless_webhook_is_acknowledged_and_changes_nothing(world: World, name: str) -> None:
    bad, one = USELESS[name], world.put(adopted(f"p{next(numbers)}", status=Status.PROCESSING))
    before = everything(world)
    answered = send(world, bad, one)
    assert answered.status == 200, answered.body
    assert world.archive() == [], "what was passed on is dropped there"
    assert everything(world) == before


LATE: Mapping[str, Bad] = {
    "the start": fields(status="starting"),
    "progress": fields(status="processing", logs="50%|"),
    "success": Bad(),
    "failure": fields(status="failed", error="too late"),
    "an unknown status": fields(status="paused"),
    "an unknown end": fields(status="exploded", completed_at="2026-11-01T12:00:09.000Z"),
}


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELED])
@pytest.mark.parametrize("name", LATE)
def test_a_webhook_of_a_job_that_has_ended_changes_nothing(world: World, name: str, status: Status) -> None:
    at = now()
    one = world.put(
        adopted(
            f"p{next(numbers)}", status=status, hold=None, completed_at=at, archived_at=at, due_at=None, due_shard=None
        )
    )
    before = everything(world)
    assert send(world, LATE[name], one).status == 200
    assert world.archive() == []
    assert everything(world) == before


def test_the_same_webhook_again_changes_nothing(world: World) -> None:
    one = world.put(adopted(f"p{next(numbers)}"))
    bad = fields(status="processing", logs="50%|", started_at="2026-11-01T12:00:02.000Z")
    assert send(world, bad, one).json == {"received": "recorded"}
    before = everything(world)
    for _ in range(3):
        assert send(world, bad, one).status == 200
    assert everything(world) == before


def test_no_byte_of_the_body_can_be_changed(world: World) -> None:
    one = world.put(adopted(f"p{next(numbers)}"))
    body = json.dumps({"id": one.prediction_id, "status": "succeeded"}).encode()
    before = everything(world)
    for place in range(len(body)):

        def change(sent: bytes, place: int = place) -> bytes:
            return sent[:place] + bytes([sent[place] ^ 1]) + sent[place + 1 :]

        assert send(world, Bad(lambda _: body, arrives=change), one).status == 401, place
    assert everything(world) == before


def test_what_is_wrong_in_the_rows_is_all_that_is_wrong(world: World) -> None:
    """Without this, a table in which everything is refused for one reason would pass."""
    one = world.put(adopted(f"p{next(numbers)}"))
    assert send(world, Bad(), one).json == {"received": "completed"}
    as_base64 = Bad(
        event=lambda event: {
            **event, "body": base64.b64encode(event["body"].encode()).decode(), "isBase64Encoded": True
        }
    )  # fmt: skip
    assert send(world, as_base64, one).json == {"received": "completed"}
    for_bytes = Bad(headers=given("content-type", "application/octet-stream"))
    assert send(world, for_bytes, one).json == {"received": "completed"}
    by_hand = made(standard)
    assert send(world, by_hand, one).json == {"received": "completed"}
    spaced = Bad(headers=given(SIGNATURE, "v1,AAAA {} v9,BBBB"))
    assert send(world, spaced, one).json == {"received": "completed"}
    assert len(world.orders()) == 5


@pytest.mark.parametrize("body", ["not base64!", "=", "\ud800"])
def test_an_event_that_api_gateway_could_not_have_made_is_refused(world: World, body: str) -> None:
    one = world.put(adopted(f"p{next(numbers)}"))
    before = everything(world)
    event = http_event("POST", f"/webhooks/replicate/{one.id}?attempt=1&k={k(one)}", b"", headers=signed_headers(b""))
    answer = world.call("WebhookFunction", {**event, "body": body, "isBase64Encoded": body.isascii()})
    assert answer["statusCode"] == 400
    assert everything(world) == before


# Rotation


def store(*secrets: str) -> None:
    boto3.client("ssm").put_parameter(
        Name="/afterimage/dev/replicate-webhook-secret", Value=" ".join(secrets), Type="SecureString", Overwrite=True
    )


def test_while_a_secret_is_replaced_both_are_good_and_then_only_the_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same process: one that is warm neither refuses the new secret for long, nor takes the old one for ever."""
    one = world.put(adopted(f"p{next(numbers)}"))
    old, new, never = Bad(), Bad(signing={"secret": OTHER_SECRET}), Bad(signing={"secret": "whsec_" + "B" * 32})

    def statuses() -> list[int]:
        return [send(world, bad, one).status for bad in (old, new, never)]

    assert statuses() == [200, 401, 401]
    try:
        store(OTHER_SECRET, WEBHOOK_SECRET)
        assert statuses() == [200, 401, 401], "what was read is believed for a while"
        monkeypatch.setattr(services, "SECRETS_KEPT_S", -1.0)
        assert statuses() == [200, 200, 401]
        store(OTHER_SECRET)
        assert statuses() == [401, 200, 401]
    finally:
        store(WEBHOOK_SECRET)
        fresh_wiring()
    world.orders()


def test_a_secret_is_believed_for_a_minute_at_most() -> None:
    assert services.SECRETS_KEPT_S <= 60


@pytest.mark.parametrize("secret", [" ", "whsec_", "whsec_!!!", "whsec_A"])
def test_without_a_usable_secret_nothing_passes(world: World, secret: str) -> None:
    one = world.put(adopted(f"p{next(numbers)}"))
    before = everything(world)
    try:
        store(secret)
        fresh_wiring()
        # Which raises an alarm, and Replicate tries again.
        assert send(world, made(standard, key=b""), one).status == 500
    finally:
        store(WEBHOOK_SECRET)
        fresh_wiring()
    assert everything(world) == before
