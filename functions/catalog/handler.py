"""Answers what may be called, what it takes and costs, what Replicate says of it, and what the caller has spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.catalog_views import account_of, catalog_of, replicate_model, versions_page
from shared.endpoint import Request, Response, Route, endpoint
from shared.errors import Code, Refusal
from shared.identifiers import fingerprint
from shared.ledger import day_of
from shared.services import CatalogParts, catalog
from shared.targets import VERSION
from shared.views import listing

if TYPE_CHECKING:
    from shared.upstream_catalog import Document

PAGE = 100  # as Replicate's
ASK_AGAIN = "private, no-cache"
FIVE_MINUTES = "private, max-age=300"


def list_models(request: Request, parts: CatalogParts) -> Response:
    """`GET /models`: everything that the caller may name."""
    models = parts.targets.callable_models(request.account.tenant)
    document = catalog_of(models, parts.targets.callable_deployments(), parts.targets.config.presets)
    return _conditional(request, document, ASK_AGAIN)


def list_as_replicate(request: Request, parts: CatalogParts) -> Response:
    """`GET /v1/models`: a page of the same models, by name; a page begins behind the name that its cursor is."""
    cursor = request.query.get("cursor", "")
    targets = sorted(parts.targets.callable_models(request.account.tenant), key=lambda target: target.model.name)
    rest = [target for target in targets if target.model.name > cursor]
    last = rest[PAGE - 1].model.name if len(rest) > PAGE else None
    documents = [replicate_model(target) for target in rest[:PAGE]]
    return _conditional(request, listing(documents, last, f"{request.origin}/v1/models"), ASK_AGAIN)


def get_model(request: Request, parts: CatalogParts) -> Response:
    """`GET /v1/models/{owner}/{name}`: Replicate's document."""
    name = _callable_name(request, parts)
    return _conditional(request, _found(parts.targets.catalog.model(name), name), FIVE_MINUTES)


def list_versions(request: Request, parts: CatalogParts) -> Response:
    """`GET /v1/models/{owner}/{name}/versions`: Replicate's list, on one page."""
    name = _callable_name(request, parts)
    return _conditional(request, versions_page(_found(parts.targets.catalog.versions(name), name)), FIVE_MINUTES)


def get_version(request: Request, parts: CatalogParts) -> Response:
    """`GET /v1/models/{owner}/{name}/versions/{version}`: Replicate's document."""
    name, version = _callable_name(request, parts), request.params["version"]
    document = parts.targets.catalog.version(name, version) if VERSION.fullmatch(version) else None
    return _conditional(request, _found(document, f"{name}:{version[:64]}"), FIVE_MINUTES)


def get_account(request: Request, parts: CatalogParts) -> Response:
    """`GET /v1/account`: who the caller is, and what today has cost."""
    account, day = request.account, day_of(request.received_at)
    return Response(
        200, account_of(account, parts.ledger.spent(account.tenant, day), day), {"cache-control": ASK_AGAIN}
    )


def _callable_name(request: Request, parts: CatalogParts) -> str:
    name = f"{request.params['owner']}/{request.params['name']}"
    parts.targets.require_callable(name, request.account.tenant)
    return name


def _found(document: Document | None, name: str) -> Document:
    if document is None:
        raise Refusal(Code.MODEL_NOT_FOUND, f"Replicate has no {name!r}.")
    return document


def _conditional(request: Request, document: Any, cache_control: str) -> Response:  # noqa: ANN401
    headers = {"etag": f'W/"{fingerprint(document)[:32]}"', "cache-control": cache_control}
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    return Response(304, None, headers) if headers["etag"] in known else Response(200, document, headers)


handler = endpoint(
    (
        Route("GET", "/models", list_models),
        Route("GET", "/v1/models", list_as_replicate),
        Route("GET", "/v1/models/{owner}/{name}", get_model),
        Route("GET", "/v1/models/{owner}/{name}/versions", list_versions),
        Route("GET", "/v1/models/{owner}/{name}/versions/{version}", get_version),
        Route("GET", "/v1/account", get_account),
    ),
    wire=catalog,
    accounts=lambda parts: parts.accounts,
    origins=lambda parts: parts.settings.origins,
)
