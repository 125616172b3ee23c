"""Replicate's errors, as it words and shapes them."""

from infra.local.simulator import validation
from infra.local.simulator.listener import Answer, reply
from infra.local.simulator.validation import Invalid

THROTTLED = {
    "plain": {"detail": "Request was throttled. Your rate limit resets in ~30s."},
    "problem": {
        "title": "Too Many Requests",
        "detail": "Request was throttled. Your rate limit resets in ~30s.",
        "status": 429,
        "retry_after": 30,
    },
    "low_credit": {
        "title": "Request was throttled",
        "detail": "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per "
        "minute with a burst of 1 requests while you have less than $5.0 in credit. Your rate limit resets in ~3s.",
        "status": 429,
        "retry_after": 3,
    },
}
REFUSALS = {
    "unauthorized": (401, "Unauthenticated", "You did not pass a valid authentication token"),
    "insufficient_credit": (
        402,
        "Insufficient credit",
        (
            "You have insufficient credit to run this model. Go to https://replicate.com/account/billing#billing "
            "to purchase credit. Once you purchase credit, please wait a few minutes before trying again."
        ),
    ),
    "not_found": (404, "Not found", "The requested resource could not be found."),
}


def problem(status: int, title: str, detail: str) -> Answer:
    """Build an error as Replicate shapes it."""
    return reply(status, {"title": title, "detail": detail, "status": status})


def not_found() -> Answer:
    """Answer 404."""
    return problem(*REFUSALS["not_found"])


def invalid(*errors: Invalid) -> Answer:
    """Answer 422 with `invalid_fields`."""
    return reply(422, validation.problem(errors))


def errors(status: int, title: str, *wrong: tuple[str, str]) -> Answer:
    """Answer as Replicate does where it works with `errors`: each is a field, which may be empty, and its detail."""
    lines = "".join(f"\n- {field}: {detail}" if field else f"\n- {detail}" for field, detail in wrong)
    body = {
        "status": status,
        "title": title,
        "detail": f"The following errors occurred:{lines}",
        "errors": [{"pointer": f"/{field}", "detail": detail} for field, detail in wrong],
    }
    return reply(status, body)
