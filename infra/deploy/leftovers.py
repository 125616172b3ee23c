"""What the end of a deployment leaves behind, and what that costs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

import boto3
from samcli.yamlhelper import yaml_parse

from infra.ops.deployment import Deployment
from infra.ops.secret_parameters import KEYS, TOKEN, WEBHOOK_SECRET
from shared.services import now

# USD a month in us-east-1, as AWS's price lists had them in November 2026 (?); elsewhere it is up to twice as much.
_GB = 10**9
_TABLE_GB = 0.25 + 0.20  # stored, and kept for point-in-time recovery
_BUCKET_GB = 0.023
_LOGS_GB = 0.03
_ENCRYPTION_KEY = 1.0
_THOUSAND = 1000
_PAGES = 10  # of a bucket's listing, where nothing else says how full it is
_KEPT = frozenset({"Retain", "RetainExceptOnCreate"})


@dataclass(frozen=True)
class Leftover:
    """One thing that stays: how much it holds, what it costs a month, and what deletes it."""

    name: str
    holds: str
    usd_a_month: float
    deleted_by: str


def leftovers(deployment: Deployment) -> list[Leftover]:
    """Find what stays when a stack is deleted: whatever its template says so of, and the secrets."""
    client = boto3.client("cloudformation")
    body: Any = client.get_template(StackName=deployment.name, TemplateStage="Processed")["TemplateBody"]
    template: Mapping[str, Any] = yaml_parse(body) if isinstance(body, str) else body
    kept = [name for name, one in template["Resources"].items() if one.get("DeletionPolicy") in _KEPT]
    found = [_look_at(deployment.types[name], deployment.physical[name]) for name in kept if name in deployment.types]
    return [*found, _secrets(deployment)]


def _look_at(kind: str, name: str) -> Leftover:
    look = _KINDS.get(kind)
    return look(name) if look else Leftover(name, kind, 0, "see the documentation of AWS")


def _table(name: str) -> Leftover:
    described = boto3.client("dynamodb").describe_table(TableName=name)["Table"]
    size = described.get("TableSizeBytes", 0)
    how = f"aws dynamodb update-table --table-name {name} --no-deletion-protection-enabled && "
    how = how if described.get("DeletionProtectionEnabled") else ""
    holds = f"table, {described.get('ItemCount', 0)} rows, {_size(size)}"
    return Leftover(name, holds, size / _GB * _TABLE_GB, f"{how}aws dynamodb delete-table --table-name {name}")


def _bucket(name: str) -> Leftover:
    size = _measured(name)
    holds = f"bucket, {_size(size)}" if size is not None else ""
    if size is None:
        pages = boto3.client("s3").get_paginator("list_object_versions").paginate(Bucket=name)
        listed = [one for page in islice(pages, _PAGES) for one in page.get("Versions", [])]
        size = sum(one["Size"] for one in listed)
        holds = f"bucket, {len(listed)} files or more, {_size(size)}"
    # Its older versions must go, too, which only the console does in one step.
    how = "https://console.aws.amazon.com/s3: Empty, then Delete"
    return Leftover(name, holds, size / _GB * _BUCKET_GB, how)


def _measured(bucket: str) -> float | None:
    """Give the bytes of a bucket as AWS measures them once a day."""
    end = now() // 1000
    points = boto3.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/S3",
        MetricName="BucketSizeBytes",
        Dimensions=[{"Name": "BucketName", "Value": bucket}, {"Name": "StorageType", "Value": "StandardStorage"}],
        StartTime=end - round(timedelta(days=3).total_seconds()),
        EndTime=end,
        Period=86_400,
        Statistics=["Average"],
    )["Datapoints"]
    return max(points, key=lambda one: one["Timestamp"])["Average"] if points else None


def _logs(name: str) -> Leftover:
    groups = boto3.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    size = sum(one.get("storedBytes", 0) for one in groups if one["logGroupName"] == name)
    how = f"aws logs delete-log-group --log-group-name {name}"
    return Leftover(name, f"log group, {_size(size)}", size / _GB * _LOGS_GB, how)


def _encryption_key(name: str) -> Leftover:
    return Leftover(name, "KMS key", _ENCRYPTION_KEY, f"aws kms schedule-key-deletion --key-id {name}")


def _secrets(deployment: Deployment) -> Leftover:
    prefix = f"/afterimage/{deployment.stage}"
    names = " ".join(f"{prefix}/{name}" for name in (TOKEN, WEBHOOK_SECRET, *KEYS))
    return Leftover(f"{prefix}/*", "4 secrets", 0, f"aws ssm delete-parameters --names {names}")


_KINDS: Mapping[str, Callable[[str], Leftover]] = {
    "AWS::DynamoDB::Table": _table,
    "AWS::S3::Bucket": _bucket,
    "AWS::Logs::LogGroup": _logs,
    "AWS::KMS::Key": _encryption_key,
}


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < _THOUSAND:
            return f"{size:.0f} {unit}"
        size /= _THOUSAND
    return f"{size:.1f} GB"
