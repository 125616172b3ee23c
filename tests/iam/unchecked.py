"""The permissions that the emulator gives without asking: what AWS's documentation says they are needed for."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

_LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg"
_SCHEDULER = "https://docs.aws.amazon.com/scheduler/latest/UserGuide"


@dataclass(frozen=True)
class Unchecked:
    """Permissions of roles (patterns) that somebody at AWS uses in the role's name, outside of any request of ours."""

    role: str
    action: str
    resource: str
    reason: str
    source: str


_POLLED = "Lambda's poller reads the function's queue in the name of its role"
_LOGS = "Lambda writes the function's log in the name of its role"
_TRACES = "Lambda writes the function's traces in the name of its role"

UNCHECKED = (
    *(
        Unchecked(role, f"sqs:{action}", queue, _POLLED, f"{_LAMBDA}/services-sqs-configure.html")
        for role, queue in (
            ("DispatchRole", "DispatchQueue"),
            ("ArchiveRole", "ArchiveQueue"),
            ("NotifyRole", "NotifyQueue"),
        )
        for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    ),
    Unchecked("*Role", "logs:CreateLogStream", "*Logs", _LOGS, f"{_LAMBDA}/monitoring-cloudwatchlogs.html"),
    Unchecked("*Role", "logs:PutLogEvents", "*Logs", _LOGS, f"{_LAMBDA}/monitoring-cloudwatchlogs.html"),
    Unchecked("*Role", "xray:PutTraceSegments", "*", _TRACES, f"{_LAMBDA}/services-xray.html"),
    Unchecked("*Role", "xray:PutTelemetryRecords", "*", _TRACES, f"{_LAMBDA}/services-xray.html"),
    Unchecked(
        "ReconcileRole",
        "sqs:SendMessage",
        "ReconcileDeadLetterQueue",
        "Lambda keeps the record of a run that failed in the name of the function's role",
        f"{_LAMBDA}/invocation-async-retain-records.html",
    ),
    Unchecked(
        "ReconcileScheduleRole",
        "lambda:InvokeFunction",
        "ReconcileFunction",
        "EventBridge Scheduler invokes its target in the name of the schedule's role",
        f"{_SCHEDULER}/setting-up.html",
    ),
    Unchecked(
        "ReconcileScheduleRole",
        "sqs:SendMessage",
        "ReconcileDeadLetterQueue",
        "EventBridge Scheduler keeps what it could not invoke in the name of the schedule's role",
        f"{_SCHEDULER}/configuring-schedule-dlq.html",
    ),
)


def unchecked(role: str, action: str, resource: str) -> Unchecked | None:
    """Find what is said of a permission; all names are those of the template."""
    for one in UNCHECKED:
        if fnmatchcase(role, one.role) and action == one.action and fnmatchcase(resource, one.resource):
            return one
    return None
