"""Replicate's Python client 1.0.7, told only its base URL (without /v1) and a token."""

import asyncio
import hashlib
import io
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from replicate.helpers import FileOutput
from replicate.pagination import async_paginate, paginate
from replicate.webhook import InvalidSignatureError, Webhooks

from tests.clients.large_file import upload
from tests.clients.surroundings import (
    DEPLOYMENT,
    DEV,
    FILES_LIMIT,
    OLD_JOBS,
    SCHNELL,
    SDXL,
    SMALL,
    TEXT,
    TRAINER,
    Surroundings,
    is_image,
    new_prompt,
    until,
)
from tests.support.loopback import Answer, Call, serving

ENDED = {"succeeded", "failed", "canceled"}


@contextmanager
def connected(token: str, base_url: str) -> Iterator[Client]:
    """Give a client as its users make it; it never closes its connections itself."""
    client = Client(api_token=token, base_url=base_url)
    yield client
    client._client.close()


@pytest.fixture
def client(token: str, base_url: str) -> Iterator[Client]:
    with connected(token, base_url) as made:
        yield made


@pytest.fixture
def proxied_client(token: str, proxied: str) -> Iterator[Client]:
    with connected(token, proxied) as made:
        yield made


@asynccontextmanager
async def in_this_loop(token: str, base_url: str) -> AsyncIterator[Client]:
    client = Client(api_token=token, base_url=base_url)
    yield client
    await client._async_client.aclose()
    client._client.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "fox.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    return path


def given(prompt: str = "a quiet harbour", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, **SMALL, **more}


def check_images(output: Any, number: int) -> None:
    """Check that these are so many images, read by the client, and that no two are the same."""
    assert [type(file) for file in output] == [FileOutput] * number
    contents = [file.read() for file in output]
    assert all(is_image(content) for content in contents)
    assert len({hashlib.sha256(content).digest() for content in contents}) == number


# Running


def test_run_a_model_by_its_name_and_read_four_different_images(client: Client) -> None:
    check_images(client.run(SCHNELL, input=given(num_outputs=4)), 4)


@pytest.mark.parametrize("model", [SDXL, SCHNELL, "simulated-user/flux-lora"])
def test_run_owner_name_and_hash_as_the_model_shows_it(client: Client, model: str) -> None:
    latest = client.models.get(model).latest_version
    assert latest
    check_images(client.run(f"{model}:{latest.id}", input={"prompt": "a fox", "num_outputs": 2}), 2)


def test_a_model_of_one_image_gives_one_file(client: Client) -> None:
    output = client.run("black-forest-labs/flux-1.1-pro", input={"prompt": "a fox", "output_format": "webp"})
    assert isinstance(output, FileOutput)
    assert is_image(output.read())
    assert is_image(b"".join(output)), "piece by piece"


def test_run_with_an_open_file_as_input(client: Client, picture: Path, surroundings: Surroundings) -> None:
    prompt = new_prompt()
    with picture.open("rb") as file:
        check_images(client.run(DEV, input=given(prompt, image=file)), 1)
    assert surroundings.fetched(prompt) == [("image", 200, picture.stat().st_size)]
    # Inline it is part of the request.
    with picture.open("rb") as file:
        check_images(client.run(DEV, input=given(image=file), file_encoding_strategy="base64"), 1)


def test_run_with_an_output_of_before_as_input(client: Client, surroundings: Surroundings) -> None:
    prompt = new_prompt()
    (first,) = client.run(SCHNELL, input=given())
    check_images(client.run(DEV, input=given(prompt, image=first.url)), 1)
    assert surroundings.fetched(prompt) == [("image", 200, len(first.read()))]


def test_iterate_over_the_words_of_a_model_that_streams(client: Client) -> None:
    latest = client.models.get(TEXT).latest_version
    assert latest
    words = client.run(f"{TEXT}:{latest.id}", input={"prompt": "a word"})
    assert isinstance(words, Iterator)
    assert "".join(words).startswith("You asked for a word")


def test_stream_says_that_there_are_no_server_sent_events(client: Client) -> None:
    with pytest.raises(ReplicateError, match="Model does not support streaming"):
        list(client.stream(SCHNELL, input=given()))


@pytest.mark.parametrize("wait", [{}, {"wait": 1}, {"wait": False}], ids=["usual wait", "wait=1", "wait=False"])
def test_run_a_job_that_outlasts_the_wait(
    proxied_client: Client, surroundings: Surroundings, wait: Mapping[str, Any]
) -> None:
    output = surroundings.outlasts(lambda: proxied_client.run(SCHNELL, input=given(num_outputs=2), **wait))
    check_images(output, 2)


def test_iterate_over_words_that_outlast_the_wait(proxied_client: Client, surroundings: Surroundings) -> None:
    latest = proxied_client.models.get(TEXT).latest_version
    assert latest
    words = surroundings.outlasts(
        lambda: list(proxied_client.run(f"{TEXT}:{latest.id}", input={"prompt": "a word"}, wait=1))
    )
    assert "".join(words).startswith("You asked for a word")


def test_a_failed_run_says_what_replicate_said(client: Client, surroundings: Surroundings) -> None:
    surroundings.misbehave(on="prediction", kind="fail", error="E1001: out of memory", times=1)
    with pytest.raises(ModelError) as failed:
        client.run(SCHNELL, input=given())
    assert failed.value.prediction.error == "E1001: out of memory"


# Asynchronously


def test_async_run_gives_files_that_are_read_asynchronously(token: str, base_url: str) -> None:
    async def run() -> list[bytes]:
        async with in_this_loop(token, base_url) as client:
            output: Any = await client.async_run(SCHNELL, input=given(num_outputs=2))
            return [await file.aread() for file in output]

    contents = asyncio.run(run())
    assert [is_image(content) for content in contents] == [True, True]
    assert contents[0] != contents[1]


def test_async_run_with_hash_file_and_words(token: str, base_url: str, picture: Path) -> None:
    async def run() -> tuple[Any, str]:
        async with in_this_loop(token, base_url) as client:
            image = await client.async_run(DEV, input=given(image=picture))
            latest = (await client.models.async_get(TEXT)).latest_version
            assert latest
            words = await client.async_run(f"{TEXT}:{latest.id}", input={"prompt": "a word"})
            return image, "".join([word async for word in words])

    images, text = asyncio.run(run())
    assert len(images) == 1
    assert text.startswith("You asked for a word")


def test_async_run_a_job_that_outlasts_the_wait(token: str, proxied: str, surroundings: Surroundings) -> None:
    async def run() -> list[bytes]:
        async with in_this_loop(token, proxied) as client:
            output: Any = await client.async_run(SCHNELL, input=given(), wait=1)
            return [await file.aread() for file in output]

    assert [is_image(content) for content in surroundings.outlasts(lambda: asyncio.run(run()))] == [True]


def test_async_create_read_cancel_and_list(token: str, base_url: str, surroundings: Surroundings) -> None:
    async def run() -> None:
        async with in_this_loop(token, base_url) as client:
            made = await client.models.predictions.async_create(SCHNELL, input=given())
            assert (await client.predictions.async_get(made.id)).id == made.id
            await made.async_cancel()
            await made.async_wait()
            assert made.status == "canceled"
            pages = [page async for page in async_paginate(client.predictions.async_list)]
            assert made.id in {one.id for one in pages[0]}
            assert len(pages) > 1

    surroundings.hold()
    asyncio.run(run())


# Predictions, step by step


@pytest.mark.parametrize("create", ["by model", "by hash", "on a deployment"])
def test_create_wait_and_read(client: Client, create: str) -> None:
    made = {
        "by model": lambda: client.models.predictions.create(SCHNELL, input=given()),
        "by hash": lambda: client.predictions.create(version=latest_of(client, SDXL), input={"prompt": "a fox"}),
        "on a deployment": lambda: client.deployments.predictions.create(DEPLOYMENT, input=given()),
    }[create]()
    made.wait()
    assert (made.status, made.error, len(made.output or [])) == ("succeeded", None, 1)
    read = client.predictions.get(made.id)
    assert (read.status, read.input, read.metrics) == ("succeeded", made.input, made.metrics)
    assert made.model
    assert made.version
    assert made.metrics
    assert made.metrics["predict_time"] > 0


def latest_of(client: Client, model: str) -> str:
    latest = client.models.get(model).latest_version
    assert latest
    return str(latest.id)


def test_logs_tell_the_progress(client: Client) -> None:
    made = client.models.predictions.create(DEV, input=given())
    made.wait()
    assert made.progress
    assert made.progress.percentage == 1.0


def test_cancel_and_cancel_again(client: Client, surroundings: Surroundings) -> None:
    surroundings.hold()
    made = client.models.predictions.create(SCHNELL, input=given())
    made.cancel()
    made.wait()
    assert (made.status, made.output) == ("canceled", None)
    made.cancel()
    assert made.status == "canceled"


def test_cancel_what_has_succeeded_changes_nothing(client: Client) -> None:
    made = client.models.predictions.create(SCHNELL, input=given())
    made.wait()
    output = made.output
    made.cancel()
    assert (made.status, made.output) == ("succeeded", output)


def test_page_through_all_predictions(client: Client) -> None:
    made = client.models.predictions.create(SCHNELL, input=given())
    pages = list(paginate(client.predictions.list))
    ids = [one.id for page in pages for one in page]
    assert len(pages) > 1
    assert len(ids) == len(set(ids)) > OLD_JOBS
    assert made.id in ids[:100]
    made.wait()


def test_train_read_list_and_cancel(client: Client, surroundings: Surroundings) -> None:
    asked: dict[str, Any] = {"input_images": "https://example.com/images.zip", "trigger_word": "FOXY", "steps": 1000}
    first = client.trainings.create(version=TRAINER, input=asked, destination="simulated-user/first-lora")

    def ended() -> bool:
        first.reload()
        return first.status in ENDED

    until(ended)
    assert first.status == "succeeded", first.error
    output: Any = first.output
    assert output["version"].startswith("simulated-user/first-lora:")
    surroundings.hold()
    second = client.trainings.create(
        model=TRAINER, version=latest_of(client, TRAINER), input=asked, destination="simulated-user/first-lora"
    )
    second.cancel()
    listed = {one.id: one for one in client.trainings.list()}
    assert set(listed) == {first.id, second.id}
    until(lambda: client.trainings.get(second.id).status == "canceled")
    # What was trained runs at once, and is the caller's own.
    surroundings.misbehave()
    check_images(client.run(output["version"], input={"prompt": "FOXY", "num_outputs": 1}), 1)


def test_models_versions_and_the_account(client: Client) -> None:
    assert SCHNELL in {f"{model.owner}/{model.name}" for model in client.models.list()}
    model = client.models.get(SDXL)
    (version, *_) = model.versions.list()
    assert model.versions.get(version.id).id == version.id
    assert client.accounts.current().type == "organization"


def test_upload_read_list_and_delete_a_file(client: Client, picture: Path) -> None:
    made = client.files.create(picture, metadata={"who": "é"})
    assert (made.size, made.metadata) == (picture.stat().st_size, {"who": "é"})
    assert client.files.get(made.id) == made
    assert made in client.files.list()
    assert client.files.delete(made.id) is True


def test_a_file_that_is_too_large_is_refused_with_the_way_out(client: Client) -> None:
    with pytest.raises(ReplicateError) as refused:
        client.files.create(io.BytesIO(bytes(FILES_LIMIT + 1)), filename="large.bin")
    assert refused.value.status == 413
    assert "POST /uploads" in str(refused.value.detail)


def test_a_large_file_takes_that_way_and_is_an_input(
    client: Client, base_url: str, token: str, tmp_path: Path, surroundings: Surroundings
) -> None:
    path, prompt = tmp_path / "large.png", new_prompt()
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(FILES_LIMIT))
    check_images(client.run(DEV, input=given(prompt, image=upload(path, base_url, token))), 1)
    assert surroundings.fetched(prompt) == [("image", 200, FILES_LIMIT + 8)]


def test_a_webhook_is_verified_by_the_client_itself(client: Client) -> None:
    calls: list[Call] = []

    def respond(call: Call) -> Answer:
        calls.append(call)
        return Answer()

    with serving(respond) as origin:
        made = client.models.predictions.create(
            SCHNELL, input=given(), webhook=f"{origin}/hook", webhook_events_filter=["completed"]
        )
        call = until(lambda: calls)[0]
    secret = client.webhooks.default.secret()
    body = call.body.decode()
    Webhooks.validate(headers=dict(call.headers), body=body, secret=secret, tolerance=300)
    assert made.id in body
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(headers=dict(call.headers), body=body + " ", secret=secret)


# Errors and repeats


def refusal_of(do: Callable[[], object]) -> ReplicateError:
    with pytest.raises(ReplicateError) as refused:
        do()
    assert isinstance(refused.value.detail, str), "it is all that the client shows"
    return refused.value


def test_a_bad_token_is_refused(base_url: str) -> None:
    with connected("r8_nonsense", base_url) as client:
        refused = refusal_of(lambda: client.run(SCHNELL, input=given()))
    assert (refused.status, "not valid" in str(refused.detail)) == (401, True)


def test_a_wrong_input_is_refused_by_name_and_costs_nothing(client: Client, surroundings: Surroundings) -> None:
    prompt = new_prompt()
    refused = refusal_of(lambda: client.run(SCHNELL, input=given(prompt, num_outputs=9, aspect_ratio="2:1")))
    assert refused.status == 422
    assert "input.num_outputs" in str(refused.detail)
    assert "input.aspect_ratio" in str(refused.detail)
    assert surroundings.paid(prompt) == 0


def test_a_model_that_nobody_has_is_refused(client: Client) -> None:
    refused = refusal_of(lambda: client.run("black-forest-labs/flux-nonsense", input=given()))
    assert (refused.status, "flux-nonsense" in str(refused.detail)) == (404, True)


def test_a_wrong_base_url_is_told(token: str, base_url: str) -> None:
    with connected(token, f"{base_url}/v1") as client:
        refused = refusal_of(lambda: client.run(SCHNELL, input=given()))
    assert (refused.status, "without /v1" in str(refused.detail)) == (404, True)


def test_what_is_one_too_many_in_flight_is_refused_and_costs_nothing(base_url: str, surroundings: Surroundings) -> None:
    surroundings.hold()
    with connected(os.environ["NARROW_TOKEN"], base_url) as client:
        made = client.models.predictions.create(SCHNELL, input=given())
        prompt = new_prompt()
        refused = refusal_of(lambda: client.run(SCHNELL, input=given(prompt)))
        assert refused.status == 429
        surroundings.misbehave()
        made.wait()
        assert made.status == "succeeded"
        until(lambda: has_room(client))
    assert surroundings.paid(prompt) == 0


def has_room(client: Client) -> bool:
    """Whether another job is let in; the job says that it has ended a moment before its account knows."""
    try:
        client.run(SCHNELL, input=given())
    except ReplicateError as refused:
        if refused.status != 429:
            raise
        time.sleep(0.5)
        return False
    return True


def test_a_create_whose_answer_is_lost_is_not_repeated(proxied_client: Client, surroundings: Surroundings) -> None:
    surroundings.lose("POST cut")
    prompt = new_prompt()
    with pytest.raises(httpx.RemoteProtocolError):
        proxied_client.models.predictions.create(SCHNELL, input=given(prompt))
    assert len(surroundings.requests("POST", "/predictions")) == 1
    until(lambda: surroundings.paid(prompt) == 1)


def test_a_caller_who_repeats_it_with_a_key_pays_once(token: str, proxied: str, surroundings: Surroundings) -> None:
    surroundings.lose("POST cut")
    prompt = new_prompt()
    # It takes headers for all requests only: one client a paid call.
    client = Client(api_token=token, base_url=proxied, headers={"Idempotency-Key": prompt})
    with pytest.raises(httpx.RemoteProtocolError):
        client.run(SCHNELL, input=given(prompt))
    check_images(client.run(SCHNELL, input=given(prompt)), 1)
    client._client.close()
    assert surroundings.paid(prompt) == 1
