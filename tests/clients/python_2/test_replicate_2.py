"""Replicate's Python client 2.0.0b4, told only its base URL (with /v1) and a bearer token."""

import asyncio
import hashlib
import importlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

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

# The type checker knows another `replicate`: the project's own.
replicate: Any = importlib.import_module("replicate")
ModelError: Any = importlib.import_module("replicate.exceptions").ModelError

MODEL = {"model_owner": "black-forest-labs", "model_name": "flux-schnell"}
TRAINING = {"model_owner": "ostris", "model_name": "flux-dev-lora-trainer"}
RETRY_COUNT = "x-stainless-retry-count"


@pytest.fixture
def client(token: str, base_url: str) -> Iterator[Any]:
    with replicate.Replicate(bearer_token=token, base_url=base_url) as made:
        yield made


@pytest.fixture
def proxied_client(token: str, proxied: str) -> Iterator[Any]:
    with replicate.Replicate(bearer_token=token, base_url=proxied) as made:
        yield made


@asynccontextmanager
async def in_this_loop(token: str, base_url: str) -> AsyncIterator[Any]:
    async with replicate.AsyncReplicate(bearer_token=token, base_url=base_url) as client:
        yield client


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "fox.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    return path


def given(prompt: str = "a quiet harbour", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, **SMALL, **more}


def check_contents(contents: list[bytes], number: int) -> None:
    assert [is_image(content) for content in contents] == [True] * number
    assert len({hashlib.sha256(content).digest() for content in contents}) == number


def check_images(output: Any, number: int) -> None:
    """Check that these are so many images, read by the client, and that no two are the same."""
    assert [type(file).__name__ for file in output] == ["FileOutput"] * number
    check_contents([file.read() for file in output], number)


def latest_of(client: Any, model: str) -> str:
    owner, _, name = model.partition("/")
    return str(client.models.get(model_owner=owner, model_name=name).latest_version.id)


# Running


def test_run_a_model_by_its_name_and_read_four_different_images(client: Any) -> None:
    check_images(client.run(SCHNELL, input=given(num_outputs=4)), 4)


@pytest.mark.parametrize("model", [SDXL, SCHNELL, "simulated-user/flux-lora"])
def test_run_owner_name_and_hash_as_the_model_shows_it(client: Any, model: str) -> None:
    output = client.run(f"{model}:{latest_of(client, model)}", input={"prompt": "a fox", "num_outputs": 2})
    check_images(output, 2)


def test_a_model_of_one_image_gives_one_file(client: Any) -> None:
    output = client.run("black-forest-labs/flux-1.1-pro", input={"prompt": "a fox", "output_format": "webp"})
    assert is_image(output.read())
    assert is_image(b"".join(output)), "piece by piece"


def test_run_with_an_open_file_as_input(client: Any, picture: Path, surroundings: Surroundings) -> None:
    prompt = new_prompt()
    with picture.open("rb") as file:
        check_images(client.run(DEV, input=given(prompt, image=file)), 1)
    assert surroundings.fetched(prompt) == [("image", 200, picture.stat().st_size)]
    # Inline it is part of the request.
    with picture.open("rb") as file:
        check_images(client.run(DEV, input=given(image=file), file_encoding_strategy="base64"), 1)


def test_words_of_a_model_that_streams_come_as_a_list(client: Any) -> None:
    words = client.run(f"{TEXT}:{latest_of(client, TEXT)}", input={"prompt": "a word"})
    assert "".join(words).startswith("You asked for a word")


@pytest.mark.parametrize("wait", [{}, {"wait": 1}, {"wait": False}], ids=["usual wait", "wait=1", "wait=False"])
def test_run_a_job_that_outlasts_the_wait(
    proxied_client: Any, surroundings: Surroundings, wait: Mapping[str, Any]
) -> None:
    output = surroundings.outlasts(lambda: proxied_client.run(SCHNELL, input=given(num_outputs=2), **wait))
    check_images(output, 2)


def test_a_failed_run_says_what_replicate_said(client: Any, surroundings: Surroundings) -> None:
    surroundings.misbehave(on="prediction", kind="fail", error="E1001: out of memory", times=1)
    with pytest.raises(ModelError) as failed:
        client.run(SCHNELL, input=given())
    assert failed.value.prediction.error == "E1001: out of memory"


# Models as functions: these know their client by the environment only.


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch, token: str, base_url: str) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", token)
    monkeypatch.setenv("REPLICATE_BASE_URL", base_url)


@pytest.mark.usefixtures("used")
def test_use_a_model_as_a_function_and_open_its_files() -> None:
    flux = replicate.use(SCHNELL)
    paths = flux(**given(num_outputs=2))
    check_contents([Path(path).read_bytes() for path in paths], 2)
    # What came of one is given to another.
    (made,) = replicate.use(DEV)(**given(image=paths[0]))
    check_contents([Path(made).read_bytes()], 1)


@pytest.mark.usefixtures("used")
def test_use_a_version_as_a_function_and_read_its_logs(client: Any) -> None:
    run = replicate.use(f"{SDXL}:{latest_of(client, SDXL)}").create(prompt="a fox")
    check_contents([Path(path).read_bytes() for path in run.output()], 1)
    assert "Using seed" in run.logs()


@pytest.mark.usefixtures("used")
def test_use_a_model_and_iterate_over_its_words(surroundings: Surroundings) -> None:
    surroundings.hold()
    words = iter(replicate.use(TEXT, streaming=True)(prompt="a word"))
    surroundings.misbehave()
    assert "".join(words).startswith("You asked for a word")


@pytest.mark.usefixtures("used")
def test_use_a_model_as_an_asynchronous_function() -> None:
    async def run() -> Any:
        return await replicate.use(SCHNELL, use_async=True)(**given())

    check_contents([Path(path).read_bytes() for path in asyncio.run(run())], 1)


# Asynchronously


def test_async_run_gives_files_that_are_read_asynchronously(token: str, base_url: str, picture: Path) -> None:
    async def run() -> list[bytes]:
        async with in_this_loop(token, base_url) as client:
            output = await client.run(DEV, input=given(image=picture, num_outputs=2))
            return [await file.read() for file in output]

    check_contents(asyncio.run(run()), 2)


def test_async_run_a_job_that_outlasts_the_wait(token: str, proxied: str, surroundings: Surroundings) -> None:
    async def run() -> list[bytes]:
        async with in_this_loop(token, proxied) as client:
            return [await file.read() for file in await client.run(SCHNELL, input=given(), wait=1)]

    check_contents(surroundings.outlasts(lambda: asyncio.run(run())), 1)


def test_async_create_cancel_and_page_through_all(token: str, base_url: str, surroundings: Surroundings) -> None:
    async def run() -> tuple[str, str, list[str]]:
        async with in_this_loop(token, base_url) as client:
            made = await client.models.predictions.create(**MODEL, input=given())
            await client.predictions.cancel(prediction_id=made.id)
            ended = await client.predictions.wait(made.id)
            return made.id, ended.status, [one.id async for one in client.predictions.list()]

    surroundings.hold()
    made, status, ids = asyncio.run(run())
    assert (status, made in ids) == ("canceled", True)
    assert len(ids) == len(set(ids)) > OLD_JOBS


# Predictions, step by step


@pytest.mark.parametrize("create", ["by model", "by hash", "on a deployment"])
def test_create_wait_and_read(client: Any, create: str) -> None:
    owner, _, name = DEPLOYMENT.partition("/")
    made = {
        "by model": lambda: client.models.predictions.create(**MODEL, input=given()),
        "by hash": lambda: client.predictions.create(version=latest_of(client, SDXL), input={"prompt": "a fox"}),
        "on a deployment": lambda: client.deployments.predictions.create(
            deployment_owner=owner, deployment_name=name, input=given()
        ),
    }[create]()
    assert made.status == "starting"
    ended = client.predictions.wait(made.id)
    assert (ended.status, ended.error, len(ended.output)) == ("succeeded", None, 1)
    assert ended.metrics.predict_time > 0
    assert ended.completed_at >= ended.started_at >= ended.created_at


def test_prefer_wait_holds_the_answer(client: Any) -> None:
    made = client.models.predictions.create(**MODEL, input=given(), prefer="wait=20")
    assert (made.status, len(made.output)) == ("succeeded", 1)


def test_cancel_after_cancels(client: Any, surroundings: Surroundings) -> None:
    surroundings.hold()
    made = client.models.predictions.create(**MODEL, input=given(), cancel_after="5s")
    assert client.predictions.wait(made.id).status == "canceled"


def test_cancel_and_cancel_again(client: Any, surroundings: Surroundings) -> None:
    surroundings.hold()
    made = client.models.predictions.create(**MODEL, input=given())
    client.predictions.cancel(prediction_id=made.id)
    assert client.predictions.wait(made.id).status == "canceled"
    assert client.predictions.cancel(prediction_id=made.id).status == "canceled"


def test_page_through_all_predictions(client: Any) -> None:
    made = client.models.predictions.create(**MODEL, input=given())
    ids = [one.id for one in client.predictions.list()]
    assert len(ids) == len(set(ids)) > OLD_JOBS
    assert made.id in ids[:100]
    client.predictions.wait(made.id)


def test_train_read_list_and_cancel(client: Any, surroundings: Surroundings) -> None:
    asked = {"input_images": "https://example.com/images.zip", "trigger_word": "FOXY", "steps": 1000}
    destination = "simulated-user/second-lora"
    version = latest_of(client, TRAINER)

    def train() -> str:
        made = client.trainings.create(**TRAINING, version_id=version, input=asked, destination=destination)
        return str(made.id)

    first = train()
    until(lambda: client.trainings.get(training_id=first).status == "succeeded")
    trained = client.trainings.get(training_id=first).output.version
    assert trained.startswith(f"{destination}:")
    surroundings.hold()
    second = train()
    client.trainings.cancel(training_id=second)
    assert {one.id for one in client.trainings.list()} == {first, second}
    until(lambda: client.trainings.get(training_id=second).status == "canceled")
    # What was trained runs at once, and is the caller's own.
    surroundings.misbehave()
    check_images(client.run(trained, input={"prompt": "FOXY", "num_outputs": 1}), 1)


def test_models_versions_and_the_account(client: Any) -> None:
    assert SCHNELL in {f"{model.owner}/{model.name}" for model in client.models.list()}
    latest = latest_of(client, SDXL)
    owner, _, name = SDXL.partition("/")
    assert client.models.versions.get(model_owner=owner, model_name=name, version_id=latest).id == latest
    assert client.account.get().type == "organization"
    assert client.webhooks.default.secret.get().key.startswith("whsec_")


def test_upload_read_list_and_delete_a_file(client: Any, picture: Path) -> None:
    made = client.files.create(content=picture.read_bytes(), metadata={"who": "é"})
    assert made.size == picture.stat().st_size
    assert client.files.get(file_id=made.id) == client.files.get(file_id=made.id)
    assert made.id in {one.id for one in client.files.list()}
    client.files.delete(file_id=made.id)
    with pytest.raises(replicate.NotFoundError):
        client.files.get(file_id=made.id)


# Errors and repeats


def test_a_file_that_is_too_large_is_refused_with_the_way_out(client: Any) -> None:
    refused = refusal_of(413, lambda: client.files.create(content=bytes(FILES_LIMIT + 1)))
    assert "POST /uploads" in refused


def refusal_of(status: int, do: Callable[[], object]) -> str:
    """Check how something is refused, and give what the client shows of it."""
    with pytest.raises(replicate.APIStatusError) as refused:
        do()
    assert refused.value.status_code == status
    return str(refused.value)


def test_a_bad_token_is_refused(base_url: str) -> None:
    with replicate.Replicate(bearer_token="r8_nonsense", base_url=base_url) as client:
        assert "not valid" in refusal_of(401, lambda: client.run(SCHNELL, input=given()))


def test_a_wrong_input_is_refused_by_name_and_not_repeated(proxied_client: Any, surroundings: Surroundings) -> None:
    prompt = new_prompt()
    refused = refusal_of(422, lambda: proxied_client.run(SCHNELL, input=given(prompt, num_outputs=9)))
    assert "input.num_outputs" in refused
    assert len(surroundings.requests("POST", "/predictions")) == 1
    assert surroundings.paid(prompt) == 0


def test_a_wrong_base_url_is_told(token: str, base_url: str) -> None:
    with replicate.Replicate(bearer_token=token, base_url=base_url.removesuffix("/v1")) as client:
        assert "with /v1" in refusal_of(404, lambda: client.run(SCHNELL, input=given()))


def test_what_is_one_too_many_in_flight_is_repeated_as_told_and_let_in_later(
    proxied: str, surroundings: Surroundings
) -> None:
    surroundings.hold()
    with replicate.Replicate(bearer_token=os.environ["NARROW_TOKEN"], base_url=proxied, max_retries=1) as client:
        made = client.models.predictions.create(**MODEL, input=given())
        prompt = new_prompt()
        refusal_of(429, lambda: client.run(SCHNELL, input=given(prompt)))
        statuses = [one["status"] for one in surroundings.requests("POST", "/predictions")]
        assert statuses == [201, 429, 429]
        assert surroundings.paid(prompt) == 0
        surroundings.misbehave()
        assert client.predictions.wait(made.id).status == "succeeded"


@pytest.mark.parametrize("lost", ["POST cut", "POST truncate", "POST error"])
def test_a_create_whose_answer_is_lost_is_repeated_and_paid_once(
    proxied_client: Any, surroundings: Surroundings, lost: str
) -> None:
    surroundings.lose(lost, lost)
    prompt = new_prompt()
    check_images(proxied_client.run(SCHNELL, input=given(prompt)), 1)
    counts = [one["headers"][RETRY_COUNT] for one in surroundings.requests("POST", "/predictions")]
    assert counts == ["0", "1", "2"]
    assert surroundings.paid(prompt) == 1


def test_twins_whose_answers_are_lost_stay_two(token: str, proxied: str, surroundings: Surroundings) -> None:
    async def run(prompt: str) -> list[list[bytes]]:
        async def one(client: Any) -> list[bytes]:
            return [await file.read() for file in await client.run(SCHNELL, input=given(prompt))]

        async with in_this_loop(token, proxied) as client:
            return list(await asyncio.gather(one(client), one(client)))

    surroundings.lose("POST cut", "POST cut")
    surroundings.hold()
    prompt = new_prompt()
    with ThreadPoolExecutor(1) as pool:
        try:
            running = pool.submit(lambda: asyncio.run(run(prompt)))
            # Both are under way before either is repeated.
            until(lambda: len(surroundings.requests("POST", "/predictions")) >= 2 or running.done())
        finally:
            surroundings.misbehave()
        check_contents([content for contents in running.result() for content in contents], 2)
    assert surroundings.paid(prompt) == 2
