"""What the clients' tests in Python are told, and nothing more: where the service is, and a token."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.clients.surroundings import Surroundings


@pytest.fixture
def base_url() -> str:
    return os.environ["BASE_URL"]


@pytest.fixture
def token() -> str:
    return os.environ["TOKEN"]


@pytest.fixture(scope="session")
def surroundings_of_session() -> Iterator[Surroundings]:
    with closing(Surroundings()) as one:
        yield one


@pytest.fixture
def surroundings(surroundings_of_session: Surroundings) -> Iterator[Surroundings]:
    """The simulator and the proxy; they behave, unless a test tells them otherwise."""
    surroundings_of_session.lose()
    yield surroundings_of_session
    surroundings_of_session.misbehave()
    surroundings_of_session.lose()


@pytest.fixture
def proxied(surroundings: Surroundings, base_url: str) -> str:
    """The base URL by way of the proxy."""
    return surroundings.proxy_url + base_url.removeprefix(os.environ["STACK_URL"])
