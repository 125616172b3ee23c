"""A browser, and the local stack whose console it opens; each test has tenants and tabs of its own."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from infra.local.stack import LocalStack, Stack
from tests.console.visit import Visit, visiting
from tests.journey.local import Local, Tenant

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    programs = [found for name in NAMES if (found := shutil.which(name))]
    if not programs:
        pytest.fail(f"This needs Chromium on PATH ({', '.join(NAMES)}): on Debian, `apt-get install chromium`.")
    with sync_playwright() as playwright:
        # Containers seldom allow Chromium's sandbox; nothing but the local stack is opened.
        launched = playwright.chromium.launch(executable_path=programs[0], args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The program that finds what keeps people out."""
    path = Path(os.environ.get("AXE", ""))
    if not path.is_file():
        pytest.fail("AXE must name axe-core's script: `make test-console` brings it.")
    return path.read_text()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with LocalStack() as running:
        yield running


@pytest.fixture(scope="session")
def local_of_session(stack: Stack) -> Iterator[Local]:
    with closing(Local(stack)) as local:
        yield local


@pytest.fixture
def local(local_of_session: Local) -> Iterator[Local]:
    """The stack, with a Replicate that behaves."""
    yield local_of_session
    local_of_session.replicate.misbehave()


@pytest.fixture
def tenant(local: Local) -> Iterator[Tenant]:
    with local.tenant() as made:
        yield made


@pytest.fixture
def visit(browser: Browser, stack: Stack) -> Iterator[Visit]:
    """A tab in which nobody has signed in."""
    with visiting(browser, stack.api_url) as one:
        yield one


@pytest.fixture
def console(visit: Visit, tenant: Tenant) -> Visit:
    """A tab in which the tenant has signed in."""
    visit.sign_in(tenant.key)
    return visit
