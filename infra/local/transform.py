"""SAM's transform as CloudFormation has it run: with the values of the parameters, which MiniStack leaves out.

Without them each parameter would have its default there, and no `Release` would publish a version.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

_values: ContextVar[Mapping[str, str]] = ContextVar("values")

type Apply = Callable[..., dict[str, Any]]


def with_parameters(apply: Apply, values_of: Callable[..., Mapping[str, str]]) -> Apply:
    """Wrap what applies a template's transforms, so that SAM's is given what `values_of` finds."""

    def applied(template: dict[str, Any], given: object = None, before: object = None) -> dict[str, Any]:
        from samtranslator.translator import transform  # noqa: PLC0415 - it takes a while, and a stack needs it first

        if not getattr(transform.transform, "is_wrapped", False):
            transform.transform = _with_values(transform.transform)
        token = _values.set(values_of(template, given, before))
        try:
            return apply(template, given, before)
        finally:
            _values.reset(token)

    return applied


def _with_values(transform: Apply) -> Apply:
    def transformed(template: dict[str, Any], parameters: Mapping[str, str], *more: object) -> dict[str, Any]:
        return transform(template, {**_values.get(), **parameters}, *more)

    transformed.is_wrapped = True  # type: ignore[attr-defined]
    return transformed
