"""DynamoDB as this project uses it: conditional writes that say what they met, and transactions that are retried.

DynamoDB cancels concurrent transactions on one item with `TransactionConflict`, and refuses single writes to an
item inside a transaction likewise; boto3 repeats neither, so this module does, with jitter.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from shared.errors import Contended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    type Item = Mapping[str, Mapping[str, Any]]

CONDITION_FAILED = "ConditionalCheckFailed"
PASSING = frozenset(
    {
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
        "ThrottlingError",
        "ThrottlingException",
        "ProvisionedThroughputExceeded",
    }
)
TRIES = 12
FIRST_WAIT_S = 0.02
LONGEST_WAIT_S = 0.5


class ConditionFailed(Exception):
    """The condition of a single write did not hold; `item` is what was there instead, if anything."""

    def __init__(self, item: Item | None) -> None:
        super().__init__("condition failed")
        self.item = item


class TransactionFailed(Exception):
    """At least one condition of a transaction did not hold.

    `met` has an entry for each action of the transaction, in order: None where its condition held, else the item
    that was there (empty if there was none).
    """

    def __init__(self, met: Sequence[Item | None]) -> None:
        super().__init__("transaction failed")
        self.met = met


class Expression:
    """Collects the names, values and clauses of one write; placeholders are made on the way."""

    def __init__(self) -> None:
        """Start empty."""
        self._names: dict[str, str] = {}
        self._values: dict[str, Mapping[str, Any]] = {}
        self._clauses: dict[str, list[str]] = {"SET": [], "REMOVE": [], "ADD": []}
        self._conditions: list[str] = []

    def name(self, attribute: str) -> str:
        """Give the placeholder of an attribute; all are replaced, since many of ours are reserved words."""
        return self._names.setdefault(attribute, f"#{len(self._names)}")

    def value(self, value: str | int) -> str:
        """Give the placeholder of a value."""
        placeholder = f":{len(self._values)}"
        self._values[placeholder] = typed(value)
        return placeholder

    def set(self, attribute: str, value: str | int) -> None:
        """Set an attribute."""
        self._clauses["SET"].append(f"{self.name(attribute)} = {self.value(value)}")

    def add(self, attribute: str, amount: int) -> None:
        """Add to a number, which counts as zero if it is not there."""
        self._clauses["ADD"].append(f"{self.name(attribute)} {self.value(amount)}")

    def remove(self, attribute: str) -> None:
        """Remove an attribute."""
        self._clauses["REMOVE"].append(self.name(attribute))

    def when(self, *alternatives: str) -> None:
        """Require at least one of these conditions."""
        self._conditions.append(f"({' OR '.join(alternatives)})")

    def is_absent(self, attribute: str) -> str:
        """Say that there is no such attribute."""
        return f"attribute_not_exists({self.name(attribute)})"

    def is_present(self, attribute: str) -> str:
        """Say that there is such an attribute."""
        return f"attribute_exists({self.name(attribute)})"

    def compare(self, attribute: str, operator: Literal["=", "<", "<=", ">"], value: str | int) -> str:
        """Compare an attribute with a value."""
        return f"{self.name(attribute)} {operator} {self.value(value)}"

    def is_between(self, attribute: str, first: str, last: str) -> str:
        """Say that an attribute lies between two values, or is one of them."""
        return f"{self.name(attribute)} BETWEEN {self.value(first)} AND {self.value(last)}"

    def begins_with(self, attribute: str, prefix: str) -> str:
        """Say that an attribute begins with this."""
        return f"begins_with({self.name(attribute)}, {self.value(prefix)})"

    def is_in(self, attribute: str, values: Sequence[str]) -> str:
        """Say that an attribute has one of these values."""
        return f"{self.name(attribute)} IN ({', '.join(self.value(value) for value in values)})"

    def parameters(self) -> dict[str, Any]:
        """Give everything as the parameters that UpdateItem, PutItem and their transacted forms take."""
        update = " ".join(f"{verb} {', '.join(parts)}" for verb, parts in self._clauses.items() if parts)
        found = {
            "UpdateExpression": update,
            "ConditionExpression": " AND ".join(self._conditions),
            "ExpressionAttributeNames": {placeholder: name for name, placeholder in self._names.items()},
            "ExpressionAttributeValues": self._values,
        }
        return {name: value for name, value in found.items() if value}


def typed(value: str | int) -> Mapping[str, Any]:
    """Give a string or a whole number in DynamoDB's form."""
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def plain(attribute: Mapping[str, Any]) -> str | int:
    """Read a string or a whole number from DynamoDB's form."""
    return int(attribute["N"]) if "N" in attribute else str(attribute["S"])


class Dynamo:
    """The few calls that the stores make, on one client."""

    def __init__(self, client: DynamoDBClient, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Wrap a client; `sleep` (seconds) is what waits between tries."""
        self.client = client
        self._sleep = sleep

    def get(self, table: str, pk: str) -> Item | None:
        """Read one item, with everything that was written before."""
        answer = self.client.get_item(TableName=table, Key={"pk": {"S": pk}}, ConsistentRead=True)
        return answer.get("Item")

    def get_many(self, table: str, pks: Sequence[str]) -> dict[str, Item]:
        """Read up to 100 items at once; those that do not exist are left out."""
        found: dict[str, Item] = {}
        if not pks:
            return found
        wanted: Any = {table: {"Keys": [{"pk": {"S": pk}} for pk in pks], "ConsistentRead": True}}
        for _ in self._tries():
            answer = self.client.batch_get_item(RequestItems=wanted)
            found |= {item["pk"]["S"]: item for item in answer["Responses"].get(table, [])}
            wanted = answer["UnprocessedKeys"]
            if not wanted:
                return found
        raise Contended(table)

    def scan(self, table: str, condition: Expression) -> Iterator[Item]:
        """Give all items that meet a condition, in no order. It reads the whole table: for operators only."""
        parameters = condition.parameters()
        pages = self.client.get_paginator("scan").paginate(
            TableName=table,
            ConsistentRead=True,
            FilterExpression=parameters["ConditionExpression"],
            ExpressionAttributeNames=parameters["ExpressionAttributeNames"],
            ExpressionAttributeValues=parameters["ExpressionAttributeValues"],
        )
        for page in pages:
            yield from page["Items"]

    def delete(self, table: str, pk: str) -> None:
        """Remove an item; that it is not there is no error."""
        self.client.delete_item(TableName=table, Key={"pk": {"S": pk}})

    def update(self, table: str, pk: str, expression: Expression) -> Item:
        """Change one item if the condition holds, and give it as it is then.

        Raises:
            ConditionFailed: the condition did not hold.
            Contended: transactions on the item kept winning.
        """
        for _ in self._tries():
            try:
                answer = self.client.update_item(
                    TableName=table,
                    Key={"pk": {"S": pk}},
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **expression.parameters(),
                )
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "ConditionalCheckFailedException":
                    raise ConditionFailed(error.response.get("Item")) from error  # type: ignore[arg-type]
                if code not in PASSING:
                    raise
            else:
                return answer["Attributes"]
        raise Contended(pk)

    def transact(self, actions: Sequence[Mapping[str, Any]]) -> None:
        """Do all of these writes or none.

        Raises:
            TransactionFailed: a condition did not hold.
            Contended: other transactions kept winning.
        """
        for _ in self._tries():
            try:
                self.client.transact_write_items(TransactItems=actions)  # type: ignore[arg-type]
            except ClientError as error:
                reasons: Any = error.response.get("CancellationReasons", [])
                if any(reason["Code"] == CONDITION_FAILED for reason in reasons):
                    raise TransactionFailed(
                        [r.get("Item", {}) if r["Code"] == CONDITION_FAILED else None for r in reasons]
                    ) from error
                codes = {reason["Code"] for reason in reasons} - {"None"} or {error.response["Error"]["Code"]}
                if not codes <= PASSING:
                    raise
            else:
                return
        raise Contended(", ".join(next(iter(action)) for action in actions))

    def _tries(self) -> Iterator[int]:
        for number in range(TRIES):
            if number:
                longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**number)
                # The system's: copies that SnapStart makes of one function share the state of Python's own generator.
                self._sleep(random.SystemRandom().uniform(0, longest))
            yield number


def update_action(table: str, pk: str, expression: Expression) -> dict[str, Any]:
    """Make an update a part of a transaction."""
    return {
        "Update": {
            "TableName": table,
            "Key": {"pk": {"S": pk}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **expression.parameters(),
        }
    }


def put_action(table: str, item: Item, expression: Expression) -> dict[str, Any]:
    """Make a conditional put a part of a transaction."""
    return {
        "Put": {
            "TableName": table,
            "Item": item,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **expression.parameters(),
        }
    }
