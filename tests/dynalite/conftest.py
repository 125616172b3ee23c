"""One dynalite for all tests of this folder, which need Node.js."""

from collections.abc import Iterator

import pytest
from moto import mock_aws

from tests.dynalite.server import serving_dynalite
from tests.dynalite.world import DynaliteWorld
from tests.support.template import REGION
from tests.support.world import environment


@pytest.fixture(scope="session")
def standing() -> Iterator[DynaliteWorld]:
    """One world for thousands of writes."""
    with (
        serving_dynalite() as origin,
        environment({"AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL_DYNAMODB": origin}),
        mock_aws(),
    ):
        world = DynaliteWorld()
        assert world.dynamodb.meta.endpoint_url == origin
        yield world


@pytest.fixture
def world(standing: DynaliteWorld) -> DynaliteWorld:
    """The same world, as it was at first."""
    standing.begin_again()
    return standing
