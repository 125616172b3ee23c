"""Files that an input names: read from this machine when the prediction starts, and from nowhere else."""

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.local.simulation import Stage, fetch, staged

pytestmark = pytest.mark.sockets

DEV = "black-forest-labs/flux-dev"


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as stage:
        yield stage


def run(stage: Stage, model: str = DEV, **given: Any) -> dict[str, Any]:
    body = {"input": {"prompt": "a boat", **given}}
    return stage.finished(stage.api.post(f"/models/{model}/predictions", json=body).json()["id"])


@pytest.fixture
def picture(stage: Stage) -> str:
    """The URL of an image on this machine."""
    return str(run(stage, megapixels="0.25")["output"][0])


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (DEV, "image"),
        ("black-forest-labs/flux-1.1-pro", "image_prompt"),
        ("black-forest-labs/flux-kontext-pro", "input_image"),
    ],
)
def test_a_file_on_this_machine_is_fetched(stage: Stage, picture: str, model: str, field: str) -> None:
    shown = run(stage, model, **{field: picture})

    assert shown["status"] == "succeeded"
    size = len(fetch(picture).content)
    assert stage.control.calls()["fetched"] == [
        {"prediction": shown["id"], "field": field, "status": 200, "bytes": size}
    ]


def test_several_files_are_fetched(stage: Stage, picture: str) -> None:
    version = stage.api.get("/models/simulated-user/flux-lora").json()["latest_version"]["id"]
    body = {"version": version, "input": {"prompt": "x", "image": picture, "mask": picture}}
    shown = stage.finished(stage.api.post("/predictions", json=body).json()["id"])

    assert shown["status"] == "succeeded"
    assert sorted(each["field"] for each in stage.control.calls()["fetched"]) == ["image", "mask"]


def test_a_file_that_is_gone_fails_the_prediction(stage: Stage, picture: str) -> None:
    stage.control.http.delete("/outputs")

    shown = run(stage, image=picture)

    assert (shown["status"], shown["error"]) == ("failed", f"404 Client Error: Not Found for url: {picture}")
    (fetched,) = stage.control.calls()["fetched"]
    assert (fetched["field"], fetched["status"]) == ("image", 404)


def test_a_file_that_nobody_serves_fails_the_prediction(stage: Stage) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen, so that nobody else does either
        shown = run(stage, image=f"http://127.0.0.1:{silent.getsockname()[1]}/x.png")

    assert shown["status"] == "failed"
    assert "ConnectionRefusedError" in shown["error"]
    assert stage.control.calls()["fetched"] == [
        {"prediction": shown["id"], "field": "image", "status": None, "bytes": 0}
    ]


def test_half_a_file_fails_the_prediction(stage: Stage, picture: str) -> None:
    stage.control.faults({"on": "output", "kind": "truncated", "times": 1})

    assert "IncompleteRead" in run(stage, image=picture)["error"]


def test_a_file_that_is_too_large_fails_the_prediction(stage: Stage) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # The reader has had enough.
                self.wfile.write(bytes(25_000_000))

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        shown = run(stage, image=f"http://127.0.0.1:{server.server_port}/large.png")
        thread.join()

    assert shown["status"] == "failed"
    assert "more than 20000000 bytes" in shown["error"]


def test_a_redirect_is_followed_on_this_machine_only(stage: Stage, picture: str) -> None:
    stage.control.faults({"on": "output", "kind": "redirect", "location": picture, "times": 1})
    run(stage, image=picture)
    stage.control.faults({"on": "output", "kind": "redirect", "location": "http://10.0.0.1/", "times": 1})
    assert run(stage, image=picture)["status"] == "succeeded"

    assert [each["status"] for each in stage.control.calls()["fetched"]] == [200]


def test_files_elsewhere_are_left_alone(stage: Stage) -> None:
    assert run(stage, image="https://example.com/x.png")["status"] == "succeeded"
    assert stage.control.calls()["fetched"] == []


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        (f"data:image/png;base64,{base64.b64encode(b'anything').decode()}", "succeeded"),
        ("data:text/plain,a%20b", "succeeded"),
        ("data:image/png;base64,abc", "failed"),
        ("data:image/png;base64,ab$d", "failed"),
        ("data:nothing", "failed"),
    ],
)
def test_a_data_uri_must_decode(stage: Stage, uri: str, status: str) -> None:
    shown = run(stage, image=uri)

    assert shown["status"] == status
    if status == "failed":
        assert shown["error"].startswith(
            'Prediction input failed validation: {"detail":[{"loc":["body","input","image"]'
        )
