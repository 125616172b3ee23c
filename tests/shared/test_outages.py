"""Outages, where coming back helps, are told from bugs, where it does not."""

from typing import Any

import pytest
from botocore import exceptions as aws

from shared.errors import (
    Cause,
    Code,
    Contended,
    OutputExpired,
    OutputRejected,
    OutputUnavailable,
    Refusal,
    UpstreamNotTaken,
    UpstreamRefused,
    UpstreamUnclear,
)
from shared.outages import is_outage

URL = "https://dynamodb.us-east-1.amazonaws.com"


def client_error(code: str, status: int | None) -> aws.ClientError:
    answer: Any = {"Error": {"Code": code, "Message": ""}}
    if status is not None:
        answer["ResponseMetadata"] = {"HTTPStatusCode": status}
    return aws.ClientError(answer, "Op")


@pytest.mark.parametrize(
    "error",
    [
        Contended("x"),
        OutputUnavailable("x"),
        UpstreamNotTaken(Cause.THROTTLED),
        UpstreamUnclear("x"),
        aws.EndpointConnectionError(endpoint_url=URL),
        aws.ConnectTimeoutError(endpoint_url=URL),
        aws.ReadTimeoutError(endpoint_url=URL),
        aws.ConnectionClosedError(endpoint_url=URL),
        aws.HTTPClientError(error="x"),
        client_error("InternalServerError", 500),
        client_error("503", 503),
        client_error("SlowDown", 503),
        client_error("InternalFailure", 500),
        client_error("OperationAborted", 409),
        client_error("ConditionalRequestConflict", 409),
        client_error("TooManyRequestsException", 429),
        client_error("ThrottlingException", 400),
        client_error("ProvisionedThroughputExceededException", 400),
        client_error("RequestLimitExceeded", 400),
        client_error("RequestTimeout", 400),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:60],
)
def test_an_outage_is_one(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        ValueError("x"),
        OutputExpired("x"),
        OutputRejected("x"),
        UpstreamRefused(422, "x"),
        Refusal(Code.NOT_FOUND, "x"),
        aws.ParamValidationError(report="x"),
        aws.NoCredentialsError(),
        client_error("ValidationException", 400),
        client_error("AccessDeniedException", 400),
        client_error("ConditionalCheckFailedException", 400),
        client_error("AccessDenied", 403),
        client_error("ResourceNotFoundException", 400),
        client_error("odd", None),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:60],
)
def test_a_bug_is_none(error: Exception) -> None:
    assert not is_outage(error)
