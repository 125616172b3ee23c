"""Batches: many jobs in one request, each with its own answer, and all of them once."""

import json
from typing import Any

import pytest

from shared.job import Job, Status
from shared.schedule import QUEUED_S
from tests.support.loopback import Answer
from tests.support.problems import MEMBERS, check_problem
from tests.support.submits import After, Caller, Died, configured, die, fail, listening, some_id
from tests.support.world import ORIGIN, Answered

pytestmark = pytest.mark.sockets

PRO = "black-forest-labs/flux-1.1-pro"
PER_JOB = 4 * 25_000  # four images of flux-dev


def prompts(*given: Any, **more: Any) -> dict[str, Any]:
    return {"prompts": list(given), **more}


def accepted(answered: Answered) -> list[str]:
    """Give the ids of what was accepted, in order."""
    return [one["prediction_id"] for one in answered.json["predictions"] if "prediction_id" in one]


def refused(answered: Answered) -> dict[int, str]:
    """Give the codes of what was refused, by its place."""
    parts = enumerate(answered.json["predictions"])
    return {n: one["problem"]["code"] for n, one in parts if "prediction_id" not in one}


def jobs_of(caller: Caller, answered: Answered) -> list[Job]:
    return [caller.world.read(job_id) for job_id in accepted(answered)]


# The answer


@pytest.mark.usefixtures("moment")
def test_a_batch_answers_for_each_prompt_in_order(caller: Caller) -> None:
    answered = caller.generate(prompts("a fox", "a hen", "an owl"))
    assert answered.status == 202
    document = answered.json
    assert set(document) == {"batch_id", "predictions"}
    jobs = jobs_of(caller, answered)
    assert [job.input["prompt"] for job in jobs] == ["a fox", "a hen", "an owl"]
    assert document["predictions"][0] == {
        "prediction_id": jobs[0].id,
        "status": "starting",
        "images": None,
        "progress": None,
        "problem": None,
    }
    assert {job.batch_id for job in jobs} == {document["batch_id"]}
    assert answered.headers["location"] == f"{ORIGIN}/predictions?batch_id={document['batch_id']}"
    assert (answered.headers["retry-after"], answered.headers["retry-after-ms"]) == ("1", "1000")


def test_the_jobs_of_a_batch_are_started_by_dispatch(caller: Caller) -> None:
    answered = caller.generate(prompts(*[f"fox {n}" for n in range(12)]))
    jobs = jobs_of(caller, answered)
    assert {job.status for job in jobs} == {Status.QUEUED}
    assert all(job.due_at == job.created_at + QUEUED_S * 1000 for job in jobs)
    assert caller.replicate.calls == []
    assert caller.world.dispatch() == []
    assert sorted(sent["prompt"] for sent in caller.sent) == sorted(f"fox {n}" for n in range(12))
    assert {job.status for job in jobs_of(caller, answered)} == {Status.STARTING}


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ({"num_images": 9}, [4, 4, 1]),
        ({"num_images": 5}, [4, 1]),
        ({"num_images": 3, "model": PRO}, [None, None, None]),
        ({"model": PRO}, [None] * 4),
        ({"num_images": 100}, [4] * 25),
    ],
)
def test_more_images_than_are_made_at_once_become_several_jobs(
    caller: Caller, given: dict[str, Any], numbers: list[int | None]
) -> None:
    answered = caller.generate({"prompt": "a fox", **given})
    assert [job.input.get("num_outputs") for job in jobs_of(caller, answered)] == numbers
    assert len({job.seed for job in jobs_of(caller, answered)}) == len(numbers), "each draws a seed of its own"


@pytest.mark.parametrize("given", [{"num_images": 4}, {"num_images": 1, "model": PRO}, {}])
def test_what_is_made_at_once_is_no_batch(caller: Caller, given: dict[str, Any]) -> None:
    answered = caller.generate({"prompt": "a fox", **given})
    assert "prediction_id" in answered.json
    assert caller.job(answered).batch_id is None


def test_a_single_prompt_in_a_list_is_a_batch_of_one(caller: Caller) -> None:
    answered = caller.generate(prompts("a fox"))
    assert len(accepted(answered)) == 1
    assert answered.json["batch_id"]


def test_seeds_go_on_within_a_prompt_and_start_again_with_the_next(caller: Caller) -> None:
    answered = caller.generate(prompts("a fox", "a hen", num_images=9, seed=7))
    assert [job.input["seed"] for job in jobs_of(caller, answered)] == [7, 11, 15] * 2
    inner = caller.generate(prompts("an owl", num_images=2, model=PRO, input={"seed": -1}))
    assert [job.input["seed"] for job in jobs_of(caller, inner)] == [-1, 0]


def test_the_number_of_images_is_checked_where_the_input_gives_it(caller: Caller) -> None:
    inner = caller.generate(prompts("a fox", input={"num_outputs": 2}))
    assert [job.input["num_outputs"] for job in jobs_of(caller, inner)] == [2]
    refusal = caller.generate(prompts("a fox", input={"num_outputs": 5}))
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"input.num_outputs"})


# What cannot be accepted


BAD = ["", 5, None, ["a"], {"prompt": "a"}, True, "x" * 32_769, [[[[]]]] * 50]


def test_bad_prompts_are_named_by_their_place_beside_those_that_were_accepted(caller: Caller) -> None:
    answered = caller.generate(prompts("a fox", *BAD, "a hen"))
    assert answered.status == 202
    assert len(accepted(answered)) == 2
    for n in range(1, 1 + len(BAD)):
        problem = answered.json["predictions"][n]["problem"]
        assert set(problem) == MEMBERS
        assert (problem["code"], problem["status"], problem["retryable"]) == ("invalid_input", 422, False)
        assert [one["field"] for one in problem["invalid_fields"]] == [f"prompts.{n}"]
        assert problem["request_id"] == answered.headers["x-request-id"]
    assert len(answered.body) < 10_000, "what was given is not repeated"


@pytest.mark.usefixtures("moment")
def test_a_hundred_prompts_with_three_bad_ones_are_97_jobs_and_three_reasons(caller: Caller) -> None:
    given: list[Any] = [f"fox {n}" for n in range(100)]
    given[0], given[50], given[99] = "", 7, None
    answered = caller.generate(prompts(*given, num_images=1))
    assert refused(answered) == dict.fromkeys((0, 50, 99), "invalid_input")
    assert [job.input["prompt"] for job in jobs_of(caller, answered)] == [one for one in given if isinstance(one, str)][
        1:
    ]
    assert len(caller.jobs()) == len(caller.world.dispatch_orders()) == 97
    assert (caller.account["n"], caller.account["inflight"], caller.committed) == (1, 97, 97 * 25_000)


def test_if_nothing_can_be_accepted_there_is_one_problem_with_all_fields(caller: Caller) -> None:
    before = caller.state
    refusal = caller.generate(prompts("", 5, None))
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"prompts.0", "prompts.1", "prompts.2"})
    assert caller.state == before


def test_many_bad_prompts_are_refused_in_a_short_answer(caller: Caller) -> None:
    refusal = caller.generate(prompts(*[""] * 100))
    assert (refusal.status, len(refusal.json["invalid_fields"])) == (422, 50)


def test_what_is_wrong_for_all_is_refused_for_all(caller: Caller) -> None:
    refusal = caller.generate(prompts("a fox", "a hen", input={"guidance": 99}))
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"input.guidance"})
    assert caller.jobs() == []


def test_a_seed_that_is_none_is_refused_in_all_parts(caller: Caller) -> None:
    refusal = caller.generate({"prompt": "a fox", "num_images": 8, "input": {"seed": True}})
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"input.seed"})
    assert caller.jobs() == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (prompts("a", "b", "c", "d"), "prompts"),
        (prompts("a", "b", num_images=5), "prompts"),
        ({"prompt": "a", "num_images": 13}, "num_images"),
        ({"prompt": "a", "num_images": 4, "model": PRO}, "num_images"),
    ],
)
def test_more_jobs_than_one_request_may_ask_for_are_refused_as_a_whole(
    caller: Caller, given: dict[str, Any], field: str
) -> None:
    with configured(caller.world, MaxBatch="3"):
        refusal = caller.generate(given)
    problem = check_problem(refusal, 422, "invalid_input", instance="/generate", fields={field})
    assert "4 jobs" in problem["detail"]
    assert "3" in problem["detail"]
    assert caller.jobs() == []


# Limits


def test_a_batch_is_one_request_of_the_minute(caller: Caller) -> None:
    tight = Caller(caller.world, caller.replicate, rate_per_minute=2)
    assert tight.generate(prompts("a", "b", "c")).status == 202
    assert tight.generate(prompts("", "d")).status == 202
    refusal = tight.generate(prompts("e", "f"))
    check_problem(refusal, 429, "rate_limited", instance="/generate", retryable=True)
    assert (tight.account["n"], len(tight.jobs())) == (2, 4)


@pytest.mark.parametrize("key", [{}, {"Idempotency_Key": "k"}])
def test_a_batch_that_is_rate_limited_consumes_nothing(caller: Caller, key: dict[str, str]) -> None:
    tight = Caller(caller.world, caller.replicate, rate_per_minute=1)
    tight.generate(prompts("a"))
    before = tight.account, tight.jobs()
    check_problem(
        tight.generate(prompts("", "b", "c"), **key), 429, "rate_limited", instance="/generate", retryable=True
    )
    assert (tight.account, tight.jobs()) == before


def test_places_in_flight_are_given_in_order_and_the_rest_is_told_to_come_back(caller: Caller) -> None:
    tight = Caller(caller.world, caller.replicate, max_in_flight=2)
    answered = tight.generate(prompts("a", "b", "c", "", "d"))
    assert answered.status == 202
    assert refused(answered) == {2: "too_many_in_flight", 3: "invalid_input", 4: "too_many_in_flight"}
    assert answered.json["predictions"][4]["problem"]["retryable"] is True
    assert (tight.account["n"], tight.account["inflight"], tight.committed) == (1, 2, 2 * PER_JOB)
    check_problem(tight.generate(prompts("e", "f")), 429, "too_many_in_flight", instance="/generate", retryable=True)


def test_a_budget_is_spent_as_far_as_it_reaches(caller: Caller) -> None:
    poor = Caller(caller.world, caller.replicate, daily_budget=PER_JOB + 30_000)
    answered = poor.generate({"prompt": "a fox", "num_images": 9})
    assert refused(answered) == {1: "budget_exceeded"}
    assert [job.input["num_outputs"] for job in jobs_of(poor, answered)] == [4, 1]
    assert poor.committed == PER_JOB + 25_000


# Once, whatever is repeated


def test_a_repeat_with_its_key_gives_the_same_batch_and_charges_nothing(caller: Caller) -> None:
    first = caller.generate(prompts("a", "", "b"), Idempotency_Key="k")
    caller.world.dispatch_orders()
    before = caller.state
    again = caller.generate(prompts("a", "", "b"), Idempotency_Key="k")
    assert again.json["batch_id"] == first.json["batch_id"]
    assert accepted(again) == accepted(first)
    assert refused(again) == refused(first) == {1: "invalid_input"}
    assert caller.state == before
    assert caller.world.dispatch_orders() == []


def test_without_a_key_a_repeat_is_another_batch(caller: Caller) -> None:
    first, again = (caller.generate(prompts("a", "b")) for _ in range(2))
    assert first.json["batch_id"] != again.json["batch_id"]
    assert len(caller.jobs()) == 4


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (prompts("a", "b"), prompts("a", "c")),
        (prompts("a", "b"), prompts("a", "b", "c")),
        (prompts("a", "b"), {"prompt": "a"}),
        ({"prompt": "a"}, prompts("a", "b")),
        (prompts("a", ""), prompts("a", "b")),
    ],
)
def test_a_key_that_was_used_for_another_request_is_refused(
    caller: Caller, first: dict[str, Any], second: dict[str, Any]
) -> None:
    caller.generate(first, Idempotency_Key="k")
    before = caller.state
    refusal = caller.generate(second, Idempotency_Key="k")
    check_problem(refusal, 422, "idempotency_key_reused", instance="/generate")
    assert caller.state == before


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_of_odd_length_is_refused(caller: Caller, key: str) -> None:
    refusal = caller.generate(prompts("a", "b"), Idempotency_Key=key)
    check_problem(refusal, 422, "invalid_input", instance="/generate")
    assert caller.generate(prompts("a", "b"), Idempotency_Key="x" * 255).status == 202


def test_a_batch_that_was_wrong_as_a_whole_leaves_its_key_free(caller: Caller) -> None:
    assert caller.generate(prompts("", None), Idempotency_Key="k").status == 422
    assert caller.generate(prompts("a", "b"), Idempotency_Key="k").status == 202


def test_a_repeat_fills_the_gaps_under_the_same_batch(caller: Caller) -> None:
    tight = Caller(caller.world, caller.replicate, max_in_flight=2)
    body = prompts("a", "b", "c", "d")
    first = tight.generate(body, Idempotency_Key="k")
    assert refused(first) == dict.fromkeys((2, 3), "too_many_in_flight")
    caller.world.dispatch()
    done = tight.finish(tight.world.read(accepted(first)[0]))
    second = tight.generate(body, Idempotency_Key="k")
    assert second.json["batch_id"] == first.json["batch_id"]
    assert accepted(second)[:2] == accepted(first)
    assert refused(second) == {3: "too_many_in_flight"}
    assert second.json["predictions"][0]["status"] == done.status == "succeeded"
    assert [job.input["prompt"] for job in jobs_of(tight, second)] == ["a", "b", "c"]
    assert {job.batch_id for job in tight.jobs()} == {first.json["batch_id"]}
    assert [order.job_id for order in caller.world.dispatch_orders()] == [accepted(second)[2]]


def test_a_repeat_finds_what_exists_also_when_no_limit_leaves_room(caller: Caller) -> None:
    tight = Caller(caller.world, caller.replicate, max_in_flight=2, rate_per_minute=1)
    first = tight.generate(prompts("", "b", "c"), Idempotency_Key="k")
    again = tight.generate(prompts("", "b", "c"), Idempotency_Key="k")
    assert accepted(again) == accepted(first)
    assert len(accepted(first)) == 2


def test_the_same_key_in_two_batches_at_once_gives_each_job_once(caller: Caller) -> None:
    body = prompts("a", "b", "c")
    answers: list[Answered] = []
    for n in (1, 2, 3):
        meanwhile = After(n, lambda: answers.append(caller.generate(body, Idempotency_Key=f"k{n}")))  # noqa: B023
        with listening(caller.world, "before-call.dynamodb.TransactWriteItems", meanwhile):
            outer = caller.generate(body, Idempotency_Key=f"k{n}")
        inner = answers.pop()
        assert accepted(outer) == accepted(inner)
        assert outer.json["batch_id"] == inner.json["batch_id"]
        assert {job.batch_id for job in jobs_of(caller, outer)} == {inner.json["batch_id"]}
    assert len(caller.jobs()) == len(caller.world.dispatch_orders()) == 9


# Crashes and outages


@pytest.mark.parametrize("call", [1, 2, 3, 4])
@pytest.mark.parametrize("when", ["before-call", "after-call"])
def test_whatever_a_dead_process_has_left_a_repeat_completes(caller: Caller, when: str, call: int) -> None:
    body, key = prompts("a", "b", "c"), f"{when}-{call}"
    with listening(caller.world, f"{when}.dynamodb.TransactWriteItems", After(call, die)), pytest.raises(Died):
        caller.generate(body, Idempotency_Key=key)
    left = {job.id for job in caller.jobs()}
    answered = caller.generate(body, Idempotency_Key=key)
    assert refused(answered) == {}
    assert {job.batch_id for job in caller.jobs()} == {answered.json["batch_id"]}
    assert sorted(accepted(answered)) == [job.id for job in caller.jobs()]
    assert left <= set(accepted(answered))
    assert caller.account["inflight"] == 3
    assert all(job.due_at and job.due_shard for job in caller.jobs()), "reconcile finds what has no message"


@pytest.mark.parametrize("call", [2, 3])
def test_an_outage_in_the_middle_does_not_hide_what_was_accepted(caller: Caller, call: int) -> None:
    with listening(caller.world, "before-call.dynamodb.TransactWriteItems", After(call, fail)):
        answered = caller.generate(prompts("a", "b", "c", "d"))
    assert answered.status == 202
    assert refused(answered) == dict.fromkeys(range(call - 1, 4), "upstream_unavailable")
    problem = answered.json["predictions"][3]["problem"]
    assert (problem["retryable"], problem["status"]) == (True, 503)
    assert [order.job_id for order in caller.world.dispatch_orders()] == accepted(answered)
    assert len(caller.jobs()) == call - 1


def test_an_outage_at_the_beginning_is_one_of_the_whole(caller: Caller) -> None:
    with listening(caller.world, "before-call.dynamodb.TransactWriteItems", After(1, fail)):
        refusal = caller.generate(prompts("", "a", "b"))
    check_problem(refusal, 503, "upstream_unavailable", instance="/generate", retryable=True)
    assert caller.jobs() == []


def test_without_a_queue_the_jobs_wait_for_reconcile(caller: Caller) -> None:
    world = caller.world
    queue = world.physical["DispatchQueue"]
    with configured(world):
        world.physical["DispatchQueue"] = "https://sqs.us-east-1.amazonaws.com/123456789012/none"
        answered = caller.generate(prompts("a", "b"))
        world.physical["DispatchQueue"] = queue
    assert answered.status == 202
    assert all(job.due_at and job.due_shard for job in jobs_of(caller, answered))


# Size


@pytest.mark.usefixtures("moment")
def test_a_hundred_long_prompts_fit(caller: Caller) -> None:
    given = [f"{n:02}" + "\u00e9" * 22_000 for n in range(100)]
    body = json.dumps(prompts(*given, num_images=1), ensure_ascii=False).encode()
    answered = caller.post("/generate", body, content_type="application/json")
    assert refused(answered) == {}
    assert {job.input["prompt"] for job in caller.jobs()} == set(given)
    assert len(answered.body) < 50_000
    listed = caller.get(f"/predictions?batch_id={answered.json['batch_id']}")
    assert len(listed.json["predictions"]) == 100
    assert len(caller.world.dispatch_orders()) == 100


def test_a_body_that_is_too_large_is_refused(caller: Caller) -> None:
    refusal = caller.generate(prompts(*["x" * 60_000] * 100))
    check_problem(refusal, 413, "payload_too_large", instance="/generate")


@pytest.mark.parametrize("depth", [50, 500, 5_000, 100_000])
def test_prompts_that_are_nested_deeply_are_refused(caller: Caller, depth: int) -> None:
    body = b'{"prompts": ["a", ' + b"[" * depth + b"]" * depth + b"]}"
    answered = caller.post("/generate", body, content_type="application/json")
    if answered.status == 202:
        assert refused(answered) == {1: "invalid_input"}
    else:
        check_problem(answered, 400, "malformed_json", instance="/generate")


# Reading, canceling, waiting


def test_a_batch_is_listed_and_counted(caller: Caller, other: Caller) -> None:
    answered = caller.generate(prompts("a", "b", ""))
    caller.generate(prompts("c"))
    caller.world.dispatch()
    first, second = jobs_of(caller, answered)
    caller.finish(first)
    path = f"/predictions?batch_id={answered.json['batch_id']}"
    listed = caller.get(path).json
    assert {one["prediction_id"]: one["status"] for one in listed["predictions"]} == {
        first.id: "succeeded",
        second.id: "starting",
    }
    assert listed["counts"] == {"starting": 1, "processing": 0, "succeeded": 1, "failed": 0, "canceled": 0}
    assert caller.get(f"/v1/predictions/{first.id}").json["afterimage"]["batch_id"] == answered.json["batch_id"]
    foreign = other.get(path).json
    assert (foreign["predictions"], sum(foreign["counts"].values())) == ([], 0)
    unknown = caller.get(f"/predictions?batch_id={some_id()}").json
    assert (unknown["predictions"], sum(unknown["counts"].values())) == ([], 0)


def test_one_of_a_batch_is_canceled_alone(caller: Caller) -> None:
    answered = caller.generate(prompts("a", "b"))
    one, two = accepted(answered)
    canceled = caller.post(f"/predictions/{one}/cancel", None)
    assert (canceled.status, canceled.json["status"]) == (200, "canceled")
    caller.world.dispatch()
    assert [sent["prompt"] for sent in caller.sent] == ["b"]
    assert caller.world.read(two).status is Status.STARTING
    assert caller.account["inflight"] == 1


def test_what_replicate_refuses_is_told_of_its_part_alone(caller: Caller) -> None:
    body = prompts("a", "b")
    first = caller.generate(body, Idempotency_Key="k")
    caller.replicate.will(Answer(422, json.dumps({"detail": "no", "status": 422}).encode()))
    caller.world.dispatch()
    again = caller.generate(body, Idempotency_Key="k")
    assert again.status == 202
    assert accepted(again) == accepted(first)
    assert sorted(one["status"] for one in again.json["predictions"]) == ["failed", "starting"]
    (failed,) = [one for one in again.json["predictions"] if one["status"] == "failed"]
    assert failed["problem"]["code"] == "upstream_rejected"


def test_a_caller_can_wait_for_a_batch(caller: Caller) -> None:
    body = prompts("a", "b", num_images=1)
    with configured(caller.world, MaxWaitSeconds="2"):
        early = caller.generate(body, Idempotency_Key="k", Prefer="wait=10")
        assert (early.status, early.headers["preference-applied"]) == (202, "wait=10")
        caller.world.dispatch()
        for job in jobs_of(caller, early):
            caller.finish(job)
        done = caller.generate(body, Idempotency_Key="k", Prefer="wait=10")
    assert done.status == 200
    assert [len(one["images"]) for one in done.json["predictions"]] == [1, 1]
    assert "retry-after" not in done.headers
