"""The steps of a journey: each is one use of the service, on the whole stack, that asserts what its user would see.

Together they need every permission that a role has. A step is small, so that it is quick, and begins with a tenant of
its own; what it leaves unfinished is cleared away.
"""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from PIL import Image

from tests.iam.journey import Journey
from tests.journey.local import DEV, NO_TLS, PRICES, SCHNELL, SMALL
from tests.support.loopback import Answer, Call, serving

type Step = Callable[[Journey], None]

STEPS: dict[str, Step] = {}
LORA = "black-forest-labs/flux-dev-lora"
TRAINER = "/v1/models/ostris/flux-dev-lora-trainer/versions/latest/trainings"
DEPLOYMENT = "simulated-user/fast-flux"
UNKNOWN = "simulated-user/caption"
WAIT = {"Prefer": "wait=20"}
NEVER = {"on": "prediction", "kind": "never"}
HELD = {"on": "prediction", "kind": "held"}
LOST = {"on": "webhook", "kind": "lost"}
CUT = {"on": "create", "kind": "cut_after_taken", "times": 1}
AWAY = {"on": "model", "kind": "error_500"}


def step(take: Step) -> Step:
    """Make this a step of the journey; its name says what it does."""
    STEPS[take.__name__.replace("_", " ")] = take
    return take


# Starting, waiting, reading


@step
def predict_and_download(j: Journey) -> None:
    job = j.succeeded(j.tenant.generate())
    assert set(j.local.objects(job)) == {"0.webp", "manifest.json"}
    assert j.local.account(j.tenant) == (0, PRICES[SCHNELL])
    (link,) = j.tenant.read(job.id)["output"]
    assert len(j.local.download(link)) == job.files[0].bytes


@step
def wait_for_a_prediction(j: Journey) -> None:
    # It may well take longer, on a busy machine.
    answer = j.tenant.predict(headers=WAIT)
    assert answer.status_code in {201, 202}, answer.text


@step
def wait_for_a_batch(j: Journey) -> None:
    answer = j.batch(headers=WAIT)
    for one in answer["predictions"]:
        j.succeeded(one["prediction_id"])
    counts = j.until(
        lambda: found if (found := j.get("/predictions", batch_id=answer["batch_id"])["counts"])["succeeded"] else {},
        "the counts",
    )
    assert counts["failed"] == 0


@step
def watch_a_prediction_begin(j: Journey) -> None:
    j.replicate.misbehave(HELD | {"times": 1})
    job_id = j.tenant.generate()
    j.until(lambda: j.tenant.read(job_id)["status"] == "processing", "the start")


@step
def wait_while_reading(j: Journey) -> None:
    job_id = j.tenant.generate()
    answer = j.tenant.http.get(f"/predictions/{job_id}", headers=WAIT)
    assert answer.status_code == 200, answer.text


@step
def repeat_a_request_whose_answer_was_lost(j: Journey) -> None:
    first, second = (j.tenant.predict(headers={"X-Stainless-Retry-Count": count}) for count in ("0", "1"))
    assert (second.status_code, second.json()["id"]) == (201, first.json()["id"]), second.text


@step
def repeat_a_request_with_its_key(j: Journey) -> None:
    key = {"Idempotency-Key": "mine"}
    first, second = (j.tenant.predict(headers=key) for _ in range(2))
    assert (second.status_code, second.json()["id"]) == (201, first.json()["id"]), second.text


@step
def reuse_a_prediction(j: Journey) -> None:
    reuse = {"Afterimage-Reuse": "true"}
    first, second = (j.tenant.predict(headers=reuse, seed=1) for _ in range(2))
    assert second.json()["afterimage"]["reused"] is True, second.text
    assert second.json()["id"] == first.json()["id"]


@step
def be_refused_by_replicate(j: Journey) -> None:
    j.replicate.misbehave({"on": "create", "kind": "invalid", "times": 1})
    answer = j.tenant.predict()
    assert (answer.status_code, answer.json()["code"]) == (422, "upstream_rejected"), answer.text
    (job,) = j.local.jobs_of(j.tenant)
    j.archived(job.id)
    assert j.local.account(j.tenant) == (0, 0)


@step
def have_a_batch_refused_by_replicate(j: Journey) -> None:
    j.replicate.misbehave({"on": "create", "kind": "invalid"})
    for one in j.batch()["predictions"]:
        assert j.archived(one["prediction_id"]).status == "failed"
    assert j.local.account(j.tenant) == (0, 0)


@step
def be_throttled_by_replicate(j: Journey) -> None:
    j.replicate.misbehave({"on": "create", "kind": "throttled", "retry_after": 1, "times": 1})
    j.succeeded(j.tenant.generate())


@step
def have_a_batch_throttled_by_replicate(j: Journey) -> None:
    j.replicate.misbehave({"on": "create", "kind": "throttled", "retry_after": 1, "times": 1})
    for one in j.batch()["predictions"]:
        j.succeeded(one["prediction_id"])
    assert j.limit()["rate"] < 600


@step
def wait_for_a_place_at_replicate(j: Journey) -> None:
    j.renew("dispatch")
    j.block_replicate(seconds=1.5)
    for one in j.batch()["predictions"]:
        j.succeeded(one["prediction_id"])


# Canceling and deleting


@step
def cancel_what_waits(j: Journey) -> None:
    j.replicate.misbehave({"on": "create", "kind": "throttled", "retry_after": 30, "times": 1})
    job_id = j.tenant.generate()
    answer = j.tenant.http.post(f"/predictions/{job_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled"), answer.text
    j.archived(job_id)
    assert j.local.account(j.tenant) == (0, 0)


@step
def cancel_what_runs(j: Journey) -> None:
    j.replicate.misbehave(NEVER | {"times": 1})
    job_id = j.tenant.generate()
    assert j.tenant.http.post(f"/v1/predictions/{job_id}/cancel").status_code == 200
    assert j.archived(job_id).status == "canceled"


@step
def delete_a_prediction_with_its_files_and_inputs(j: Journey) -> None:
    answer = j.tenant.predict(DEV, image=_data_uri())
    job = j.succeeded(answer.json()["id"])
    assert j.versions(f"jobs/{j.tenant.name}/"), "nothing was stored"
    assert j.versions(f"inputs/{j.tenant.name}/"), "no input was stored"
    assert j.tenant.http.delete(f"/v1/predictions/{job.id}").status_code == 204
    j.until(lambda: j.local.job(job.id).purged_at, "the purge")
    assert not j.versions(f"jobs/{j.tenant.name}/")
    assert not j.versions(f"inputs/{j.tenant.name}/")


# Files and secrets


@step
def keep_list_read_and_delete_a_file(j: Journey) -> None:
    document = _upload(j)
    assert j.get("/v1/files")["results"] == [document]
    path = f"/v1/files/{document['id']}"
    assert j.get(path) == document
    assert j.tenant.http.get(f"{path}/download").content == PICTURE
    assert j.tenant.http.delete(path).status_code == 204
    assert j.get("/v1/files")["results"] == []
    assert not [one for one in j.versions(f"uploads/{j.tenant.name}/") if one["IsLatest"] and "Size" in one]


@step
def send_a_file_by_a_form_and_find_it_later(j: Journey) -> None:
    document = _send_by_form(j)
    j.age_file(document["id"], seconds=3600)
    path = f"/v1/files/{document['id']}"
    assert j.get(path)["size"] == len(PICTURE)
    assert "content" in j.row(f"file#{document['id']}"), "what was found is noted"


@step
def use_a_file_that_was_sent_by_a_form(j: Journey) -> None:
    document = _send_by_form(j)
    j.age_file(document["id"], seconds=3600)
    job = j.succeeded(j.tenant.predict(DEV, image=document["urls"]["get"]).json()["id"])
    assert j.fetched(job) == [("image", 200)]
    assert "content" in j.row(f"file#{document['id']}"), "what was found is noted"


@step
def use_a_file(j: Journey) -> None:
    job = j.succeeded(j.tenant.predict(DEV, image=_upload(j)["urls"]["get"]).json()["id"])
    assert j.fetched(job) == [("image", 200)]


@step
def use_a_file_in_a_batch(j: Journey) -> None:
    _use_in_a_batch(j, _upload(j)["urls"]["get"])


@step
def use_an_image_that_was_made(j: Journey) -> None:
    job = j.succeeded(j.tenant.predict(DEV, image=_made(j)).json()["id"])
    assert j.fetched(job) == [("image", 200)]


@step
def use_an_image_that_was_made_in_a_batch(j: Journey) -> None:
    _use_in_a_batch(j, _made(j))


@step
def use_a_data_uri(j: Journey) -> None:
    job = j.succeeded(j.tenant.predict(DEV, image=_data_uri()).json()["id"])
    assert j.fetched(job) == [("image", 200)]


@step
def use_a_data_uri_in_a_batch(j: Journey) -> None:
    _use_in_a_batch(j, _data_uri())


@step
def pass_a_secret_on(j: Journey) -> None:
    _pass_a_secret_on(j)


@step
def pass_a_secret_on_later(j: Journey) -> None:
    j.replicate.misbehave({"on": "create", "kind": "throttled", "retry_after": 1, "times": 1})
    _pass_a_secret_on(j)


# Models


@step
def train_a_model_and_run_it(j: Journey) -> None:
    name = f"simulated-user/trained-{time.time_ns()}"
    given = {"input_images": "https://example.com/fox.zip", "trigger_word": "FOXY"}
    answer = j.tenant.http.post(TRAINER, json={"destination": name, "input": given})
    assert answer.status_code == 201, answer.text
    job_id = answer.json()["id"]
    j.succeeded(job_id)
    assert j.get(f"/v1/trainings/{job_id}")["status"] == "succeeded"
    assert name in {model["name"] for model in j.get("/models")["models"]}
    j.succeeded(j.tenant.generate(model=None, use_lora=True, lora_model_id=name))
    with j.local.tenant() as other:
        refused = other.http.post(TRAINER, json={"destination": name, "input": given})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input"), refused.text


@step
def run_a_deployment_that_replicate_cannot_be_asked_about(j: Journey) -> None:
    j.forget_catalog()
    j.renew("submit")
    first = j.tenant.generate(model=None, deployment=DEPLOYMENT)
    j.renew("submit")
    j.replicate.misbehave(AWAY)
    for job_id in (first, j.tenant.generate(model=None, deployment=DEPLOYMENT)):
        j.succeeded(job_id)


@step
def read_a_model_that_replicate_cannot_be_asked_about(j: Journey) -> None:
    j.forget_catalog()
    j.renew("catalog")
    first = j.get(f"/v1/models/{UNKNOWN}")
    j.renew("catalog")
    j.replicate.misbehave(AWAY)
    assert j.get(f"/v1/models/{UNKNOWN}") == first


@step
def read_what_was_spent(j: Journey) -> None:
    j.succeeded(j.tenant.generate())
    assert j.get("/v1/account")["afterimage"]["by_model"] == {SCHNELL: 0.003}


@step
def read_lists(j: Journey) -> None:
    job = j.succeeded(j.tenant.generate())
    assert [one["id"] for one in j.get("/v1/predictions")["results"]] == [job.id]
    assert [one["prediction_id"] for one in j.get("/predictions", status="succeeded")["predictions"]] == [job.id]


@step
def open_the_console(j: Journey) -> None:
    page = j.tenant.http.get("/")
    assert (page.status_code, "<html" in page.text.lower()) == (200, True)


# What Replicate tells, or not


@step
def hear_of_a_prediction_before_the_create_is_answered(j: Journey) -> None:
    j.replicate.misbehave(CUT, HELD)
    job_id = j.tenant.generate()
    j.until(lambda: j.local.job(job_id).status == "processing", "the adoption by a webhook")


@step
def know_a_prediction_that_nothing_is_heard_of(j: Journey) -> None:
    j.replicate.misbehave(LOST, HELD)
    job_id = j.tenant.generate()
    j.until(lambda: j.local.job(job_id).prediction_id, "the prediction's id")


@step
def know_the_predictions_of_a_batch_that_nothing_is_heard_of(j: Journey) -> None:
    j.replicate.misbehave(LOST, HELD)
    for one in j.batch()["predictions"]:
        j.until(lambda one=one: j.local.job(one["prediction_id"]).prediction_id, "the prediction's id")  # type: ignore[misc]


@step
def hear_first_of_the_end(j: Journey) -> None:
    j.replicate.misbehave(CUT, LOST | {"event": "start"}, LOST | {"event": "logs"})
    j.succeeded(j.tenant.generate())


@step
def hear_of_a_stray_prediction(j: Journey) -> None:
    j.replicate.misbehave(HELD)
    job_id = j.tenant.generate()
    (own,) = j.replicate.predictions_of(job_id)
    stray = j.replicate.start(
        input={"prompt": "a stray"}, webhook=own["webhook"], webhook_events_filter=["start", "completed"]
    )
    j.until(lambda: j.replicate.document(stray)["status"] == "canceled", "the end of the stray")
    assert j.replicate.document(own["id"])["status"] in {"starting", "processing"}


@step
def store_an_end_that_is_too_long_for_a_message(j: Journey) -> None:
    j.replicate.misbehave({"on": "prediction", "kind": "long_logs", "bytes": 1_100_000, "times": 1})
    j.succeeded(j.tenant.generate())


@step
def store_outputs_that_cannot_be_had_at_once(j: Journey) -> None:
    j.replicate.misbehave({"on": "output", "kind": "missing", "times": 1})
    assert len(j.succeeded(j.tenant.generate(num_images=2)).files) == 2


@step
def hear_nothing(j: Journey) -> None:
    j.replicate.misbehave(LOST)
    job_id = j.tenant.generate()
    _until_replicate_is_done(j, job_id)
    j.reconciled([job_id], 31)
    j.succeeded(job_id)


@step
def be_found_in_replicates_list(j: Journey) -> None:
    j.replicate.misbehave(CUT, HELD, LOST)
    job_id = j.tenant.generate()
    j.reconciled([job_id], 61)
    assert j.local.job(job_id).prediction_id


@step
def be_sent_again_when_it_was_provably_lost(j: Journey) -> None:
    j.replicate.misbehave({"on": "create", "kind": "cut_before_taken", "times": 1})
    job_id = j.tenant.generate()
    for _ in range(2):
        j.reconciled([job_id], 61)
    j.succeeded(job_id)


@step
def be_given_up_when_nothing_can_be_proved(j: Journey) -> None:
    j.replicate.misbehave({"on": "create", "kind": "cut_before_taken", "times": 1})
    job_id = j.tenant.generate()
    j.reconciled([job_id], 3601)
    job = j.archived(job_id)
    assert (job.status, job.problem and job.problem.code) == ("failed", "outcome_unknown")
    assert j.get("/v1/account")["afterimage"]["by_model"] == {SCHNELL: 0.003}


@step
def be_forgotten_by_replicate(j: Journey) -> None:
    j.replicate.misbehave(HELD, LOST, {"on": "get", "kind": "not_found"})
    job_id = j.tenant.generate()
    j.reconciled([job_id], 8000)
    assert j.archived(job_id).status == "failed"


# Callers' own webhooks


@step
def be_told_of_every_step(j: Journey) -> None:
    j.renew("notify")
    with _receiver() as (calls, url):
        j.replicate.misbehave({"on": "prediction", "kind": "slow", "delay_s": 1, "times": 1})
        job_id = _predict_with_webhook(j, url, ["start", "completed"])
        for event in ("start", "completed"):
            j.until(lambda event=event: f"msg_{job_id}_{event}" in _ids(calls), f"the call about {event}")  # type: ignore[misc]


@step
def be_told_of_a_step_that_was_faster_than_the_answer(j: Journey) -> None:
    with _receiver() as (calls, url):
        j.replicate.misbehave(CUT, HELD)
        job_id = _predict_with_webhook(j, url, ["start"])
        j.until(lambda: f"msg_{job_id}_start" in _ids(calls), "the call about the start")


@step
def be_told_again_after_an_error(j: Journey) -> None:
    with _receiver(500) as (calls, url):
        job_id = _predict_with_webhook(j, url, ["completed"])
        j.until(lambda: _ids(calls) == [f"msg_{job_id}_completed"] * 2, "two calls")


@step
def be_told_once_of_what_is_noticed_twice(j: Journey) -> None:
    with _receiver() as (calls, url):
        job_id = _predict_with_webhook(j, url, ["completed"])
        j.until(lambda: _ids(calls), "the call")
        j.until(lambda: j.local.waiting(j.local.stack.notify_queue_url) == 0, "an empty queue")
        notice = {"job_id": job_id, "event": "completed", "at": None}
        j.local.sqs.send_message(QueueUrl=j.local.stack.notify_queue_url, MessageBody=json.dumps(notice))
        j.until(lambda: j.local.waiting(j.local.stack.notify_queue_url) == 0, "an empty queue")
        assert _ids(calls) == [f"msg_{job_id}_completed"]


@step
def read_the_secret_of_its_webhooks(j: Journey) -> None:
    assert j.get("/v1/webhooks/default/secret")["key"].startswith("whsec_")


# How it is done


def _picture() -> bytes:
    content = io.BytesIO()
    Image.effect_noise((128, 96), 90).save(content, "PNG")
    return content.getvalue()


PICTURE = _picture()


def _data_uri() -> str:
    return f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"


def _upload(j: Journey) -> dict[str, Any]:
    answer = j.tenant.http.post("/v1/files", files={"content": ("noise.png", PICTURE, "image/png")})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


def _send_by_form(j: Journey) -> dict[str, Any]:
    """Have S3 take a file by a form, as somebody who knows nothing else."""
    answer = j.tenant.http.post("/uploads", json={"filename": "noise.png", "bytes": len(PICTURE)})
    assert answer.status_code == 201, answer.text
    form = answer.json()
    with httpx.Client(timeout=30, trust_env=False, verify=NO_TLS) as anybody:
        sent = anybody.post(form["url"], data=form["fields"], files={"file": ("a", PICTURE)})
    assert sent.status_code == 204, sent.text
    document: dict[str, Any] = form["file"]
    return document


def _made(j: Journey) -> str:
    (link,) = j.tenant.read(j.succeeded(j.tenant.generate()).id)["output"]
    return str(link)


def _use_in_a_batch(j: Journey, image: str) -> None:
    """Use a file as the input of a batch, which is started by another function."""
    for one in j.batch(model=DEV, input={"image": image, **SMALL})["predictions"]:
        assert j.fetched(j.succeeded(one["prediction_id"])) == [("image", 200)]


def _pass_a_secret_on(j: Journey) -> None:
    answer = j.tenant.predict(LORA, lora_weights="simulated-user/flux-lora", hf_api_token="hf_made_up")
    assert answer.status_code == 201, answer.text
    job = j.succeeded(answer.json()["id"])
    (prediction,) = j.replicate.predictions_of(job.id)
    assert prediction["secrets"].keys() == {"hf_api_token"}


def _until_replicate_is_done(j: Journey, job_id: str) -> None:
    j.until(lambda: [one["status"] for one in j.replicate.predictions_of(job_id)] == ["succeeded"], "the prediction")


@contextmanager
def _receiver(*first: int) -> Iterator[tuple[list[Call], str]]:
    """Be called back: with these statuses at first, and then with 200."""
    calls: list[Call] = []
    statuses = list(first)

    def respond(call: Call) -> Answer:
        calls.append(call)
        return Answer(statuses.pop(0) if statuses else 200)

    with serving(respond) as origin:
        yield calls, f"{origin}/hook"


def _ids(calls: list[Call]) -> list[str]:
    return [call.headers["webhook-id"] for call in calls]


def _predict_with_webhook(j: Journey, url: str, events: list[str]) -> str:
    body = {"input": {"prompt": "a quiet harbour", **SMALL}, "webhook": url, "webhook_events_filter": events}
    answer = j.tenant.http.post(f"/v1/models/{SCHNELL}/predictions", json=body)
    assert answer.status_code in {201, 202}, answer.text
    return str(answer.json()["id"])
