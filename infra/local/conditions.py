"""What a request says of itself, for the conditions of policies: the keys of AWS that MiniStack leaves out.

Without them, a role's condition on rows, on the context of an encryption or on writing only what is not there yet
would be taken for met, or never be met.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

LEADING_KEYS = "dynamodb:LeadingKeys"
_HASH_KEY = "pk"  # of all tables here
_TABLE = re.compile(r":table/([^/]+)")
_EQUAL = re.compile(r"\S+\s*=\s*(:\w+)")

type Context = dict[str, Any]


def with_leading_keys(context: Callable[[bytes], Context]) -> Callable[[bytes], Context]:
    """Wrap what gives a request's condition keys for DynamoDB: adds the partition keys, by the table's name.

    Of a transaction, the documentation does not say whether each item is judged alone, or with the others on the same
    table. Here it is the latter, so that a policy which holds here holds either way.
    """

    def of_rows(body: bytes) -> Context:
        found: dict[str, list[str]] = {}
        for table, key in _rows(_decoded(body)):
            found.setdefault(table, []).append(key)
        return {**context(body), LEADING_KEYS: found}

    return of_rows


def with_rows_of_the_table(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what looks a condition key up: of the partition keys, those of the table that is asked about."""

    def of_table(key: str, request: Any) -> Any:  # noqa: ANN401
        value = resolve(key, request)
        if key.lower() != LEADING_KEYS.lower() or not isinstance(value, Mapping):
            return value
        table = _TABLE.search(request.resource_arn)
        return value.get(table[1]) if table else None

    return of_table


def with_encryption_context(context: Callable[..., Context]) -> Callable[..., Context]:
    """Wrap what gives a request's condition keys for every service: adds those of KMS."""

    def of_encryption(service: str, action: str, body: bytes, *more: object) -> Context:
        given = _decoded(body).get("EncryptionContext") if service == "kms" else None
        if not isinstance(given, Mapping):
            return context(service, action, body, *more)
        keys = {f"kms:EncryptionContext:{name}": value for name, value in given.items()}
        return {**context(service, action, body, *more), **keys, "kms:EncryptionContextKeys": list(given)}

    return of_encryption


def with_conditional_writes(context: Callable[..., Context]) -> Callable[..., Context]:
    """Wrap what gives a request's condition keys for S3: adds whether it writes only what is not there yet."""

    def of_write(action: str, query: object, path: str = "", headers: Mapping[str, str] | None = None) -> Context:
        found = context(action, query, path, headers)
        wanted = (headers or {}).get("if-none-match")
        return found if wanted is None or action != "s3:PutObject" else {**found, "s3:if-none-match": wanted}

    return of_write


def with_each_parameter(resource: Callable[..., str], is_denied: Callable[..., object]) -> Callable[..., str]:
    """Wrap what names the resource of a request: of several parameters of SSM, one that the caller may not read.

    MiniStack judges one resource of a request, and AWS each of these. `is_denied` takes the headers, the action, the
    region and a resource.
    """

    def of_each(service: str, *asked: Any) -> str:  # noqa: ANN401
        _, _, headers, body, _, region, account = asked
        names = _decoded(body).get("Names") if service == "ssm" else None
        if not isinstance(names, list) or not names:
            return resource(service, *asked)
        arns = [f"arn:aws:ssm:{region}:{account}:parameter/{str(name).lstrip('/')}" for name in names]
        return next((arn for arn in arns if is_denied(headers, "ssm:GetParameters", region, arn)), arns[0])

    return of_each


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _rows(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the table and the partition key of each row that a request names."""
    if "TableName" in request:
        table = str(request["TableName"]).rpartition("/")[2]
        yield from ((table, key) for key in _keys(request.get("Key"), request.get("Item")))
        # The equality of a query is that of the partition, of the table or of its index.
        asked = _EQUAL.search(str(request.get("KeyConditionExpression", "")))
        values = request.get("ExpressionAttributeValues", {})
        if asked and asked[1] in values:
            yield table, _text(values[asked[1]])
    for table, many in request.get("RequestItems", {}).items():
        # Reads name keys; writes are a list, of puts and deletes.
        rows = many["Keys"] if isinstance(many, dict) else [_written(one) for one in many]
        yield from ((table, key) for key in _keys(*rows))
    for one in request.get("TransactItems", ()):
        for part in one.values():
            yield from _rows(part)


def _written(request: Mapping[str, Any]) -> Any:  # noqa: ANN401
    (part,) = request.values()
    return part.get("Item") or part.get("Key")


def _keys(*rows: Any) -> Iterator[str]:  # noqa: ANN401
    for row in rows:
        if isinstance(row, dict) and _HASH_KEY in row:
            yield _text(row[_HASH_KEY])


def _text(value: Mapping[str, Any]) -> str:
    return str(next(iter(value.values())))
