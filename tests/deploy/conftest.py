"""One emulator for all of these tests, with a stack that `make deploy`'s program has made."""

from collections.abc import Iterator

import pytest

from infra.local.stack import Stack
from tests.artifact.building import build_for_this_machine
from tests.deploy.made import Made
from tests.journey.conftest import client, https_client, local, local_of_session, opened, replicate, tenant

__all__ = ["client", "https_client", "local", "local_of_session", "opened", "replicate", "tenant"]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(build_for_this_machine(), tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def stack(made: Made) -> Iterator[Stack]:
    with made.local as running:
        yield running
