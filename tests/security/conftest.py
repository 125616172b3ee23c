"""A deployment for all tests of a module: a row of a table needs a job of its own, and no more."""

from collections.abc import Iterator

import pytest

from tests.support.replicate import FakeReplicate
from tests.support.submits import Caller, sharing
from tests.support.world import World


@pytest.fixture(scope="module")
def standing() -> Iterator[tuple[World, FakeReplicate]]:
    with sharing() as shared:
        yield shared


@pytest.fixture
def world(standing: tuple[World, FakeReplicate]) -> Iterator[World]:
    """The template, deployed in moto, with Replicate on loopback: such tests are marked `sockets`.

    No test leaves a job: where all there is is compared, that is to stay little.
    """
    world, _ = standing
    yield world
    for item in world.dynamodb.scan(TableName=world.jobs_table)["Items"]:
        world.dynamodb.delete_item(TableName=world.jobs_table, Key={"pk": item["pk"]})


@pytest.fixture
def replicate(standing: tuple[World, FakeReplicate]) -> FakeReplicate:
    """Replicate, which has been asked nothing."""
    standing[1].forget()
    return standing[1]


@pytest.fixture
def caller(world: World, replicate: FakeReplicate) -> Caller:
    """A tenant of its own."""
    return Caller(world, replicate)


@pytest.fixture
def other(world: World, replicate: FakeReplicate) -> Caller:
    """Another tenant."""
    return Caller(world, replicate)
