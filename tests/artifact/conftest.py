"""The artifact is built once a run, and is what the sources are now."""

from pathlib import Path

import pytest

from tests.artifact.building import BUILT, build_for_this_machine


@pytest.fixture(scope="session")
def built() -> Path:
    """What is deployed; `make test-artifact` builds it first."""
    assert (BUILT / "template.yaml").exists(), "run `make build` first"
    return BUILT


@pytest.fixture(scope="session")
def native() -> Path:
    """The same for this machine."""
    return build_for_this_machine()
