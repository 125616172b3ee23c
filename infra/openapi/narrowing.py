"""Compares two JSON Schemas: why something that one of them lets pass may be stopped by the other.

It knows the keywords that our documents use; where it meets another one that differs, it says so.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

type Schema = Mapping[str, Any]
type Resolve = Callable[[Schema], dict[str, Any]]

DEEPEST = 40
_ALL = frozenset({"null", "boolean", "number", "string", "array", "object"})
_LOWER = ("minimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
_EXACT = ("pattern", "format", "not", "multipleOf", "uniqueItems", "contentMediaType")


@dataclass(frozen=True)
class Words:
    """How the reasons are told: of what callers send, or of what they are answered."""

    required: str
    unknown: str
    undescribed: str | None  # None: it does no harm
    closed: str
    type: str
    value: str
    bound: str


OF_REQUESTS = Words(
    required="required now",
    unknown="no longer taken",
    undescribed=None,
    closed="other fields are no longer taken",
    type="may no longer be {}",
    value="may no longer be {}",
    bound="{} is narrower",
)
OF_ANSWERS = Words(
    required="no longer always there",
    unknown="new, where nothing else was allowed",
    undescribed="removed",
    closed="may have other fields now",
    type="may be {} now",
    value="may be {} now",
    bound="{} is wider",
)


@dataclass(frozen=True)
class Narrowing:
    """Compares a schema of one document with a schema of another."""

    one: Resolve
    other: Resolve
    words: Words

    def reasons(self, one: Schema, other: Schema, place: str = "", depth: int = 0) -> Iterator[str]:
        """Say where something that `one` lets pass may be stopped by `other`, and why."""
        if depth > DEEPEST:
            return
        options, targets = _options(one, self.one), _options(other, self.other)
        for option in options:
            attempts = [list(self._between(option, target, place, depth)) for target in targets]
            if all(attempts):
                alike = [
                    found for found, target in zip(attempts, targets, strict=True) if _types(option) & _types(target)
                ]
                mismatch = f"{place}: {self.words.type.format('/'.join(sorted(_types(option))))}"
                yield from min(alike, key=len, default=[mismatch])

    def _between(self, one: Schema, other: Schema, place: str, depth: int) -> Iterator[str]:
        if extra := _types(one) - _types(other):
            yield f"{place}: {self.words.type.format('/'.join(sorted(extra)))}"
        yield from self._values(one, other, place)
        for names, is_inside in ((_LOWER, _at_least), (_UPPER, _at_most)):
            for name in names:
                if name in other and not is_inside(one.get(name), other[name]):
                    yield f"{place}: {self.words.bound.format(name)}"
        for name in _EXACT:
            if name in other and one.get(name) != other[name]:
                yield f"{place}: another {name}"
        yield from self._object(one, other, place, depth)
        if "items" in other:
            yield from self.reasons(one.get("items", {}), other["items"], f"{place}[]", depth + 1)

    def _values(self, one: Schema, other: Schema, place: str) -> Iterator[str]:
        allowed = _values(other)
        if allowed is None or (self.words is OF_ANSWERS and other.get("x-extensible-enum")):
            return
        if (possible := _values(one)) is None:
            yield f"{place}: {self.words.value.format('anything')}"
            return
        for value in possible:
            if value not in allowed:
                yield f"{place}: {self.words.value.format(repr(value))}"

    def _object(self, one: Schema, other: Schema, place: str, depth: int) -> Iterator[str]:
        has, wants = one.get("properties", {}), other.get("properties", {})
        extra, allowed = one.get("additionalProperties", True), other.get("additionalProperties", True)
        for name, schema in wants.items():
            if name in has:
                yield from self.reasons(has[name], schema, f"{place}.{name}", depth + 1)
            elif self.words.undescribed:
                yield f"{place}.{name}: {self.words.undescribed}"
        for name in other.get("required", ()):
            if name not in one.get("required", ()) and (name in has or not self.words.undescribed):
                yield f"{place}.{name}: {self.words.required}"
        if allowed is False:
            yield from (f"{place}.{name}: {self.words.unknown}" for name in has if name not in wants)
            if extra is not False:
                yield f"{place}: {self.words.closed}"
        elif isinstance(allowed, Mapping):
            yield from self.reasons(extra if isinstance(extra, Mapping) else {}, allowed, f"{place}.*", depth + 1)


def _options(schema: Schema, resolve: Resolve) -> list[dict[str, Any]]:
    """Take a schema apart into those of which one must hold, each without references and of one type, if it has any."""
    whole = resolve(schema)
    for word in ("anyOf", "oneOf"):
        if word in whole:
            rest = {name: value for name, value in whole.items() if name != word}
            return [part for option in whole[word] for part in _options(_both(rest, resolve(option)), resolve)]
    types = whole.get("type")
    return [{**whole, "type": type_} for type_ in types] if isinstance(types, list) else [whole]


def _both(one: Schema, other: Schema) -> dict[str, Any]:
    """Give the schema that holds where both do."""
    properties = {**one.get("properties", {})}
    for name, schema in other.get("properties", {}).items():
        properties[name] = {**properties.get(name, {}), **schema}
    required = [*one.get("required", ()), *other.get("required", ())]
    both = {**one, **other}
    return both | ({"properties": properties} if properties else {}) | ({"required": required} if required else {})


def _types(schema: Schema) -> frozenset[str]:
    if "type" in schema:
        return frozenset({schema["type"]})
    if (values := _values(schema)) is not None:
        return frozenset(_type(value) for value in values)
    return _ALL


def _type(value: Any) -> str:  # noqa: ANN401
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
    return "array" if isinstance(value, list) else "object"


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _at_least(bound: float | None, least: float) -> bool:
    return bound is not None and bound >= least


def _at_most(bound: float | None, most: float) -> bool:
    return bound is not None and bound <= most
