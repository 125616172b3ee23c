"""One local stack for all journeys of a test process; each test has tenants of its own."""

import io
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from PIL import Image
from replicate.client import Client

from infra.local.stack import LocalStack, Stack
from tests.journey.local import Local, Tenant
from tests.journey.replicate import Replicate


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with LocalStack() as running:
        yield running


@pytest.fixture(scope="session")
def local_of_session(stack: Stack) -> Iterator[Local]:
    with closing(Local(stack)) as local:
        local.stop_schedule()
        # The first calls of all functions take long: no test should have to wait for them.
        with local.tenant() as tenant:
            local.end([tenant.generate()])
        local.reconcile()
        yield local
        assert set(local.dead_letters().values()) == {0}


@pytest.fixture
def local(local_of_session: Local) -> Iterator[Local]:
    """The stack with a Replicate that behaves, and with nothing left of what it did before."""
    yield local_of_session
    local_of_session.come_to_rest()


@pytest.fixture
def replicate(local: Local) -> Replicate:
    return local.replicate


@pytest.fixture
def tenant(local: Local) -> Iterator[Tenant]:
    with local.tenant() as made:
        yield made


@contextmanager
def official_client(api_token: str, base_url: str) -> Iterator[Client]:
    client = Client(api_token=api_token, base_url=base_url)
    yield client
    client._client.close()


@pytest.fixture
def client(tenant: Tenant, stack: Stack) -> Iterator[Client]:
    with official_client(tenant.key, stack.api_url) as made:
        yield made


@pytest.fixture
def https_client(tenant: Tenant, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("SSL_CERT_FILE", stack.ca_file)
    with official_client(tenant.key, stack.api_url_https) as made:
        yield made


@pytest.fixture
def opened() -> Callable[[bytes], Image.Image]:
    """Decode an image."""
    return lambda content: Image.open(io.BytesIO(content))
