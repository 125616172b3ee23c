"""What the routes do not say about themselves: one entry for each, which a test requires to be complete.

A key is a route's method and path. What follows from the route itself (the type of its body, whether it is public,
what every route may refuse) is not repeated here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from infra.openapi import documents
from infra.openapi.documents import JOB_ID
from shared.errors import Code
from shared.preferences import LONGEST_DEADLINE_S, SHORTEST_DEADLINE_S
from shared.submission import LONGEST_KEY

type Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
JSON = "application/json"
HTML = "text/html; charset=utf-8"
ANY_TYPE = "*/*"


class Tag(StrEnum):
    """What the operations are grouped by."""

    REPLICATE = "Replicate's interface"
    SHORT = "Short interface"
    SERVICE = "Service"


TAGS: Mapping[Tag, str] = {
    Tag.REPLICATE: "Same paths, bodies, statuses and pages as Replicate's, so that its clients work by changing their "
    "base URL and token. Everything of ours is under the key `afterimage`.",
    Tag.SHORT: "For clients that are written by hand.",
    Tag.SERVICE: "The web page, this document, files, and what Replicate calls.",
}


@dataclass(frozen=True)
class Input:
    """A header or a parameter of the query that a caller may send."""

    name: str
    description: str
    schema: Schema = field(default_factory=lambda: TEXT)
    where: str = "header"
    required: bool = False


@dataclass(frozen=True)
class Answer:
    """An answer that is no refusal; `document` is the type of its JSON, `headers` are always there."""

    description: str
    document: object = None
    headers: Sequence[str] = ()
    sometimes: Sequence[str] = ()  # headers
    content: str | None = None  # its content type, if that is not JSON
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # what can be asked next: with which values
    example: str | None = None  # of `examples.DOCUMENTS`


@dataclass(frozen=True)
class Operation:
    """One operation: `refusals` are those that are its own."""

    id: str
    summary: str
    tag: Tag
    answers: Mapping[int, Answer]
    inputs: Sequence[Input] = ()
    refusals: Sequence[Code] = ()
    examples: Mapping[str, Any] = field(default_factory=dict)  # of the body
    form: object = None  # the type of a body that is a multipart form
    description: str = ""  # over that of the docstring


# Headers of answers

HEADERS: Mapping[str, tuple[str, Schema]] = {
    "Location": ("Where to ask again.", {"type": "string", "format": "uri"}),
    "Retry-After": ("Whole seconds to wait before asking again.", {"type": "integer", "minimum": 0}),
    "Retry-After-Ms": ("The same in milliseconds, exactly.", {"type": "integer", "minimum": 0}),
    "ETag": ("Changes with the document; `If-None-Match` takes it.", TEXT),
    "Cache-Control": ("How long the answer may be kept.", TEXT),
    "Content-Security-Policy": ("A file that a model made may show itself, and run nothing.", TEXT),
    "Preference-Applied": ("What of `Prefer` was honoured.", TEXT),
    "RateLimit": ("What is left of the limit that was reached.", TEXT),
    "RateLimit-Policy": ("The limit that was reached.", TEXT),
    "X-Request-Id": ("Names this request in our logs.", TEXT),
    "X-Should-Retry": ("`false`: the same request would be refused again.", {"type": "string", "const": "false"}),
    "WWW-Authenticate": ("How to authenticate.", {"type": "string", "const": "Bearer"}),
    "Content-Disposition": ("For saving, never for showing.", TEXT),
    "Content-Encoding": ("`gzip`, if the caller takes it.", TEXT),
}
PACE = ("Location", "Retry-After", "Retry-After-Ms")
CONDITIONAL = ("ETag", "Cache-Control")

# What callers send beside bodies

IDEMPOTENCY_KEY = Input(
    "Idempotency-Key",
    "Makes the request safe to repeat: for at least 24 hours, the same key and body give the same job.",
    {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
)
PREFER = Input(
    "Prefer",
    "`wait=N` holds the answer until the job has ended, for N seconds at most (60 if no number is given) and no longer "
    "than this deployment allows, 25 by default. `respond-async` asks for the answer at once, as is the default.",
)
CANCEL_AFTER = Input(
    "Cancel-After",
    f"Cancels the job if it has not ended so long after its submission: from {SHORTEST_DEADLINE_S} seconds to "
    f"{LONGEST_DEADLINE_S // 3600} hours, such as `90`, `90s`, `5m` or `1h30m`.",
    {"type": "string", "pattern": "^([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s?)?$", "minLength": 1},
)
REUSE = Input(
    "Afterimage-Reuse",
    "`true` gives the job of an equal request of the caller's, if there is one, instead of paying again.",
    {"type": "string", "enum": ["true", "false"]},
)
RETRY_COUNT = Input(
    "X-Stainless-Retry-Count",
    "How often a generated client has sent this request before; above 0, the job of the request that it repeats is "
    "given, if there is one.",
)
IF_NONE_MATCH = Input("If-None-Match", "The `ETag` that is known: then the answer is 304 unless it has changed.")
# What is empty is not given.
ID_OR_EMPTY: Schema = {"type": "string", "anyOf": [{"pattern": JOB_ID}, {"maxLength": 0}]}
CURSOR = Input("cursor", "Where the page begins: as the page before says.", ID_OR_EMPTY, "query")
TIME_OR_EMPTY: Schema = {"type": "string", "anyOf": [{"format": "date-time"}, {"maxLength": 0}]}
CREATED_AFTER = Input("created_after", "Only what was created at this time or later.", TIME_OR_EMPTY, "query")
CREATED_BEFORE = Input("created_before", "Only what was created before this time.", TIME_OR_EMPTY, "query")
NAME_CURSOR = Input("cursor", "Where the page begins: as the page before says.", where="query")
BATCH_ID = Input("batch_id", "Only jobs of this batch.", ID_OR_EMPTY, "query")
STATUS = Input(
    "status",
    "Only jobs of this status.",
    {"enum": ["starting", "processing", "succeeded", "failed", "canceled"]},
    "query",
)
CREATES = (IDEMPOTENCY_KEY, PREFER, CANCEL_AFTER, REUSE, RETRY_COUNT)
READS = (PREFER, IF_NONE_MATCH)
LINK = (
    Input("e", "When the link expires, in seconds since 1970.", where="query", required=True),
    Input("s", "Its signature.", where="query", required=True),
)
SIGNED = (
    Input("attempt", "Of the job.", where="query", required=True),
    Input("k", "Signs job and attempt.", where="query", required=True),
    Input("webhook-id", "As Replicate sends it.", required=True),
    Input("webhook-timestamp", "As Replicate sends it.", required=True),
    Input("webhook-signature", "As Replicate sends it.", required=True),
)

# What starts something may refuse

STARTS = (
    Code.INVALID_INPUT,
    Code.PAYLOAD_TOO_LARGE,
    Code.BUDGET_EXCEEDED,
    Code.FORBIDDEN,
    Code.MODEL_NOT_ALLOWED,
    Code.MODEL_NOT_FOUND,
    Code.NOT_FOUND,
    Code.IDEMPOTENCY_KEY_REUSED,
    Code.UPSTREAM_REJECTED,
    Code.RATE_LIMITED,
    Code.TOO_MANY_IN_FLIGHT,
)
MODELS = (Code.MODEL_NOT_ALLOWED, Code.MODEL_NOT_FOUND)

UNCHANGED = Answer("It has not changed.", headers=CONDITIONAL)
GONE = Answer("It is deleted.")


def _links(parameter: str, value: str, *operations: str) -> Mapping[str, Mapping[str, str]]:
    return {operation: {parameter: value} for operation in operations}


def _created(kind: str) -> Mapping[int, Answer]:
    links = _links("job_id", "$response.body#/id", *(f"{kind}.{verb}" for verb in ("get", "cancel", "delete")))
    return {
        201: Answer(
            "The job. Unless it has ended it says `starting`, whatever it does: several clients take any other "
            "unfinished status for the end.",
            documents.Prediction,
            sometimes=(*PACE, "Preference-Applied"),
            example="starting",
            links=links,
        ),
        202: Answer(
            "The same, when `Prefer: wait` was not long enough.",
            documents.Prediction,
            headers=(*PACE, "Preference-Applied"),
            example="starting",
            links=links,
        ),
    }


CREATED = _created("predictions")
OF_JOB = _links("job_id", "$response.body#/prediction_id", "jobs.get", "jobs.cancel", "jobs.delete")
OF_ORDER = {**OF_JOB, **_links("batch_id", "$response.body#/batch_id", "jobs.list")}
OF_FILE = _links("file_id", "$response.body#/id", "files.get", "files.download", "files.delete")
OF_MODEL = {"owner": "$response.body#/results/0/owner", "name": "$response.body#/results/0/name"}
ORDERED: Mapping[int, Answer] = {
    200: Answer(
        "It has ended, within `Prefer: wait`.",
        documents.ShortPrediction,
        sometimes=("Preference-Applied",),
        example="short",
        links=OF_JOB,
    ),
    202: Answer(
        "It is accepted.", documents.ShortPrediction, headers=PACE, sometimes=("Preference-Applied",), links=OF_JOB
    ),
}


def _page(document: object) -> Mapping[int, Answer]:
    return {200: Answer("A page.", document)}


def _read(document: object, links: Mapping[str, Mapping[str, str]] | None = None) -> Mapping[int, Answer]:
    """Give the answers to a read of something that has a tag."""
    return {200: Answer("It is there.", document, headers=CONDITIONAL, links=links or {}), 304: UNCHANGED}


def _job(document: object, example: str) -> Mapping[int, Answer]:
    return {200: Answer("The job.", document, headers=CONDITIONAL, sometimes=PACE, example=example), 304: UNCHANGED}


SMALL = {"prompt": "a quiet harbour at dawn", "num_outputs": 1, "megapixels": "0.25"}

OPERATIONS: Mapping[str, Operation] = {
    # ---- Replicate's interface ----
    "POST /v1/predictions": Operation(
        "predictions.create",
        "Start a prediction of a model or a version",
        Tag.REPLICATE,
        CREATED,
        CREATES,
        STARTS,
        {"An official model": {"version": "black-forest-labs/flux-schnell", "input": SMALL}},
    ),
    "POST /v1/models/{owner}/{name}/predictions": Operation(
        "models.predictions.create",
        "Start a prediction of a model",
        Tag.REPLICATE,
        CREATED,
        CREATES,
        STARTS,
        {"A small image": {"input": SMALL}},
    ),
    "POST /v1/deployments/{owner}/{name}/predictions": Operation(
        "deployments.predictions.create",
        "Start a prediction on a deployment",
        Tag.REPLICATE,
        CREATED,
        CREATES,
        STARTS,
        {"A small image": {"input": SMALL}},
    ),
    "POST /v1/models/{owner}/{name}/versions/{version}/trainings": Operation(
        "trainings.create",
        "Start a training",
        Tag.REPLICATE,
        _created("trainings"),
        CREATES,
        STARTS,
        {
            "A LoRA": {
                "destination": "acme/foxy",
                "input": {"input_images": "https://example.com/foxes.zip", "trigger_word": "FOXY", "steps": 1000},
            }
        },
        description="`None` and `latest` as the version mean the one that is configured.",
    ),
    "GET /v1/predictions/{job_id}": Operation(
        "predictions.get",
        "Read a prediction",
        Tag.REPLICATE,
        _job(documents.Prediction, "succeeded"),
        READS,
        (Code.NOT_FOUND,),
    ),
    "GET /v1/predictions": Operation(
        "predictions.list",
        "List predictions",
        Tag.REPLICATE,
        _page(documents.PredictionPage),
        (CREATED_AFTER, CREATED_BEFORE, CURSOR),
        (Code.INVALID_INPUT,),
    ),
    "GET /v1/trainings/{job_id}": Operation(
        "trainings.get",
        "Read a training",
        Tag.REPLICATE,
        _job(documents.Prediction, "training"),
        READS,
        (Code.NOT_FOUND,),
    ),
    "GET /v1/trainings": Operation(
        "trainings.list",
        "List trainings",
        Tag.REPLICATE,
        _page(documents.PredictionPage),
        (CURSOR,),
        (Code.INVALID_INPUT,),
    ),
    "POST /v1/predictions/{job_id}/cancel": Operation(
        "predictions.cancel",
        "Cancel a prediction",
        Tag.REPLICATE,
        {200: Answer("The job; one that has ended is unchanged.", documents.Prediction, sometimes=PACE)},
        refusals=(Code.NOT_FOUND,),
    ),
    "POST /v1/trainings/{job_id}/cancel": Operation(
        "trainings.cancel",
        "Cancel a training",
        Tag.REPLICATE,
        {200: Answer("The job; one that has ended is unchanged.", documents.Prediction, sometimes=PACE)},
        refusals=(Code.NOT_FOUND,),
    ),
    "DELETE /v1/predictions/{job_id}": Operation(
        "predictions.delete",
        "Delete a prediction and its files",
        Tag.REPLICATE,
        {204: GONE},
        refusals=(Code.NOT_FOUND, Code.NOT_FINISHED),
        description="Not until it has ended and is stored.",
    ),
    "DELETE /v1/trainings/{job_id}": Operation(
        "trainings.delete",
        "Delete a training and its files",
        Tag.REPLICATE,
        {204: GONE},
        refusals=(Code.NOT_FOUND, Code.NOT_FINISHED),
        description="Not until it has ended and is stored. The model that it made stays.",
    ),
    "GET /v1/models": Operation(
        "models.list",
        "List the models that the caller may name",
        Tag.REPLICATE,
        _read(documents.ModelPage, links={"models.get": OF_MODEL, "models.versions.list": OF_MODEL}),
        (NAME_CURSOR, IF_NONE_MATCH),
    ),
    "GET /v1/models/{owner}/{name}": Operation(
        "models.get",
        "Read what Replicate says of a model",
        Tag.REPLICATE,
        _read(documents.Model),
        (IF_NONE_MATCH,),
        MODELS,
    ),
    "GET /v1/models/{owner}/{name}/versions": Operation(
        "models.versions.list",
        "List the versions of a model",
        Tag.REPLICATE,
        _read(documents.VersionPage),
        (IF_NONE_MATCH,),
        MODELS,
    ),
    "GET /v1/models/{owner}/{name}/versions/{version}": Operation(
        "models.versions.get",
        "Read a version of a model",
        Tag.REPLICATE,
        _read(documents.Version),
        (IF_NONE_MATCH,),
        MODELS,
    ),
    "GET /v1/account": Operation(
        "account.get",
        "Read who the caller is, and what today has cost",
        Tag.REPLICATE,
        {200: Answer("The account.", documents.Account, headers=("Cache-Control",))},
    ),
    "GET /v1/webhooks/default/secret": Operation(
        "webhooks.default.secret.get",
        "Read what the caller's own webhooks are signed with",
        Tag.REPLICATE,
        {200: Answer("The secret.", documents.WebhookSecret, headers=("Cache-Control",))},
        refusals=(Code.NOT_FOUND,),
    ),
    "POST /v1/files": Operation(
        "files.create",
        "Keep a file of up to 4 MB for a week, to be used as an input",
        Tag.REPLICATE,
        {201: Answer("The file.", documents.File, headers=("Location",), links=OF_FILE)},
        refusals=(Code.UNSUPPORTED_MEDIA_TYPE, Code.PAYLOAD_TOO_LARGE, Code.INVALID_INPUT),
        form=documents.FileForm,
    ),
    "GET /v1/files": Operation(
        "files.list",
        "List files",
        Tag.REPLICATE,
        _page(documents.FilePage),
        (CURSOR,),
        (Code.INVALID_INPUT,),
    ),
    "GET /v1/files/{file_id}": Operation(
        "files.get",
        "Read what is known of a file",
        Tag.REPLICATE,
        {200: Answer("The file.", documents.File)},
        refusals=(Code.NOT_FOUND,),
    ),
    "DELETE /v1/files/{file_id}": Operation(
        "files.delete", "Delete a file", Tag.REPLICATE, {204: GONE}, refusals=(Code.NOT_FOUND,)
    ),
    "GET /v1/files/{file_id}/download": Operation(
        "files.download",
        "Download a file",
        Tag.REPLICATE,
        {
            200: Answer(
                "The bytes, of up to 4 MB.", headers=("Content-Disposition", "Cache-Control"), content=ANY_TYPE
            ),
            302: Answer("Where the bytes are, for a few minutes.", headers=("Location", "Cache-Control")),
        },
        refusals=(Code.NOT_FOUND,),
    ),
    # ---- The short interface ----
    "POST /generate": Operation(
        "generate",
        "Make images",
        Tag.SHORT,
        {
            200: Answer(
                "All of it has ended, within `Prefer: wait`.",
                documents.ShortPrediction | documents.Batch,
                sometimes=("Location", "Preference-Applied"),
                example="short",
                links=OF_ORDER,
            ),
            202: Answer(
                "It is accepted: one job, or the parts of a batch, of which at least one was accepted.",
                documents.ShortPrediction | documents.Batch,
                headers=("Location",),
                sometimes=("Retry-After", "Retry-After-Ms", "Preference-Applied"),
                example="short starting",
                links=OF_ORDER,
            ),
        },
        CREATES,
        STARTS,
        {
            "One image": {
                "prompt": "a quiet harbour at dawn",
                "model": "black-forest-labs/flux-schnell",
                "num_images": 1,
                "input": {"megapixels": "0.25"},
            },
            "A batch": {
                "prompts": ["a fox", "a hare"],
                "model": "black-forest-labs/flux-schnell",
                "num_images": 1,
                "input": {"megapixels": "0.25"},
            },
        },
        description="One job for a prompt, unless that is more images than the model makes at once; several jobs for "
        "several prompts. What the model takes is in `GET /models`.",
    ),
    "POST /train": Operation(
        "train",
        "Train a LoRA",
        Tag.SHORT,
        ORDERED,
        CREATES,
        STARTS,
        {"A LoRA": {"images_zip_url": "https://example.com/foxes.zip", "trigger_word": "FOXY"}},
        description="Its progress is read like that of a prediction. When it succeeds, the model can be named at once.",
    ),
    "GET /predictions/{job_id}": Operation(
        "jobs.get",
        "Read a job",
        Tag.SHORT,
        _job(documents.ShortPrediction, "short"),
        READS,
        (Code.NOT_FOUND,),
        description="A prediction or a training.",
    ),
    "GET /predictions": Operation(
        "jobs.list",
        "List jobs",
        Tag.SHORT,
        _page(documents.ShortPage),
        (BATCH_ID, STATUS, CURSOR),
        (Code.INVALID_INPUT,),
    ),
    "POST /predictions/{job_id}/cancel": Operation(
        "jobs.cancel",
        "Cancel a job",
        Tag.SHORT,
        {
            200: Answer("It is canceled.", documents.ShortPrediction),
            202: Answer("It will be.", documents.ShortPrediction, headers=PACE),
        },
        refusals=(Code.NOT_FOUND, Code.NOT_CANCELABLE),
    ),
    "DELETE /predictions/{job_id}": Operation(
        "jobs.delete",
        "Delete a job and its files",
        Tag.SHORT,
        {204: GONE},
        refusals=(Code.NOT_FOUND, Code.NOT_FINISHED),
        description="Not until it has ended and is stored.",
    ),
    "GET /models": Operation(
        "catalog.get",
        "List models, with what they take and cost",
        Tag.SHORT,
        _read(documents.Catalog),
        (IF_NONE_MATCH,),
    ),
    "POST /uploads": Operation(
        "uploads.create",
        "Get a form with which S3 takes a large file",
        Tag.SHORT,
        {201: Answer("The form, good for a few minutes.", documents.UploadForm, headers=("Location",), links=OF_FILE)},
        examples={"A zip of images": {"filename": "foxes.zip", "bytes": 52_000_000}},
    ),
    # ---- The service ----
    "GET /files/{job_id}/{name}": Operation(
        "download",
        "Download what a job made",
        Tag.SERVICE,
        {
            200: Answer(
                "The bytes of a file of up to 4 MB.",
                headers=("Cache-Control", "Content-Security-Policy"),
                content=ANY_TYPE,
            ),
            302: Answer("Where the bytes of a larger one are.", headers=("Location", "Cache-Control")),
        },
        LINK,
        (Code.FORBIDDEN, Code.NOT_FOUND, Code.FILES_EXPIRED),
        description="Links of this kind are in every document of a job; they need no API key.",
    ),
    "GET /": Operation(
        "console",
        "The web page",
        Tag.SERVICE,
        {
            200: Answer("The page.", headers=CONDITIONAL, sometimes=("Content-Encoding",), content=HTML),
            304: UNCHANGED,
        },
        (IF_NONE_MATCH,),
    ),
    "GET /console/{version}/{name}": Operation(
        "console.file",
        "What the web page is made of",
        Tag.SERVICE,
        {200: Answer("The file.", headers=("Cache-Control",), sometimes=("Content-Encoding",), content=ANY_TYPE)},
        refusals=(Code.NOT_FOUND,),
    ),
    "GET /openapi.json": Operation(
        "openapi",
        "This document",
        Tag.SERVICE,
        {
            200: Answer("The document.", dict[str, Any], headers=CONDITIONAL, sometimes=("Content-Encoding",)),
            304: UNCHANGED,
        },
        (IF_NONE_MATCH,),
    ),
    "GET /health": Operation(
        "health", "Say whether the service answers", Tag.SERVICE, {200: Answer("It does.", documents.Health)}
    ),
    "POST /webhooks/replicate/{job_id}": Operation(
        "webhooks.replicate",
        "What Replicate calls",
        Tag.SERVICE,
        {200: Answer("It is understood, and acted upon if it was of any use.", documents.Received)},
        SIGNED,
        (Code.UNAUTHORIZED,),
        description="Signed by Replicate, at an address that was signed by us. Of no use to anybody else.",
    ),
}
