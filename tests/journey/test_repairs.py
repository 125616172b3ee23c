"""Repairs: whatever is lost on the way, each job is paid once, ends, and keeps what was made.

`reconcile` waits for real seconds: 30 until a silent prediction is polled, 60 until a create without an answer is
looked up, an hour until it is given up. Here the jobs' times are moved into the past instead, as the administrator
(`Local.pass_time`), and `reconcile` is invoked by hand. Its schedule stands still, but where it is tried itself.
"""

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from shared.identifiers import new_job_id
from shared.job import Job, Status
from tests.journey.local import PRICES, SCHNELL, Local, Tenant, until
from tests.journey.replicate import Replicate, signed

pytestmark = pytest.mark.sockets

LOST = {"on": "webhook", "kind": "lost"}
UPSTREAM = "upstream#replicate"
LOOKS = 20  # of reconcile, until everything should be repaired
FINISHED = frozenset({"succeeded", "failed", "canceled"})


def test_50_jobs_whose_webhooks_are_all_lost_finish_with_their_files(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave(LOST)
    job_ids = tenant.at_once(50, tenant.generate)
    _until_replicate_is_done(replicate, job_ids)
    assert {local.job(job_id).status for job_id in job_ids} == {"starting"}
    local.pass_time(job_ids, 31)

    def are_all_looked_after() -> bool:
        """Run it twice at once, which does no harm; on a slow machine the time of a run may not be enough."""
        with ThreadPoolExecutor(2) as runs:
            for run in [runs.submit(local.reconcile) for _ in range(2)]:
                run.result()
        return not any((local.job(job_id).due_at or math.inf) <= _now() for job_id in job_ids)

    until(are_all_looked_after, what="a look after each job")
    _check_all_succeeded_once(local, tenant, job_ids)
    assert {one["fault"] for job_id in job_ids for one in replicate.webhooks_of(job_id)} == {"lost"}


def test_reconcile_runs_by_its_schedule(tenant: Tenant, local: Local, replicate: Replicate) -> None:
    replicate.misbehave(LOST)
    job_id = tenant.generate()
    _until_replicate_is_done(replicate, [job_id])
    local.pass_time([job_id], 31)
    with local.scheduled_now():
        _check_all_succeeded_once(local, tenant, [job_id])


def test_a_long_job_without_webhooks_is_polled_less_and_less_often(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave(LOST, {"on": "prediction", "kind": "never", "times": 1})
    job_id = tenant.generate()
    for look in range(4):
        local.pass_time([job_id], _due_in_s(local, job_id) + 1)
        before = _now()
        local.reconcile()
        after, job = _now(), local.job(job_id)
        assert (job.status, job.cancel_requested_at) == ("starting", None)
        assert job.claimed_at is not None
        assert job.due_at is not None
        # The next one comes half of the job's age later, but not before 30 s have passed.
        first, last = (at + max(30_000, (at - job.claimed_at) / 2) for at in (before, after))
        assert first <= job.due_at <= last + 1
        assert job.due_at - before > 30_000 * 1.25 ** max(0, look - 1)
    local.pass_time([job_id], 301)
    (job,) = _reconcile_until_archived(local, [job_id])
    assert (job.status, tenant.read(job_id)["afterimage"]["problem"]["code"]) == ("canceled", "deadline_exceeded")


@pytest.mark.parametrize("listed", ["by webhook", "hidden webhook"])
def test_creates_whose_connection_is_cut_after_they_were_taken_are_found_in_the_list(
    tenant: Tenant, local: Local, replicate: Replicate, listed: str
) -> None:
    hidden = [{"on": "list", "kind": "hide_webhook"}] if listed == "hidden webhook" else []
    replicate.misbehave({"on": "create", "kind": "cut_after_taken"}, LOST, *hidden)
    answers = tenant.at_once(6, tenant.predict)
    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(201, "starting")}
    job_ids = [answer.json()["id"] for answer in answers]
    _until_replicate_is_done(replicate, job_ids)
    assert {local.job(job_id).prediction_id for job_id in job_ids} == {None}
    local.pass_time(job_ids, 61)
    local.reconcile()
    _check_all_succeeded_once(local, tenant, job_ids)


def test_creates_whose_connection_is_cut_after_they_were_taken_are_adopted_by_their_webhooks(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave({"on": "create", "kind": "cut_after_taken"})
    job_ids = [answer.json()["id"] for answer in tenant.at_once(6, tenant.predict)]
    _check_all_succeeded_once(local, tenant, job_ids)


@pytest.mark.parametrize("fault", ["cut_before_taken", "error_500"])
def test_a_create_that_was_provably_not_taken_is_sent_again(
    tenant: Tenant, local: Local, replicate: Replicate, fault: str
) -> None:
    replicate.misbehave({"on": "create", "kind": fault, "times": 1})
    job_id = tenant.predict().json()["id"]
    assert replicate.predictions_of(job_id) == []
    local.pass_time([job_id], 61)
    local.reconcile()
    # One listing proves nothing yet.
    assert (local.job(job_id).absences, replicate.predictions_of(job_id)) == (1, [])
    local.pass_time([job_id], 61)
    local.reconcile()
    _check_all_succeeded_once(local, tenant, [job_id])
    assert local.job(job_id).attempt == 2


def test_a_list_that_lags_behind_does_not_make_a_job_pay_twice(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave(
        {"on": "create", "kind": "cut_after_taken", "times": 1},
        LOST,
        {"on": "list", "kind": "lag", "seconds": 600},
    )
    job_id = tenant.predict().json()["id"]
    _until_replicate_is_done(replicate, [job_id])
    local.pass_time([job_id], 61)
    local.reconcile()
    assert local.job(job_id).absences == 1
    replicate.misbehave(LOST)
    _reconcile_until_archived(local, [job_id])
    _check_all_succeeded_once(local, tenant, [job_id])


def test_lists_that_cannot_be_had_prove_nothing(tenant: Tenant, local: Local, replicate: Replicate) -> None:
    replicate.misbehave(
        {"on": "create", "kind": "cut_after_taken", "times": 1},
        LOST,
        {"on": "list", "kind": "error_500", "times": 1},
        {"on": "list", "kind": "cut", "times": 1},
        {"on": "list", "kind": "garbage", "times": 1},
        {"on": "list", "kind": "throttled", "times": 1},
    )
    job_id = tenant.predict().json()["id"]
    _until_replicate_is_done(replicate, [job_id])
    for kind in ("error_500", "cut", "garbage", "throttled"):
        local.pass_time([job_id], 61 + _due_in_s(local, job_id))
        local.reconcile()
        assert [call["fault"] for call in replicate.seen()["calls"] if call["on"] == "list"][-1] == kind
        assert (local.job(job_id).absences, local.job(job_id).prediction_id) == (0, None)
    _reconcile_until_archived(local, [job_id])
    _check_all_succeeded_once(local, tenant, [job_id])


def test_what_cannot_be_found_out_is_never_sent_again_and_ends_as_unknown_and_spent(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave(
        {"on": "create", "kind": "cut_after_taken", "times": 2}, LOST, {"on": "list", "kind": "hide_webhook"}
    )
    # Two alike, with the caller's own seed: nobody can say which prediction is whose.
    job_ids = [tenant.predict(seed=3).json()["id"] for _ in range(2)]
    _until_replicate_is_done(replicate, job_ids)
    for _ in range(3):
        local.pass_time(job_ids, 61)
        local.reconcile()
    assert {local.job(job_id).status for job_id in job_ids} == {"starting"}
    local.pass_time(job_ids, 3600)
    for job in _reconcile_until_archived(local, job_ids):
        assert (job.status, job.attempt) == ("failed", 1)
        assert tenant.read(job.id)["afterimage"]["problem"]["code"] == "outcome_unknown"
        assert local.manifest(job)["problem"]["code"] == "outcome_unknown"
    assert local.account(tenant) == (0, 2 * PRICES[SCHNELL])
    assert sum(len(replicate.predictions_of(job_id)) for job_id in job_ids) == 2


def test_predictions_of_somebody_else_with_the_same_account_are_not_adopted(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave({"on": "create", "kind": "cut_before_taken", "times": 1})
    job_id = tenant.predict(seed=11).json()["id"]
    job = local.job(job_id)
    # Such as another stage, which has been asked for the same.
    theirs = f"http://127.0.0.1:9/webhooks/replicate/{new_job_id(job.created_at)}?attempt=1&k=theirs"
    foreign = replicate.start(input=dict(job.input), webhook=theirs)
    for _ in range(2):
        local.pass_time([job_id], 61)
        local.reconcile()
    (job,) = local.end([job_id])
    assert (job.status, job.attempt) == ("succeeded", 2)
    assert job.prediction_id != foreign
    assert replicate.document(foreign)["status"] == "succeeded"


def test_a_prediction_that_turns_up_after_it_was_sent_again_is_canceled(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave(
        {"on": "create", "kind": "cut_after_taken", "times": 1},
        {"on": "prediction", "kind": "never", "times": 1},
        {"on": "webhook", "kind": "lost", "event": "start", "times": 1},
        {"on": "list", "kind": "lag", "seconds": 600},
    )
    job_id = tenant.predict().json()["id"]
    for _ in range(2):
        local.pass_time([job_id], 61)
        local.reconcile()
    (job,) = local.end([job_id])
    assert (job.status, job.attempt, len(job.files)) == ("succeeded", 2, 1)
    before = local.item(job_id)
    # Two listings did not show it, so that it was paid for twice; now it is heard of.
    stray = replicate.predictions_of(job_id)[0]
    assert stray["id"] != job.prediction_id
    body = json.dumps(replicate.document(stray["id"]))
    answer = tenant.http.post(stray["webhook"], content=body, headers=signed(local.stack.webhook_secret, body))
    assert answer.status_code == 200
    until(lambda: replicate.document(stray["id"])["status"] == "canceled", what="the end of the stray")
    assert local.item(job_id) == before
    assert local.account(tenant) == (0, PRICES[SCHNELL])


@pytest.mark.parametrize("variant", ["plain", "problem", "low_credit"])
def test_throttled_creates_are_accepted_and_run_once_later(
    tenant: Tenant, local: Local, replicate: Replicate, variant: str
) -> None:
    replicate.misbehave({"on": "create", "kind": "throttled", "variant": variant, "retry_after": 1, "times": 3})
    answers = tenant.at_once(8, tenant.predict)
    assert {answer.status_code for answer in answers} == {201}
    assert "queued" in {answer.json()["afterimage"]["stage"] for answer in answers}
    job_ids = [answer.json()["id"] for answer in answers]
    if variant != "plain":
        # The text says 3 or 30 seconds, which pass at once here.
        _wake(local, job_ids)
    _check_all_succeeded_once(local, tenant, job_ids)


def test_an_outage_refuses_nobody_and_pays_for_each_job_once(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    last = replicate.seen()["predictions"][-1:]
    replicate.misbehave({"on": "create", "kind": "refused"})
    answers = tenant.at_once(40, tenant.predict)
    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(201, "starting")}
    job_ids = [answer.json()["id"] for answer in answers]
    assert {answer.json()["afterimage"]["stage"] for answer in answers} == {"queued"}
    # It lasts: knocking in vain must use up neither the messages nor the jobs.
    knocks = _attempts(local, job_ids)
    _wake(local, job_ids)
    until(lambda: _attempts(local, job_ids) > knocks, what="another attempt")
    assert replicate.seen()["predictions"][-1:] == last
    replicate.misbehave()
    _wake(local, job_ids)
    _check_all_succeeded_once(local, tenant, job_ids)
    assert set(local.dead_letters().values()) == {0}


@pytest.mark.parametrize(("fault", "metric"), [
    ("insufficient_credit", "UpstreamCreditExhausted"),
    ("unauthorized", "UpstreamCredentialsRefused"),
])  # fmt: skip
def test_what_only_the_operator_can_solve_parks_the_job_and_raises_the_alarm_metric(
    tenant: Tenant, local: Local, replicate: Replicate, fault: str, metric: str
) -> None:
    since = time.time() - 1
    replicate.misbehave({"on": "create", "kind": fault, "times": 1})
    answer = tenant.predict()
    assert (answer.status_code, answer.json()["status"]) == (201, "starting")
    job_id = answer.json()["id"]
    assert answer.json()["afterimage"]["stage"] == "queued"
    assert local.account(tenant) == (1, PRICES[SCHNELL])
    # Nothing else is tried before the minute is over, or somebody's money would buy one refusal after the other.
    local.move_back(local.stack.accounts_table, UPSTREAM, -3600)
    creates = replicate.creates()
    second = tenant.predict().json()
    assert second["afterimage"]["stage"] == "queued"
    assert replicate.creates() == creates
    until(lambda: metric in local.logged("submit", since), what="the metric in the log")
    local.pass_time([job_id, second["id"]], 2 * 3600)
    _wake(local, [job_id, second["id"]])
    _check_all_succeeded_once(local, tenant, [job_id, second["id"]])


# Canceling


@contextmanager
def _running(local: Local, tenant: Tenant, state: str) -> Iterator[str]:
    """Give a job that stays in this state until it is canceled."""
    match state:
        case "queued":
            fault: dict[str, Any] = {"on": "create", "kind": "throttled", "retry_after": 300}
        case "starting":
            fault = {"on": "prediction", "kind": "never"}
        case "processing":
            fault = {"on": "prediction", "kind": "held"}
        case _:
            raise ValueError(state)
    local.replicate.misbehave(fault | {"times": 1})
    job_id = tenant.generate()
    until(lambda: local.job(job_id).status == state, what=f"the job to be {state}")
    yield job_id


@pytest.mark.parametrize("interface", ["/v1/predictions", "/predictions"])
@pytest.mark.parametrize("state", ["queued", "starting", "processing"])
def test_a_running_job_can_be_canceled(
    tenant: Tenant, local: Local, replicate: Replicate, state: str, interface: str
) -> None:
    with _running(local, tenant, state) as job_id:
        answer = tenant.http.post(f"{interface}/{job_id}/cancel")
        at_once = state == "queued"
        assert answer.status_code == (200 if at_once or interface.startswith("/v1") else 202), answer.text
        (job,) = local.end([job_id])
        assert (job.status, job.files, job.problem) == ("canceled", (), None)
        assert [one["status"] for one in replicate.predictions_of(job_id)] == ([] if at_once else ["canceled"])
        assert (set(local.objects(job)), local.manifest(job)["status"]) == ({"manifest.json"}, "canceled")
        assert local.account(tenant) == (0, 0)
        assert tenant.read(job_id)["status"] == "canceled"
        # Again, when it is over.
        before = local.item(job_id)
        v1, short = (tenant.http.post(f"{path}/{job_id}/cancel") for path in ("/v1/predictions", "/predictions"))
        assert (v1.status_code, v1.json()) == (200, tenant.read(job_id))
        assert (short.status_code, short.json()["code"]) == (409, "not_cancelable")
        assert local.item(job_id) == before


def test_a_canceled_queued_job_is_never_sent(tenant: Tenant, local: Local, replicate: Replicate) -> None:
    with _running(local, tenant, "queued") as job_id:
        creates = replicate.creates()
        assert tenant.http.post(f"/predictions/{job_id}/cancel").json()["status"] == "canceled"
        # Its message still comes, here at once.
        local.forget_messages()
        local.forget_upstream_limit()
        order = {"job_id": job_id, "tenant": tenant.name, "attempt": 1}
        local.sqs.send_message(QueueUrl=local.stack.dispatch_queue_url, MessageBody=json.dumps(order))
        until(lambda: local.waiting(local.stack.dispatch_queue_url) == 0, what="an empty DispatchQueue")
        assert (replicate.creates(), replicate.predictions_of(job_id)) == (creates, [])


def test_a_job_whose_prediction_is_not_known_yet_is_canceled_when_it_is_found(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave(
        {"on": "create", "kind": "cut_after_taken", "times": 1}, {"on": "prediction", "kind": "never", "times": 1}, LOST
    )
    job_id = tenant.generate()
    answer = tenant.http.post(f"/predictions/{job_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "starting")
    replicate.misbehave()
    local.pass_time([job_id], 61)
    (job,) = _reconcile_until_archived(local, [job_id])
    assert (job.status, local.account(tenant)) == ("canceled", (0, 0))
    assert [one["status"] for one in replicate.predictions_of(job_id)] == ["canceled"]


def test_a_finished_job_stays_as_it_is_when_it_is_canceled(tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate()])
    before, shown = local.item(job.id), tenant.read(job.id)
    v1, short = (tenant.http.post(f"{path}/{job.id}/cancel") for path in ("/v1/predictions", "/predictions"))
    assert (v1.status_code, v1.json()) == (200, shown)
    assert (short.status_code, short.json()["code"]) == (409, "not_cancelable")
    assert short.headers["x-should-retry"] == "false"
    assert local.item(job.id) == before


def test_a_cancel_that_replicate_does_not_hear_is_repeated(tenant: Tenant, local: Local, replicate: Replicate) -> None:
    with _running(local, tenant, "starting") as job_id:
        replicate.misbehave({"on": "cancel", "kind": "error_500", "times": 1})
        assert tenant.http.post(f"/v1/predictions/{job_id}/cancel").status_code == 200
        (job,) = local.end([job_id])
        assert (job.status, local.account(tenant)) == ("canceled", (0, 0))
        (prediction,) = replicate.predictions_of(job_id)
        assert prediction["status"] == "canceled"


def test_cancels_that_race_with_the_end_leave_what_was_made_and_nothing_else(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    def run_and_cancel() -> tuple[str, httpx.Response]:
        job_id = tenant.generate()
        time.sleep(0.3)  # the prediction takes about 0.4 s
        return job_id, tenant.http.post(f"/v1/predictions/{job_id}/cancel")

    raced = tenant.at_once(10, run_and_cancel)
    jobs = local.end([job_id for job_id, _ in raced])
    assert {answer.status_code for _, answer in raced} == {200}
    for job in jobs:
        predictions = replicate.predictions_of(job.id)
        if not predictions:
            # What comes late on a busy machine is queued, and canceled there.
            assert (job.status, job.files) == ("canceled", ())
            continue
        (prediction,) = predictions
        assert prediction["status"] == job.status
        # Replicate may be canceled between the image and its end: then the image is paid for, and kept.
        made = replicate.document(prediction["id"])["output"]
        assert len(job.files) == len(made or [])
        assert len(job.files) == 1 or job.status == "canceled"
    stored = sum(len(job.files) for job in jobs)
    assert local.account(tenant) == (0, stored * PRICES[SCHNELL])


@pytest.mark.parametrize("state", ["queued", "starting", "processing"])
def test_cancel_after_is_enforced(tenant: Tenant, local: Local, replicate: Replicate, state: str) -> None:
    match state:
        case "queued":
            fault: dict[str, Any] = {"on": "create", "kind": "throttled", "retry_after": 300}
        case "starting":
            fault = {"on": "prediction", "kind": "never"}
        case _:
            fault = {"on": "prediction", "kind": "held"}
    replicate.misbehave(fault | {"times": 1})
    job_id = tenant.generate(headers={"Cancel-After": "4m"})
    until(lambda: local.job(job_id).status == state, what=f"the job to be {state}")
    local.pass_time([job_id], 60)
    local.reconcile()
    assert (local.job(job_id).status, local.job(job_id).cancel_requested_at) == (state, None)
    local.pass_time([job_id], 181)
    local.reconcile()
    (job,) = local.end([job_id])
    assert job.status == "canceled"
    assert tenant.read(job_id)["afterimage"]["problem"]["code"] == "deadline_exceeded"
    assert [one["status"] for one in replicate.predictions_of(job_id)] == ([] if state == "queued" else ["canceled"])
    assert local.account(tenant) == (0, 0)


def test_replicate_cancels_at_the_deadline_by_itself(tenant: Tenant, local: Local, replicate: Replicate) -> None:
    replicate.misbehave({"on": "prediction", "kind": "never", "times": 1})
    job_id = tenant.generate(headers={"Cancel-After": "5s"})
    (job,) = local.end([job_id])
    assert (job.status, tenant.read(job_id)["afterimage"]["problem"]["code"]) == ("canceled", "deadline_exceeded")
    (prediction,) = replicate.predictions_of(job_id)
    assert prediction["status"] in {"aborted", "canceled"}  # the latter by `reconcile`, where that was faster


# Archiving


@pytest.mark.parametrize("fault", ["truncated", "missing"])
def test_an_output_that_cannot_be_had_at_once_is_had_later(
    tenant: Tenant, local: Local, replicate: Replicate, fault: str
) -> None:
    replicate.misbehave({"on": "output", "kind": fault, "times": 1})
    (job,) = local.end([tenant.generate(num_images=2)])
    assert (job.status, len(job.files)) == ("succeeded", 2)
    assert local.charged([job]) == 1


def test_outputs_that_replicate_deleted_before_anybody_heard_of_them_are_said_to_be_expired(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave(LOST)
    job_id = tenant.generate(num_images=2)
    _until_replicate_is_done(replicate, [job_id])
    replicate.drop_outputs()
    local.pass_time([job_id], 31)
    local.reconcile()
    (job,) = local.end([job_id])
    assert (job.status, job.files) == ("failed", ())
    assert tenant.read(job_id)["afterimage"]["problem"]["code"] == "output_expired"
    assert local.manifest(job)["problem"]["code"] == "output_expired"
    assert local.account(tenant)[0] == 0


def test_an_output_elsewhere_is_not_fetched(tenant: Tenant, local: Local, replicate: Replicate) -> None:
    inside = f"{local.stack.aws_endpoint_url}/_ministack/health"
    replicate.misbehave({"on": "output", "kind": "redirect", "location": inside, "times": 1})
    (job,) = local.end([tenant.generate(num_images=2)])
    assert (job.status, len(job.files)) == ("failed", 1)
    assert tenant.read(job.id)["afterimage"]["problem"]["code"] == "output_rejected"
    assert local.charged([job]) == 1
    assert local.account(tenant) == (0, 2 * PRICES[SCHNELL])


# How it is done


def _until_replicate_is_done(replicate: Replicate, job_ids: list[str]) -> None:
    """Wait until each job's one prediction has ended at Replicate."""

    def are_done() -> bool:
        found = [replicate.predictions_of(job_id) for job_id in job_ids]
        return all(one and all(prediction["status"] in FINISHED for prediction in one) for one in found)

    until(are_done, what="the end of all predictions at Replicate")


def _attempts(local: Local, job_ids: list[str]) -> int:
    return sum(local.job(job_id).attempt for job_id in job_ids)


def _due_in_s(local: Local, job_id: str) -> float:
    due_at = local.job(job_id).due_at
    assert due_at is not None
    return (due_at - _now()) / 1000


def _now() -> int:
    return time.time_ns() // 1_000_000


def _reconcile_until_archived(local: Local, job_ids: list[str]) -> list[Job]:
    """Let minutes pass, and `reconcile` run in each, until all jobs are done."""
    for _ in range(LOOKS):
        local.reconcile()
        waited = time.monotonic() + 2.0
        while any(not local.job(job_id).archived_at for job_id in job_ids):
            if time.monotonic() > waited:
                break
            time.sleep(0.05)
        else:
            break
        local.pass_time([job_id for job_id in job_ids if not local.job(job_id).archived_at], 61)
    return local.end(job_ids)


def _wake(local: Local, job_ids: list[str]) -> None:
    """Let so much time pass for queued jobs that `reconcile` takes their messages for lost, and sends them again."""
    queued = [job_id for job_id in job_ids if local.job(job_id).status is Status.QUEUED]
    local.pass_time(queued, 600)
    local.reconcile()


def _check_all_succeeded_once(local: Local, tenant: Tenant, job_ids: list[str]) -> None:
    """Wait for the end: each job has run once, was paid once, and has its file."""
    jobs = local.end(job_ids)  # a throttled create holds all others up for 30 s
    for job in jobs:
        assert (job.status, len(job.files)) == ("succeeded", 1), job
        stored = local.objects(job)
        assert set(stored) == {"0.webp", "manifest.json"}
        assert len(stored["0.webp"]) == job.files[0].bytes
    assert {job.id for job in jobs} == {job.id for job in local.jobs_of(tenant)}
    assert local.charged(jobs) == len(jobs)
    assert local.account(tenant) == (0, len(jobs) * PRICES[SCHNELL])
    assert not set(job_ids) & local.due()
