"""Receives Replicate's webhooks: `POST /webhooks/replicate/{job_id}?attempt=…&k=…`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.endpoint import Request, Response, Route, endpoint
from shared.services import webhook

if TYPE_CHECKING:
    from shared.intake import Intake


def receive(request: Request, intake: Intake) -> Response:
    """Verify, make one call, answer."""
    done = intake.receive(request.params["job_id"], request.query, request.headers, request.raw_body)
    return Response(200, {"received": done})


handler = endpoint((Route("POST", "/webhooks/replicate/{job_id}", receive, public=True),), wire=webhook)
