"""Builds the OpenAPI document from the routes that serve, the types of their bodies, and what `operations` adds."""

import importlib
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from infra.openapi import documents
from infra.openapi.examples import DOCUMENTS
from infra.openapi.operations import HEADERS, JSON, OPERATIONS, TAGS, TEXT, Answer, Input, Operation, Schema
from shared.bodies import GenerateBody, TrainBody, UploadBody
from shared.endpoint import PROBLEM, Route
from shared.errors import KINDS, Code

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "functions"
ALWAYS = (Code.INTERNAL, Code.UPSTREAM_UNAVAILABLE)
OF_BODIES = (Code.MALFORMED_JSON, Code.PAYLOAD_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.INVALID_INPUT)
OF_GATEWAY = {429, 500, 503}
TOO_LARGE = 413
FORM = "multipart/form-data"
PARAMETERS: Mapping[str, Schema] = {
    "job_id": {"type": "string", "pattern": documents.JOB_ID},
    "file_id": {"type": "string", "pattern": documents.JOB_ID},
}
ABOUT = """\
Image generation with Replicate whose results last: Replicate's own interface, and a short one.

Every refusal is a problem document (RFC 9457) with a stable `code` that programs can branch on; `retryable` says
whether the same request may succeed later, and `Retry-After` when. Codes are added over time, and so are fields of
answers: ignore those that you do not know. Amazon API Gateway, in front of it, may answer 413, 429, 500 or 503 with
`{"message": …}` in our place.
"""
_REF = "#/components/{}/{{model}}"
type Document = dict[str, Any]


class _Schemas(GenerateJsonSchema):
    """JSON Schemas without titles: a field's name says as much."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's own type
        return False


def served() -> dict[str, Route[Any]]:
    """Give the routes of all functions, by method and path."""
    if str(FUNCTIONS) not in sys.path:
        sys.path.append(str(FUNCTIONS))
    handlers = [
        importlib.import_module(f"{path.parent.name}.handler") for path in sorted(FUNCTIONS.glob("*/handler.py"))
    ]
    routes: list[Route[Any]] = [route for handler in handlers for route in getattr(handler.handler, "routes", ())]
    return {f"{route.method} {route.path}": route for route in routes}


def build() -> Document:
    """Make the whole document."""
    routes = served()
    if missing := set(routes) ^ set(OPERATIONS):
        raise LookupError(f"infra/openapi/operations.py and the routes of the functions differ: {sorted(missing)}")
    parts = _Components(routes)
    paths: Document = {}
    for key, operation in OPERATIONS.items():
        route = routes[key]
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, operation, parts)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Afterimage",
            "version": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": tag, "description": description} for tag, description in TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Your API key; older clients of Replicate send it with the scheme `Token`.",
                }
            },
            **{kind: dict(sorted(named.items())) for kind, named in parts.shared.items()},
        },
    }


class _Components:
    """What several operations share, each part once: the types of bodies and answers, headers and refusals."""

    def __init__(self, routes: Mapping[str, Route[Any]]) -> None:
        wanted: dict[tuple[str, JsonSchemaMode], TypeAdapter[Any]] = {}
        for type_ in [documents.Problem, documents.GatewayRefusal, *_types_of_answers()]:
            wanted[_name(type_), "serialization"] = TypeAdapter(type_)
        for type_ in [route.model for route in routes.values() if route.model] + _forms():
            wanted[_name(type_), "validation"] = TypeAdapter(type_)
        inputs = [(name, mode, adapter) for (name, mode), adapter in wanted.items()]
        found, rest = TypeAdapter.json_schemas(inputs, schema_generator=_Schemas, ref_template=_REF.format("schemas"))
        self._schemas = {name: schema for (name, _), schema in found.items()}
        self.shared: dict[str, Document] = {"schemas": rest["$defs"], "parameters": {}, "headers": {}, "responses": {}}
        for name, schema in self.shared["schemas"].items():
            del schema["title"]  # as the name
            if name.endswith("Body"):
                del schema["description"]  # it names the route, where it stands
        for body in (GenerateBody, TrainBody, UploadBody):
            _let_null_mean_not_given(self.shared["schemas"][body.__name__], body.model_fields)
        _demand_one(self.shared["schemas"]["GenerateBody"], "prompt", "prompts")

    def schema(self, type_: object) -> Document:
        """Give the schema of a type: mostly a reference."""
        return dict(self._schemas[_name(type_)])

    def share(self, kind: str, name: str, part: Document) -> Document:
        """Keep a part, and give the reference to it."""
        self.shared[kind][name] = part
        return {"$ref": _REF.format(kind).format(model=name)}


def _types_of_answers() -> list[object]:
    return [one.document for operation in OPERATIONS.values() for one in operation.answers.values() if one.document]


def _forms() -> list[Any]:
    return [operation.form for operation in OPERATIONS.values() if operation.form]


def _name(type_: object) -> str:
    return type_.__name__ if isinstance(type_, type) else str(type_)


def _let_null_mean_not_given(schema: Document, fields: Mapping[str, "FieldInfo"]) -> None:
    """Write down what the bodies of the short interface do before they are validated."""
    for name, field in fields.items():
        inner = schema["properties"][name]
        if not field.is_required() and {"type": "null"} not in inner.get("anyOf", ()):
            told = {key: inner.pop(key) for key in ("description", "default") if key in inner}
            schema["properties"][name] = {"anyOf": [inner, {"type": "null"}], **told}


def _demand_one(schema: Document, *names: str) -> None:
    """Exactly one of these must be given."""
    given = {name: {"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names}
    schema["oneOf"] = [given[name] for name in names]


def _operation(route: Route[Any], operation: Operation, parts: _Components) -> Document:
    made: Document = {"operationId": operation.id, "summary": operation.summary, "tags": [operation.tag]}
    if description := operation.description or _told(route.run):
        made["description"] = description
    if route.public:
        made["security"] = []
    if parameters := [*_path_parameters(route), *(_parameter(one, parts) for one in operation.inputs)]:
        made["parameters"] = parameters
    if body := _body(route, operation, parts):
        made["requestBody"] = body
    made["responses"] = _responses(route, operation, parts)
    return made


def _told(run: Callable[..., Any]) -> str:
    """Give what the docstring of a use case says beside the route: what comes after "`GET /path`: "."""
    text = re.sub(r"^(`[^`]+`(, | and )?)+[:,.]\s*", "", (run.__doc__ or "").partition("\n")[0])
    return text[:1].upper() + text[1:]


def _path_parameters(route: Route[Any]) -> list[Document]:
    return [
        {"name": name, "in": "path", "required": True, "schema": dict(PARAMETERS.get(name, TEXT))}
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _parameter(one: Input, parts: _Components) -> Document:
    made: Document = {"name": one.name, "in": one.where, "description": one.description, "schema": dict(one.schema)}
    if one.required:
        made["required"] = True
    return parts.share("parameters", one.name, made) if one.where == "header" else made


def _body(route: Route[Any], operation: Operation, parts: _Components) -> Document:
    if operation.form:
        return {"required": True, "content": {FORM: {"schema": parts.schema(operation.form)}}}
    if route.model is None:
        return {}
    content: Document = {"schema": parts.schema(route.model)}
    if operation.examples:
        content["examples"] = {name: {"value": value} for name, value in operation.examples.items()}
    return {"required": True, "content": {JSON: content}}


def _responses(route: Route[Any], operation: Operation, parts: _Components) -> Document:
    found: Document = {str(status): _answer(answer, parts) for status, answer in operation.answers.items()}
    has_body = bool(route.model or operation.form)
    codes = dict.fromkeys([*_refusals(route), *operation.refusals, *ALWAYS])
    for status in {KINDS[code].status for code in codes} | OF_GATEWAY:
        is_gateways = status in OF_GATEWAY or (status == TOO_LARGE and has_body)
        own = [code for code in codes if KINDS[code].status == status]
        found[str(status)] = _refusal(status, own, parts, is_gateways=is_gateways)
    return dict(sorted(found.items()))


def _refusals(route: Route[Any]) -> Iterable[Code]:
    """Give what follows from the route itself."""
    if not route.public:
        yield Code.UNAUTHORIZED
    if route.model:
        yield from OF_BODIES
    if "{" in route.path:
        # A value with a slash in it leads nowhere.
        yield Code.NOT_OFFERED if route.path.startswith("/v1/") else Code.NOT_FOUND


def _answer(answer: Answer, parts: _Components) -> Document:
    named = dict.fromkeys((*answer.headers, "X-Request-Id"), True) | dict.fromkeys(answer.sometimes, False)
    made: Document = {"description": answer.description, "headers": _headers(named, parts)}
    if answer.document:
        content: Document = {"schema": parts.schema(answer.document)}
        if answer.example:
            content["example"] = DOCUMENTS[answer.example]
        made["content"] = {JSON: content}
    elif answer.content:
        made["content"] = {answer.content: {}}
    if answer.links:
        made["links"] = {name: {"operationId": name, "parameters": dict(of)} for name, of in answer.links.items()}
    return made


def _refusal(status: int, codes: Sequence[Code], parts: _Components, *, is_gateways: bool) -> Document:
    names = ["X-Request-Id", "Retry-After", "X-Should-Retry"]
    if Code.UNAUTHORIZED in codes:
        names.append("WWW-Authenticate")
    if Code.RATE_LIMITED in codes:
        names += ["RateLimit", "RateLimit-Policy"]
    if Code.UPSTREAM_REJECTED in codes:
        names.append("Location")
    content: Document = {}
    if codes:
        told = {"type": "string", "enum": list(codes), "x-extensible-enum": True}
        content[PROBLEM] = {"schema": {**parts.schema(documents.Problem), "properties": {"code": told}}}
    if is_gateways:
        content[JSON] = {"schema": parts.schema(documents.GatewayRefusal)}
    made = {
        "description": ". ".join(KINDS[code].title for code in codes) or "The gateway is given too many requests",
        "headers": _headers(dict.fromkeys(names, False), parts),
        "content": content,
    }
    return parts.share("responses", ".".join([str(status), *codes]), made)


def _headers(named: Mapping[str, bool], parts: _Components) -> Document:
    """Give headers by their names; true stands for those that are always there."""
    found: Document = {}
    for name, is_always in sorted(named.items()):
        description, schema = HEADERS[name]
        made = {"description": description, "schema": dict(schema)}
        if is_always:
            found[name] = parts.share("headers", name, {**made, "required": True})
        else:
            found[name] = parts.share("headers", f"{name}.optional", made)
    return found
