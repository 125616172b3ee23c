"""What every refusal must look like, whoever gives it."""

from typing import Any

from shared.errors import KINDS, Code
from tests.support.world import Answered

MEMBERS = {
    "type",
    "title",
    "status",
    "detail",
    "instance",
    "code",
    "retryable",
    "request_id",
    "invalid_fields",
}


def check_problem(
    answered: Answered,
    status: int,
    code: str,
    *,
    instance: str,
    fields: set[str] | None = None,
    retryable: bool = False,
) -> Any:
    """Require that this is the whole problem document, and give it."""
    assert answered.status == status, answered.body
    problem = answered.json
    assert set(problem) == MEMBERS
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["type"] == f"urn:afterimage:problem:{code}"
    assert problem["title"] == KINDS[Code(code)].title
    assert problem["instance"] == instance
    assert problem["retryable"] is retryable
    assert problem["request_id"] == answered.headers["x-request-id"]
    assert isinstance(problem["detail"], str)
    assert problem["detail"]
    assert {one["field"] for one in problem["invalid_fields"]} == (fields or set())
    for one in problem["invalid_fields"]:
        assert set(one) == {"field", "description"}
        assert one["description"]
        assert one["field"] in problem["detail"], "some clients show nothing but the detail"
    assert answered.headers["content-type"] == "application/problem+json"
    assert answered.headers.get("x-should-retry") == (None if retryable else "false")
    if status == 401:
        assert answered.headers["www-authenticate"] == "Bearer"
    if status == 429:
        assert int(answered.headers["retry-after"]) >= 1
    return problem
