"""The published schema of manifests describes all of them, and nothing that is not described is written."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from shared.job import ENDED, Job, Kind, Status
from shared.manifest import VERSION, manifest_of
from shared.pricing import Unit
from tests.support.events import full_jobs
from tests.support.published import as_it_can_be, closed

FOLDER = Path(__file__).parents[1] / "infra" / "schemas"
SCHEMA = json.loads((FOLDER / f"manifest-{VERSION}.json").read_text())
EXAMPLES = sorted((FOLDER / "examples").glob("*.json"))


def strict() -> Draft202012Validator:
    """Consumers must bear fields that they do not know; here each must be described."""
    whole = closed({"": SCHEMA})[""]
    return Draft202012Validator(
        {**whole, "$defs": closed(SCHEMA["$defs"])}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def test_the_schema_is_one_and_has_the_version_of_the_code() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert SCHEMA["$id"].endswith(f"manifest-{VERSION}")
    assert SCHEMA["properties"]["version"]["const"] == VERSION


def test_every_field_is_always_there_and_described() -> None:
    for one in (SCHEMA, *SCHEMA["$defs"].values()):
        assert set(one.get("required", ())) == set(one.get("properties", ()))
        assert all(field["title"] for field in one.get("properties", {}).values())


def test_words_of_the_code_are_those_of_the_schema() -> None:
    assert SCHEMA["properties"]["kind"]["enum"] == list(Kind)
    assert set(SCHEMA["properties"]["status"]["enum"]) == ENDED
    assert SCHEMA["$defs"]["price"]["properties"]["per"]["enum"] == list(Unit)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_as_the_schema_says(path: Path) -> None:
    strict().validate(json.loads(path.read_text()))


def test_there_are_examples_of_every_kind_and_end() -> None:
    found = [json.loads(path.read_text()) for path in EXAMPLES]
    assert {one["status"] for one in found} == ENDED
    assert {one["kind"] for one in found} == set(Kind)


@given(job=full_jobs(), status=st.sampled_from(sorted(ENDED)))
def test_the_manifest_of_any_job_is_as_the_schema_says(job: Job, status: Status) -> None:
    ended = as_it_can_be(
        job,
        status=status,
        completed_at=job.created_at % 2**40,
        batch_id=None if job.batch_id is None else job.id,
        files=tuple(replace(file, sha256="a" * 64) for file in job.files),
    )
    strict().validate(json.loads(json.dumps(manifest_of(ended))))


@pytest.mark.parametrize(
    "change",
    [
        {"status": "processing"},
        {"version": 2},
        {"job_id": "x"},
        {"created_at": "2026-11-01"},
        {"extra": 1},
        {"files": [{"key": "k"}]},
        {"cost_usd": "0.006"},
        {"price": {"usd": 1, "per": "image", "extra": 1}},
    ],
)
def test_what_is_no_manifest_is_told_apart(change: Mapping[str, Any]) -> None:
    manifest = json.loads(EXAMPLES[0].read_text())
    assert not strict().is_valid({**manifest, **change})


def test_a_consumer_may_meet_fields_that_it_does_not_know() -> None:
    manifest = json.loads(EXAMPLES[0].read_text())
    assert Draft202012Validator(SCHEMA).is_valid({**manifest, "extra": 1})
