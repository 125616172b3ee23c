"""Files: what jobs made, by signed links, and what callers keep here to be used as input.

`GET /files/{job_id}/{n}.{ext}?e=…&s=…` needs no API key. `/v1/files` is Replicate's own interface; `POST /uploads` is
for files that are too large for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.endpoint import Request, Response, Route, endpoint
from shared.errors import Code, Refusal
from shared.file_forms import parse_file_form
from shared.file_store import Gone
from shared.identifiers import is_job_id
from shared.job import Millis
from shared.manifest import iso
from shared.services import FilesParts, files, now
from shared.uploads import FORM_S, Content, Upload, check_metadata, document_of, invalid
from shared.views import listing

if TYPE_CHECKING:
    from pydantic import BaseModel

LARGEST_INLINE = 4 * 1024 * 1024  # bytes; base64 on the way, and a Lambda answer holds 6 MB
PRESIGNED_S = 900
PAGE = 100  # as Replicate's
# What a model made is shown on our own origin, where the console is: it may show itself, and run nothing.
HARMLESS = {
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; "
    "media-src 'self'",
    "x-content-type-options": "nosniff",
}
EXPIRED = "The file is no longer kept. Its prediction can still be read."
DELETED = "The file has been deleted, with its prediction."


def download(request: Request, parts: FilesParts) -> Response:
    """Give the bytes, if they fit into an answer; else lead to them by a fresh presigned URL.

    Some clients follow no redirect, and some send their key along to S3, which refuses two ways of authorization.
    """
    job_id, name = request.params["job_id"], request.params["name"]
    if not parts.links.is_valid(job_id, name, request.query.get("e", ""), request.query.get("s", ""), now()):
        detail = "This link is not valid, or no longer. Ask for the prediction again: it has fresh links."
        raise Refusal(Code.FORBIDDEN, detail)
    job = parts.jobs.get(job_id)
    if job is not None and job.deleted_at is not None:
        raise Refusal(Code.FILES_EXPIRED, DELETED)
    if job is not None and parts.links.are_expired(job, now()):
        raise Refusal(Code.FILES_EXPIRED, EXPIRED)
    file = next((one for one in job.files if one.name == name), None) if job else None
    if file is None:
        raise Refusal(Code.NOT_FOUND, "There is no such file.")
    if file.bytes <= LARGEST_INLINE:
        headers = {"content-type": file.content_type, "cache-control": "private, max-age=3600", **HARMLESS}
        try:
            return Response(200, parts.files.read(file.key), headers)
        except Gone as error:
            raise Refusal(Code.FILES_EXPIRED, EXPIRED) from error
    location = parts.files.presign(file.key, seconds=PRESIGNED_S)
    return Response(302, None, {"location": location, "cache-control": f"private, max-age={PRESIGNED_S // 2}"})


def create_file(request: Request, parts: FilesParts) -> Response:
    """`POST /v1/files`: keep a small file."""
    form = parse_file_form(request.headers.get("content-type", ""), request.raw_body)
    upload = parts.uploads.keep(form.content, name=form.filename, metadata=form.metadata, tenant=request.account.tenant)
    document = document_of(upload, request.origin)
    return Response(201, document, {"location": document["urls"]["get"]})


def create_upload(request: Request, parts: FilesParts) -> Response:
    """`POST /uploads`: give a form with which S3 takes a large file."""
    body, tenant = request.body, request.account.tenant
    upload, form = parts.uploads.prepare(
        name=body.filename, size=body.bytes, metadata=check_metadata(body.metadata), tenant=tenant
    )
    file = document_of(upload, request.origin)
    document = {
        "id": upload.id,
        "url": form.url,
        "fields": form.fields,
        "expires_at": iso(Millis(upload.created_at + FORM_S * 1000)),
        "file": file,
    }
    return Response(201, document, {"location": file["urls"]["get"]})


def list_files(request: Request, parts: FilesParts) -> Response:
    """`GET /v1/files`: a page of the tenant's files, newest first."""
    cursor = request.query.get("cursor")
    if cursor and not is_job_id(cursor):
        raise invalid("cursor", "Take it from the page before, as it is.")
    page = parts.uploads.page(request.account.tenant, limit=PAGE, after=cursor)
    documents = [document_of(upload, request.origin) for upload in page.uploads]
    return Response(200, listing(documents, page.cursor, f"{request.origin}/v1/files"))


def get_file(request: Request, parts: FilesParts) -> Response:
    """`GET /v1/files/{id}`."""
    upload, _ = _uploaded(request, parts)
    return Response(200, document_of(upload, request.origin))


def delete_file(request: Request, parts: FilesParts) -> Response:
    """`DELETE /v1/files/{id}`, also before anything was uploaded."""
    parts.uploads.delete(_find(request, parts))
    return Response(204)


def download_file(request: Request, parts: FilesParts) -> Response:
    """`GET /v1/files/{id}/download`: the bytes, if they fit, or a redirect to them; for saving, never for showing."""
    upload, content = _uploaded(request, parts)
    kept = {"cache-control": "private, no-store"}
    if content.size > LARGEST_INLINE:
        return Response(302, None, {"location": parts.files.presign(upload.key, seconds=PRESIGNED_S), **kept})
    headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff", **kept}
    try:
        return Response(200, parts.files.read(upload.key), {"content-type": content.content_type, **headers})
    except Gone as error:
        raise _missing(upload.id) from error


def _uploaded(request: Request, parts: FilesParts) -> tuple[Upload, Content]:
    upload = _find(request, parts)
    if upload.content is None:
        raise Refusal(Code.NOT_FOUND, "Nothing has been uploaded for this file yet.")
    return upload, upload.content


def _find(request: Request, parts: FilesParts) -> Upload:
    file_id = request.params["file_id"]
    if (upload := parts.uploads.find(file_id, request.account.tenant)) is None:
        raise _missing(file_id)
    return upload


def _missing(file_id: str) -> Refusal:
    return Refusal(Code.NOT_FOUND, f"There is no file {file_id[:64]!r}.")


def _upload_body() -> type[BaseModel]:
    # Downloads are to start without pydantic.
    from shared.bodies import UploadBody  # noqa: PLC0415

    return UploadBody


handler = endpoint(
    (
        Route("GET", "/files/{job_id}/{name}", download, public=True),
        Route("POST", "/v1/files", create_file),
        Route("GET", "/v1/files", list_files),
        Route("GET", "/v1/files/{file_id}", get_file),
        Route("DELETE", "/v1/files/{file_id}", delete_file),
        Route("GET", "/v1/files/{file_id}/download", download_file),
        Route("POST", "/uploads", create_upload, body=_upload_body),
    ),
    wire=files,
    accounts=lambda parts: parts.accounts,
    origins=lambda parts: parts.settings.origins,
)
