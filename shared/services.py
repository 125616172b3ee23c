"""The wiring: which function gets what, composed at its first request and kept while the process lives.

This is the only module that reads the environment or makes a client. Each function's parts are made here by hand, so
that what a function can do is what its section says; what only some functions use is imported in their section, so
that the others do not pay for it at a cold start.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from shared.dynamo import Dynamo
from shared.job import Millis
from shared.job_store import JobStore
from shared.logs import log_unexpected
from shared.schedule import POLL_S
from shared.settings import (
    ArchiveSettings,
    CancelSettings,
    CatalogSettings,
    DispatchSettings,
    FilesSettings,
    LinkSettings,
    ModelSettings,
    NotifySettings,
    StartSettings,
    StatusSettings,
    SubmitSettings,
    WebhookSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

    from shared.accounts import Accounts, Limits
    from shared.archive_queue import ArchiveQueue
    from shared.archiving import Archiver
    from shared.aws import Send, Surroundings
    from shared.canceling import Canceler
    from shared.dispatch_queue import DispatchQueue
    from shared.dispatching import Dispatcher
    from shared.file_inputs import FileInputs
    from shared.file_store import FileStore
    from shared.intake import Intake
    from shared.job import Job
    from shared.ledger import Ledger
    from shared.links import FileLinks
    from shared.model_config import ModelConfig
    from shared.notify_queue import NotifyQueue
    from shared.notifying import Notifier
    from shared.ordering import Ordering
    from shared.reading import Waiter
    from shared.reconciling import Reconciler
    from shared.replicate_api import ReplicateApi
    from shared.secret_inputs import SecretInputs
    from shared.starting import Starter
    from shared.submission import Submission
    from shared.targets import Targets
    from shared.uploads import Uploads
    from shared.upstream_limit import UpstreamLimit
    from shared.views import Views

    type Outgoing = Callable[[Job], Mapping[str, Any]]

SECRET_TRIES = 8  # three seconds, on average
SECRETS_KEPT_S = 60.0  # by a process, of those that are replaced while it lives
OUTPUT_SECONDS = 60.0  # for one output: archive runs 300 s at most
COPIES_AT_ONCE = 4  # of a job's outputs


class _Pace(NamedTuple):
    """How long a client waits for AWS, and how often it tries."""

    connect_s: float
    read_s: float
    tries: int


# Three tries fit well into the time of every function, also of one that has already waited for Replicate.
_STEADY = _Pace(2, 3, 3)
_HASTY = _Pace(1, 1, 1)  # for what is not worth a wait
_PATIENT = _Pace(2, 3, SECRET_TRIES)  # for the Parameter Store, which answers 40 a second, to all that start
_FOR_FILES = _Pace(2, 30, 3)


def now() -> Millis:
    """Give the time, in milliseconds since 1970."""
    return Millis(time.time_ns() // 1_000_000)


@dataclass(frozen=True, kw_only=True)
class SubmitParts:
    """What `submit` works with."""

    settings: SubmitSettings
    accounts: Accounts
    ordering: Ordering
    submission: Submission
    waiter: Waiter
    views: Views


@dataclass(frozen=True, kw_only=True)
class StatusParts:
    """What `status` works with."""

    settings: StatusSettings
    accounts: Accounts
    jobs: JobStore
    waiter: Waiter
    views: Views


@dataclass(frozen=True, kw_only=True)
class CatalogParts:
    """What `catalog` works with."""

    settings: CatalogSettings
    accounts: Accounts
    targets: Targets
    ledger: Ledger


@dataclass(frozen=True, kw_only=True)
class FilesParts:
    """What `files` works with."""

    settings: FilesSettings
    accounts: Accounts
    jobs: JobStore
    files: FileStore
    uploads: Uploads
    links: FileLinks


@dataclass(frozen=True, kw_only=True)
class CancelParts:
    """What `cancel` works with."""

    settings: CancelSettings
    accounts: Accounts
    jobs: JobStore
    canceler: Canceler
    archive: ArchiveQueue
    views: Views
    now: Callable[[], Millis]


@dataclass(frozen=True, kw_only=True)
class ArchiveParts:
    """What `archive` works with."""

    archiver: Archiver
    queue: ArchiveQueue


@dataclass(frozen=True, kw_only=True)
class NotifyParts:
    """What `notify` works with."""

    notifier: Notifier
    queue: NotifyQueue


@dataclass(frozen=True, kw_only=True)
class _StartParts:
    """What everything that starts, cancels and ends jobs shares."""

    dynamo: Dynamo
    jobs: JobStore
    ledger: Ledger
    archive: ArchiveQueue
    queue: DispatchQueue
    limit: UpstreamLimit
    replicate: ReplicateApi
    starter: Starter


@cache
def submit() -> SubmitParts:
    """Wire `submit`."""
    from shared.addresses import parse_places
    from shared.ordering import Ordering
    from shared.reading import Waiter
    from shared.submission import Submission

    settings = SubmitSettings.load(os.environ)
    _read_ahead(settings.link_key_parameter, settings.callback_key_parameter, settings.replicate_token_parameter)
    file_inputs = _file_inputs(settings, _links(settings))
    secret_inputs = _secret_inputs(settings.input_key_id)
    parts = _start_parts(
        settings,
        outgoing=_outgoing(file_inputs, secret_inputs),
        callback_key=secret(settings.callback_key_parameter),
        username=settings.username,
    )
    submission = Submission(
        jobs=parts.jobs,
        ledger=parts.ledger,
        limit=parts.limit,
        starter=parts.starter,
        file_inputs=file_inputs,
        secret_inputs=secret_inputs,
        retention_days=settings.file_retention_days,
        now=now,
        sleep=time.sleep,
    )
    ordering = Ordering(
        _targets(settings, parts.dynamo),
        default_model=settings.default_model,
        username=settings.username,
        most_jobs=settings.max_batch,
        webhook_places=parse_places(settings.webhook_hosts),
    )
    return SubmitParts(
        settings=settings,
        accounts=_accounts(parts.dynamo, settings.accounts_table, settings.limits),
        ordering=ordering,
        submission=submission,
        waiter=Waiter(parts.jobs, most_seconds=settings.max_wait_seconds, now=now),
        views=_views(settings),
    )


@cache
def dispatch() -> Dispatcher:
    """Wire `dispatch`."""
    from shared.dispatching import Dispatcher

    settings = DispatchSettings.load(os.environ)
    _read_ahead(settings.callback_key_parameter, settings.replicate_token_parameter)
    outgoing = _outgoing(_file_inputs(settings, None), _secret_inputs(settings.input_key_id))
    callback_key = secret(settings.callback_key_parameter)
    parts = _start_parts(settings, outgoing=outgoing, callback_key=callback_key, username=settings.username)
    return Dispatcher(jobs=parts.jobs, queue=parts.queue, limit=parts.limit, starter=parts.starter, now=now)


@cache
def webhook() -> Intake:
    """Wire `webhook`."""
    from shared.intake import Intake
    from shared.reports import Reports

    settings = WebhookSettings.load(os.environ)
    _read_ahead(settings.webhook_secret_parameter, settings.callback_key_parameter)
    jobs = JobStore(_dynamo(), settings.jobs_table)
    return Intake(
        reports=Reports(
            jobs=jobs,
            archive=_archive_queue(settings.archive_queue_url),
            poll_s=POLL_S,
            now=now,
            notify=cache(lambda: _notify_queue(settings.notify_queue_url, _HASTY)),
        ),
        webhook_keys=_kept(lambda: webhook_keys(secret(settings.webhook_secret_parameter))),
        callback_key=secret(settings.callback_key_parameter),
        now=now,
    )


@cache
def archive() -> ArchiveParts:
    """Wire `archive`."""
    from shared.archiving import Archiver
    from shared.copying import Copier
    from shared.fetch import parse_rules
    from shared.ledger import Ledger

    settings = ArchiveSettings.load(os.environ)
    dynamo = _dynamo()
    files, most_bytes = _files(settings.bucket), settings.max_output_megabytes * 1024 * 1024
    rules = parse_rules(settings.output_hosts, most_bytes=most_bytes, most_seconds=OUTPUT_SECONDS)
    archiver = Archiver(
        jobs=JobStore(dynamo, settings.jobs_table),
        ledger=Ledger(dynamo, jobs=settings.jobs_table, accounts=settings.accounts_table, now=now),
        files=files,
        rules=rules,
        copier=Copier(files, rules, at_once=COPIES_AT_ONCE),
        replicate=lambda: _replicate(settings.replicate_token_parameter, settings.replicate_api_url),
        now=now,
    )
    return ArchiveParts(archiver=archiver, queue=_archive_queue(settings.archive_queue_url))


@cache
def notify() -> NotifyParts:
    """Wire `notify`."""
    from shared.accounts import Limits
    from shared.addresses import parse_places
    from shared.notifying import Heard, Notifier

    settings = NotifySettings.load(os.environ)
    dynamo = _dynamo()
    notifier = Notifier(
        jobs=JobStore(dynamo, settings.jobs_table),
        heard=Heard(dynamo, settings.jobs_table, now=now),
        accounts=_accounts(dynamo, settings.accounts_table, Limits(0, 0, 0)),
        views=_views(settings),
        origin=settings.origins[0],
        places=parse_places(settings.webhook_hosts),
        now=now,
    )
    return NotifyParts(notifier=notifier, queue=_notify_queue(settings.notify_queue_url))


@cache
def status() -> StatusParts:
    """Wire `status`."""
    from shared.reading import Waiter

    settings = StatusSettings.load(os.environ)
    dynamo = _dynamo()
    jobs = JobStore(dynamo, settings.jobs_table)
    return StatusParts(
        settings=settings,
        accounts=_accounts(dynamo, settings.accounts_table, settings.limits),
        jobs=jobs,
        waiter=Waiter(jobs, most_seconds=settings.max_wait_seconds, now=now),
        views=_views(settings),
    )


@cache
def catalog() -> CatalogParts:
    """Wire `catalog`."""
    from shared.ledger import Ledger

    settings = CatalogSettings.load(os.environ)
    dynamo = _dynamo()
    return CatalogParts(
        settings=settings,
        accounts=_accounts(dynamo, settings.accounts_table, settings.limits),
        targets=_targets(settings, dynamo),
        ledger=Ledger(dynamo, jobs=settings.jobs_table, accounts=settings.accounts_table, now=now),
    )


@cache
def files() -> FilesParts:
    """Wire `files`."""
    settings = FilesSettings.load(os.environ)
    dynamo, stored = _dynamo(), _files(settings.bucket)
    return FilesParts(
        settings=settings,
        accounts=_accounts(dynamo, settings.accounts_table, settings.limits),
        jobs=JobStore(dynamo, settings.jobs_table),
        files=stored,
        uploads=_uploads(dynamo, settings.jobs_table, lambda: stored),
        links=_links(settings),
    )


@cache
def cancel() -> CancelParts:
    """Wire `cancel`."""
    from shared.canceling import Canceler

    settings = CancelSettings.load(os.environ)
    _read_ahead(settings.link_key_parameter, settings.replicate_token_parameter)
    parts = _start_parts(settings)
    return CancelParts(
        settings=settings,
        accounts=_accounts(parts.dynamo, settings.accounts_table, settings.limits),
        jobs=parts.jobs,
        canceler=Canceler(jobs=parts.jobs, starter=parts.starter, now=now),
        archive=parts.archive,
        views=_views(settings),
        now=now,
    )


@cache
def reconcile() -> Reconciler:
    """Wire `reconcile`."""
    from shared.reconciling import Reconciler
    from shared.reports import Reports

    settings = StartSettings.load(os.environ)
    parts = _start_parts(settings)
    return Reconciler(
        jobs=parts.jobs,
        archive=parts.archive,
        starter=parts.starter,
        replicate=parts.replicate,
        reports=Reports(jobs=parts.jobs, archive=parts.archive, poll_s=settings.poll_s, now=now),
        poll_s=settings.poll_s,
        now=now,
    )


def _kept[T](read: Callable[[], T]) -> Callable[[], T]:
    """Give what is read, anew from time to time: a process that knew its secrets for good would outlive them.

    What was read before stands as long as nothing can be read.
    """
    found: list[tuple[T, float]] = []

    def get() -> T:
        if not found or time.monotonic() >= found[0][1] + SECRETS_KEPT_S:
            try:
                value = read()
            except (BotoCoreError, ClientError, ValueError) as error:
                if not found:
                    raise
                log_unexpected("secret_not_read", error)
                value = found[0][0]
            found[:] = [(value, time.monotonic())]
        return found[0][0]

    return get


def webhook_keys(text: str) -> Sequence[bytes]:
    """Read the signing secrets of webhooks: several, separated by spaces, while one replaces another."""
    from shared.signatures import decode_secret

    keys = [decode_secret(one) for one in text.split()]
    if not keys:
        raise ValueError("there is no webhook secret, so that no webhook can be verified")
    return keys


def secret(name: str) -> str:
    """Read a SecureString of the Parameter Store; each part of a function does so once.

    Raises:
        ValueError: it is empty, or not there.
    """
    return _ahead().pop(name, None) or _read_secrets(name)[name]


@cache
def _ahead() -> dict[str, str]:
    return {}


def _read_ahead(*names: str) -> None:
    """Read all secrets of a function in one call: the Parameter Store answers 40 a second, to all that start."""
    _ahead().update(_read_secrets(*names))


def _read_secrets(*names: str) -> Mapping[str, str]:
    answer = _ssm().get_parameters(Names=list(names), WithDecryption=True)
    found = {one["Name"]: one["Value"].strip() for one in answer["Parameters"]}
    if missing := [name for name in names if not found.get(name)]:
        raise ValueError(f"empty, or not there: {', '.join(missing)}")
    return found


def _starts_nothing(job: Job) -> NoReturn:
    """Stand where a function that starts no prediction would need what is needed for that."""
    raise NotImplementedError(job.id)


def _outgoing(file_inputs: FileInputs, secret_inputs: SecretInputs) -> Outgoing:
    return lambda job: {**file_inputs.sent(job), **secret_inputs.open(job)}


def _file_inputs(settings: DispatchSettings, links: FileLinks | None) -> FileInputs:
    from shared.file_inputs import FileInputs

    dynamo, files = _dynamo(), cache(lambda: _files(settings.bucket))
    return FileInputs(
        jobs=JobStore(dynamo, settings.jobs_table),
        files=files,
        uploads=_uploads(dynamo, settings.jobs_table, files),
        links=links,
        origins=settings.origins,
        now=now,
    )


def _uploads(dynamo: Dynamo, table: str, files: Callable[[], FileStore]) -> Uploads:
    from shared.uploads import Uploads

    return Uploads(dynamo, table, files=files, now=now)


def _secret_inputs(key_id: str) -> SecretInputs:
    from shared.secret_inputs import SecretInputs

    return SecretInputs(cache(lambda: _boto3_client("kms", _STEADY)), key_id)


def _model_config(text: str) -> ModelConfig:
    from shared.logs import get_logger
    from shared.model_config import BadModelConfig, parse_model_config

    try:
        return parse_model_config(text)
    except BadModelConfig as error:
        get_logger().error("bad_model_config", where=str(error))  # it repeats no value
        raise


def _targets(settings: ModelSettings, dynamo: Dynamo) -> Targets:
    from shared.targets import Targets, parse_fallback
    from shared.trained_models import TrainedModels
    from shared.upstream_catalog import UpstreamCatalog

    catalog = UpstreamCatalog(
        dynamo,
        settings.jobs_table,
        replicate=lambda: _replicate(settings.replicate_token_parameter, settings.replicate_api_url),
        now=now,
    )
    return Targets(
        config=_model_config(settings.model_config),
        allowed=settings.allowed,
        fallback=parse_fallback(settings.fallback_price_usd),
        lora=settings.lora,
        trained=TrainedModels(dynamo, settings.accounts_table),
        catalog=catalog,
    )


def _start_parts(
    settings: StartSettings,
    *,
    outgoing: Outgoing = _starts_nothing,
    callback_key: str = "",  # only what starts a prediction signs where it is to be reported
    username: str | None = None,
) -> _StartParts:
    from shared.dispatch_queue import DispatchQueue
    from shared.ledger import Ledger
    from shared.starting import Starter
    from shared.upstream_limit import UpstreamLimit

    dynamo = _dynamo()
    jobs = JobStore(dynamo, settings.jobs_table)
    ledger = Ledger(dynamo, jobs=settings.jobs_table, accounts=settings.accounts_table, now=now)
    archive_queue = _archive_queue(settings.archive_queue_url)
    queue = DispatchQueue(_sqs(), settings.dispatch_queue_url)
    limit = UpstreamLimit(dynamo, settings.accounts_table, rate=settings.replicate_rate_per_minute, now=now)
    replicate = _replicate(settings.replicate_token_parameter, settings.replicate_api_url)
    starter = Starter(
        jobs=jobs,
        ledger=ledger,
        archive=archive_queue,
        queue=queue,
        limit=limit,
        replicate=replicate,
        callback_key=callback_key,
        public_url=settings.origins[0],
        has_webhooks=settings.has_webhooks,
        poll_s=settings.poll_s,
        most_queued_s=settings.max_queued_hours * 3600,
        outgoing=outgoing,
        username=username,
        now=now,
    )
    return _StartParts(
        dynamo=dynamo,
        jobs=jobs,
        ledger=ledger,
        archive=archive_queue,
        queue=queue,
        limit=limit,
        replicate=replicate,
        starter=starter,
    )


def _accounts(dynamo: Dynamo, table: str, defaults: Limits) -> Accounts:
    from shared.accounts import Accounts

    return Accounts(dynamo, table, defaults=defaults, now=now)


def _views(settings: LinkSettings) -> Views:
    from shared.views import Views

    return Views(_links(settings), now=now)


def _archive_queue(url: str) -> ArchiveQueue:
    from shared.archive_queue import ArchiveQueue

    return ArchiveQueue(_sqs(), url)


def _notify_queue(url: str, pace: _Pace = _STEADY) -> NotifyQueue:
    from shared.notify_queue import NotifyQueue

    return NotifyQueue(_client("sqs", pace), url)


@cache
def _sqs() -> SQSClient:
    client: SQSClient = _client("sqs")
    return client


@cache
def _ssm() -> SSMClient:
    client: SSMClient = _client("ssm", _PATIENT)
    return client


def _dynamo() -> Dynamo:
    return Dynamo(_client("dynamodb"))


def _files(bucket: str) -> FileStore:
    from shared.file_store import FileStore

    return FileStore(_client("s3", _FOR_FILES), bucket)


def _client(service: str, pace: _Pace = _STEADY) -> Any:  # noqa: ANN401 - a client of boto3's, or one like it
    """Make a client: in Lambda one that starts fast; elsewhere boto3's, which finds an operator's credentials."""
    if "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
        return _boto3_client(service, pace)
    from shared.aws import JsonClient, ObjectClient

    if service == "s3":
        return ObjectClient(_surroundings(), _send(_STEADY), boto3s=cache(lambda: _boto3_client(service, pace)))
    return JsonClient(service, _surroundings(), _send(pace), tries=pace.tries)


@cache
def _surroundings() -> Surroundings:
    from shared.aws import surroundings

    return surroundings(os.environ)


@cache
def _send(pace: _Pace) -> Send:
    # Connections are shared by the clients that wait as long.
    from shared.aws import sender

    return sender(connect_s=pace.connect_s, read_s=pace.read_s)


def _boto3_client(service: Any, pace: _Pace) -> Any:  # noqa: ANN401
    import boto3
    from botocore.config import Config

    # Signed URLs and forms name the bucket's own region: S3's global name redirects, and what is signed cannot follow.
    config = Config(
        connect_timeout=pace.connect_s,
        read_timeout=pace.read_s,
        retries={"mode": "standard", "total_max_attempts": pace.tries},
        signature_version="s3v4" if service == "s3" else None,
        s3={"addressing_style": "virtual"},
    )
    return boto3.client(service, config=config)


@cache
def _links(settings: LinkSettings) -> FileLinks:
    from shared.links import FileLinks

    return FileLinks(
        key=secret(settings.link_key_parameter),
        link_days=settings.file_link_days,
        retention_days=settings.file_retention_days,
    )


@cache
def _replicate(token_parameter: str, base_url: str) -> ReplicateApi:
    from shared.replicate_api import ReplicateApi

    return ReplicateApi(token=secret(token_parameter), base_url=base_url)
