"""Replicate's catalog is asked seldom, and what it said before stands in when it cannot be asked."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from botocore.exceptions import ConnectTimeoutError

from shared.errors import Code, Refusal
from shared.upstream_catalog import (
    FRESH_MS,
    LARGEST,
    MISSING_MS,
    MOST_KEPT,
    STALE_MS,
    VERSION_FRESH_MS,
    Document,
    UpstreamCatalog,
    catalog_pk,
)
from tests.support.catalog import PlayedCatalog, upstream_catalog, version_of
from tests.support.replicate import answer
from tests.support.world import START, World

NAME = "acme/fox"
A, B = version_of("a"), version_of("b")
OUTAGES = [
    answer(500, {}),
    answer(503, {}),
    answer(429, {"detail": "Request was throttled. Your rate limit resets in ~30s."}),
    answer(401, {"detail": "Invalid token", "status": 401}),
    answer(200, ["no object"]),
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("silence"),
]
READS: dict[str, tuple[str, Callable[[UpstreamCatalog], Document | None]]] = {
    "model": (f"models/{NAME}", lambda catalog: catalog.model(NAME)),
    "versions": (f"models/{NAME}/versions", lambda catalog: catalog.versions(NAME)),
    "version": (f"models/{NAME}/versions/{A}", lambda catalog: catalog.version(NAME, A)),
    "deployment": (f"deployments/{NAME}", lambda catalog: catalog.deployment(NAME)),
}
each_read = pytest.mark.parametrize(("path", "read"), READS.values(), ids=READS)
each_outage = pytest.mark.parametrize("outage", OUTAGES, ids=lambda one: getattr(one, "status", type(one).__name__))


@pytest.fixture
def replicate() -> PlayedCatalog:
    fake = PlayedCatalog()
    fake.has_model(NAME, A)
    fake.has_deployment(NAME, model=NAME, version=A)
    return fake


@contextmanager
def failing_table(world: World, *operations: str) -> Iterator[None]:
    """Let calls of the table meet what is no answer."""

    def fail(**_: Any) -> None:
        raise ConnectTimeoutError(endpoint_url="https://dynamodb")

    events = world.dynamodb.meta.events
    for operation in operations:
        events.register_first(f"before-call.dynamodb.{operation}", fail)
    yield
    for operation in operations:
        events.unregister(f"before-call.dynamodb.{operation}", fail)


def kept(world: World) -> list[str]:
    items = world.dynamodb.scan(TableName=world.jobs_table)["Items"]
    return [item["pk"]["S"] for item in items]


def unavailable(call: Callable[[], object]) -> None:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.code is Code.UPSTREAM_UNAVAILABLE
    assert caught.value.retry_after


# What is kept


@each_read
def test_an_answer_is_given_as_it_is_and_asked_for_once(
    world: World, replicate: PlayedCatalog, path: str, read: Callable[[UpstreamCatalog], Document | None]
) -> None:
    catalog = upstream_catalog(world, replicate)
    assert read(catalog) == read(catalog) == replicate.catalog[path]
    assert replicate.asked == [f"/v1/{path}"]


@each_read
def test_other_processes_find_it_in_the_table(
    world: World, replicate: PlayedCatalog, path: str, read: Callable[[UpstreamCatalog], Document | None]
) -> None:
    read(upstream_catalog(world, replicate))
    assert read(upstream_catalog(world, PlayedCatalog())) == replicate.catalog[path]
    assert kept(world) == [catalog_pk(path)]


def test_what_is_kept_expires_by_itself_long_after_it_has_stopped_to_be_fresh(
    world: World, replicate: PlayedCatalog
) -> None:
    upstream_catalog(world, replicate).model(NAME)
    (item,) = world.dynamodb.scan(TableName=world.jobs_table)["Items"]
    assert int(item["expires_at"]["N"]) == (START + STALE_MS) // 1000
    assert int(item["read_at"]["N"]) == START


def test_after_an_hour_a_model_is_asked_for_again(world: World, replicate: PlayedCatalog) -> None:
    warm = upstream_catalog(world, replicate)
    warm.model(NAME)
    replicate.has_model(NAME, B, A)
    world.clock.at += FRESH_MS - 1
    for catalog in (warm, upstream_catalog(world, replicate)):
        assert latest(catalog) == A
    world.clock.at += 1
    for catalog in (warm, upstream_catalog(world, replicate)):
        assert latest(catalog) == B
    assert len(replicate.calls) == 2


def test_a_process_that_reads_the_table_late_does_not_believe_it_longer(world: World, replicate: PlayedCatalog) -> None:
    upstream_catalog(world, replicate).model(NAME)
    replicate.has_model(NAME, B, A)
    world.clock.at += FRESH_MS - 1
    late = upstream_catalog(world, replicate)
    assert latest(late) == A
    world.clock.at += 1
    assert latest(late) == B


def test_a_version_never_changes_so_that_it_is_believed_for_long(world: World, replicate: PlayedCatalog) -> None:
    warm = upstream_catalog(world, replicate)
    warm.version(NAME, A)
    world.clock.at += VERSION_FRESH_MS - 1
    for catalog in (warm, upstream_catalog(world, replicate)):
        assert catalog.version(NAME, A) is not None
    assert len(replicate.calls) == 1
    world.clock.at += 1
    upstream_catalog(world, replicate).version(NAME, A)
    assert len(replicate.calls) == 2


def latest(catalog: UpstreamCatalog) -> str:
    document = catalog.model(NAME)
    assert document is not None
    return str(document["latest_version"]["id"])


# What is not there


@each_read
def test_that_there_is_none_is_believed_for_a_minute_and_not_kept_in_the_table(
    world: World, replicate: PlayedCatalog, path: str, read: Callable[[UpstreamCatalog], Document | None]
) -> None:
    document = replicate.catalog.pop(path)
    catalog = upstream_catalog(world, replicate)
    assert read(catalog) is None
    replicate.catalog[path] = document
    world.clock.at += MISSING_MS - 1
    assert read(catalog) is None
    assert (kept(world), len(replicate.calls)) == ([], 1)
    world.clock.at += 1
    assert read(catalog) == document


def test_a_model_that_was_deleted_is_gone_after_an_hour(world: World, replicate: PlayedCatalog) -> None:
    catalog = upstream_catalog(world, replicate)
    catalog.model(NAME)
    replicate.catalog.clear()
    assert catalog.model(NAME) is not None
    world.clock.at += FRESH_MS
    assert catalog.model(NAME) is None


# When Replicate cannot be asked


@each_outage
def test_what_has_never_been_read_is_unavailable(world: World, replicate: PlayedCatalog, outage: Any) -> None:
    catalog = upstream_catalog(world, replicate)
    replicate.will(outage)
    unavailable(lambda: catalog.model(NAME))
    assert kept(world) == []
    assert latest(catalog) == A, "an outage is forgotten at once"


@each_outage
@pytest.mark.parametrize("is_warm", [True, False])
def test_what_was_read_before_stands_in(
    world: World,
    replicate: PlayedCatalog,
    outage: Any,
    is_warm: bool,  # noqa: FBT001
) -> None:
    warm = upstream_catalog(world, replicate)
    warm.model(NAME)
    replicate.has_model(NAME, B, A)
    catalog = warm if is_warm else upstream_catalog(world, replicate)
    world.clock.at += STALE_MS - 1
    replicate.will(outage)
    assert latest(catalog) == A
    assert latest(catalog) == A, "it is not asked for at each request"
    assert len(replicate.calls) == 2
    world.clock.at += MISSING_MS
    assert latest(catalog) == B


def test_that_there_was_none_does_not_stand_in(world: World, replicate: PlayedCatalog) -> None:
    replicate.catalog.clear()
    catalog = upstream_catalog(world, replicate)
    assert catalog.model(NAME) is None
    world.clock.at += MISSING_MS
    replicate.will(answer(500, {}))
    unavailable(lambda: catalog.model(NAME))


# What the table does


def test_an_answer_too_large_for_an_item_is_kept_in_the_process_only(
    world: World, replicate: PlayedCatalog, logged: list[str]
) -> None:
    noise = random.Random(1).randbytes(LARGEST).hex()  # noqa: S311 - does not compress below a half
    replicate.catalog[f"models/{NAME}"]["description"] = noise
    warm = upstream_catalog(world, replicate)
    for _ in range(2):
        document = warm.model(NAME)
        assert document is not None
        assert document["description"] == noise
    assert (kept(world), len(replicate.calls), logged) == ([], 1, [])
    world.clock.at += FRESH_MS
    replicate.will(answer(500, {}))
    assert warm.model(NAME) == document


def test_a_schema_fits_since_it_is_compressed(world: World, replicate: PlayedCatalog) -> None:
    replicate.catalog[f"models/{NAME}"]["description"] = "a field " * LARGEST
    upstream_catalog(world, replicate).model(NAME)
    assert kept(world) == [catalog_pk(f"models/{NAME}")]


@pytest.mark.parametrize("operation", ["GetItem", "PutItem"])
def test_an_outage_of_the_table_does_no_harm(
    world: World, replicate: PlayedCatalog, logged: list[str], operation: str
) -> None:
    with failing_table(world, operation):
        assert latest(upstream_catalog(world, replicate)) == A
    assert any("catalog_not_" in line for line in logged)


def test_without_the_table_the_process_still_stands_in(world: World, replicate: PlayedCatalog) -> None:
    catalog = upstream_catalog(world, replicate)
    catalog.model(NAME)
    world.clock.at += FRESH_MS
    replicate.will(answer(500, {}))
    with failing_table(world, "GetItem", "PutItem"):
        assert latest(catalog) == A


def test_a_process_keeps_no_more_than_so_many(world: World, replicate: PlayedCatalog) -> None:
    catalog = upstream_catalog(world, replicate)
    for n in range(3 * MOST_KEPT):
        catalog.model(f"acme/model-{n}")
        assert len(catalog._kept) <= MOST_KEPT


def test_nobody_is_asked_for_before_there_is_something_to_ask(world: World, replicate: PlayedCatalog) -> None:
    upstream_catalog(world, replicate).model(NAME)

    def never() -> Any:
        raise AssertionError

    catalog = UpstreamCatalog(world.dynamo, world.jobs_table, replicate=never, now=world.clock)
    assert latest(catalog) == A
