"""What would break existing callers: the document that was released last, against the one of today.

Whatever was a valid request must stay one, and whatever is answered must be what was promised. Operations, statuses,
fields of answers and optional inputs may be added, and values to an enumeration that is marked `x-extensible-enum`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.openapi.narrowing import OF_ANSWERS, OF_REQUESTS, Narrowing, Schema

type Document = Mapping[str, Any]

METHODS = ("get", "put", "post", "delete", "patch")
REFUSALS = 400


def breaking_changes(before: Document, after: Document) -> list[str]:
    """Name every change that can break a caller, by operation and place."""
    return list(dict.fromkeys(_changes(before, after)))


def _changes(before: Document, after: Document) -> Iterator[str]:
    for path, operations in before["paths"].items():
        for method in METHODS:
            if method not in operations:
                continue
            name = f"{method.upper()} {path}"
            if method not in after["paths"].get(path, {}):
                yield f"{name}: removed"
                continue
            old, new = _Operation(before, operations[method]), _Operation(after, after["paths"][path][method])
            for change in (*_of_requests(old, new), *_of_answers(old, new)):
                yield f"{name}: {change}"


@dataclass(frozen=True)
class _Operation:
    """An operation, and the document that it stands in."""

    document: Document
    own: Document

    def resolve(self, part: Schema) -> dict[str, Any]:
        """Follow a reference, if it is one; what stands beside it holds too."""
        found = dict(part)
        while (ref := found.pop("$ref", None)) is not None:
            target: Any = self.document
            for step in ref.removeprefix("#/").split("/"):
                target = target[step]
            inner = {**target.get("properties", {}), **found.get("properties", {})}
            found = {**target, **found, **({"properties": inner} if inner else {})}
        return found

    @property
    def needs_key(self) -> bool:
        return bool(self.own.get("security", self.document.get("security")))

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        found = [self.resolve(one) for one in self.own.get("parameters", ())]
        # What a path calls its parts is nobody's business.
        return {f"{one['in']} {one['name'].lower()}": one for one in found if one["in"] != "path"}

    @property
    def body(self) -> dict[str, Any]:
        return self.resolve(self.own.get("requestBody", {}))

    @property
    def answers(self) -> dict[str, dict[str, Any]]:
        return {status: self.resolve(one) for status, one in self.own["responses"].items()}


def _of_requests(old: _Operation, new: _Operation) -> Iterator[str]:
    narrowing = Narrowing(old.resolve, new.resolve, OF_REQUESTS)
    if new.needs_key and not old.needs_key:
        yield "needs an API key now"
    for name, given in old.inputs.items():
        if name not in new.inputs:
            yield f"{name}: no longer taken"
        else:
            yield from narrowing.reasons(given.get("schema", {}), new.inputs[name].get("schema", {}), name)
    for name, wanted in new.inputs.items():
        if wanted.get("required") and not old.inputs.get(name, {}).get("required"):
            yield f"{name}: required now"
    if new.body.get("required") and not old.body.get("required"):
        yield "body: required now"
    for media_type, content in old.body.get("content", {}).items():
        if media_type not in new.body.get("content", {}):
            yield f"body: no longer taken as {media_type}"
        else:
            wanted = new.body["content"][media_type]
            yield from narrowing.reasons(content.get("schema", {}), wanted.get("schema", {}), "body")


def _of_answers(old: _Operation, new: _Operation) -> Iterator[str]:
    for status, promised in old.answers.items():
        if status not in new.answers:
            if int(status) < REFUSALS:
                yield f"answer {status}: removed"
            continue
        given, place = new.answers[status], f"answer {status}"
        for name, header in promised.get("headers", {}).items():
            if name not in given.get("headers", {}):
                yield f"{place} header {name}: removed"
            elif old.resolve(header).get("required") and not new.resolve(given["headers"][name]).get("required"):
                yield f"{place} header {name}: {OF_ANSWERS.required}"
        for media_type, content in promised.get("content", {}).items():
            if media_type not in given.get("content", {}):
                yield f"{place}: no longer {media_type}"
                continue
            schema = given["content"][media_type].get("schema", {})
            narrowing = Narrowing(new.resolve, old.resolve, OF_ANSWERS)
            yield from narrowing.reasons(schema, content.get("schema", {}), place)
