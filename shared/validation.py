"""Pydantic's findings as refusals that name every field, and the nearest name for one that does not exist."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from shared.errors import Code, InvalidField, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError


MOST_FIELDS = 50  # that are named in one answer


def invalid(error: ValidationError, *, prefix: str = "", known: Sequence[str] = ()) -> Refusal:
    """Turn pydantic's findings into a refusal that names every field; what was given is not repeated."""
    found = []
    for one in error.errors(include_url=False, include_context=False, include_input=False)[:MOST_FIELDS]:
        name = ".".join(str(part) for part in one["loc"])
        description = one["msg"]
        if one["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, known, n=1)
            description = "There is no such field." + (f" Did you mean {near[0]}?" if near else "")
        found.append(InvalidField(f"{prefix}{name[:80]}", description))
    detail = "\n".join(f"- {one.field}: {one.description}" for one in found)
    return Refusal(Code.INVALID_INPUT, detail, tuple(found))
