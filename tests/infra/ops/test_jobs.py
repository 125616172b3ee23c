"""`jobs`, `replay` and `queues`: what an operator sees of a job, and what is refused."""

import json
from typing import Any

import pytest

from shared.errors import Code, Problem
from shared.identifiers import new_job_id
from shared.job import Adopted, Job, Millis, PredictionId, Status, StoredFile
from shared.services import now
from tests.infra.ops.conftest import Afterimage, Upstream
from tests.support.replicate import prediction
from tests.support.world import ALICE, BOB, START, World, job

PROMPT = "a fox in the snow"
HOOK = "https://hooks.example.com/a-secret?token=1"


def ended(world: World, **changes: Any) -> Job:
    fields: dict[str, Any] = {
        "status": Status.FAILED,
        "hold": None,
        "cost": 0,
        "completed_at": START,
        "archived_at": START,
        "due_at": None,
        "due_shard": None,
        "input": {"prompt": PROMPT, "seed": 7},
        "webhook": HOOK,
        "webhook_events": ("completed",),
    }
    return world.put(job(**{**fields, **changes}))


def test_nothing_that_a_caller_wrote_is_shown_unless_it_is_asked_for(afterimage: Afterimage, world: World) -> None:
    one = ended(
        world,
        error=f"cannot draw {PROMPT}",
        problem=Problem(Code.UPSTREAM_FAILED, f"cannot draw {PROMPT}"),
        warnings=(f"{PROMPT} is odd",),
        logs=PROMPT,
        text={"said": PROMPT},
        files=(StoredFile(0, f"jobs/{ALICE}/x/0.webp", "image/webp", 5, "f" * 64, 1, 2),),
    )
    shown = "".join(
        afterimage("jobs", *arguments, *options).out
        for arguments in (("show", one.id), ("list", "--since", "3650d"))
        for options in ((), ("--json",))
    )
    assert PROMPT not in shown
    assert "a-secret" not in shown
    for part in (
        "cannot draw [input]",
        "hooks.example.com",
        "prompt, seed",
        f"jobs/{ALICE}/x/0.webp",
        "upstream_failed",
    ):
        assert part in shown
    everything = afterimage.json("jobs", "show", one.id, "--contents")
    assert (everything["input"], everything["logs"], everything["webhook"]) == (dict(one.input), PROMPT, HOOK)
    assert PROMPT in afterimage("jobs", "show", one.id, "--contents").out


def test_secrets_of_a_job_are_not_shown_even_then(afterimage: Afterimage, world: World) -> None:
    one = world.put(job(sealed="c2VhbGVk", lease="holder"))
    shown = afterimage("jobs", "show", one.id, "--contents", "--json").out
    assert "c2VhbGVk" not in shown
    assert "holder" not in shown


def test_markup_in_what_callers_wrote_is_not_obeyed(afterimage: Afterimage, world: World) -> None:
    one = ended(world, problem=Problem(Code.UPSTREAM_FAILED, "[red]no[/red] [/nothing] :boom:"))
    assert "[red]no[/red] [/nothing] :boom:" in afterimage("jobs", "show", one.id).out


def test_all_tenants_jobs_are_merged_newest_first(afterimage: Afterimage, world: World) -> None:
    at = now()
    made = [
        world.put(job(tenant=tenant, created_at=Millis(at - 1_000 * n), id=new_job_id(Millis(at - 1_000 * n))))
        for n, tenant in enumerate((ALICE, BOB, ALICE, BOB))
    ]
    world.put(job(created_at=Millis(at), status=Status.FAILED, deleted_at=at))
    old = world.put(job(created_at=Millis(at - 3 * 86_400_000)))
    listed = [one["id"] for one in afterimage.json("jobs", "list", "--since", "2d")]
    assert listed == [one.id for one in made]
    assert [one["id"] for one in afterimage.json("jobs", "list", "--limit", "3")] == listed[:3]
    assert [one["id"] for one in afterimage.json("jobs", "list", "--tenant", ALICE)][-1] == old.id


def test_a_job_that_is_not_there_is_said_not_to_be(afterimage: Afterimage) -> None:
    for command in (
        ("jobs", "show"),
        ("jobs", "cancel"),
        ("jobs", "retry"),
        ("replay", "archive"),
        ("replay", "notify"),
    ):
        assert afterimage(*command, "nothing", status=1).err == "There is no job 'nothing'.\n"


def test_a_retry_says_what_it_refuses(afterimage: Afterimage, world: World) -> None:
    paid = ended(world, cost=3_000)
    assert "it has cost 0.003 USD" in afterimage("jobs", "retry", paid.id, "--yes", status=1).err
    assert world.dispatch_orders() == []


# Replays


def test_there_is_no_storing_again_where_nothing_is_missing(afterimage: Afterimage, world: World) -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, "Nothing is missing: its manifest"),
        ({"deleted_at": START, "purged_at": START}, "Nothing is missing: it was deleted"),
        ({"status": Status.STARTING, "archived_at": None}, "No prediction of this job is known"),
    )
    for changes, why in cases:
        assert why in afterimage("replay", "archive", ended(world, **changes).id, status=1).err
    assert world.orders() == []


def test_a_manifest_that_is_missing_and_what_was_not_removed_are_asked_for(
    afterimage: Afterimage, world: World
) -> None:
    for changes in ({"archived_at": None}, {"deleted_at": START}):
        one = ended(world, **changes)
        afterimage("replay", "archive", one.id)
        assert world.orders() == [{"job_id": one.id}]


@pytest.mark.sockets
def test_a_result_is_stored_only_once_replicate_says_that_it_is_there(
    afterimage: Afterimage, world: World, upstream: Upstream
) -> None:
    one = world.put(job())
    world.jobs.adopt(one.id, Adopted(PredictionId("p1"), due_at=START))
    assert "404" in afterimage("replay", "archive", one.id, status=1).err
    upstream.predictions["p1"] = prediction("p1", "processing")
    assert afterimage.json("replay", "archive", one.id, status=3) == {"id": one.id, "sent": False}
    assert (world.orders(), world.read(one.id).status) == ([], Status.STARTING)
    upstream.predictions["p1"] = prediction("p1", "failed", error="no")
    afterimage("replay", "archive", one.id)
    (order,) = world.orders()
    assert (order["job_id"], order["prediction_id"]) == (one.id, "p1")


def test_nobody_is_told_what_nobody_wants_or_may_hear(afterimage: Afterimage, world: World) -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"webhook": None, "webhook_events": ()}, "gave no webhook"),
        ({"webhook_events": ("start",)}, "gave no webhook"),
        ({"deleted_at": START}, "has been deleted"),
        ({"status": Status.STORING, "archived_at": None}, "is storing"),
    )
    for changes, why in cases:
        assert why in afterimage("replay", "notify", ended(world, **changes).id, status=1).err
    assert world._receive("NotifyQueue") == []


def test_who_has_not_heard_of_an_end_is_told(afterimage: Afterimage, world: World) -> None:
    one = ended(world)
    afterimage("replay", "notify", one.id)
    (message,) = world._receive("NotifyQueue")
    assert json.loads(message["body"]) == {"job_id": one.id, "event": "completed", "at": None}


# Queues


def test_dead_letters_are_shown_without_what_they_hold(afterimage: Afterimage, world: World) -> None:
    one = world.put(job())
    body = {"job_id": one.id, "prediction_id": "p1", "prediction": prediction("p1", "succeeded", logs=PROMPT)}
    queue = world.physical["ArchiveDeadLetterQueue"]
    world.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(body))
    world.sqs.send_message(QueueUrl=world.physical["ArchiveQueue"], MessageBody="{}")
    looked = afterimage("queues", "look", "--json")
    counted = {counts["queue"]: (counts["dead_letters"], counts["waiting"]) for counts in looked.json["queues"]}
    assert counted == {"archive": (1, 1), "dispatch": (0, 0), "notify": (0, 0), "reconcile": (0, None)}
    (head,) = looked.json["heads"]
    assert (head["queue"], head["what"], head["job_id"]) == ("archive", "archive: store the result", one.id)
    assert PROMPT not in looked.out + afterimage("queues", "look").out
    assert afterimage.json("queues", "look", "archive", "--heads", "0")["heads"] == []


def test_all_queues_are_sent_again_within_the_bound(afterimage: Afterimage, world: World) -> None:
    for name, count in (("Archive", 3), ("Notify", 1), ("Reconcile", 2)):
        for n in range(count):
            world.sqs.send_message(QueueUrl=world.physical[f"{name}DeadLetterQueue"], MessageBody=json.dumps({"n": n}))
    moved = afterimage.json("queues", "redrive", "--all", "--most", "2", "--yes")
    assert {one["queue"]: (one["moved"], one["left"]) for one in moved} == {
        "archive": (2, 1),
        "dispatch": (0, 0),
        "notify": (1, 0),
        "reconcile": (2, 0),
    }
    assert len(world.orders()) == 2
    assert "no dead-letter queue 'x'" in afterimage("queues", "redrive", "x", "--yes", status=1).err
