"""Gives one page."""

from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response

LOG = Logger(service="floor")
PAGE = Path(__file__).parents[3] / "functions" / "console" / "static" / "index.html"
app = APIGatewayHttpResolver()


@app.get("/")
def page() -> Response[Any]:
    """Give the page."""
    LOG.info("read")
    return Response(200, "text/html", PAGE.read_text())


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401
    """Answer."""
    return app.resolve(event, context)
