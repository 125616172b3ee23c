"""What all floors have: their clients, made at import, and the log."""

import os
from functools import cache

import boto3
from aws_lambda_powertools import Logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

LOG = Logger(service="floor")
DYNAMODB = boto3.client("dynamodb")
JOBS = os.environ["JOBS_TABLE"]


def secret(variable: str) -> str:
    """Read a secret that the environment names."""
    answer = _ssm().get_parameter(Name=os.environ[variable], WithDecryption=True)
    return str(answer["Parameter"]["Value"])


@cache
def _ssm() -> "SSMClient":
    return boto3.client("ssm")


def touch(pk: str, **fields: str) -> None:
    """Make one conditional write."""
    DYNAMODB.update_item(
        TableName=JOBS,
        Key={"pk": {"S": f"floor#{pk}"}},
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in fields),
        ConditionExpression="attribute_not_exists(gone)",
        ExpressionAttributeNames={f"#{name}": name for name in fields},
        ExpressionAttributeValues={f":{name}": {"S": value} for name, value in fields.items()},
    )
