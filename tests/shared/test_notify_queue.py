"""NotifyQueue: which messages mean what, and when a call that failed is made again."""

import json
from itertools import pairwise
from typing import Any

import pytest

from shared.job import Millis
from shared.notify_queue import DELAYS_S, SPREAD, Notice, NotifyQueue, delay_after, parse_notice
from tests.support.template import read_template

LONGEST_VISIBILITY_S = 12 * 3600  # that SQS takes


class Client:
    """SQS, as far as it is called."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def send_message(self, **parameters: Any) -> None:
        self.calls.append(parameters)

    def change_message_visibility(self, **parameters: Any) -> None:
        self.calls.append(parameters)


def queue_of(client: Any) -> NotifyQueue:
    return NotifyQueue(client, "made-up")


def test_calls_are_made_again_for_a_day_at_growing_distances() -> None:
    assert all(one <= other for one, other in pairwise(DELAYS_S))
    assert DELAYS_S[0] <= 10
    assert 20 * 3600 < sum(DELAYS_S) < 28 * 3600
    assert max(DELAYS_S) * (1 + SPREAD) + 60 < LONGEST_VISIBILITY_S


@pytest.mark.parametrize(("received", "delay_s"), list(enumerate(DELAYS_S, start=1)))
def test_what_failed_together_does_not_come_again_together(received: int, delay_s: int) -> None:
    found = [delay_after(received) for _ in range(200)]
    assert min(found) >= round(delay_s * (1 - SPREAD))
    assert max(found) <= round(delay_s * (1 + SPREAD))
    assert delay_s < 10 or len(set(found)) > 1


def test_after_the_last_call_a_message_is_a_dead_letter_at_once() -> None:
    """The queue gives a message up when it has been received as often as there are calls."""
    properties = read_template()["Resources"]["NotifyQueue"]["Properties"]
    assert properties["RedrivePolicy"]["maxReceiveCount"] == len(DELAYS_S) + 1
    assert properties["MessageRetentionPeriod"] > 2 * sum(DELAYS_S)
    assert delay_after(len(DELAYS_S) + 1) == delay_after(len(DELAYS_S) + 2) == 0


def test_a_message_is_put_off_by_its_visibility() -> None:
    client = Client()
    queue_of(client).put_off("handle", 3)
    (call,) = client.calls
    assert (call["QueueUrl"], call["ReceiptHandle"]) == ("made-up", "handle")
    assert 108 <= call["VisibilityTimeout"] <= 132


@pytest.mark.parametrize("at", [None, Millis(1_793_534_400_000)])
def test_what_is_sent_is_what_is_read(at: Millis | None) -> None:
    client, notice = Client(), Notice("job1", "logs", at)
    queue_of(client).send(notice, tenant="alice")
    (call,) = client.calls
    assert parse_notice(call["MessageBody"]) == notice
    assert call["MessageGroupId"] == "alice"


def created(key: str) -> str:
    """Give S3's event of a new object, as EventBridge delivers it."""
    return json.dumps(
        {
            "version": "0",
            "id": "2ee9cc15-d022-99ea-1fb8-1b1bac4850f9",
            "detail-type": "Object Created",
            "source": "aws.s3",
            "account": "123456789012",
            "region": "us-east-1",
            "detail": {
                "version": "0",
                "bucket": {"name": "bucket"},
                "object": {"key": key, "size": 1000, "etag": "e", "sequencer": "0062E99A88DC407460"},
                "reason": "PutObject",
            },
        }
    )


def test_a_manifest_means_that_its_job_is_over() -> None:
    assert parse_notice(created("jobs/alice/0123abc/manifest.json")) == Notice("0123abc", "completed")


@pytest.mark.parametrize(
    "key",
    [
        "jobs/alice/manifest.json",
        "jobs/alice/x/y/manifest.json",
        "jobs//x/manifest.json",
        "jobs/alice/x/manifest.json.bak",
        "uploads/alice/x/manifest.json",
        "inputs/alice/x/manifest.json",
        "uploads/jobs/alice/x/manifest.json",
        "manifest.json",
    ],
)
def test_other_objects_mean_nothing(key: str) -> None:
    """Callers choose the names of what they upload."""
    assert parse_notice(created(key)) is None


@pytest.mark.parametrize("body", ["", "x", "[]", "{}", '{"job_id": "x"}', '{"detail": {}}', '{"detail": null}'])
def test_what_is_no_message_of_ours_is_refused(body: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse_notice(body)


def test_the_id_of_a_webhook_tells_repetitions_from_news() -> None:
    earlier, later = Millis(1), Millis(2)
    assert Notice("a", "completed").webhook_id == Notice("a", "completed").webhook_id
    assert Notice("a", "start", earlier).webhook_id == Notice("a", "start", later).webhook_id
    assert Notice("a", "logs", earlier).webhook_id == Notice("a", "logs", earlier).webhook_id
    different = [
        Notice("a", "completed"),
        Notice("b", "completed"),
        Notice("a", "start", earlier),
        *(Notice("a", event, at) for event in ("logs", "output") for at in (earlier, later)),
    ]
    assert len({one.webhook_id for one in different}) == len(different)
    assert not any("." in one.webhook_id for one in different)  # it separates what is signed


def test_the_rule_alone_may_send_into_the_queue() -> None:
    resources = read_template()["Resources"]
    (rule,) = (name for name, body in resources.items() if body["Type"] == "AWS::Events::Rule")
    (target,) = resources[rule]["Properties"]["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["NotifyQueue", "Arn"]}
    (statement,) = resources["NotifyQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}}
