"""Dead letters: messages that nothing could be done about; looked at without their contents, and sent again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.identifiers import is_job_id
from shared.job import Millis
from shared.notify_queue import COMPLETED, LOGS, OUTPUT, START, parse_notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

AT_ONCE = 10  # messages that SQS gives in one answer
HIDDEN_S = 60  # that a message is kept from others while it is sent again
LOOK_S = 5


@dataclass(frozen=True)
class Depth:
    """How many messages a queue has: waiting, being worked on, and delayed."""

    waiting: int
    in_work: int
    delayed: int


@dataclass(frozen=True)
class Letter:
    """The head of a message; `what` says what it asks for, in our words."""

    id: str
    sent_at: Millis
    received: int
    what: str
    job_id: str | None


def depth(client: SQSClient, url: str) -> Depth:
    """Count a queue's messages, as far as SQS knows."""
    answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    found: Any = answer["Attributes"]
    names = ("", "NotVisible", "Delayed")
    return Depth(*(int(found.get(f"ApproximateNumberOfMessages{name}", 0)) for name in names))


class DeadLetters:
    """One dead-letter queue, and the queue that its messages come from, if it is one."""

    def __init__(self, client: SQSClient, url: str, source_url: str | None) -> None:
        """Without a source, messages only tell that something could not be run, which runs again by itself."""
        self._client = client
        self._url = url
        self._source_url = source_url

    def look(self, most: int) -> list[Letter]:
        """Give the heads of so many messages at most, oldest first; the messages stay."""
        found: dict[str, Letter] = {}
        seen = []
        for message in self._receive(most, LOOK_S):
            seen.append(message["ReceiptHandle"])
            found.setdefault(message["MessageId"], _letter(message))
        for handle in seen:
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=handle, VisibilityTimeout=0)
        return sorted(found.values(), key=lambda letter: letter.sent_at)

    def redrive(self, most: int, moved: Callable[[], None] = lambda: None) -> int:
        """Send so many messages at most to where they came from, and say how many; `moved` is called for each.

        One that is interrupted may be sent twice, which all that work on messages are made for.
        """
        count = 0
        for message in self._receive(most, HIDDEN_S):
            if self._source_url is not None:
                group: Any = message.get("Attributes", {}).get("MessageGroupId")
                options: Any = {"MessageGroupId": group} if group else {}
                self._client.send_message(QueueUrl=self._source_url, MessageBody=message["Body"], **options)
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
            count += 1
            moved()
        return count

    def _receive(self, most: int, hidden_s: int) -> Iterator[MessageTypeDef]:
        left = most
        while left > 0:
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(left, AT_ONCE),
                VisibilityTimeout=hidden_s,
                # A short poll asks only some of SQS' servers, and may find nothing although there is something.
                WaitTimeSeconds=1,
                MessageSystemAttributeNames=["All"],
            )
            messages = answer.get("Messages", [])
            if not messages:
                return
            yield from messages
            left -= len(messages)


def _letter(message: MessageTypeDef) -> Letter:
    attributes: Any = message.get("Attributes", {})
    what, job_id = describe(message["Body"])
    return Letter(
        id=message["MessageId"],
        sent_at=Millis(int(attributes.get("SentTimestamp", 0))),
        received=int(attributes.get("ApproximateReceiveCount", 0)),
        what=what,
        job_id=job_id,
    )


def describe(body: str) -> tuple[str, str | None]:
    """Say what a message asks for, and of which job, without repeating anything else of it."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return "unreadable", None
    match message:
        case {"job_id": str() as job_id, **rest} if is_job_id(job_id):
            return _order(rest), job_id
        case {"requestContext": {"functionArn": str()}}:
            return "a run that failed", None
        case {"detail": {"object": {"key": str()}}}:
            notice = parse_notice(body)
            return (f"notify: {notice.event}", notice.job_id) if notice else ("an object of no manifest", None)
    return "unknown", None


def _order(message: Mapping[Any, Any]) -> str:
    match message:
        case {"attempt": int() as attempt}:
            return f"dispatch: attempt {attempt + 1}"
        case {"event": str() as event} if event in {START, OUTPUT, LOGS, COMPLETED}:
            return f"notify: {event}"
        case {"event": _}:
            return "unknown"
    known = {
        "cancel": "cancel with Replicate",
        "forgotten": "give it up",
        "prediction_id": "store the result",
    }
    named = next((words for name, words in known.items() if name in message), "write the manifest, or remove the rest")
    return f"archive: {named}"
