"""`generate`: asks a deployment for images, over its public interface, as any client could."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import typer

from infra.ops.command import NOT_YET, Operator
from infra.ops.deployment import local_place
from infra.ops.screen import Bar, OpsError, table

_PATIENCE_S = 60  # for one answer
_TRIES = 5  # of a request that can be repeated: it carries an idempotency key, or only reads
_AGAIN = frozenset({429, 500, 502, 503, 504})
_LONGEST_PAUSE_S = 30.0
_ENDED = frozenset({"succeeded", "failed", "canceled"})
_PART = 64 * 1024


def generate(
    ops: Operator,
    prompt: str,
    *,
    model: Annotated[str | None, typer.Option("--model", help="As owner/name; else the deployment's default.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Such as portrait or landscape.")] = None,
    num_images: Annotated[int, typer.Option("--num-images", min=1, help="How many.")] = 1,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed makes the same images.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until they are made.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="A folder to download them into; waits for them.")] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait at most. Status 3: not yet.")
    ] = 600,
    idempotency_key: Annotated[str | None, typer.Option("--idempotency-key", help="To repeat a call safely.")] = None,
    api_url: Annotated[
        str | None, typer.Option("--api-url", envvar="AFTERIMAGE_API_URL", help="Else the local stack's.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", envvar="AFTERIMAGE_API_KEY", help="Else the local stack's.")
    ] = None,
) -> None:
    """Make images of a prompt, and print their links; with --out, download them.

    The request carries an idempotency key, so that it is paid for once however often it has to be sent. Status 1: some
    of it did not succeed; 3: it is not done yet.
    """
    wanted = {"prompt": prompt, "model": model, "preset": preset, "num_images": num_images, "seed": seed}
    body = {name: value for name, value in wanted.items() if value is not None}
    key = idempotency_key or str(uuid.uuid4())
    with _client(api_url, api_key) as client:
        answer = _asked(client, "POST", "/generate", json=body, headers={"Idempotency-Key": key})
        # Several jobs, if it was more than the model makes at once.
        jobs: list[dict[str, Any]] = answer.get("predictions", [answer])
        if wait or out is not None:
            jobs = _waited(ops, client, jobs, timeout)
        saved = _downloaded(ops, jobs, out) if out is not None else []
    document = {"idempotency_key": key, "predictions": jobs, "files": [str(path) for path in saved]}
    shown = [str(path) for path in saved] or [url for job in jobs for url in job.get("images") or []]
    failed = [job for job in jobs if job.get("problem") or job.get("status") == "canceled"]
    if failed or not shown:
        rows = [(job.get("prediction_id"), job.get("status"), _problem(job)) for job in jobs]
        ops.screen.show(document, *shown, table("prediction", "status", "problem", rows=rows))
    else:
        ops.screen.show(document, *shown)
    if failed:
        raise typer.Exit(1)
    if (wait or out is not None) and any(job["status"] not in _ENDED for job in jobs):
        ops.screen.say(f"Not done after {timeout:g} s. The same call with --idempotency-key {key} goes on.")
        raise typer.Exit(NOT_YET)


def _client(api_url: str | None, api_key: str | None) -> httpx.Client:
    url = api_url or local_place("api_url")
    # A key goes with its deployment: the local stack's is for no other.
    if api_url is not None and api_key is None:
        raise OpsError("This needs an API key: --api-key, or AFTERIMAGE_API_KEY.")
    headers = {"Authorization": f"Bearer {api_key or local_place('api_key')}"}
    return httpx.Client(base_url=url, headers=headers, timeout=_PATIENCE_S)


def _asked(client: httpx.Client, method: str, path: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401
    """Send a request until it is answered, and give the document of the answer.

    Raises:
        OpsError: it was refused; the message is the problem document's.
    """
    for tries in range(1, _TRIES + 1):
        try:
            answer = client.request(method, path, **request)
        except httpx.TransportError:
            if tries == _TRIES:
                raise
            time.sleep(2 ** (tries - 1))
            continue
        if answer.status_code in _AGAIN and tries < _TRIES and answer.headers.get("x-should-retry") != "false":
            time.sleep(_pause(answer, 2 ** (tries - 1)))
            continue
        if answer.is_success:
            document: dict[str, Any] = answer.json()
            return document
        raise OpsError(_refusal(answer))
    raise AssertionError("the last try returns or raises")


def _pause(answer: httpx.Response, otherwise: float) -> float:
    given = answer.headers.get("retry-after-ms"), answer.headers.get("retry-after")
    for text, unit in zip(given, (1000, 1), strict=True):
        if text is not None and text.isdecimal():
            return min(int(text) / unit, _LONGEST_PAUSE_S)
    return min(otherwise, _LONGEST_PAUSE_S)


def _refusal(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
        said = f"{problem['title']} ({problem['code']}): {problem['detail']}"
        request_id = problem.get("request_id")
    except (ValueError, KeyError, TypeError):
        return f"{answer.url.host} answered {answer.status_code}."
    again = " It may be sent again later." if problem.get("retryable") else ""
    return f"{said}{again}" + (f" Request {request_id}." if request_id else "")


def _waited(ops: Operator, client: httpx.Client, jobs: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    until = time.monotonic() + seconds
    with ops.screen.progress("making images", total=len(jobs)) as bar:
        while waiting := [n for n, job in enumerate(jobs) if "status" in job and job["status"] not in _ENDED]:
            bar.say(done=len(jobs) - len(waiting))
            if time.monotonic() >= until:
                break
            time.sleep(min(1.0, max(0.0, until - time.monotonic())))
            for n in waiting:
                jobs[n] = _asked(client, "GET", f"/predictions/{jobs[n]['prediction_id']}")
    return jobs


def _downloaded(ops: Operator, jobs: list[dict[str, Any]], out: Path) -> list[Path]:
    links = [(job["prediction_id"], url) for job in jobs for url in job.get("images") or []]
    out.mkdir(parents=True, exist_ok=True)
    with ops.screen.progress("downloading", total=len(links)) as bar:
        return [_download(url, out / f"{job_id}-{Path(urlsplit(url).path).name}", bar) for job_id, url in links]


def _download(url: str, path: Path, bar: Bar) -> Path:
    """Have a file: links need no key, and lead on to the bucket, which must not be given one."""
    draft = path.with_name(f"{path.name}.part")
    with _streamed(url) as answer, draft.open("wb") as file:
        for part in answer.iter_bytes(_PART):
            file.write(part)
    draft.replace(path)
    bar.step()
    return path


@contextmanager
def _streamed(url: str) -> Iterator[httpx.Response]:
    with httpx.stream("GET", url, follow_redirects=True, timeout=_PATIENCE_S) as answer:
        if not answer.is_success:
            answer.read()
            raise OpsError(_refusal(answer))
        yield answer


def _problem(job: dict[str, Any]) -> str | None:
    problem = job.get("problem")
    return f"{problem.get('code')}: {problem.get('detail')}" if problem else None
