"""`doctor`: each thing that can be wrong is found, with its remedy, and nothing else is said to be wrong for it."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.job import Adopted, Millis, PredictionId, Status
from shared.services import now
from tests.infra.ops.conftest import Afterimage, Upstream
from tests.support.loopback import Answer, Call, serving
from tests.support.replicate import prediction
from tests.support.world import SECRETS, World, aws_session, job

pytestmark = pytest.mark.sockets

ALL = {
    *("stack", "secrets", "token", "configuration", "webhook secret", "webhook URL"),
    *("permissions", "alarms", "credit", "results", "reconcile", "dead letters"),
}


class Front:
    """What Replicate's webhooks meet."""

    def __init__(self) -> None:
        self.answer = Answer(401)
        self.calls: list[Call] = []

    def respond(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answer


@pytest.fixture
def front(world: World) -> Iterator[Front]:
    fake = Front()
    with serving(fake.respond) as origin:
        world.parameters["PublicUrl"] = origin
        yield fake


@pytest.fixture
def well(afterimage: Afterimage, upstream: Upstream, front: Front) -> Afterimage:
    """A deployment that lacks nothing; its alarms notify a topic that somebody has subscribed to."""
    sns, logs = (aws_session().client(name) for name in ("sns", "logs"))
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="https", Endpoint="https://example.com/alarms")
    logs.create_log_group(logGroupName="submit")
    logs.create_log_stream(logGroupName="submit", logStreamName="one")
    deployment = afterimage.deployment
    afterimage.changed(
        parameters={"AlarmTopic": topic},
        physical={**deployment.physical, "SubmitLogs": "submit"},
        types={**deployment.types, "SubmitLogs": "AWS::Logs::LogGroup"},
    )
    assert (upstream.username, front.answer.status) == ("acme", 401)
    return afterimage


def log(text: str, *, hours_ago: float = 0) -> None:
    event: Any = {"timestamp": round(now() - hours_ago * 3_600_000), "message": text}
    aws_session().client("logs").put_log_events(logGroupName="submit", logStreamName="one", logEvents=[event])


def states(afterimage: Afterimage, *, status: int) -> dict[str, tuple[str, str]]:
    """Give what was found of each check: the state and the remedy."""
    found = afterimage.json("doctor", status=status)
    assert {one["check"] for one in found} == ALL
    assert all(one["said"] for one in found)
    return {one["check"]: (one["state"], one["remedy"]) for one in found}


def wrong(afterimage: Afterimage, check: str) -> str:
    """Require that exactly this is wrong, and give the remedy."""
    found = states(afterimage, status=1)
    state, remedy = found.pop(check)
    assert (state, {one for one, _ in found.values()}) == ("failed", {"ok"}), found
    assert remedy
    return remedy


def test_a_deployment_that_lacks_nothing_is_well(well: Afterimage, world: World, front: Front) -> None:
    world.put(job(created_at=Millis(now()), due_at=Millis(now() + 60_000)))
    before = world.everything()
    assert set(states(well, status=0).values()) == {("ok", "")}
    assert "failed" not in well("doctor").out
    assert world.everything() == before
    call = front.calls[0]
    assert (call.method, call.path.startswith("/webhooks/replicate/")) == ("POST", True)


def test_no_check_shows_a_secret(well: Afterimage, upstream: Upstream) -> None:
    upstream.signs_with = "whsec_b3RoZXI="
    run = well("doctor", "--json", status=1)
    for secret in (*SECRETS.values(), upstream.signs_with):
        assert secret not in run.out + run.err


def test_a_stack_that_is_broken_or_on_its_way_is_told_apart(well: Afterimage) -> None:
    well.changed(status="UPDATE_ROLLBACK_FAILED")
    assert "events" in wrong(well, "stack")
    well.changed(status="UPDATE_IN_PROGRESS")
    assert states(well, status=0)["stack"][0] == "unknown"


def test_a_secret_that_is_missing_is_named(well: Afterimage) -> None:
    aws_session().client("ssm").delete_parameter(Name="/afterimage/dev/link-key")
    assert wrong(well, "secrets") == "secrets set"
    assert "/afterimage/dev/link-key" in well("doctor", status=1).out


def test_a_token_that_replicate_refuses_is_found(well: Afterimage, upstream: Upstream) -> None:
    upstream.tokens = set()
    found = states(well, status=1)
    assert found["token"] == ("failed", "secrets rotate token")
    # What cannot be asked with it is not known.
    assert {found[name][0] for name in ("configuration", "webhook secret")} == {"unknown"}


def test_a_replicate_that_cannot_be_reached_proves_nothing(well: Afterimage, world: World) -> None:
    world.parameters["ReplicateApiUrl"] = "http://127.0.0.1:9"
    found = states(well, status=0)
    assert {found[name][0] for name in ("token", "configuration", "webhook secret")} == {"unknown"}


@pytest.mark.parametrize("parameters", [{"ReplicateUsername": "somebody"}, {"DefaultModel": "acme/secret-model"}])
def test_parameters_that_contradict_each_other_are_found(
    well: Afterimage, world: World, parameters: dict[str, str]
) -> None:
    world.parameters |= parameters
    wrong(well, "configuration")


def test_another_webhook_secret_than_replicates_is_found(well: Afterimage, upstream: Upstream) -> None:
    upstream.signs_with = "whsec_b3RoZXI="
    assert wrong(well, "webhook secret") == "secrets rotate webhook"
    well("secrets", "rotate", "webhook")
    states(well, status=0)


@pytest.mark.parametrize("answer", [Answer(200), Answer(404), Answer(301, b"", {"Location": "/"}), Answer(cut=0)])
def test_a_way_that_webhooks_do_not_come_through_is_found(well: Afterimage, front: Front, answer: Answer) -> None:
    front.answer = answer
    assert "PublicUrl" in wrong(well, "webhook URL")


def test_where_webhooks_are_off_nobody_needs_to_be_reached(well: Afterimage, world: World, front: Front) -> None:
    front.answer = Answer(404)
    world.parameters["Webhooks"] = "off"
    states(well, status=0)
    assert front.calls == []


def test_what_aws_has_denied_a_function_is_found(well: Afterimage) -> None:
    log(json.dumps({"message": "start_interrupted", "aws_error": "AccessDeniedException"}), hours_ago=30)
    states(well, status=0)
    log(json.dumps({"message": "start_interrupted", "aws_error": "AccessDeniedException"}))
    assert "roles" in wrong(well, "permissions")
    assert "submit" in well("doctor", status=1).out


def test_a_credit_that_is_exhausted_is_found(well: Afterimage) -> None:
    log(json.dumps({"UpstreamCreditExhausted": [1.0]}))
    assert "credit" in wrong(well, "credit")


def test_alarms_that_reach_nobody_are_found(well: Afterimage) -> None:
    topic = aws_session().client("sns").create_topic(Name="unheard")["TopicArn"]
    well.changed(parameters={"AlarmTopic": topic})
    assert "confirm" in wrong(well, "alarms")
    well.changed(parameters={"AlarmTopic": ""})
    assert states(well, status=0)["alarms"][0] == "unknown"
    well.changed(
        physical={**well.deployment.physical, "Alarms": topic},
        types={**well.deployment.types, "Alarms": "AWS::SNS::Topic"},
    )
    wrong(well, "alarms")


def started(world: World, minutes_ago: float, **changes: Any) -> str:
    """Give a job whose prediction, `p1`, was started so long ago."""
    at = Millis(now() - round(minutes_ago * 60_000))
    fields = {"created_at": at, "claimed_at": at, "due_at": Millis(now() + 60_000), **changes}
    one = world.put(job(**fields))
    world.jobs.adopt(one.id, Adopted(PredictionId("p1"), due_at=Millis(now() + 60_000)))
    return one.id


@pytest.mark.parametrize(
    ("document", "is_close"),
    [
        (lambda: prediction("p1", "succeeded", completed_at=ago(40)), True),
        (lambda: prediction("p1", "succeeded", completed_at=ago(5)), True),
        (lambda: prediction("p1", "processing"), False),
        (lambda: prediction("p2", "succeeded", completed_at=ago(40)), False),
    ],
)
def test_a_result_that_waits_to_be_stored_for_long_is_found(
    well: Afterimage, world: World, upstream: Upstream, *, document: Callable[[], dict[str, Any]], is_close: bool
) -> None:
    job_id = started(world, 50)
    made = document()
    upstream.predictions[made["id"]] = made
    if is_close:
        assert wrong(well, "results") == f"replay archive {job_id}"
    else:
        states(well, status=0)


def test_a_result_that_may_be_young_is_left_alone(well: Afterimage, world: World, upstream: Upstream) -> None:
    started(world, 5)
    upstream.predictions["p1"] = prediction("p1", "succeeded", completed_at=ago(1))
    states(well, status=0)


def ago(minutes: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


def test_jobs_that_nobody_looks_after_are_found(well: Afterimage, world: World) -> None:
    world.put(job(created_at=Millis(now()), status=Status.QUEUED, due_at=Millis(now() - 60_000)))
    states(well, status=0)
    world.put(job(created_at=Millis(now()), status=Status.QUEUED, due_at=Millis(now() - 600_000)))
    assert "reconcile" in wrong(well, "reconcile")


def test_dead_letters_are_found(well: Afterimage, world: World) -> None:
    world.sqs.send_message(QueueUrl=world.physical["NotifyDeadLetterQueue"], MessageBody="{}")
    assert "queues redrive" in wrong(well, "dead letters")
    assert "1 in notify" in well("doctor", status=1).out
