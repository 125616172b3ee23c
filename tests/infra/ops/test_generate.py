"""`generate`: paid for once however often it must be sent, and nothing half downloaded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.ops.__main__ import app
from tests.infra.ops.conftest import Ran
from tests.support.loopback import Answer, Call

pytestmark = pytest.mark.sockets

type Serve = Callable[[Callable[[Call], Answer]], str]
FILE = b"an image" * 50_000


def said(status: int, document: Any, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(document).encode(), {"content-type": "application/json", **names})


def accepted(prediction_id: str = "one", status: str = "succeeded", **fields: Any) -> dict[str, Any]:
    return {
        "prediction_id": prediction_id,
        "status": status,
        "images": None,
        "progress": None,
        "problem": None,
        **fields,
    }


PROBLEM = {"title": "Too many", "code": "rate_limited", "detail": "Wait.", "retryable": True, "request_id": "r1"}


class Service:
    """The API: gives the answers that were lined up, one a request, and files."""

    def __init__(self, serve: Serve) -> None:
        self.calls: list[Call] = []
        self.answers: list[Answer] = []
        self.files: dict[str, Answer] = {}
        self.url = serve(self._respond)

    def _respond(self, call: Call) -> Answer:
        self.calls.append(call)
        path = call.path.partition("?")[0]
        return self.files[path] if path in self.files else self.answers.pop(0)

    def __call__(self, *arguments: str, status: int = 0) -> Ran:
        run = CliRunner().invoke(app, ["generate", "a fox", *arguments, "--api-url", self.url, "--api-key", "k"])
        if run.exception is not None and not isinstance(run.exception, SystemExit):
            raise run.exception
        assert run.exit_code == status, run.output
        return Ran(run.exit_code, run.stdout, run.stderr)


@pytest.fixture
def service(serve: Serve) -> Service:
    return Service(serve)


def test_the_request_says_what_was_asked_for_and_nothing_else(service: Service) -> None:
    service.answers = [said(202, accepted(status="starting")) for _ in range(2)]
    service()
    service("--model", "a/b", "--preset", "square", "--num-images", "3", "--seed", "0")
    bodies = [json.loads(call.body) for call in service.calls]
    assert bodies == [
        {"prompt": "a fox", "num_images": 1},
        {"prompt": "a fox", "model": "a/b", "preset": "square", "num_images": 3, "seed": 0},
    ]
    assert {call.path for call in service.calls} == {"/generate"}
    assert {call.headers["authorization"] for call in service.calls} == {"Bearer k"}
    assert len({call.headers["idempotency-key"] for call in service.calls}) == 2


@pytest.mark.parametrize(
    "first", [said(503, PROBLEM, retry_after="0"), said(429, PROBLEM, retry_after_ms="10"), Answer(502), Answer(cut=0)]
)
def test_a_request_without_an_answer_is_sent_again_with_the_same_key(service: Service, first: Answer) -> None:
    service.answers = [first, said(202, accepted(status="starting"))]
    run = service("--json")
    keys = {call.headers["idempotency-key"] for call in service.calls}
    assert (len(service.calls), keys) == (2, {run.json["idempotency_key"]})


def test_what_must_not_be_repeated_is_not(service: Service) -> None:
    service.answers = [said(429, PROBLEM, x_should_retry="false")]
    run = service(status=1)
    assert run.err == "Too many (rate_limited): Wait. It may be sent again later. Request r1.\n"
    assert (run.out, len(service.calls)) == ("", 1)


@pytest.mark.parametrize("answer", [Answer(400, b"<html>"), said(403, ["?"]), said(404, {"detail": "?"})])
def test_an_answer_that_is_no_problem_document_is_told_by_its_status(service: Service, answer: Answer) -> None:
    service.answers = [answer]
    assert service(status=1).err == f"127.0.0.1 answered {answer.status}.\n"


def test_files_are_downloaded_whole_and_by_links_alone(service: Service, serve: Serve, tmp_path: Path) -> None:
    seen: list[Call] = []

    def bucket(call: Call) -> Answer:
        seen.append(call)
        return Answer(200, FILE)

    place = serve(bucket)
    service.files = {"/files/one/0.webp": Answer(302, b"", {"Location": f"{place}/object?X-Amz-Signature=s"})}
    link = f"{service.url}/files/one/0.webp?e=1&s=x"
    service.answers = [said(202, accepted(status="starting")), said(200, accepted(images=[link]))]
    out = tmp_path / "a" / "b"
    run = service("--out", str(out))
    assert run.out.splitlines() == [str(out / "one-0.webp")]
    assert (out / "one-0.webp").read_bytes() == FILE
    assert [path.name for path in out.iterdir()] == ["one-0.webp"]
    # A link needs no key, and the bucket would refuse one.
    calls = [*(call for call in service.calls if call.path.startswith("/files")), *seen]
    assert len(calls) == 2
    assert not any("authorization" in call.headers for call in calls)


@pytest.mark.parametrize("file", [said(410, PROBLEM | {"code": "files_expired"}), Answer(200, FILE, cut=1_000)])
def test_what_could_not_be_downloaded_whole_is_not_there(service: Service, tmp_path: Path, file: Answer) -> None:
    service.files = {"/files/one/0.webp": file}
    service.answers = [said(200, accepted(images=[f"{service.url}/files/one/0.webp"]))]
    assert service("--out", str(tmp_path), status=1).err.count("\n") == 1
    assert not (tmp_path / "one-0.webp").exists()


def test_of_several_jobs_what_was_made_is_kept_and_what_was_not_is_told(service: Service, tmp_path: Path) -> None:
    service.files = {"/files/one/0.webp": Answer(200, FILE)}
    parts = [
        accepted("one", images=[f"{service.url}/files/one/0.webp"]),
        accepted("two", "failed", problem={"code": "nsfw_content", "detail": "No."}),
        {"problem": {"code": "budget_exceeded", "detail": "Enough."}},
    ]
    service.answers = [said(202, {"batch_id": "b", "predictions": parts})]
    run = service("--out", str(tmp_path), status=1)
    assert (tmp_path / "one-0.webp").read_bytes() == FILE
    for part in ("one-0.webp", "nsfw_content: No.", "budget_exceeded: Enough."):
        assert part in run.out


def test_there_is_an_end_to_waiting(service: Service) -> None:
    service.answers = [said(202, accepted(status="starting"))]
    run = service("--wait", "--timeout", "0", status=3)
    assert "Not done after 0 s" in run.err
    assert len(service.calls) == 1


def test_a_canceled_job_is_no_success(service: Service) -> None:
    service.answers = [said(200, accepted(status="canceled"))]
    assert "canceled" in service("--wait", status=1).out


def test_a_key_of_the_local_stack_is_for_no_other_place(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = tmp_path / "stack.json"
    places.write_text(json.dumps({"api_url": "http://127.0.0.1:9", "api_key": "aft_local"}))
    monkeypatch.setenv("AFTERIMAGE_STACK_FILE", str(places))
    run = CliRunner().invoke(app, ["generate", "a fox", "--api-url", service.url])
    assert (run.exit_code, service.calls) == (1, [])
    assert "--api-key" in run.stderr


def test_without_any_place_it_says_which_could_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERIMAGE_STACK_FILE", str(tmp_path / "nothing.json"))
    run = CliRunner().invoke(app, ["generate", "a fox"])
    assert (run.exit_code, "make run" in run.stderr) == (1, True)
