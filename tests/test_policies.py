"""Who may do what: the roles of template.yaml, held against a table, so that no permission changes unnoticed.

`make test-iam` shows that each of them is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.iam.permissions import listed, named, permissions_of, roles
from tests.iam.unchecked import UNCHECKED, unchecked
from tests.support.template import read_template

RESOURCES = read_template()["Resources"]
FUNCTIONS = {
    name: body["Properties"] for name, body in RESOURCES.items() if body["Type"] == "AWS::Serverless::Function"
}
ROLE_OF = {name.removesuffix("Function").lower(): body["Role"]["Fn::GetAtt"][0] for name, body in FUNCTIONS.items()}

# For each role: the actions, what with, and under which condition; of rows only those with such keys.
TABLE = {
    "SubmitRole": """
        dynamodb:BatchGetItem,GetItem JobsTable rows job#*,file#*,catalog#*
        dynamodb:PutItem,UpdateItem JobsTable rows job#*,pointer#*,prediction#*,file#*,catalog#*
        dynamodb:Query JobsTable/index/by_tenant
        dynamodb:BatchGetItem,GetItem AccountsTable rows account#*,key#*,models#*,destination#*,upstream#replicate
        dynamodb:PutItem,UpdateItem AccountsTable rows account#*,destination#*,upstream#replicate
        sqs:SendMessage DispatchQueue,ArchiveQueue
        ssm:GetParameters replicate-api-token,callback-key,link-key
        s3:PutObject Bucket/inputs/*
        s3:GetObject Bucket/inputs/*,Bucket/jobs/*,Bucket/uploads/*
        kms:Encrypt,Decrypt InputKey with job,tenant
        logs:CreateLogStream,PutLogEvents SubmitLogs
        xray:PutTraceSegments,PutTelemetryRecords *
    """,
    "DispatchRole": """
        sqs:ReceiveMessage,DeleteMessage,GetQueueAttributes,SendMessage DispatchQueue
        dynamodb:PutItem,UpdateItem JobsTable rows job#*,prediction#*
        dynamodb:GetItem AccountsTable rows upstream#replicate
        dynamodb:UpdateItem AccountsTable rows account#*,upstream#replicate
        sqs:SendMessage ArchiveQueue
        ssm:GetParameters replicate-api-token,callback-key
        s3:GetObject Bucket/inputs/*,Bucket/jobs/*,Bucket/uploads/*
        kms:Decrypt InputKey with job,tenant
        logs:CreateLogStream,PutLogEvents DispatchLogs
    """,
    "WebhookRole": """
        dynamodb:PutItem,UpdateItem JobsTable rows job#*,prediction#*
        sqs:SendMessage ArchiveQueue,NotifyQueue
        ssm:GetParameters replicate-webhook-secret,callback-key
        logs:CreateLogStream,PutLogEvents WebhookLogs
        xray:PutTraceSegments,PutTelemetryRecords *
    """,
    "ArchiveRole": """
        sqs:ReceiveMessage,DeleteMessage,GetQueueAttributes,SendMessage ArchiveQueue
        dynamodb:GetItem JobsTable rows job#*
        dynamodb:PutItem,UpdateItem JobsTable rows job#*,prediction#*
        dynamodb:UpdateItem AccountsTable rows account#*,spending#*,models#*
        s3:GetObject Bucket/jobs/*
        s3:PutObject Bucket/jobs/* unless-there
        s3:ListBucket Bucket below jobs/*
        ssm:GetParameters replicate-api-token
        s3:DeleteObjectVersion Bucket/jobs/*,Bucket/inputs/*
        s3:ListBucketVersions Bucket below jobs/*,inputs/*
        logs:CreateLogStream,PutLogEvents ArchiveLogs
    """,
    "NotifyRole": """
        sqs:ReceiveMessage,DeleteMessage,GetQueueAttributes,ChangeMessageVisibility NotifyQueue
        dynamodb:GetItem JobsTable rows job#*,heard#*
        dynamodb:GetItem AccountsTable rows account#*
        dynamodb:UpdateItem JobsTable rows heard#*
        ssm:GetParameters link-key
        logs:CreateLogStream,PutLogEvents NotifyLogs
    """,
    "StatusRole": """
        dynamodb:BatchGetItem,GetItem JobsTable rows job#*
        dynamodb:Query JobsTable/index/by_tenant
        dynamodb:BatchGetItem,GetItem AccountsTable rows account#*,key#*
        ssm:GetParameters link-key
        logs:CreateLogStream,PutLogEvents StatusLogs
        xray:PutTraceSegments,PutTelemetryRecords *
    """,
    "CatalogRole": """
        dynamodb:GetItem,PutItem JobsTable rows catalog#*
        dynamodb:BatchGetItem,GetItem AccountsTable rows account#*,key#*,spending#*,models#*,destination#*
        ssm:GetParameters replicate-api-token
        logs:CreateLogStream,PutLogEvents CatalogLogs
        xray:PutTraceSegments,PutTelemetryRecords *
    """,
    "FilesRole": """
        dynamodb:GetItem JobsTable rows job#*,file#*
        dynamodb:BatchGetItem,DeleteItem,UpdateItem JobsTable rows file#*
        dynamodb:Query JobsTable/index/by_tenant rows files#*
        dynamodb:BatchGetItem AccountsTable rows account#*,key#*
        s3:GetObject Bucket/jobs/*
        s3:DeleteObject,GetObject,PutObject Bucket/uploads/*
        ssm:GetParameters link-key
        logs:CreateLogStream,PutLogEvents FilesLogs
        xray:PutTraceSegments,PutTelemetryRecords *
    """,
    "ConsoleRole": """
        logs:CreateLogStream,PutLogEvents ConsoleLogs
    """,
    "CancelRole": """
        dynamodb:GetItem,UpdateItem JobsTable rows job#*
        dynamodb:BatchGetItem AccountsTable rows account#*,key#*
        dynamodb:UpdateItem AccountsTable rows account#*
        sqs:SendMessage ArchiveQueue
        ssm:GetParameters replicate-api-token,link-key
        logs:CreateLogStream,PutLogEvents CancelLogs
        xray:PutTraceSegments,PutTelemetryRecords *
    """,
    "ReconcileRole": """
        dynamodb:Query JobsTable/index/due
        dynamodb:BatchGetItem JobsTable rows job#*
        dynamodb:PutItem,UpdateItem JobsTable rows job#*,prediction#*
        dynamodb:UpdateItem AccountsTable rows account#*,spending#*
        sqs:SendMessage DispatchQueue,ArchiveQueue,ReconcileDeadLetterQueue
        ssm:GetParameters replicate-api-token
        logs:CreateLogStream,PutLogEvents ReconcileLogs
    """,
    "ReconcileScheduleRole": """
        lambda:InvokeFunction ReconcileFunction
        sqs:SendMessage ReconcileDeadLetterQueue
    """,
    "RolloutRole": """
        lambda:GetAlias,UpdateAlias,GetProvisionedConcurrencyConfig function:afterimage-${Stage}-*
        cloudwatch:DescribeAlarms alarm:*
    """,
}

# What has no resource that could be named; each with the reason.
ANYWHERE = {
    "xray:PutTraceSegments": "X-Ray has no resources to write to",
    "xray:PutTelemetryRecords": "X-Ray has no resources to write to",
    "cloudwatch:DescribeAlarms": "CodeDeploy describes all of a deployment's alarms by one call",
}
READS = frozenset({"BatchGetItem", "GetItem", "Query", "Scan", "GetObject", "ListBucket", "ListBucketVersions"})
WRITES = frozenset(
    {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "PutObject", "DeleteObject", "DeleteObjectVersion"}
) | {"SendMessage"}
SERVICES = {"RolloutRole": "codedeploy.amazonaws.com", "ReconcileScheduleRole": "scheduler.amazonaws.com"}

each_role = pytest.mark.parametrize("role", roles())


@dataclass(frozen=True)
class Grant:
    """One action on one resource; `values` are those of its condition, as the table has them."""

    role: str
    service: str
    action: str
    resource: str
    condition: str = ""
    values: tuple[str, ...] = ()


def statements(role: str) -> list[dict[str, Any]]:
    return [one for policy in roles()[role]["Policies"] for one in policy["PolicyDocument"]["Statement"]]


def grants(role: str) -> Iterator[Grant]:
    for statement in statements(role):
        condition = condition_of(statement)
        for service, action in (full.split(":") for full in listed(statement["Action"])):
            for resource in listed(statement["Resource"]):
                yield Grant(role, service, action, named(resource), *condition)


def condition_of(statement: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Give a condition in the words of the table; there is one at most, of a form that is known to hold."""
    match statement.get("Condition"):
        case None:
            return "", ()
        case {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": values, **others}, **more} if not (others or more):
            return "rows", tuple(listed(values))
        case {"StringLike": {"s3:prefix": values, **others}, **more} if not (others or more):
            return "below", tuple(listed(values))
        case {"Null": {"s3:if-none-match": "false", **others}, **more} if not (others or more):
            return "unless-there", ()
        case {"Null": keys, **more} if not more and set(keys.values()) == {"false"}:
            return "with", tuple(key.removeprefix("kms:EncryptionContext:") for key in keys)
    raise ValueError(statement)


def in_table(role: str) -> Iterator[Grant]:
    for line in TABLE[role].strip().splitlines():
        actions, resources, condition, values = (*line.split(), "", "")[:4]
        service, _, names = actions.partition(":")
        for action in names.split(","):
            for resource in resources.split(","):
                yield Grant(role, service, action, resource, condition, tuple(values.split(",")) if values else ())


ALL = [grant for role in ROLE_OF.values() for grant in grants(role)]


def who(service: str, resource: str, actions: frozenset[str] | None = None) -> set[str]:
    """Give the functions that may do this with a resource, or with something below or above it."""
    found = {
        grant.role
        for grant in ALL
        if grant.service == service
        and (actions is None or grant.action in actions)
        and (fnmatchcase(resource, grant.resource) or fnmatchcase(grant.resource, resource))
    }
    return {function for function, role in ROLE_OF.items() if role in found}


# The table


@pytest.mark.parametrize("role", TABLE)
def test_a_role_may_do_exactly_what_the_table_says(role: str) -> None:
    found = list(grants(role))
    assert set(found) == set(in_table(role))
    assert len(found) == len(set(found)), "a permission is given twice"


def test_the_table_has_every_role() -> None:
    assert set(TABLE) == set(roles())


# What holds for every role, also for those to come


@each_role
def test_a_role_belongs_to_one_function_or_service_and_nobody_else_can_take_it(role: str) -> None:
    properties = roles()[role]
    owners = [function for function, own in ROLE_OF.items() if own == role]
    assert len(owners) == (0 if role in SERVICES else 1)
    (trust,) = properties["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Effect"], trust["Action"]) == ("Allow", "sts:AssumeRole")
    assert trust["Principal"] == {"Service": SERVICES.get(role, "lambda.amazonaws.com")}
    if role in SERVICES:
        assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert set(properties) == {"AssumeRolePolicyDocument", "Policies"}, "no managed policies"


def test_a_function_has_no_permissions_but_those_of_its_role() -> None:
    for name, properties in FUNCTIONS.items():
        assert not {"Policies", "PermissionsBoundary", "AssumeRolePolicyDocument"} & set(properties), name
    assert not {"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"} & {
        body["Type"] for body in RESOURCES.values()
    }


@each_role
def test_every_permission_is_one_action_on_one_resource_or_what_is_below_one_prefix(role: str) -> None:
    for statement in statements(role):
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource"} & set(statement)
        for action in listed(statement["Action"]):
            service, _, name = action.partition(":")
            assert service, action
            assert name.isalnum(), action
            for resource in listed(statement["Resource"]):
                if action in ANYWHERE:
                    continue
                text = named(resource)
                head, star, tail = text.partition("*")
                assert not tail, f"{text} has anything after its prefix"
                assert not star or head.endswith(("/", "-")), f"{text} is no prefix of a name"
                assert head.strip("/-"), f"{action} on everything"


@each_role
def test_what_aws_can_narrow_is_narrowed(role: str) -> None:
    for grant in grants(role):
        match grant.service, grant.resource, grant.action:
            case "dynamodb", "JobsTable" | "AccountsTable", _:
                assert grant.condition == "rows", grant
            case "s3", "Bucket", _:
                assert grant.condition == "below", grant
            case "s3", "Bucket/jobs/*", "PutObject":
                assert grant.condition == "unless-there", grant
            case "kms", _, _:
                assert (grant.condition, grant.values) == ("with", ("job", "tenant")), grant


@each_role
def test_nobody_may_scan_a_table_or_change_what_is_deployed(role: str) -> None:
    used = {f"{grant.service}:{grant.action}" for grant in grants(role)}
    assert not {"dynamodb:Scan", "iam:PassRole", "sts:AssumeRole"} & used
    # CodeDeploy alone moves an alias from one version of a function to the next.
    changes = {one for one in used if one.partition(":")[2].startswith(("Create", "Update", "Delete", "Put", "Set"))}
    data = {"dynamodb", "s3", "sqs", "logs", "xray"}
    assert {one for one in changes if one.partition(":")[0] not in data} <= (
        {"lambda:UpdateAlias"} if role == "RolloutRole" else set()
    )


# Who must not


def test_status_and_console_write_nothing() -> None:
    for function in ("status", "console"):
        written = {grant for grant in ALL if grant.role == ROLE_OF[function] and grant.action in WRITES}
        assert not written


def test_webhook_reads_nothing_and_has_no_business_with_the_bucket_or_with_accounts() -> None:
    own = [grant for grant in ALL if grant.role == ROLE_OF["webhook"]]
    assert {grant.service for grant in own} == {"dynamodb", "sqs", "ssm", "logs", "xray"}
    assert not {grant.action for grant in own} & READS
    assert {grant.resource for grant in own if grant.service == "dynamodb"} == {"JobsTable"}


def test_archive_alone_writes_and_deletes_below_jobs() -> None:
    assert who("s3", "Bucket/jobs/x/y/0.webp", WRITES) == {"archive"}
    assert who("s3", "Bucket/inputs/x/y/0.png", WRITES) == {"submit", "archive"}
    assert who("s3", "Bucket/uploads/x/y/a.png", WRITES) == {"files"}
    assert who("s3", "Bucket/elsewhere", WRITES) == set()


def test_only_who_needs_the_bucket_reads_it() -> None:
    assert who("s3", "Bucket/jobs/x/y/0.webp", READS) == {"archive", "files", "submit", "dispatch"}
    assert who("s3", "Bucket") == {"archive"}


@pytest.mark.parametrize(
    ("secret", "readers"),
    [
        # Who calls Replicate.
        ("replicate-api-token", {"submit", "dispatch", "archive", "catalog", "cancel", "reconcile"}),
        ("replicate-webhook-secret", {"webhook"}),
        # Who signs where a prediction is to be reported, and who checks that.
        ("callback-key", {"submit", "dispatch", "webhook"}),
        # Who signs links to files, and who checks them.
        ("link-key", {"submit", "status", "files", "cancel", "notify"}),
    ],
)
def test_a_secret_is_read_by_who_needs_it(secret: str, readers: set[str]) -> None:
    assert who("ssm", secret) == readers


def test_secret_inputs_are_sealed_by_submit_and_opened_by_what_starts_predictions() -> None:
    assert who("kms", "InputKey", frozenset({"Encrypt"})) == {"submit"}
    assert who("kms", "InputKey", frozenset({"Decrypt"})) == {"submit", "dispatch"}


@pytest.mark.parametrize(
    ("table", "row", "writers"),
    [
        ("AccountsTable", "key#0a", set()),  # operators make keys
        ("AccountsTable", "spending#acme#20261101", {"archive", "reconcile"}),
        ("AccountsTable", "models#acme", {"archive"}),
        ("AccountsTable", "upstream#replicate", {"submit", "dispatch"}),
        ("AccountsTable", "destination#acme/fox", {"submit"}),
        ("JobsTable", "job#x", {"submit", "dispatch", "webhook", "archive", "cancel", "reconcile"}),
        ("JobsTable", "pointer#acme#key#x", {"submit"}),
        ("JobsTable", "prediction#x", {"submit", "dispatch", "webhook", "archive", "reconcile"}),
        ("JobsTable", "catalog#models/x", {"submit", "catalog"}),
        ("JobsTable", "heard#x", {"notify"}),
        ("JobsTable", "file#x", {"submit", "files"}),
    ],
)
def test_a_row_is_written_by_who_it_belongs_to(table: str, row: str, writers: set[str]) -> None:
    found = {
        function
        for function, role in ROLE_OF.items()
        for grant in grants(role)
        if grant.resource == table and grant.action in WRITES
        if any(fnmatchcase(row, value) for value in grant.values)
    }
    assert found == writers


@pytest.mark.parametrize(
    ("queue", "senders"),
    [
        ("DispatchQueue", {"submit", "dispatch", "reconcile"}),
        ("ArchiveQueue", {"submit", "dispatch", "webhook", "archive", "cancel", "reconcile"}),
        ("NotifyQueue", {"webhook"}),
        ("ReconcileDeadLetterQueue", {"reconcile"}),
        ("DispatchDeadLetterQueue", set()),
        ("ArchiveDeadLetterQueue", set()),
        ("NotifyDeadLetterQueue", set()),
    ],
)
def test_a_queue_is_filled_by_who_it_is_for_and_emptied_by_its_function(queue: str, senders: set[str]) -> None:
    assert who("sqs", queue, frozenset({"SendMessage"})) == senders
    emptied_by = {
        name.removesuffix("Function").lower()
        for name, properties in FUNCTIONS.items()
        for event in properties.get("Events", {}).values()
        if event["Properties"].get("Queue") == {"Fn::GetAtt": [queue, "Arn"]}
    }
    for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
        assert who("sqs", queue, frozenset({action})) == emptied_by
    assert not who("sqs", queue, frozenset({"PurgeQueue", "SetQueueAttributes"}))


def test_nobody_reads_or_writes_another_functions_log() -> None:
    for function, role in ROLE_OF.items():
        group = FUNCTIONS[f"{function.title()}Function"]["LoggingConfig"]["LogGroup"]["Ref"]
        assert {grant.resource for grant in grants(role) if grant.service == "logs"} == {group}


# What resources say of themselves


def test_the_bucket_gives_nobody_anything() -> None:
    policies = [body["Properties"] for body in RESOURCES.values() if body["Type"] == "AWS::S3::BucketPolicy"]
    assert len(policies) == 1
    for policy in policies:
        assert {one["Effect"] for one in policy["PolicyDocument"]["Statement"]} == {"Deny"}


def test_a_queue_lets_in_services_only_and_for_one_source_each() -> None:
    policies = [body["Properties"] for body in RESOURCES.values() if body["Type"] == "AWS::SQS::QueuePolicy"]
    assert policies
    for policy in policies:
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Deny":
                continue
            assert set(statement["Principal"]) == {"Service"}
            assert statement["Action"] == "sqs:SendMessage"
            assert set(statement["Condition"]["ArnEquals"]) == {"aws:SourceArn"}
            assert {one["Fn::GetAtt"][1] for one in listed(statement["Resource"])} == {"Arn"}


def test_a_key_is_the_accounts_whose_roles_say_who_uses_it() -> None:
    keys = [body["Properties"] for body in RESOURCES.values() if body["Type"] == "AWS::KMS::Key"]
    assert keys
    for key in keys:
        # `kms:*` for the account is what lets roles decide, and the key be managed; its `*` is the key itself.
        (statement,) = key["KeyPolicy"]["Statement"]
        assert statement["Principal"] == {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}


# The reasons of `make test-iam`


def test_every_reason_why_a_permission_cannot_be_checked_is_about_one_that_is_there() -> None:
    there = {(one.role, one.action, one.resource) for role in roles() for one in permissions_of(role)}
    named_there = {unchecked(*one) for one in there}
    assert set(UNCHECKED) <= named_there
    for one in UNCHECKED:
        assert one.source.startswith("https://docs.aws.amazon.com/"), one
