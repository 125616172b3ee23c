"""The simulator against Replicate's own client, the Standard Webhooks library, and its manual."""

import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from standardwebhooks import Webhook, WebhookVerificationError

from infra.local.simulator import Simulator
from tests.local.simulation import (
    SECRET,
    TOKEN,
    Control,
    Receiver,
    asking,
    connected,
    controlling,
    eventually,
    fetch,
    finished,
    receiving,
    simulated,
)

pytestmark = pytest.mark.sockets

SCHNELL = "black-forest-labs/flux-schnell"
DEV = "black-forest-labs/flux-dev"
ALL_EVENTS = ["start", "output", "logs", "completed"]
IMPATIENT = httpx.Timeout(60, read=0.1)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with simulated() as running:
        yield running


@pytest.fixture
def client(simulator: Simulator) -> Iterator[Client]:
    with connected(simulator) as official:
        yield official


@pytest.fixture
def api(simulator: Simulator) -> Iterator[httpx.Client]:
    with asking(simulator) as plain:
        yield plain


@pytest.fixture
def control(simulator: Simulator) -> Iterator[Control]:
    with controlling(simulator) as control:
        yield control


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def run(client: Client, model: str = SCHNELL, **given: Any) -> list[str]:
    """Run a model with Replicate's client; the URLs of its files."""
    return [str(url) for url in client.run(model, input={"prompt": "a lighthouse", **given}) or []]


def create(api: httpx.Client, model: str = SCHNELL, *, wait: bool = False, **body: Any) -> httpx.Response:
    given = {"input": {"prompt": "a lighthouse", "megapixels": "0.25"}, **body}
    return api.post(f"/models/{model}/predictions", json=given, headers={"Prefer": "wait"} if wait else {})


# Replicate's client.


def test_run_gives_the_urls_of_the_images(client: Client) -> None:
    urls = run(client, num_outputs=2)

    assert [url.rpartition("/")[2] for url in urls] == ["out-0.webp", "out-1.webp"]
    assert all(fetch(url).headers["content-type"] == "image/webp" for url in urls)


def test_run_without_wait_polls_to_the_end(client: Client) -> None:
    assert client.run(DEV, input={"prompt": "a cat"}, wait=False)


def test_run_with_a_version_reads_its_schema(client: Client) -> None:
    model = client.models.get("stability-ai/sdxl")
    assert model.latest_version

    assert len(run(client, f"stability-ai/sdxl:{model.latest_version.id}", width=256, height=320)) == 1


def test_a_failed_run_raises_with_replicates_words(client: Client) -> None:
    with pytest.raises(ModelError, match="NSFW content"):
        run(client, prompt="nsfw-all please")


def test_predictions_are_created_read_listed_and_canceled(client: Client, control: Control) -> None:
    control.faults({"on": "prediction", "kind": "held"})
    created = client.models.predictions.create(SCHNELL, input={"prompt": "x"})
    assert (created.status, created.version, created.model) == ("starting", "hidden", SCHNELL)

    created.cancel()

    assert client.predictions.get(created.id).status == "canceled"
    assert [each.id for each in client.predictions.list().results] == [created.id]
    assert client.webhooks.default.secret().key == SECRET


def test_a_wrong_token_is_refused(simulator: Simulator) -> None:
    with connected(simulator, "r8_other") as stranger, pytest.raises(ReplicateError) as refused:
        stranger.predictions.list()

    assert (refused.value.status, refused.value.title) == (401, "Unauthenticated")


# Shapes and validation.


def test_a_finished_prediction_has_replicates_shape(api: httpx.Client) -> None:
    shown = finished(api, create(api, model=DEV).json()["id"])

    assert shown["status"] == "succeeded"
    assert shown["metrics"].keys() == {"predict_time", "total_time", "image_count"}
    assert shown["urls"].keys() == {"get", "cancel", "web"}
    assert shown["started_at"].endswith("Z")
    assert (shown["data_removed"], shown["error"], shown["source"]) == (False, None, "api")
    assert "Using seed: " in shown["logs"]
    assert "100%|██████████| 28/28 [" in shown["logs"]


def test_prefer_wait_answers_with_all_files_before_the_end(api: httpx.Client) -> None:
    answer = create(api, wait=True)

    assert answer.status_code == 201
    assert answer.json()["status"] == "processing"
    assert len(answer.json()["output"]) == 1


def test_a_wait_that_runs_out_says_starting(api: httpx.Client, control: Control) -> None:
    control.faults({"on": "prediction", "kind": "held", "times": 1})
    body = {"input": {"prompt": "x"}}

    answer = api.post(f"/models/{SCHNELL}/predictions", json=body, headers={"Prefer": "wait=1"})

    assert (answer.status_code, answer.json()["status"]) == (202, "starting")


@pytest.mark.parametrize(
    ("given", "kind", "detail"),
    [
        ({}, "required", "- input: prompt is required\n"),
        ({"prompt": 1}, "invalid_type", "- input.prompt: Invalid type. Expected: string, given: integer\n"),
        (
            {"prompt": "x", "output_format": "gif"},
            "enum",
            '- input.output_format: input.output_format must be one of the following: "webp", "jpg", "png"\n',
        ),
        ({"prompt": "x", "num_outputs": 5}, "number_lte", "- input.num_outputs: Must be less than or equal to 4\n"),
        ({"prompt": "x", "num_outputs": 0}, "number_gte", "- input.num_outputs: Must be greater than or equal to 1\n"),
        (
            {"prompt": "x", "seed": None},
            "invalid_type",
            "- input.seed: Invalid type. Expected: integer, given: null\n",
        ),
        (
            {"prompt": "x", "go_fast": 1},
            "invalid_type",
            "- input.go_fast: Invalid type. Expected: boolean, given: integer\n",
        ),
    ],
)
def test_input_is_refused_in_replicates_words(
    api: httpx.Client, control: Control, given: dict[str, Any], kind: str, detail: str
) -> None:
    answer = create(api, input=given)

    assert answer.status_code == 422
    problem = answer.json()
    assert (problem["title"], problem["detail"]) == ("Input validation failed", detail)
    assert problem["invalid_fields"][0]["type"] == kind
    assert control.calls()["charged"] == 0


def test_the_body_of_a_create_takes_nothing_else(api: httpx.Client) -> None:
    answer = create(api, signal={})

    assert answer.json() == {
        "detail": "- Additional property signal is not allowed\n",
        "status": 422,
        "title": "Input validation failed",
        "invalid_fields": [
            {
                "type": "additional_property_not_allowed",
                "field": "",
                "description": "Additional property signal is not allowed",
            }
        ],
    }


@pytest.mark.parametrize("version", ["0" * 64, "nobody/nothing", "stability-ai/sdxl"])
def test_an_unknown_version_is_refused(api: httpx.Client, version: str) -> None:
    answer = api.post("/predictions", json={"version": version, "input": {}})

    assert (answer.status_code, answer.json()["title"]) == (422, "Invalid version or not permitted")


def test_a_list_has_pages_and_times(api: httpx.Client, control: Control) -> None:
    control.faults({"on": "prediction", "kind": "never", "times": None})
    created = [create(api).json() for _ in range(105)]

    first = api.get("/predictions").json()
    second = api.get(first["next"]).json()

    assert [len(first["results"]), len(second["results"])] == [100, 5]
    assert (first["previous"], second["next"]) == (None, None)
    assert api.get(second["previous"]).json()["results"] == first["results"]
    listed = [each["id"] for each in first["results"] + second["results"]]
    assert listed == [each["id"] for each in reversed(created)]
    times = {"created_after": created[50]["created_at"], "created_before": created[60]["created_at"]}
    assert len(api.get("/predictions", params=times).json()["results"]) == 10


def test_cancel_after_aborts_what_has_not_started_and_cancels_what_has(api: httpx.Client, control: Control) -> None:
    def ends_as(kind: str, seconds: int) -> str:
        control.faults({"on": "prediction", "kind": kind, "times": 1})
        body = {"input": {"prompt": "x"}}
        headers = {"Cancel-After": f"{seconds}s"}
        taken = api.post(f"/models/{SCHNELL}/predictions", json=body, headers=headers).json()
        return str(finished(api, taken["id"])["status"])

    assert ends_as("never", 1) == "aborted"
    assert control.calls()["charged"] == 0
    # Where threads are slow, it may not have started after a second.
    assert any(ends_as("held", seconds) == "canceled" for seconds in (1, 5, 25, 60))
    assert control.calls()["charged"] == 1


# Images.


@pytest.mark.parametrize(
    ("output_format", "ratio", "megapixels", "size"),
    [
        ("webp", "16:9", "1", (1344, 768)),
        ("jpg", "9:21", "0.25", (320, 768)),
        ("png", "1:1", "0.25", (512, 512)),
    ],
)
def test_images_have_the_asked_format_size_and_number(
    client: Client, output_format: str, ratio: str, megapixels: str, size: tuple[int, int]
) -> None:
    given: dict[str, Any] = {
        "output_format": output_format,
        "aspect_ratio": ratio,
        "megapixels": megapixels,
        "num_outputs": 3,
    }
    files = [fetch(url).content for url in run(client, **given)]

    pictures = [Image.open(io.BytesIO(file)) for file in files]
    assert {(picture.format, picture.size) for picture in pictures} == {
        ({"webp": "WEBP", "jpg": "JPEG", "png": "PNG"}[output_format], size)
    }
    assert len(set(files)) == 3


def test_the_same_seed_gives_the_same_image(client: Client) -> None:
    def image(**given: Any) -> bytes:
        return fetch(run(client, megapixels="0.25", **given)[0]).content

    assert image(seed=7) == image(seed=7)
    assert image(seed=7) != image(seed=8)
    assert image() != image()


def test_quality_changes_the_size_of_the_file(client: Client) -> None:
    small, large = (
        fetch(run(client, seed=1, output_format="jpg", output_quality=quality)[0]).content for quality in (10, 95)
    )

    assert len(small) < len(large)


def test_an_unsafe_image_is_dropped_from_the_list(client: Client, control: Control) -> None:
    assert len(run(client, prompt="x nsfw-one", num_outputs=4)) == 3
    assert control.calls()["predictions"][0]["images"] == 3


def test_dropped_outputs_are_gone_and_said_to_be(api: httpx.Client, control: Control) -> None:
    shown = finished(api, create(api).json()["id"])

    assert control.http.delete("/outputs").json() == {"dropped": 1}

    assert fetch(shown["output"][0]).status_code == 404
    after = api.get(f"/predictions/{shown['id']}").json()
    assert (after["output"], after["data_removed"], after["status"]) == (None, True, "succeeded")


def test_a_prediction_can_be_told_as_one_of_long_ago(api: httpx.Client, control: Control) -> None:
    now = finished(api, create(api).json()["id"])
    control.faults({"on": "get", "kind": "aged", "seconds": 2400, "times": 1})
    aged = api.get(f"/predictions/{now['id']}").json()
    for name in ("created_at", "started_at", "completed_at"):
        earlier, later = (datetime.fromisoformat(one[name]) for one in (aged, now))
        assert later - earlier == timedelta(seconds=2400)
    assert api.get(f"/predictions/{now['id']}").json() == now


def test_outputs_expire(receiver: Receiver) -> None:
    quick = Simulator(api_token=TOKEN, webhook_secret=SECRET, duration_s=0.05, output_ttl_s=0.1)
    with quick as simulator, asking(simulator) as api:
        create(api, webhook=receiver.url, webhook_events_filter=["completed"])
        eventually(lambda: receiver.got)
        (url,) = receiver.bodies[0]["output"]

        eventually(lambda: fetch(url).status_code == 404)


# Webhooks.


def test_webhooks_verify_and_come_in_order(api: httpx.Client, receiver: Receiver, control: Control) -> None:
    create(api, webhook=receiver.url, webhook_events_filter=ALL_EVENTS)
    eventually(lambda: "completed" in [each["event"] for each in control.webhooks()])

    for headers, body in receiver.got:
        Webhook(SECRET).verify(body, headers)
    # The logs are told again where the run takes longer than half a second.
    assert list(dict.fromkeys(each["status"] for each in receiver.bodies)) == ["starting", "processing", "succeeded"]
    events = [each["event"] for each in control.webhooks()]
    assert list(dict.fromkeys(events)) == ["start", "logs", "output", "completed"]
    assert len({each["webhook_id"] for each in control.webhooks()}) == len(events)


def test_only_asked_events_are_sent(api: httpx.Client, receiver: Receiver, control: Control) -> None:
    prediction = create(api, webhook=receiver.url, webhook_events_filter=["completed"]).json()
    finished(api, prediction["id"])
    eventually(control.webhooks)

    assert [each["event"] for each in control.webhooks()] == ["completed"]
    assert prediction["webhook"] == receiver.url


def test_logs_are_sent_at_most_every_half_second(api: httpx.Client, receiver: Receiver, control: Control) -> None:
    control.faults({"on": "prediction", "kind": "slow", "times": 1, "delay_s": 1.2})
    create(api, model=DEV, webhook=receiver.url, webhook_events_filter=["logs", "completed"])
    eventually(lambda: "completed" in [each["event"] for each in control.webhooks()])

    *logs, end = receiver.bodies
    ran = datetime.fromisoformat(end["completed_at"]) - datetime.fromisoformat(end["started_at"])
    assert 1 <= len(logs) <= 1 + ran.total_seconds() / 0.5
    assert len({each["logs"] for each in logs}) == len(logs)


def test_only_the_terminal_webhook_is_tried_again(api: httpx.Client, receiver: Receiver, control: Control) -> None:
    receiver.answers = [500, 500, 404, 200]
    create(api, webhook=receiver.url, webhook_events_filter=["start", "completed"])
    eventually(lambda: len(control.webhooks()) == 4)

    sent = [(each["event"], each["attempt"], each["status"]) for each in control.webhooks()]
    assert sent == [("start", 1, 500), ("completed", 1, 500), ("completed", 2, 404), ("completed", 3, 200)]
    assert len({each["webhook_id"] for each in control.webhooks()[1:]}) == 1


def test_retries_end(api: httpx.Client, control: Control) -> None:
    create(api, webhook="http://127.0.0.1:9/nobody", webhook_events_filter=["completed"])
    eventually(lambda: len(control.webhooks()) == 4)
    time.sleep(0.15)

    assert [each["status"] for each in control.webhooks()] == [None] * 4
    assert "ConnectionRefusedError" in control.webhooks()[0]["error"]


def test_redirects_are_not_followed(api: httpx.Client, receiver: Receiver, control: Control) -> None:
    receiver.answers = [302]
    create(api, webhook=receiver.url, webhook_events_filter=["completed"])
    eventually(control.webhooks)
    time.sleep(0.15)

    assert [each["status"] for each in control.webhooks()] == [302]
    assert len(receiver.got) == 1


def test_a_receiver_that_hangs_holds_up_nobody_else(api: httpx.Client, control: Control, receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for _ in range(5):
            create(api, webhook=f"http://127.0.0.1:{silent.getsockname()[1]}/", webhook_events_filter=ALL_EVENTS)
        create(api, webhook=receiver.url, webhook_events_filter=ALL_EVENTS)

        # One after the other, the others' would take their senders minutes.
        eventually(lambda: "completed" in [each["event"] for each in control.webhooks()], within_s=60)


# Faults of calls.


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ({"kind": "throttled"}, 429, '{"detail": "Request was throttled. Your rate limit resets in ~30s."}'),
        ({"kind": "throttled", "variant": "problem"}, 429, '"retry_after": 30'),
        ({"kind": "throttled", "variant": "low_credit"}, 429, "6 requests per minute"),
        ({"kind": "error_500"}, 500, "error"),
        ({"kind": "error_500", "status": 503}, 503, "error"),
        ({"kind": "unauthorized"}, 401, "Unauthenticated"),
        ({"kind": "insufficient_credit"}, 402, "Insufficient credit"),
        ({"kind": "invalid", "field": "input.seed"}, 422, '"field": "input.seed"'),
        ({"kind": "not_found"}, 404, "could not be found"),
    ],
)
def test_a_refused_create_starts_nothing(
    api: httpx.Client, control: Control, fault: dict[str, Any], status: int, says: str
) -> None:
    control.faults({"on": "create", "times": 1, **fault})

    answer = create(api)

    assert answer.status_code == status
    assert says in answer.text
    assert control.calls()["charged"] == 0
    assert control.active() == []
    assert create(api).status_code == 201


def test_a_throttled_answer_can_carry_retry_after(api: httpx.Client, control: Control) -> None:
    control.faults({"on": "list", "kind": "throttled", "times": 1, "retry_after": 7})

    assert api.get("/predictions").headers["retry-after"] == "7"


@pytest.mark.parametrize(("kind", "charged"), [("cut_after_taken", 1), ("cut_before_taken", 0)])
def test_a_cut_create_has_no_answer(api: httpx.Client, control: Control, kind: str, charged: int) -> None:
    control.faults({"on": "create", "kind": kind, "times": 1})

    with pytest.raises(httpx.RemoteProtocolError):
        create(api)

    told = control.calls()
    assert told["charged"] == charged
    assert [(each["status"], each["fault"]) for each in told["calls"]] == [("cut", kind)]
    assert [each["id"] for each in told["predictions"]] == [told["calls"][0]["prediction_id"]][:charged]


def test_a_slow_create_has_taken_the_prediction(api: httpx.Client, control: Control) -> None:
    control.faults({"on": "create", "kind": "slow", "times": None, "delay_s": 600})

    with pytest.raises(httpx.ReadTimeout):
        api.post(f"/models/{SCHNELL}/predictions", json={"input": {"prompt": "x"}}, timeout=IMPATIENT)

    eventually(lambda: control.calls()["charged"] == 1)
    assert control.active()[0]["times"] is None


def test_garbage_is_no_json(api: httpx.Client, control: Control) -> None:
    control.faults({"on": "create", "kind": "garbage", "times": 1})

    answer = create(api)

    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json()
    assert control.calls()["charged"] == 1


@pytest.mark.parametrize(
    ("on", "kind"), [("get", "cut"), ("list", "cut"), ("cancel", "cut_after_taken"), ("cancel", "cut_before_taken")]
)
def test_reads_and_cancels_can_be_cut(api: httpx.Client, control: Control, on: str, kind: str) -> None:
    control.faults({"on": on, "kind": kind, "times": 1}, {"on": "prediction", "kind": "never"})
    prediction_id = create(api).json()["id"]
    request = {
        "get": ("GET", f"/predictions/{prediction_id}"),
        "list": ("GET", "/predictions"),
        "cancel": ("POST", f"/predictions/{prediction_id}/cancel"),
    }[on]

    with pytest.raises(httpx.RemoteProtocolError):
        api.request(*request)

    status = api.get(f"/predictions/{prediction_id}").json()["status"]
    assert status == ("canceled" if kind == "cut_after_taken" else "starting")


def test_refused_means_that_nobody_listens_until_cleared(api: httpx.Client, control: Control) -> None:
    create(api)  # Leaves a connection in the client's pool, which must not help.
    control.faults({"on": "create", "kind": "refused", "times": None})

    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            create(api)

    control.faults()
    assert create(api).status_code == 201
    assert control.calls()["charged"] == 2


@pytest.mark.parametrize("times", [None, 1])
def test_refused_can_end_by_itself(api: httpx.Client, control: Control, times: int | None) -> None:
    def is_refused() -> bool:
        control.faults({"on": "get", "kind": "refused", "times": times, "delay_s": 0.5})
        try:
            create(api)
        except httpx.ConnectError:
            return True
        return False  # It was over before anybody came.

    eventually(is_refused)
    eventually(lambda: control.active() == [])
    assert create(api).status_code == 201


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({}, "a JSON list"),
        (["lost"], "a fault is an object"),
        ([{"on": "creates", "kind": "slow"}], "unknown on 'creates'; one of: create, get, list"),
        ([{"on": "webhook", "kind": "slow"}], "one of: lost, doubled, late, forged, reversed"),
        ([{"on": "webhook", "kind": "late"}], "needs delay_s"),
        ([{"on": "webhook", "kind": "lost", "times": 0}], "times of webhook lost"),
        ([{"on": "webhook", "kind": "lost", "event": "end"}], "start, output, logs, completed"),
        ([{"on": "output", "kind": "missing", "delay_s": -1}], "delay_s of output missing"),
        ([{"on": "output", "kind": "missing", "often": 1}], "unknown often"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(control: Control, faults: Any, says: str) -> None:
    answer = control.http.put("/faults", json=faults)

    assert answer.status_code == 400
    assert says in answer.json()["detail"]


# Faults of webhooks.


def sent_with(api: httpx.Client, control: Control, receiver: Receiver, fault: dict[str, Any], count: int) -> list[str]:
    control.faults({"on": "webhook", **fault})
    create(api, webhook=receiver.url, webhook_events_filter=["start", "output", "completed"])
    eventually(lambda: len(control.webhooks()) == count)
    return [each["event"] for each in control.webhooks()]


def test_a_lost_webhook_never_comes(api: httpx.Client, control: Control, receiver: Receiver) -> None:
    sent_with(api, control, receiver, {"kind": "lost", "event": "completed"}, 3)
    time.sleep(0.1)

    assert [each["status"] for each in receiver.bodies] == ["starting", "processing"]
    assert [(each["error"], each["fault"]) for each in control.webhooks()][-1] == ("lost", "lost")


def test_a_doubled_webhook_comes_twice_with_one_id(api: httpx.Client, control: Control, receiver: Receiver) -> None:
    events = sent_with(api, control, receiver, {"kind": "doubled", "times": 1}, 4)

    assert events == ["start", "start", "output", "completed"]
    assert receiver.got[0][0]["webhook-id"] == receiver.got[1][0]["webhook-id"]
    assert receiver.got[0][1] == receiver.got[1][1]


def test_a_late_webhook_is_signed_when_it_is_sent(api: httpx.Client, control: Control, receiver: Receiver) -> None:
    events = sent_with(api, control, receiver, {"kind": "late", "event": "start", "delay_s": 1.1}, 3)

    assert sorted(events) == ["completed", "output", "start"]
    headers, body = next(one for one in receiver.got if json.loads(one[1])["status"] == "starting")
    created_at = datetime.fromisoformat(json.loads(body)["created_at"]).timestamp()
    assert int(headers["webhook-timestamp"]) >= int(created_at + 1.1)
    Webhook(SECRET).verify(body, headers)


def test_reversed_webhooks_come_last_first(api: httpx.Client, control: Control, receiver: Receiver) -> None:
    events = sent_with(api, control, receiver, {"kind": "reversed", "times": 1}, 3)

    assert events == ["completed", "output", "start"]
    assert control.active() == []


def test_a_forged_webhook_does_not_verify(api: httpx.Client, control: Control, receiver: Receiver) -> None:
    sent_with(api, control, receiver, {"kind": "forged", "event": "completed"}, 3)

    headers, body = receiver.got[-1]
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, headers)


# Faults of outputs.


def output_with(api: httpx.Client, control: Control, **fault: Any) -> str:
    shown = finished(api, create(api).json()["id"])
    control.faults({"on": "output", "times": 1, **fault})
    return str(shown["output"][0])


def test_an_output_can_be_missing(api: httpx.Client, control: Control) -> None:
    url = output_with(api, control, kind="missing")

    assert [fetch(url).status_code, fetch(url).status_code] == [404, 200]


def test_an_output_can_be_slow(api: httpx.Client, control: Control) -> None:
    url = output_with(api, control, kind="slow", delay_s=600)

    with pytest.raises(httpx.ReadTimeout):
        fetch(url, timeout=IMPATIENT)


def test_an_output_can_be_redirected(api: httpx.Client, control: Control) -> None:
    answer = fetch(output_with(api, control, kind="redirect", location="http://10.0.0.1/"))

    assert (answer.status_code, answer.headers["location"]) == (302, "http://10.0.0.1/")


def test_an_output_can_be_mislabelled(api: httpx.Client, control: Control) -> None:
    answer = fetch(output_with(api, control, kind="mislabelled", content_type="image/svg+xml"))

    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.content.startswith(b"RIFF")


def test_an_output_can_be_truncated(api: httpx.Client, control: Control) -> None:
    url = output_with(api, control, kind="truncated")

    with pytest.raises(httpx.RemoteProtocolError):
        fetch(url)
    assert control.calls()["calls"][-1]["status"] == "cut"


def test_an_output_can_come_without_its_length(api: httpx.Client, control: Control) -> None:
    url = output_with(api, control, kind="chunked")

    first, second = fetch(url), fetch(url)

    assert "content-length" not in first.headers
    assert int(second.headers["content-length"]) == len(first.content)
    assert first.content == second.content


# Faults of predictions.


@pytest.mark.parametrize(
    ("fault", "status", "error", "charged"),
    [
        ({"kind": "fail", "error": "E1001: out of memory"}, "failed", "E1001: out of memory", True),
        ({"kind": "nsfw"}, "failed", "All generated images contained NSFW content", True),
        ({"kind": "nsfw", "drop": 1}, "failed", "All generated images contained NSFW content", True),
        ({"kind": "aborted"}, "aborted", None, False),
        ({"kind": "canceled"}, "canceled", None, True),
        ({"kind": "unknown_status", "at": "end"}, "suspended", None, True),
        ({"kind": "slow", "delay_s": 0.3}, "succeeded", None, True),
    ],
)
def test_a_prediction_ends_as_told(
    api: httpx.Client, control: Control, fault: dict[str, Any], status: str, error: str | None, *, charged: bool
) -> None:
    control.faults({"on": "prediction", "times": 1, **fault})

    shown = finished(api, create(api).json()["id"])

    assert shown["status"] == status
    assert (error or "") in (shown["error"] or "")
    assert control.calls()["predictions"][0]["charged"] is charged


def test_an_aborted_prediction_may_tell_nobody(api: httpx.Client, control: Control, receiver: Receiver) -> None:
    control.faults({"on": "prediction", "kind": "aborted", "webhook": False})
    finished(api, create(api, webhook=receiver.url).json()["id"])
    time.sleep(0.05)

    assert receiver.got == []


def test_a_prediction_may_never_start(api: httpx.Client, control: Control) -> None:
    control.faults({"on": "prediction", "kind": "never", "times": 1})
    prediction_id = create(api).json()["id"]
    time.sleep(0.3)

    assert api.get(f"/predictions/{prediction_id}").json()["status"] == "starting"
    assert api.post(f"/predictions/{prediction_id}/cancel").json()["status"] == "canceled"
    assert control.calls()["charged"] == 0


def test_a_prediction_is_held_until_the_faults_are_replaced(api: httpx.Client, control: Control) -> None:
    control.faults({"on": "prediction", "kind": "held", "times": 1})
    held = create(api).json()["id"]
    eventually(lambda: api.get(f"/predictions/{held}").json()["status"] == "processing")
    finished(api, create(api).json()["id"])
    assert api.get(f"/predictions/{held}").json()["status"] == "processing"

    control.faults()
    assert finished(api, held)["status"] == "succeeded"


def test_a_held_prediction_can_be_canceled(api: httpx.Client, control: Control) -> None:
    control.faults({"on": "prediction", "kind": "held", "times": 1})
    prediction_id = create(api).json()["id"]

    assert api.post(f"/predictions/{prediction_id}/cancel").json()["status"] == "canceled"
    control.faults()
    assert finished(api, prediction_id)["status"] == "canceled"


def test_a_prediction_may_run_under_an_unknown_status(api: httpx.Client, control: Control, receiver: Receiver) -> None:
    control.faults({"on": "prediction", "kind": "unknown_status", "status": "dreaming", "times": 1})
    create(api, webhook=receiver.url, webhook_events_filter=["logs", "completed"])
    eventually(lambda: receiver.bodies and receiver.bodies[-1]["completed_at"])

    assert list(dict.fromkeys(each["status"] for each in receiver.bodies)) == ["dreaming", "succeeded"]


# Records and process.


def test_every_call_is_told_but_never_the_token(api: httpx.Client, simulator: Simulator, control: Control) -> None:
    shown = finished(api, create(api).json()["id"])
    fetch(shown["output"][0], headers={"Authorization": "Bearer leaked"})
    fetch(f"{simulator.replicate_url}/v1/predictions")

    told = control.calls()
    create_, *_, download, stranger = told["calls"]
    assert (create_["on"], create_["status"], create_["prediction_id"]) == ("create", 201, shown["id"])
    assert (download["on"], download["status"], download["authorization"]) == ("output", 200, True)
    assert (stranger["on"], stranger["status"], stranger["authorization"]) == ("list", 401, False)
    assert TOKEN not in json.dumps(told)
    assert "leaked" not in json.dumps(told)


def test_forgetting_leaves_predictions_running(api: httpx.Client, control: Control) -> None:
    prediction_id = create(api).json()["id"]

    assert control.http.delete("/calls").status_code == 204

    assert control.calls() == {"charged": 0, "predictions": [], "calls": [], "webhooks": [], "fetched": []}
    assert finished(api, prediction_id)["status"] == "succeeded"


def test_many_predictions_at_once_all_end(api: httpx.Client, control: Control, receiver: Receiver) -> None:
    threads = [threading.Thread(target=create, args=(api,), kwargs={"webhook": receiver.url}) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    eventually(lambda: len(control.webhooks()) == 40)
    assert control.calls()["charged"] == 20
    assert {each["status"] for each in control.calls()["predictions"]} == {"succeeded"}


def test_it_ends_whatever_hangs() -> None:
    with (
        Simulator(api_token=TOKEN, webhook_secret=SECRET) as simulator,
        asking(simulator) as api,
        controlling(simulator) as control,
    ):
        control.faults({"on": "create", "kind": "slow", "delay_s": 3600})
        with pytest.raises(httpx.ReadTimeout):
            api.post(f"/models/{SCHNELL}/predictions", json={"input": {"prompt": "x"}}, timeout=IMPATIENT)
        eventually(lambda: control.calls()["charged"] == 1)
    eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith(("api", "run", "webhook"))])


@pytest.mark.parametrize("how", ["signal", "stdin"])
def test_the_process_says_where_it_is_and_ends_cleanly(how: str) -> None:
    command = [sys.executable, "-m", "infra.local.simulator", "--api-token", TOKEN, "--webhook-secret", SECRET]
    with subprocess.Popen(
        [*command, "--exit-with-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdin
        assert process.stderr
        urls = json.loads(process.stdout.readline())
        assert fetch(f"{urls['simulator_url']}/_simulator/calls").json()["charged"] == 0
        assert urls.keys() == {"replicate_url", "delivery_url", "simulator_url"}

        if how == "signal":
            process.terminate()
        else:
            process.stdin.close()

        assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_a_taken_port_is_said_plainly(simulator: Simulator) -> None:
    with pytest.raises(OSError, match="in use"):
        Simulator(api_token=TOKEN, webhook_secret=SECRET, api_port=int(simulator.replicate_url.rpartition(":")[2]))
