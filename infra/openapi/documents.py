"""What the functions answer, as types: the schemas of the OpenAPI document are made of them.

Nothing but the generator imports this module, so that no function pays for it. Tests hold it against what the
functions really answer. A key that is not always there is `NotRequired`; one that may be null says so.
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from pydantic import ConfigDict, Field, WithJsonSchema, with_config

from shared.errors import Code
from shared.identifiers import ALPHABET, LENGTH
from shared.job import Kind, Makes, Status
from shared.pricing import Unit

JOB_ID = rf"^[0-7][{ALPHABET}]{{{LENGTH - 1}}}$"
JobId = Annotated[str, Field(pattern=JOB_ID, description="Sorts by time.", examples=["01m8g0x3g0c2p7r9k4t6w8y0z1"])]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Url = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]
Usd = Annotated[float, Field(ge=0, description="US dollars.")]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(description="owner/name")]
Anything = Annotated[Any, WithJsonSchema({})]
OutsideStatus = Annotated[
    Literal["starting", "processing", "succeeded", "failed", "canceled"],
    Field(description="In Replicate's words; the last three are final."),
]
EventName = Literal["start", "output", "logs", "completed"]
Progress = Annotated[float, Field(ge=0, le=1, description="Null while nothing is known.")]
Warnings = Annotated[list[str], Field(description="What was changed, dropped or withheld.")]


class InvalidField(TypedDict):
    """A field of the request that is wrong."""

    field: Annotated[str, Field(examples=["input.num_outputs"])]
    description: str


class JobProblem(TypedDict):
    """Why a job did not succeed, in the form of a problem document (RFC 9457)."""

    type: Annotated[str, Field(pattern="^urn:afterimage:problem:", examples=["urn:afterimage:problem:nsfw_content"])]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(description="For people: every field that is wrong, and what to do.")]
    instance: str
    code: Annotated[Code, Field(description="For programs.", json_schema_extra={"x-extensible-enum": True})]
    retryable: Annotated[bool, Field(description="Whether the same request may succeed later.")]
    invalid_fields: list[InvalidField]


class Problem(JobProblem):
    """Why a request was refused: a problem document (RFC 9457). Nothing was started, and nothing counted."""

    request_id: Annotated[str, Field(description="To be named when it is reported; also the header X-Request-Id.")]


class GatewayRefusal(TypedDict):
    """What Amazon API Gateway answers in our place, when it is overloaded or given too much."""

    message: Annotated[str, Field(examples=["Service Unavailable"])]


class StoredFile(TypedDict):
    """One file that a job made."""

    url: Annotated[Url, Field(description="Signed; needs no API key.")]
    content_type: str
    bytes: Count
    sha256: str
    width: Annotated[Count | None, Field(description="In pixels, of an image.")]
    height: Count | None


class Afterimage(TypedDict):
    """All that Replicate does not have."""

    stage: Annotated[Status, Field(description="Where the job really is.")]
    progress: Progress | None
    files: Annotated[list[StoredFile], Field(description="What the job made, in order.")]
    cost_usd: Annotated[Usd | None, Field(description="US dollars; null until it has ended.")]
    estimated_cost_usd: Usd
    batch_id: JobId | None
    reused: Annotated[bool, Field(description="This request was given a job that was there already.")]
    seed: Annotated[int | None, Field(description="The seed that was given, or the one drawn in its place.")]
    warnings: Warnings
    problem: JobProblem | None
    poll_after: Annotated[float | None, Field(description="Seconds to wait before asking again; null at the end.")]


class PredictionUrls(TypedDict):
    """Where to go on."""

    get: Url
    cancel: Url
    web: Url


class Prediction(TypedDict):
    """A prediction or a training, as Replicate shows it."""

    id: JobId
    model: Name
    version: Annotated[str, Field(description='The version that was asked for; "hidden" for an official model.')]
    status: OutsideStatus
    input: Annotated[dict[str, Any], Field(description="As it was validated; without secrets.")]
    output: Annotated[Anything, Field(description="In the model's own shape, with our links; null until it succeeded.")]
    logs: str
    error: str | None
    metrics: dict[str, Any]
    created_at: Time
    started_at: Time | None
    completed_at: Time | None
    data_removed: Annotated[bool, Field(description="Its files have reached the end of their life.")]
    source: Literal["api"]
    urls: PredictionUrls
    webhook: NotRequired[str]
    webhook_events_filter: NotRequired[list[EventName]]
    afterimage: Afterimage


class PredictionPage(TypedDict):
    """A page of predictions or trainings, newest first."""

    previous: None
    next: Annotated[Url | None, Field(description="The page after this one.")]
    results: list[Prediction]


class ShortPrediction(TypedDict):
    """A job, in short."""

    prediction_id: JobId
    status: OutsideStatus
    images: Annotated[list[Url] | None, Field(description="Links that need no API key; null until it succeeded.")]
    progress: Progress | None
    problem: JobProblem | None
    output: NotRequired[Annotated[Anything, Field(description="Of a model that may make anything.")]]
    trained_model: NotRequired[Annotated[str | None, Field(description="Of a training: owner/name:version.")]]
    warnings: NotRequired[Warnings]
    reused: NotRequired[Annotated[Literal[True], Field(description="It was there already.")]]


class RefusedPart(TypedDict):
    """A part of a batch that was not accepted."""

    problem: Problem


class Batch(TypedDict):
    """What became of each part of a batch, in order."""

    batch_id: JobId
    predictions: list[ShortPrediction | RefusedPart]


class StatusCounts(TypedDict):
    """How many jobs of a batch have which status."""

    starting: Count
    processing: Count
    succeeded: Count
    failed: Count
    canceled: Count


class ShortPage(TypedDict):
    """A page of jobs, newest first."""

    predictions: list[ShortPrediction]
    next_cursor: Annotated[JobId | None, Field(description="What to send as `cursor` for the next page.")]
    counts: NotRequired[Annotated[StatusCounts, Field(description="Of the whole batch, if one was asked for.")]]


class ListedPrice(TypedDict):
    """What something costs, who says so, and since when."""

    usd: Usd
    per: Unit
    read: Annotated[str | None, Field(description="When the price was read, such as 2026-10.")]
    source: str | None
    is_certain: bool
    usual_seconds: NotRequired[float]


class ListedDeployment(TypedDict):
    """A deployment that runs a model."""

    name: Name | None
    price: ListedPrice
    estimate_usd: Usd


class ListedModel(TypedDict):
    """A model that the caller may name, with what it takes and costs."""

    name: Name
    kind: Kind
    makes: Makes
    max_images: Annotated[int | None, Field(description="Of one job; null if that is not known.")]
    version: str | None
    trigger_word: str | None
    trained: Annotated[bool, Field(description="The caller has trained it here.")]
    training_id: JobId | None
    price: ListedPrice
    estimate_usd: Annotated[Usd, Field(description="Of one image, or of a training of 1,000 steps.")]
    deadline_seconds: int
    defaults: dict[str, Any]
    presets: Annotated[list[str], Field(description="Those that fill in something here.")]
    deployments: list[ListedDeployment]
    input_schema: Annotated[
        dict[str, Any] | None, Field(description="JSON Schema of the input; null if Replicate alone knows it.")
    ]


class Catalog(TypedDict):
    """Everything that the caller may name."""

    models: list[ListedModel]
    presets: Annotated[dict[str, dict[str, Any]], Field(description="What each fills in.")]


@with_config(ConfigDict(extra="allow"))
class Version(TypedDict):
    """A version of a model, as Replicate shows it: with everything that it tells."""

    id: str
    created_at: str
    cog_version: NotRequired[str | None]
    openapi_schema: NotRequired[dict[str, Any] | None]


class VersionPage(TypedDict):
    """The latest versions of a model, as many as one answer holds."""

    previous: None
    next: None
    results: list[Version]


@with_config(ConfigDict(extra="allow"))
class Model(TypedDict):
    """A model, as Replicate shows it: with everything that it tells."""

    url: str
    owner: str
    name: str
    description: NotRequired[str | None]
    visibility: NotRequired[str]
    github_url: NotRequired[str | None]
    paper_url: NotRequired[str | None]
    license_url: NotRequired[str | None]
    run_count: NotRequired[Count]
    cover_image_url: NotRequired[str | None]
    default_example: NotRequired[dict[str, Any] | None]
    latest_version: NotRequired[Version | None]


class ModelPage(TypedDict):
    """A page of the models that the caller may name, by name."""

    previous: None
    next: Url | None
    results: list[Model]


class AccountLimits(TypedDict):
    """What the caller may do at a time."""

    requests_per_minute: Count
    max_in_flight: Count


class AccountMoney(TypedDict):
    """What the caller has spent and may spend."""

    day: Annotated[str, Field(pattern="^[0-9]{8}$", description="The UTC day, as YYYYMMDD.")]
    budget_usd: Usd
    committed_usd: Annotated[Usd, Field(description="Spent or reserved, in US dollars.")]
    spent_usd: Usd
    reserved_usd: Usd
    in_flight: Annotated[int, Field(description="Unfinished jobs.")]
    limits: AccountLimits
    by_model: Annotated[dict[str, Usd], Field(description="What was spent today, on which model.")]


class Account(TypedDict):
    """The caller's account, as Replicate shows one."""

    type: Literal["organization"]
    username: str
    name: str
    avatar_url: None
    github_url: None
    afterimage: AccountMoney


class FileUrls(TypedDict):
    """Where the file is; as an input, this link stands for it."""

    get: Url


class File(TypedDict):
    """A file of the caller's, kept for a week, as Replicate shows it."""

    id: JobId
    name: str
    content_type: Annotated[str | None, Field(description="Null, as the next two, until something was uploaded.")]
    size: Count | None
    etag: str | None
    checksums: dict[str, str]
    metadata: dict[str, Any]
    created_at: Time
    expires_at: Time
    urls: FileUrls


class FilePage(TypedDict):
    """A page of the caller's files, newest first."""

    previous: None
    next: Url | None
    results: list[File]


class UploadForm(TypedDict):
    """A form with which S3 takes a file: POST the fields to the URL as multipart/form-data, `file` last."""

    id: JobId
    url: Url
    fields: dict[str, str]
    expires_at: Time
    file: File


@with_config(
    ConfigDict(
        extra="forbid",
        # Generated clients take metadata apart: `metadata[a][b]`.
        json_schema_extra={"patternProperties": {r"^metadata(\[[^\[\]]*\])+$": {"type": "string"}}},
    )
)
class FileForm(TypedDict):
    """A file as Replicate's clients send it."""

    content: Annotated[
        str, WithJsonSchema({"type": "string", "format": "binary", "minLength": 1, "description": "The file."})
    ]
    filename: NotRequired[Annotated[str, Field(description="Its name, instead of that of the part.")]]
    type: NotRequired[Annotated[str, Field(description="Without effect: what a file is, is told from its bytes.")]]
    metadata: NotRequired[
        Annotated[str, Field(description="A JSON object.", json_schema_extra={"contentMediaType": "application/json"})]
    ]


class WebhookSecret(TypedDict):
    """What the caller's own webhooks are signed with (Standard Webhooks)."""

    key: Annotated[str, Field(pattern="^whsec_")]


class Health(TypedDict):
    """It answers."""

    status: Literal["ok"]


class Received(TypedDict):
    """What was done with a webhook of Replicate's."""

    received: str
