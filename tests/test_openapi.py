"""The published interface is what serves, and no caller of the last release is broken by it."""

import copy
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from infra.openapi.__main__ import RELEASED, published
from infra.openapi.compatibility import breaking_changes
from infra.openapi.document import served
from infra.openapi.operations import OPERATIONS, STATUS, TAGS
from shared.errors import Code
from shared.job import Job, Millis
from shared.links import FileLinks
from shared.ordering import ALL_EVENTS
from shared.views import OUTSIDE, Views
from tests.support.events import full_jobs
from tests.support.published import LATEST, as_it_can_be, read_document, resolve, validator
from tests.support.template import Template
from tests.support.world import World

DOCUMENT = read_document()
OF_ENDED_JOBS = {
    Code.UPSTREAM_FAILED,
    Code.NSFW_CONTENT,
    Code.OUT_OF_MEMORY,
    Code.DEADLINE_EXCEEDED,
    Code.OUTCOME_UNKNOWN,
    Code.OUTPUT_REJECTED,
    Code.OUTPUT_EXPIRED,
}

each_operation = pytest.mark.parametrize("key", OPERATIONS)


def operation(key: str) -> dict[str, Any]:
    method, path = key.split(" ")
    found: dict[str, Any] = DOCUMENT["paths"][path][method.lower()]
    return found


# What is published is what serves


def test_what_is_published_is_what_the_code_says() -> None:
    for path, text in published().items():
        assert path.read_text() == text, f"run `make openapi`: {path.name}"


@each_operation
def test_the_template_leads_to_the_function_that_serves_it(key: str) -> None:
    method, path = key.split(" ")
    sample = re.sub(r"{\w+}", "x", path)
    module = served()[key].run.__module__
    assert Template({}, {}).function_of_route(method, sample).handler == f"{module}.handler"


def test_an_operation_has_a_name_of_its_own_and_is_described() -> None:
    found = [operation(key) for key in OPERATIONS]
    assert len({one["operationId"] for one in found}) == len(found)
    assert {one["tags"][0] for one in found} == {str(tag) for tag in TAGS}
    assert all(one["summary"] and not one["summary"].endswith(".") for one in found)


def test_every_field_that_a_caller_may_send_is_described() -> None:
    bare = []
    for key in OPERATIONS:
        for content in operation(key).get("requestBody", {}).get("content", {}).values():
            for name, field in resolve(content["schema"]).get("properties", {}).items():
                options = [field, *field.get("anyOf", [])]
                if not any("description" in resolve(one) for one in options):
                    bare.append(f"{key}: {name}")
    # What Replicate sends of a prediction is Replicate's to describe.
    assert [one for one in bare if not one.startswith("POST /webhooks/")] == []


def test_every_code_that_a_request_can_be_refused_with_is_documented() -> None:
    found = {
        code
        for answer in DOCUMENT["components"]["responses"].values()
        for content in answer["content"].values()
        for code in content["schema"].get("properties", {}).get("code", {}).get("enum", ())
    }
    assert found == set(Code) - OF_ENDED_JOBS


def test_words_that_stand_in_two_places_are_the_same() -> None:
    outside = list(dict.fromkeys(OUTSIDE.values()))
    assert schema_of(DOCUMENT, "Prediction")["properties"]["status"]["enum"] == outside
    assert STATUS.schema["enum"] == outside
    assert schema_of(DOCUMENT, "Prediction")["properties"]["webhook_events_filter"]["items"]["enum"] == [*ALL_EVENTS]


def test_a_function_gives_the_document_and_says_when_it_has_not_changed(world: World) -> None:
    answered = world.request("GET", "/openapi.json")
    assert (answered.status, answered.json) == (200, DOCUMENT)
    assert answered.headers["content-type"] == "application/json"
    again = world.request("GET", "/openapi.json", headers={"if-none-match": answered.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


# It is an OpenAPI document


def parts(value: Any) -> list[Mapping[str, Any]]:
    match value:
        case dict():
            return [value, *(part for one in value.values() for part in parts(one))]
        case list():
            return [part for one in value for part in parts(one)]
    return []


def test_every_reference_leads_somewhere_and_every_shared_part_is_used() -> None:
    refs = {part["$ref"] for part in parts(DOCUMENT) if isinstance(part.get("$ref"), str)}
    for ref in refs:
        resolve({"$ref": ref})
    shared = {
        f"#/components/{kind}/{name}"
        for kind, named in DOCUMENT["components"].items()
        for name in named
        if kind != "securitySchemes"
    }
    assert refs == shared


def test_every_link_leads_to_an_operation_that_takes_what_it_gives() -> None:
    takes = {
        operation(key)["operationId"]: {one["name"] for one in map(resolve, operation(key).get("parameters", ()))}
        for key in OPERATIONS
    }
    links = [link for part in parts(DOCUMENT) for link in part.get("links", {}).values()]
    assert links
    for link in links:
        assert set(link["parameters"]) <= takes[link["operationId"]], link


def test_every_schema_is_one() -> None:
    for part in parts(DOCUMENT):
        if isinstance(part.get("schema"), dict):
            Draft202012Validator.check_schema(part["schema"])
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@each_operation
def test_examples_are_right(key: str) -> None:
    body = operation(key).get("requestBody", {}).get("content", {}).get("application/json", {})
    for example in body.get("examples", {}).values():
        validator(body["schema"]).validate(example["value"])
        model = served()[key].model
        assert model is not None
        model.model_validate(example["value"])
    for answer in map(resolve, operation(key)["responses"].values()):
        for content in answer.get("content", {}).values():
            if "example" in content:
                validator(content["schema"]).validate(content["example"])


# Bodies


PROMPTS = {"prompt": "a fox"}


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("POST /generate", {}),
        ("POST /generate", {"prompt": None}),
        ("POST /generate", {"prompt": "a", "prompts": ["b"]}),
        ("POST /generate", {"prompt": "a", "prompts": None}),
        ("POST /generate", {"prompt": None, "prompts": ["b"]}),
        ("POST /generate", {"prompts": []}),
        ("POST /generate", PROMPTS),
        *(("POST /generate", {**PROMPTS, name: None}) for name in ("num_images", "reuse", "input", "seed", "model")),
        ("POST /generate", {**PROMPTS, "num_images": 0}),
        ("POST /generate", {**PROMPTS, "num_images": "1"}),
        ("POST /generate", {**PROMPTS, "unknown": None}),
        ("POST /generate", {**PROMPTS, "unknown": 1}),
        ("POST /train", {"images_zip_url": None}),
        ("POST /train", {"images_zip_url": "https://example.com", "input": None, "steps": None}),
        ("POST /uploads", {"filename": "a", "bytes": 0}),
        ("POST /uploads", {"filename": "a", "metadata": None, "bytes": None}),
        ("POST /v1/predictions", {"input": {}}),
        ("POST /v1/predictions", {"input": {}, "version": None}),
        ("POST /v1/predictions", {"input": {}, "version": "a", "stream": None, "webhook": "ftp://a"}),
        ("POST /v1/predictions", {"input": {}, "version": "a", "webhook_events_filter": ["done"]}),
    ],
)
def test_a_body_is_valid_if_and_only_if_it_is_taken(key: str, body: Any) -> None:
    model = served()[key].model
    assert model is not None
    try:
        model.model_validate(body)
        taken = True
    except ValidationError:
        taken = False
    schema = operation(key)["requestBody"]["content"]["application/json"]["schema"]
    # Unknown fields that are null are not given, which no schema can say.
    assert validator(schema).is_valid(body) is (taken and "unknown" not in body)


# Answers


@given(job=full_jobs(), percent=st.none() | st.integers(0, 100), created=st.booleans())
def test_every_job_is_shown_as_documented(job: Job, percent: int | None, *, created: bool) -> None:
    batch_id = None if job.batch_id is None else job.id
    shown = as_it_can_be(job, percent=percent, batch_id=batch_id, webhook_events=("start", "completed"))
    views = Views(FileLinks(key="k", link_days=7, retention_days=1), now=lambda: Millis(LATEST))
    replicates = views.replicate(shown, "https://a", created=created, reused=created)
    validator({"$ref": "#/components/schemas/Prediction"}).validate(plain(replicates.document))
    short = views.short(shown, "https://a", reused=created, warnings=["w"])
    validator({"$ref": "#/components/schemas/ShortPrediction"}).validate(plain(short.document))


def plain(document: Any) -> Any:
    """As it is sent."""
    return json.loads(json.dumps(document))


# Existing callers


def test_nobody_is_broken_by_this_version() -> None:
    assert breaking_changes(json.loads(RELEASED.read_text()), DOCUMENT) == []


def schema_of(document: Any, name: str) -> Any:
    return document["components"]["schemas"][name]


def remove(path: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        *way, last = path.split("|")
        for step in way:
            document = document[step]
        if isinstance(document, list):
            document.remove(last)
        else:
            del document[last]

    return change


def put(path: str, value: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        *way, last = path.split("|")
        for step in way:
            document = document[step]
        document[last] = value

    return change


SCHEMAS = "components|schemas|"
BREAKING: Mapping[str, Callable[[Any], None]] = {
    "GET /v1/account: removed": remove("paths|/v1/account"),
    "DELETE /v1/files/{file_id}: removed": remove("paths|/v1/files/{file_id}|delete"),
    "POST /generate: answer 200: removed": remove("paths|/generate|post|responses|200"),
    "GET /health: needs an API key now": remove("paths|/health|get|security"),
    "GET /v1/predictions/{job_id}: answer 200.output: no longer always there": remove(
        SCHEMAS + "Prediction|required|output"
    ),
    "GET /v1/predictions/{job_id}: answer 200.logs: removed": remove(SCHEMAS + "Prediction|properties|logs"),
    "GET /v1/predictions/{job_id}: answer 200.webhook: removed": remove(SCHEMAS + "Prediction|properties|webhook"),
    "GET /v1/predictions/{job_id}: answer 200.model: may be null now": put(
        SCHEMAS + "Prediction|properties|model", {"type": ["string", "null"]}
    ),
    "GET /v1/predictions/{job_id}: answer 200.logs: may be array now": put(
        SCHEMAS + "Prediction|properties|logs|type", "array"
    ),
    "GET /predictions/{job_id}: answer 200.status: may be 'paused' now": put(
        SCHEMAS + "ShortPrediction|properties|status|enum", [*dict.fromkeys(OUTSIDE.values()), "paused"]
    ),
    "GET /predictions/{job_id}: answer 200 header ETag: removed": remove(
        "paths|/predictions/{job_id}|get|responses|200|headers|ETag"
    ),
    "GET /predictions/{job_id}: answer 200 header ETag: no longer always there": remove(
        "components|headers|ETag|required"
    ),
    "GET /health: answer 200: no longer application/json": put(
        "paths|/health|get|responses|200|content", {"text/plain": {}}
    ),
    "POST /generate: body.num_images: maximum is narrower": put(
        SCHEMAS + "GenerateBody|properties|num_images|anyOf",
        [{"type": "integer", "minimum": 1, "maximum": 4}, {"type": "null"}],
    ),
    "POST /generate: body.num_images: may no longer be null": put(
        SCHEMAS + "GenerateBody|properties|num_images", {"type": "integer", "minimum": 1, "maximum": 100}
    ),
    "POST /generate: body.preset: no longer taken": remove(SCHEMAS + "GenerateBody|properties|preset"),
    "POST /uploads: body.bytes: required now": put(SCHEMAS + "UploadBody|required", ["filename", "bytes"]),
    "POST /v1/predictions: body.webhook: another pattern": put(
        SCHEMAS + "PredictionBody|properties|webhook|anyOf",
        [{"type": "string", "pattern": "^https://", "maxLength": 2048}, {"type": "null"}],
    ),
    "POST /v1/predictions: body.webhook_events_filter[]: may no longer be 'logs'": put(
        SCHEMAS + "PredictionBody|properties|webhook_events_filter|anyOf",
        [{"type": "array", "items": {"type": "string", "enum": ["start", "output", "completed"]}}, {"type": "null"}],
    ),
    "POST /generate: header idempotency-key: required now": put("components|parameters|Idempotency-Key|required", True),
    "POST /generate: header idempotency-key: maxLength is narrower": put(
        "components|parameters|Idempotency-Key|schema|maxLength", 64
    ),
    "GET /predictions: query status: no longer taken": put(
        "paths|/predictions|get|parameters", [{"name": "cursor", "in": "query", "schema": {"type": "string"}}]
    ),
    "GET /v1/predictions: query cursor: another pattern": put(
        "paths|/v1/predictions|get|parameters",
        [{"name": "cursor", "in": "query", "schema": {"type": "string", "pattern": "x"}}],
    ),
    "POST /v1/files: body: no longer taken as multipart/form-data": put(
        "paths|/v1/files|post|requestBody|content", {"text/plain": {}}
    ),
    "POST /v1/files: body.filename: required now": put(SCHEMAS + "FileForm|required", ["content", "filename"]),
}
HARMLESS: Mapping[str, Callable[[Any], None]] = {
    "a new operation": put("paths|/new", {"get": {"responses": {}}}),
    "a new refusal": put("paths|/health|get|responses|418", {"description": "", "content": {}}),
    "one refusal less": remove("paths|/health|get|responses|503"),
    "a new field of an answer": put(SCHEMAS + "Prediction|properties|extra", {"type": "string"}),
    "a field that is always there from now on": put(
        SCHEMAS + "Prediction|required", [*schema_of(DOCUMENT, "Prediction")["required"], "webhook"]
    ),
    "a field that is no longer null": put(SCHEMAS + "Prediction|properties|error", {"type": "string"}),
    "a new code": put(SCHEMAS + "Code|enum", [*Code, "too_quiet"]),
    "a new optional field of a body": put(SCHEMAS + "GenerateBody|properties|extra", {"type": "string"}),
    "a wider bound": put(
        SCHEMAS + "GenerateBody|properties|num_images|anyOf", [{"type": "integer", "minimum": 0}, {"type": "null"}]
    ),
    "another type beside": put(SCHEMAS + "GenerateBody|properties|num_images", {"type": ["integer", "string", "null"]}),
    "a field that need not be given any more": put(SCHEMAS + "UploadBody|required", []),
    "another name of a part of a path": put(
        "paths|/v1/files/{file_id}|get|parameters|0|name".replace("|0|name", ""), []
    ),
    "no key needed any more": put("paths|/models|get|security", []),
}


@pytest.mark.parametrize("change", BREAKING)
def test_a_change_that_breaks_callers_is_named(change: str) -> None:
    changed = copy.deepcopy(DOCUMENT)
    BREAKING[change](changed)
    assert change in breaking_changes(DOCUMENT, changed)


@pytest.mark.parametrize("change", HARMLESS)
def test_a_change_that_breaks_nobody_passes(change: str) -> None:
    changed = copy.deepcopy(DOCUMENT)
    HARMLESS[change](changed)
    assert breaking_changes(DOCUMENT, changed) == []
