"""Holds answers against the OpenAPI document: what is not written there is not answered."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012, SchemaRegistry

from shared.job import Job

ROOT = Path(__file__).parents[2]
URI = "urn:afterimage:openapi"
LATEST = 2**47  # milliseconds since 1970 that are still a date


@cache
def read_document() -> dict[str, Any]:
    """Give the document, as it is committed."""
    document: dict[str, Any] = json.loads((ROOT / "functions" / "console" / "openapi.json").read_text())
    return document


def closed(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Give schemas of objects that forbid what they do not name: callers must bear it, but it must be written down."""
    return {
        name: {"additionalProperties": False, **schema} if "properties" in schema else dict(schema)
        for name, schema in schemas.items()
    }


def resolve(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference to a shared part of the document, if it is one."""
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/", 3)
    found: Mapping[str, Any] = read_document()["components"][kind][name]
    return found


def operation_of(method: str, path: str) -> Mapping[str, Any] | None:
    """Give the operation that a request is for; what is more literal wins."""
    for template, pattern in _patterns():
        if pattern.fullmatch(path) and method.lower() in read_document()["paths"][template]:
            found: Mapping[str, Any] = read_document()["paths"][template][method.lower()]
            return found
    return None


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    templates = sorted(read_document()["paths"], key=lambda template: template.count("{"))
    return [(one, re.compile(re.sub(r"{\w+}", "[^/]+", one.replace(".", r"\.")))) for one in templates]


@cache
def _registry() -> SchemaRegistry:
    components = {**read_document()["components"], "schemas": closed(read_document()["components"]["schemas"])}
    registry: SchemaRegistry = Registry().with_resource(URI, DRAFT202012.create_resource({"components": components}))
    return registry


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """Give what judges by a schema of the document."""
    return Draft202012Validator({"$id": URI + ":here", **_absolute(schema)}, registry=_registry())


def _absolute(schema: Any) -> Any:
    match schema:
        case {"$ref": str(ref), **rest} if ref.startswith("#"):
            return {"$ref": URI + ref, **{key: _absolute(value) for key, value in rest.items()}}
        case dict():
            return {key: _absolute(value) for key, value in schema.items()}
        case list():
            return [_absolute(one) for one in schema]
    return schema


@cache
def _validator(text: str) -> Draft202012Validator:
    return validator(json.loads(text))


def check_published(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Require that the document names this answer, with its headers, content type and content."""
    operation = operation_of(method, path)
    if operation is None:
        assert status == 404, f"{method} {path} answers {status}, and is not in openapi.json"
        return
    place = f"{status} of {operation['operationId']}"
    assert str(status) in operation["responses"], f"{place} is not in openapi.json: {body[:500]!r}"
    answer = resolve(operation["responses"][str(status)])
    for name, header in answer.get("headers", {}).items():
        required = resolve(header).get("required", False)
        assert not required or name.lower() in headers, f"{place} lacks the header {name}"
    if "content" not in answer:
        assert not body, f"{place} has a body"
        return
    content_type = headers.get("content-type", "")
    media_types = {one: content for one, content in answer["content"].items() if one in {"*/*", content_type}}
    assert media_types, f"{place} is {content_type}, which is not in openapi.json"
    for content in media_types.values():
        if "schema" in content:
            errors = list(_validator(json.dumps(content["schema"])).iter_errors(json.loads(body)))
            assert not errors, f"{place} is not as in openapi.json: {errors[0].json_path}: {errors[0].message[:500]}"


def as_it_can_be(job: Job, **fields: Any) -> Job:
    """Give a made-up job with times that can be written down, and these fields."""
    times = {name: at % LATEST for name, at in vars(job).items() if name.endswith("_at") and at is not None}
    return replace(job, **(times | fields))
