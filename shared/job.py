"""The job: its states, the events that move it, and the rules for both, each declared once.

A job is one prediction or one training. Every change to it is an event, and an event is data: the states it may
come in, the state it leads to, what else must hold, and what it changes. `apply` evaluates an event against a job
in memory; the job store turns the same event into one conditional write. Nothing else changes a job.

All times are integers: milliseconds since 1970 (UTC). All money is in micro-USD.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, NewType, override

from shared.errors import Code, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.pricing import Price

JobId = NewType("JobId", str)
TenantId = NewType("TenantId", str)
PredictionId = NewType("PredictionId", str)
Millis = NewType("Millis", int)


class Kind(StrEnum):
    """What Replicate was asked for."""

    PREDICTION = "prediction"
    TRAINING = "training"


class Status(StrEnum):
    """Where a job is. Only `queued` and `storing` are unknown to Replicate."""

    QUEUED = "queued"
    STARTING = "starting"
    PROCESSING = "processing"
    STORING = "storing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


ENDED = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED})
OPEN = frozenset(Status) - ENDED
CLOCKS_DIFFER_MS = 2_000  # ours and Replicate's, at most


class Makes(StrEnum):
    """What comes out of a model."""

    IMAGES = "images"  # a list of images, which may be shorter than asked
    IMAGE = "image"  # one image
    MODEL = "model"  # of a training: a new version of a model
    ANYTHING = "anything"  # we do not know the model


class Shape(StrEnum):
    """How Replicate gave the files of an output."""

    LIST = "list"
    SINGLE = "single"
    NESTED = "nested"  # anywhere in `text`, where each has left a mark


class Reason(StrEnum):
    """Why an event changes nothing. All of these are ordinary: none is an error."""

    MISSING = "missing"  # there is no such job
    DUPLICATE = "duplicate"  # the job is already there
    LATE = "late"  # the job has moved on
    ENDED = "ended"  # the job is over: terminal states absorb everything
    EARLY = "early"  # the job is not there yet
    UNADOPTED = "unadopted"  # the job does not know its prediction yet
    STRAY = "stray"  # the job belongs to another prediction
    SUPERSEDED = "superseded"  # another attempt or holder has the job
    BUSY = "busy"  # another process holds the lease
    CANCEL_REQUESTED = "cancel_requested"  # nothing is sent any more


@dataclass(frozen=True)
class Ignored:
    """The event changed nothing, for this reason; `job` is the job as it was found, if there is one."""

    reason: Reason
    job: Job | None = None


@dataclass(frozen=True)
class Hold:
    """Money set aside at admission, and the UTC day (YYYYMMDD) whose budget it was taken from."""

    day: str
    amount: int


@dataclass(frozen=True)
class StoredFile:
    """One output in the bucket. `n` is its place in the prediction's output; width and height are of images."""

    n: int
    key: str
    content_type: str
    bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None

    @property
    def name(self) -> str:
        """The last part of the key, such as `0.webp`."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One accepted request, from admission to its manifest and beyond."""

    id: JobId
    tenant: TenantId
    kind: Kind = Kind.PREDICTION
    status: Status
    model: str  # owner/name
    version: str | None = None  # the hash that was asked for; None for an official model
    deployment: str | None = None  # owner/name, if it runs on one
    destination: str | None = None  # owner/name, where a training puts its model
    family: str = "other"  # what its model is counted as: one of few names, which the registry knows
    makes: Makes = Makes.IMAGES
    input: Mapping[str, Any]  # canonical and validated, without secrets
    stored_inputs: Mapping[str, str] = field(default_factory=dict)  # where in the input (`image`) → key in the bucket
    sealed: str | None = None  # encrypted secret inputs, until the job has started
    altered: tuple[str, ...] = ()  # inputs that Replicate is sent in another form than `input` shows
    fingerprint: str  # of the caller's body
    warnings: tuple[str, ...] = ()
    webhook: str | None = None  # the caller's own
    webhook_events: tuple[str, ...] = ()
    batch_id: str | None = None

    created_at: Millis
    started_at: Millis | None = None
    completed_at: Millis | None = None

    attempt: int = 0  # how many times a POST to Replicate was claimed
    claimed_at: Millis | None = None
    unclear_at: Millis | None = None  # the claimed POST ended without a clear answer
    prediction_id: PredictionId | None = None
    upstream_status: str | None = None  # Replicate's last word that we do not know
    absences: int = 0  # complete listings of Replicate's that did not show an unclear attempt
    cancel_requested_at: Millis | None = None
    cancel_after_at: Millis | None = None  # the caller's own deadline, counted from the submission
    deadline_s: int | None = None  # the model's, counted from the accepted create
    deadline_hit_at: Millis | None = None  # it was canceled for its deadline, not for its owner

    lease: str | None = None  # who is storing the files
    lease_until: Millis | None = None
    takes: int = 0  # how many times storing was begun
    joined: int = 0  # requests that were given this job instead of one of their own
    retries: int = 0  # the highest count of a client's own retry that was given this job

    percent: int | None = None
    logs: str | None = None
    metrics: Mapping[str, Any] | None = None
    error: str | None = None  # Replicate's own words
    problem: Problem | None = None
    text: Any = None  # an output that is not files
    files: tuple[StoredFile, ...] = ()
    files_shape: Shape = Shape.LIST
    seed: int | None = None
    drawn_seed: int | None = None  # set if nobody gave a seed: then it identifies the prediction

    price: Price
    estimate: int = 0  # micro-USD, at admission
    hold: Hold | None = None
    cost: int | None = None

    due_at: Millis | None = None
    due_shard: str | None = None
    archived_at: Millis | None = None  # the manifest exists
    deleted_at: Millis | None = None  # a tombstone: nobody sees it any more
    purged_at: Millis | None = None  # and all that it held is gone

    @property
    def ended(self) -> bool:
        """Whether the job has reached a terminal state."""
        return self.status in ENDED

    @property
    def expected_files(self) -> int:
        """How many files the job was admitted for; there may be fewer in the end."""
        asked = self.input.get("num_outputs", 1)
        return max(1, asked) if isinstance(asked, int) else 1

    @property
    def deadline_at(self) -> Millis | None:
        """When the job is to be canceled, if it has not ended by then."""
        runs_until = None
        if self.deadline_s is not None and self.prediction_id is not None:
            runs_until = (self.claimed_at or self.created_at) + self.deadline_s * 1000
        known = [at for at in (self.cancel_after_at, runs_until) if at is not None]
        return Millis(min(known)) if known else None


# What an event may require of the job, beside its status


@dataclass(frozen=True)
class Test:
    """One comparison with one field: `absent`, `present`, `equal`, or `below` (number smaller than the value)."""

    field: str
    operator: str
    value: str | int | None = None

    def holds(self, job: Job) -> bool:
        """Evaluate against a job in memory; the job store has the same four as expressions."""
        found = getattr(job, self.field)
        match self.operator:
            case "absent":
                return found is None
            case "present":
                return found is not None
            case "equal":
                return bool(found == self.value)
            case "below":
                return found is not None and found < self.value
        raise ValueError(self.operator)


@dataclass(frozen=True)
class Requirement:
    """At least one of the tests must hold; if none does, the event is ignored for this reason."""

    tests: tuple[Test, ...]
    otherwise: Reason


def require(otherwise: Reason, *tests: Test) -> Requirement:
    """Spell a requirement with the reason first, as it reads in the events below."""
    return Requirement(tests, otherwise)


def absent(name: str) -> Test:
    """The job has no such field."""
    return Test(name, "absent")


def present(name: str) -> Test:
    """The job has such a field."""
    return Test(name, "present")


def equal(name: str, value: str | int) -> Test:
    """The job's field has this value."""
    return Test(name, "equal", value)


def below(name: str, value: int) -> Test:
    """The job's field is a number smaller than this."""
    return Test(name, "below", value)


def _otherwise(**reasons: Reason) -> Mapping[Status, Reason]:
    """Name the reason for each open status in which an event is ignored; the terminal ones absorb everything."""
    return {Status(name): reason for name, reason in reasons.items()} | dict.fromkeys(ENDED, Reason.ENDED)


# The events


@dataclass(frozen=True)
class Event:
    """Something that happened to a job. `legal_from` and `ignored_in` together name every status once."""

    legal_from: ClassVar[frozenset[Status]]
    ignored_in: ClassVar[Mapping[Status, Reason]]
    to: ClassVar[Status | None] = None  # None: the status stays

    def target(self) -> Status | None:
        """The status after the event, or None if it stays."""
        return self.to

    def requires(self) -> Iterable[Requirement]:
        """What must hold beside the status."""
        return ()

    def changes(self) -> Mapping[str, Any]:
        """The fields it sets; a value of None removes the field."""
        return {}

    def counts(self) -> str | None:
        """The field that it counts up by one, if any."""
        return None


@dataclass(frozen=True)
class Claimed(Event):
    """A process will now POST attempt number `attempt` to Replicate; only the one whose claim was saved may."""

    attempt: int
    at: Millis
    due_at: Millis

    legal_from = frozenset({Status.QUEUED})
    ignored_in = _otherwise(starting=Reason.DUPLICATE, processing=Reason.LATE, storing=Reason.LATE)
    to = Status.STARTING

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            require(Reason.SUPERSEDED, equal("attempt", self.attempt - 1)),
            require(Reason.LATE, absent("prediction_id")),
            require(Reason.CANCEL_REQUESTED, absent("cancel_requested_at")),
        )

    @override
    def changes(self) -> Mapping[str, Any]:
        return {
            "attempt": self.attempt,
            "claimed_at": self.at,
            "unclear_at": None,
            "absences": 0,
            "due_at": self.due_at,
        }


@dataclass(frozen=True)
class OfAttempt(Event):
    """An event of a claimed attempt that has no prediction yet, and counts only while that is so."""

    attempt: int

    legal_from = frozenset({Status.STARTING})
    ignored_in = _otherwise(queued=Reason.LATE, processing=Reason.LATE, storing=Reason.LATE)

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            require(Reason.SUPERSEDED, equal("attempt", self.attempt)),
            require(Reason.LATE, absent("prediction_id")),
        )


@dataclass(frozen=True)
class Returned(OfAttempt):
    """Replicate surely did not take the attempt: back to the queue, and due once a message should have come."""

    due_at: Millis

    ignored_in = _otherwise(queued=Reason.DUPLICATE, processing=Reason.LATE, storing=Reason.LATE)
    to = Status.QUEUED

    @override
    def requires(self) -> Iterable[Requirement]:
        return (*super().requires(), require(Reason.CANCEL_REQUESTED, absent("cancel_requested_at")))

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"claimed_at": None, "due_at": self.due_at}


@dataclass(frozen=True)
class Unclear(OfAttempt):
    """The attempt ended without a clear answer: it stays as it is, for `reconcile` to look up at `due_at`."""

    at: Millis
    due_at: Millis

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"unclear_at": self.at, "due_at": self.due_at}


@dataclass(frozen=True)
class NotListed(OfAttempt):
    """A complete listing of Replicate's predictions did not show the attempt, for the `absences`th time."""

    absences: int
    due_at: Millis

    @override
    def requires(self) -> Iterable[Requirement]:
        return (*super().requires(), require(Reason.DUPLICATE, equal("absences", self.absences - 1)))

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"absences": self.absences, "due_at": self.due_at}


@dataclass(frozen=True)
class Adopted(Event):
    """The job learns which prediction is its own. Saved in one transaction with the prediction's owner."""

    prediction_id: PredictionId
    due_at: Millis

    legal_from = frozenset({Status.QUEUED, Status.STARTING})
    ignored_in = _otherwise(processing=Reason.DUPLICATE, storing=Reason.DUPLICATE)
    to = Status.STARTING

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            require(Reason.DUPLICATE, absent("prediction_id")),
            require(Reason.CANCEL_REQUESTED, absent("cancel_requested_at")),
        )

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"prediction_id": self.prediction_id, "unclear_at": None, "sealed": None, "due_at": self.due_at}


@dataclass(frozen=True)
class AdoptedToCancel(Adopted):
    """The job learns which prediction is its own, only to have it canceled: that was asked for in the meantime."""

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            require(Reason.DUPLICATE, absent("prediction_id")),
            require(Reason.CANCEL_REQUESTED, present("cancel_requested_at")),
        )


@dataclass(frozen=True)
class OfPrediction(Event):
    """An event that comes from a prediction, and counts only for the job that has adopted it."""

    prediction_id: PredictionId

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            require(Reason.UNADOPTED, present("prediction_id")),
            require(Reason.STRAY, equal("prediction_id", self.prediction_id)),
        )


@dataclass(frozen=True)
class Started(OfPrediction):
    """Replicate began to work on it."""

    at: Millis

    legal_from = frozenset({Status.STARTING})
    ignored_in = _otherwise(queued=Reason.UNADOPTED, processing=Reason.DUPLICATE, storing=Reason.LATE)
    to = Status.PROCESSING

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"started_at": self.at}


@dataclass(frozen=True)
class Progressed(OfPrediction):
    """The logs tell how far it is. A line that comes late does not lower it."""

    percent: int
    logs: str

    legal_from = frozenset({Status.STARTING, Status.PROCESSING})
    ignored_in = _otherwise(queued=Reason.UNADOPTED, storing=Reason.LATE)
    to = Status.PROCESSING

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            *super().requires(),
            require(Reason.LATE, absent("percent"), below("percent", self.percent)),
        )

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"percent": self.percent, "logs": self.logs}


@dataclass(frozen=True)
class Unrecognized(OfPrediction):
    """Replicate reports a status that we do not know: written down, and left to `reconcile`."""

    status: str

    legal_from = frozenset({Status.STARTING, Status.PROCESSING})
    ignored_in = _otherwise(queued=Reason.UNADOPTED, storing=Reason.LATE)

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"upstream_status": self.status}


@dataclass(frozen=True)
class Taken(OfPrediction):
    """The prediction is over and its files are about to be stored, by the one who holds the lease."""

    lease: str
    at: Millis
    until: Millis

    legal_from = frozenset({Status.STARTING, Status.PROCESSING, Status.STORING})
    ignored_in = _otherwise(queued=Reason.UNADOPTED)
    to = Status.STORING

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            *super().requires(),
            require(Reason.BUSY, absent("lease"), equal("lease", self.lease), below("lease_until", self.at)),
        )

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"lease": self.lease, "lease_until": self.until, "due_at": self.until}

    @override
    def counts(self) -> str | None:
        return "takes"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ends: the verdict and everything that is known by then."""

    status: Status
    completed_at: Millis
    cost: int
    problem: Problem | None = None
    error: str | None = None
    started_at: Millis | None = None
    logs: str | None = None
    metrics: Mapping[str, Any] | None = None
    text: Any = None
    files: tuple[StoredFile, ...] = ()
    files_shape: Shape = Shape.LIST
    warnings: tuple[str, ...] = ()  # all of the job's, with what was noticed at its end

    def __post_init__(self) -> None:
        if self.status not in ENDED:
            raise ValueError(self.status)


@dataclass(frozen=True, kw_only=True)
class Settling(Event):
    """The end of the job, saved in one transaction with the account: the hold is there, and is removed."""

    outcome: Outcome
    due_at: Millis

    @override
    def target(self) -> Status | None:
        return self.outcome.status

    @override
    def requires(self) -> Iterable[Requirement]:
        return (require(Reason.ENDED, present("hold")),)

    @override
    def changes(self) -> Mapping[str, Any]:
        outcome = self.outcome
        known = {
            "started_at": outcome.started_at,
            "logs": outcome.logs,
            "metrics": outcome.metrics,
            "error": outcome.error,
            "problem": outcome.problem,
            "text": outcome.text,
            "files": outcome.files or None,
            "warnings": outcome.warnings or None,
        }
        return {
            "completed_at": outcome.completed_at,
            "cost": outcome.cost,
            "files_shape": outcome.files_shape,
            "hold": None,
            "sealed": None,
            "lease": None,
            "lease_until": None,
            "due_at": self.due_at,
            **{name: value for name, value in known.items() if value is not None},
        }


@dataclass(frozen=True, kw_only=True)
class Settled(Settling):
    """The holder of the lease has stored what there was to store."""

    lease: str

    legal_from = frozenset({Status.STORING})
    ignored_in = _otherwise(queued=Reason.EARLY, starting=Reason.EARLY, processing=Reason.EARLY)

    @override
    def requires(self) -> Iterable[Requirement]:
        return (*super().requires(), require(Reason.BUSY, equal("lease", self.lease)))


@dataclass(frozen=True, kw_only=True)
class Abandoned(Settling):
    """The job ends without ever having had a prediction, on the word of whoever saw its attempt `attempt`."""

    attempt: int

    legal_from = frozenset({Status.QUEUED, Status.STARTING})
    ignored_in = _otherwise(processing=Reason.LATE, storing=Reason.LATE)

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            *super().requires(),
            require(Reason.SUPERSEDED, equal("attempt", self.attempt)),
            require(Reason.LATE, absent("prediction_id")),
        )


@dataclass(frozen=True)
class CancelRequested(Event):
    """Somebody wants it canceled; whoever knows the prediction's id cancels it with Replicate."""

    at: Millis
    due_at: Millis

    legal_from = frozenset({Status.QUEUED, Status.STARTING, Status.PROCESSING})
    ignored_in = _otherwise(storing=Reason.LATE)

    @override
    def requires(self) -> Iterable[Requirement]:
        return (require(Reason.DUPLICATE, absent("cancel_requested_at")),)

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"cancel_requested_at": self.at, "due_at": self.due_at}


@dataclass(frozen=True)
class DeadlineHit(Event):
    """Its time is over: from now on it is being canceled."""

    at: Millis
    due_at: Millis

    legal_from = frozenset({Status.QUEUED, Status.STARTING, Status.PROCESSING})
    ignored_in = _otherwise(storing=Reason.LATE)

    @override
    def requires(self) -> Iterable[Requirement]:
        return (require(Reason.DUPLICATE, absent("cancel_requested_at")),)

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"cancel_requested_at": self.at, "deadline_hit_at": self.at, "due_at": self.due_at}


@dataclass(frozen=True)
class Joined(Event):
    """A request for the same thing is given this job, instead of paying again."""

    legal_from = OPEN | {Status.SUCCEEDED}
    ignored_in: ClassVar[Mapping[Status, Reason]] = dict.fromkeys((Status.FAILED, Status.CANCELED), Reason.ENDED)

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            require(Reason.CANCEL_REQUESTED, absent("cancel_requested_at")),
            require(Reason.ENDED, absent("deleted_at")),
        )

    @override
    def counts(self) -> str | None:
        return "joined"


@dataclass(frozen=True)
class Retried(Event):
    """A client repeats, for the `count`th time, a request whose answer it has not seen; only one such repeat is this.

    Another one with the same count comes from a twin of the first request, which has a job of its own.
    """

    count: int

    legal_from = frozenset(Status)
    ignored_in: ClassVar[Mapping[Status, Reason]] = {}

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            require(Reason.DUPLICATE, absent("retries"), below("retries", self.count)),
            require(Reason.ENDED, absent("deleted_at")),
        )

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"retries": self.count}


@dataclass(frozen=True)
class Deferred(Event):
    """Whoever saves this looks after the job that was due at `seen`; the next one does at `due_at`."""

    seen: Millis
    due_at: Millis

    legal_from = frozenset(Status)
    ignored_in: ClassVar[Mapping[Status, Reason]] = {}

    @override
    def requires(self) -> Iterable[Requirement]:
        return (require(Reason.BUSY, equal("due_at", self.seen)),)

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"due_at": self.due_at}


@dataclass(frozen=True)
class OfEnded(Event):
    """An event that comes after the end."""

    legal_from = ENDED
    ignored_in: ClassVar[Mapping[Status, Reason]] = dict.fromkeys(OPEN, Reason.EARLY)


@dataclass(frozen=True)
class Archived(OfEnded):
    """The manifest exists: only now does the job leave the due index."""

    at: Millis

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            require(Reason.DUPLICATE, absent("archived_at")),
            require(Reason.LATE, absent("deleted_at")),
        )

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"archived_at": self.at, "due_at": None, "due_shard": None}


@dataclass(frozen=True)
class Deleted(OfEnded):
    """The owner wants it gone: first a tombstone, and back into the due index until everything has been removed."""

    at: Millis
    due_shard: str

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            require(Reason.EARLY, present("archived_at")),
            require(Reason.DUPLICATE, absent("deleted_at")),
        )

    @override
    def changes(self) -> Mapping[str, Any]:
        return {"deleted_at": self.at, "due_at": self.at, "due_shard": self.due_shard}


@dataclass(frozen=True)
class Purged(OfEnded):
    """All that it held has been removed from the bucket, and goes from the job too."""

    at: Millis

    @override
    def requires(self) -> Iterable[Requirement]:
        return (
            require(Reason.EARLY, present("deleted_at")),
            require(Reason.DUPLICATE, absent("purged_at")),
        )

    @override
    def changes(self) -> Mapping[str, Any]:
        content = ("webhook", "logs", "metrics", "error", "problem", "text", "seed", "drawn_seed")
        return {
            "purged_at": self.at,
            "input": {},
            "stored_inputs": {},
            "altered": (),
            "warnings": (),
            "files": (),
            **dict.fromkeys((*content, "due_at", "due_shard")),
        }


EVENTS: tuple[type[Event], ...] = (
    Claimed,
    Returned,
    Unclear,
    NotListed,
    Adopted,
    AdoptedToCancel,
    Started,
    Progressed,
    Unrecognized,
    Taken,
    Settled,
    Abandoned,
    CancelRequested,
    DeadlineHit,
    Joined,
    Retried,
    Deferred,
    Archived,
    Deleted,
    Purged,
)


def apply(job: Job, event: Event) -> Job | Ignored:
    """Give the job after the event, or the reason why the event changes nothing."""
    if job.status not in event.legal_from:
        return Ignored(event.ignored_in[job.status], job)
    for requirement in event.requires():
        if not any(test.holds(job) for test in requirement.tests):
            return Ignored(requirement.otherwise, job)
    fields = dict(event.changes())
    if (counted := event.counts()) is not None:
        fields[counted] = getattr(job, counted) + 1
    return replace(job, status=event.target() or job.status, **fields)


def deadline_problem(job: Job, ended_at: Millis | None = None) -> Problem | None:
    """Give the problem of a job that is canceled for its deadline, and None if somebody wanted it canceled.

    Replicate is told of the caller's own deadline, and cancels at it by itself: `ended_at` is when, by its clock.
    """
    by_replicate = (
        job.cancel_after_at is not None
        and job.cancel_requested_at is None
        and ended_at is not None
        and ended_at >= job.cancel_after_at - CLOCKS_DIFFER_MS
    )
    if job.deadline_hit_at is None and not by_replicate:
        return None
    return Problem(Code.DEADLINE_EXCEEDED, "It was canceled, because it had not ended by its deadline.")
