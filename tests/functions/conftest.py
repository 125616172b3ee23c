"""A deployment for all tests of a module, and tenants for each of them; such tests are marked `sockets`."""

from collections.abc import Iterator

import pytest

from shared.upstream_limit import PK
from tests.support.replicate import FakeReplicate
from tests.support.submits import Caller, sharing
from tests.support.world import World


@pytest.fixture(scope="module")
def standing() -> Iterator[tuple[World, FakeReplicate]]:
    with sharing() as shared:
        yield shared


@pytest.fixture
def caller(standing: tuple[World, FakeReplicate]) -> Caller:
    """A tenant that has made no request; Replicate has been asked nothing, and has throttled nobody."""
    world, replicate = standing
    replicate.forget()
    world.dynamodb.delete_item(TableName=world.accounts_table, Key={"pk": {"S": PK}})
    world.orders()
    world.dispatch_orders()
    return Caller(world, replicate)


@pytest.fixture
def other(caller: Caller) -> Caller:
    """Another tenant."""
    return Caller(caller.world, caller.replicate)
