"""What holds for all tests: no sockets but to loopback where a test says so, and no run that differs from the next."""

import logging
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from shared import services
from shared.job import Millis
from shared.logs import get_logger
from tests.support.loopback import serving
from tests.support.replicate import FakeReplicate
from tests.support.world import World, deployed, fresh_wiring

settings.register_profile(
    "afterimage",
    deadline=None,  # machines that test are slow at times
    derandomize=True,  # the same examples in every run
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("afterimage")


DAY_S = 86_400


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin no test so shortly before midnight that the day may end within it: budgets and links are a UTC day's."""
    left_s = DAY_S - time.time() % DAY_S
    if left_s < (120 if item.get_closest_marker("sockets") else 10):
        time.sleep(left_s + 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("sockets"):
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1"]))


@pytest.fixture
def world() -> Iterator[World]:
    """The template, deployed in moto, with two tenants."""
    with deployed() as fresh:
        yield fresh


@pytest.fixture
def replicate(world: World) -> Iterator[FakeReplicate]:
    """Replicate, played on loopback, where the world's functions find it; such tests are marked `sockets`."""
    fake = FakeReplicate()
    with serving(fake.respond) as origin:
        world.parameters["ReplicateApiUrl"] = origin
        yield fake


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Millis]:
    """The time, at which all functions stand still."""
    at = services.now()
    monkeypatch.setattr(services, "now", lambda: at)
    fresh_wiring()
    yield at
    fresh_wiring()


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """All that is logged from now on, as it would be written."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written = logger.registered_formatter.format(record)
            lines.append(written if isinstance(written, str) else str(written))

    logger, handler = get_logger(), Kept()
    logger.addHandler(handler)
    yield lines
    logging.getLogger(logger.name).removeHandler(handler)
