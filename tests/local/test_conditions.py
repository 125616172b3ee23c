"""The condition keys that the emulator lacks: each is what AWS would say of the same request."""

import json
from typing import Any

import pytest
from ministack.core import iam_actions, iam_evaluator

from infra.local.conditions import (
    LEADING_KEYS,
    with_conditional_writes,
    with_each_parameter,
    with_encryption_context,
    with_leading_keys,
    with_rows_of_the_table,
)

context_of = with_leading_keys(iam_actions.dynamodb_service_context)


def key(value: str) -> dict[str, dict[str, str]]:
    return {"pk": {"S": value}}


def update(table: str, value: str) -> dict[str, Any]:
    return {"TableName": table, "Key": key(value), "UpdateExpression": "SET a = :a"}


REQUESTS: dict[str, tuple[dict[str, Any], dict[str, list[str]]]] = {
    "get": ({"TableName": "Jobs", "Key": key("job#1")}, {"Jobs": ["job#1"]}),
    "get by ARN": ({"TableName": "arn:aws:dynamodb:::table/Jobs", "Key": key("job#1")}, {"Jobs": ["job#1"]}),
    "put": ({"TableName": "Jobs", "Item": key("job#1") | {"a": {"N": "1"}}}, {"Jobs": ["job#1"]}),
    "update": (update("Jobs", "job#1"), {"Jobs": ["job#1"]}),
    "many": (
        {"RequestItems": {"Jobs": {"Keys": [key("a"), key("b")]}, "Accounts": {"Keys": [key("c")]}}},
        {"Jobs": ["a", "b"], "Accounts": ["c"]},
    ),
    "many writes": (
        {"RequestItems": {"Jobs": [{"PutRequest": {"Item": key("a")}}, {"DeleteRequest": {"Key": key("b")}}]}},
        {"Jobs": ["a", "b"]},
    ),
    "transaction": (
        {
            "TransactItems": [
                {"Update": update("Accounts", "account#x")},
                {"Put": {"TableName": "Jobs", "Item": key("job#1")}},
                {"Put": {"TableName": "Jobs", "Item": key("pointer#1")}},
                {"Delete": {"TableName": "Jobs", "Key": key("file#1")}},
                {"ConditionCheck": {"TableName": "Jobs", "Key": key("job#2")}},
            ]
        },
        {"Accounts": ["account#x"], "Jobs": ["job#1", "pointer#1", "file#1", "job#2"]},
    ),
    "query": (
        {
            "TableName": "Jobs",
            "IndexName": "by_tenant",
            "KeyConditionExpression": "#0 = :0 AND #1 BETWEEN :1 AND :2",
            "ExpressionAttributeValues": {":0": {"S": "acme"}, ":1": {"S": "a"}, ":2": {"S": "b"}},
        },
        {"Jobs": ["acme"]},
    ),
    "neither": ({"TableName": "Jobs"}, {}),
    "another key": ({"TableName": "Other", "Key": {"id": {"S": "1"}}}, {}),
    "a query without values": ({"TableName": "Jobs", "KeyConditionExpression": "pk = :pk"}, {}),
}


@pytest.mark.parametrize("request_", REQUESTS)
def test_the_rows_of_a_request_are_told_by_their_table(request_: str) -> None:
    body, rows = REQUESTS[request_]
    found = context_of(json.dumps(body).encode())
    assert found.pop(LEADING_KEYS) == rows
    assert found == iam_actions.dynamodb_service_context(json.dumps(body).encode()), "the rest is as it was"


@pytest.mark.parametrize("body", [b"", b"\xff", b"[1]", b"{"])
def test_what_is_no_request_names_no_rows(body: bytes) -> None:
    assert context_of(body)[LEADING_KEYS] == {}


@pytest.mark.parametrize(
    ("table", "rows", "allowed"),
    [
        ("Jobs", {"Jobs": ["job#1", "job#2"]}, True),
        ("Jobs", {"Jobs": ["job#1", "pointer#1"]}, False),
        ("Jobs/index/by_tenant", {"Jobs": ["acme"]}, False),
        # Another table's rows are judged by what is said of that.
        ("Jobs", {"Jobs": ["job#1"], "Accounts": ["account#x"]}, True),
    ],
)
def test_a_condition_on_rows_is_met_by_those_of_its_table_alone(
    monkeypatch: pytest.MonkeyPatch, table: str, rows: dict[str, list[str]], *, allowed: bool
) -> None:
    resolve = with_rows_of_the_table(iam_evaluator._resolve_condition_key)
    monkeypatch.setattr(iam_evaluator, "_resolve_condition_key", resolve)
    statement = {
        "Effect": "Allow",
        "Action": "dynamodb:UpdateItem",
        "Resource": f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}",
        "Condition": {"ForAllValues:StringLike": {LEADING_KEYS: ["job#*"]}},
    }
    asked = iam_evaluator.EvalContext(
        principal_arn="arn:aws:sts::000000000000:assumed-role/a/b",
        principal_type="AssumedRole",
        principal_account="000000000000",
        action="dynamodb:UpdateItem",
        resource_arn=statement["Resource"],
        region="us-east-1",
        service_context={LEADING_KEYS.lower(): rows},
    )
    result = iam_evaluator.evaluate(asked, [iam_evaluator.parse_policy_document({"Statement": [statement]})])
    assert (result.decision == "Allow") is allowed


def test_the_context_of_an_encryption_is_told_for_kms_only() -> None:
    context = with_encryption_context(lambda *_: {"aws:TagKeys": None})
    body = json.dumps({"EncryptionContext": {"job": "1", "tenant": "acme"}}).encode()
    assert context("kms", "kms:Encrypt", body, {}) == {
        "aws:TagKeys": None,
        "kms:EncryptionContext:job": "1",
        "kms:EncryptionContext:tenant": "acme",
        "kms:EncryptionContextKeys": ["job", "tenant"],
    }
    assert context("kms", "kms:Encrypt", b"{}", {}) == {"aws:TagKeys": None}
    assert context("sqs", "sqs:SendMessage", body, {}) == {"aws:TagKeys": None}


def test_a_write_of_what_is_not_there_yet_is_told_from_any_other() -> None:
    context = with_conditional_writes(lambda *_: {})
    assert context("s3:PutObject", {}, "/b/k", {"if-none-match": "*"}) == {"s3:if-none-match": "*"}
    assert context("s3:PutObject", {}, "/b/k", {}) == {}
    assert context("s3:GetObject", {}, "/b/k", {"if-none-match": "etag"}) == {}


# Parameters


@pytest.mark.parametrize(
    ("names", "named"), [(["/a", "/b"], "/a"), (["/a", "/secret"], "/secret"), (["/secret", "/a"], "/secret")]
)
def test_of_several_parameters_the_one_that_may_not_be_read_is_judged(names: list[str], named: str) -> None:
    judged = with_each_parameter(lambda *_: "*", lambda *asked: asked[-1].endswith("/secret"))
    body = json.dumps({"Names": names}).encode()
    arn = judged("ssm", "POST", "/", {}, body, {}, "us-east-1", "000000000000")
    assert arn == f"arn:aws:ssm:us-east-1:000000000000:parameter{named}"


@pytest.mark.parametrize(
    ("service", "body"), [("ssm", b'{"Name": "/a"}'), ("ssm", b"no JSON"), ("sqs", b'{"Names": ["/a"]}')]
)
def test_what_names_no_parameters_is_judged_as_before(service: str, body: bytes) -> None:
    judged = with_each_parameter(lambda *_: "as before", lambda *_: True)
    assert judged(service, "POST", "/", {}, body, {}, "us-east-1", "000000000000") == "as before"
