"""The emulator with a meter: it counts functions' requests, and says of DynamoDB's what AWS says of them."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from ministack.services import dynamodb

from infra.bench.load.emulator import METER, Meter, metered, read_units, with_units, write_units
from infra.bench.usage import size_of
from infra.local.asgi import App, Message, Receive, Scope, Send, answer

LIVE = {"ConsistentRead": True}
BIG = {"pk": {"S": "a"}, "text": {"S": "x" * 5_000}}
SMALL = {"pk": {"S": "b"}}


def request(key: str | None, *, service: str = "sqs", target: str | None = None, path: str = "/") -> Scope:
    headers = []
    if key:
        credential = f"AWS4-HMAC-SHA256 Credential={key}/20261130/us-east-1/{service}/aws4_request, SignedHeaders=host"
        headers.append((b"authorization", credential.encode()))
    if target:
        headers.append((b"x-amz-target", target.encode()))
    return {"type": "http", "method": "POST", "path": path, "headers": headers}


async def nothing() -> Message:
    return {"type": "http.request", "body": b""}


def ask(meter: Meter, scope: Scope, status: int = 200) -> bytes:
    """Send one request through the meter, to something that answers with this status."""
    sent: list[Message] = []

    async def aws(_scope: Scope, _receive: Receive, send: Send) -> None:
        await answer(send, status, "application/json", b"{}")

    async def collect(message: Message) -> None:
        sent.append(message)

    send_through(meter, aws, scope, collect)
    return bytes(sent[1]["body"])


def send_through(meter: Meter, aws: App, scope: Scope, send: Send) -> None:
    async def run() -> None:
        await metered(aws, meter)(scope, nothing, send)

    asyncio.run(run())


def shown(meter: Meter) -> dict[str, Any]:
    counts: dict[str, Any] = json.loads(ask(meter, request(None, path=METER)))
    return counts


@pytest.fixture
def meter() -> Meter:
    meter = Meter()
    meter.know("ASIASUBMIT", "submit")
    return meter


def test_request_of_a_function_is_counted_by_what_it_asks_for(meter: Meter) -> None:
    ask(meter, request("ASIASUBMIT", target="AmazonSQS.SendMessage"))
    ask(meter, request("ASIASUBMIT", service="s3"))

    assert shown(meter)["calls"] == {"submit": {"sqs SendMessage": 1, "s3 POST": 1}}


def test_nobody_else_is_counted(meter: Meter) -> None:
    ask(meter, request("test", target="AmazonSQS.SendMessage"))  # the administrator
    ask(meter, request(None, service="s3"))  # a caller with a signed link

    assert shown(meter)["calls"] == {}


def test_refused_request_is_a_call_too_and_told_apart(meter: Meter) -> None:
    ask(meter, request("ASIASUBMIT", target="AmazonSQS.SendMessage"), status=400)
    ask(meter, request("ASIASUBMIT", target="AmazonSQS.SendMessage"))

    assert shown(meter)["calls"] == {"submit": {"sqs SendMessage": 2}}
    assert shown(meter)["refused"] == {"submit": {"sqs SendMessage": 1}}


def test_read_takes_a_unit_for_each_4_kb_and_half_of_it_where_it_need_not_be_the_latest() -> None:
    assert read_units(LIVE, {"Item": BIG}, size_of) == 2
    assert read_units({}, {"Item": BIG}, size_of) == 1
    assert read_units(LIVE, {}, size_of) == 1  # what is not there


def test_items_of_a_batch_are_rounded_up_one_by_one_and_those_of_a_query_together() -> None:
    batch = {"RequestItems": {"jobs": LIVE}}

    assert read_units(batch, {"Responses": {"jobs": [SMALL, SMALL, BIG]}}, size_of) == 4
    assert read_units(LIVE, {"Items": [SMALL, SMALL, BIG]}, size_of) == 2


def test_units_of_a_transaction_are_added_up_over_its_tables() -> None:
    assert write_units({"ConsumedCapacity": [{"CapacityUnits": 4.0}, {"CapacityUnits": 2.0}]}) == 6
    assert write_units({"ConsumedCapacity": {"CapacityUnits": 3.0}}) == 3
    assert write_units({"__type": "ConditionalCheckFailedException"}) == 0


class Tables:
    """The emulator's DynamoDB with a table of ours, behind the meter."""

    def __init__(self) -> None:
        self.meter = Meter()
        self.meter.know("ASIASUBMIT", "submit")
        dynamodb.reset()
        self._handle = with_units(dynamodb.handle_request, dynamodb._item_size_bytes)
        names = ("pk", "tenant", "id")
        self.ask(
            "CreateTable",
            {
                "TableName": "afterimage-JobsTable-1",
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                "GlobalSecondaryIndexes": [
                    {
                        "IndexName": "by_tenant",
                        "KeySchema": [
                            {"AttributeName": "tenant", "KeyType": "HASH"},
                            {"AttributeName": "id", "KeyType": "RANGE"},
                        ],
                        "Projection": {"ProjectionType": "KEYS_ONLY"},
                    }
                ],
            },
        )

    def ask(self, operation: str, document: Mapping[str, Any]) -> float:
        """Send a request as `submit`, and give the write units that it took."""
        before = self._written(operation)
        target = f"DynamoDB_20120810.{operation}"

        async def aws(_scope: Scope, _receive: Receive, send: Send) -> None:
            body = json.dumps(document).encode()
            status, _, content = await self._handle("POST", "/", {"x-amz-target": target}, body, {})
            await answer(send, status, "application/json", content)

        async def drop(_message: Message) -> None:
            """Nobody reads it."""

        scope = request("ASIASUBMIT", service="dynamodb", target=target)
        send_through(self.meter, aws, scope, drop)
        return self._written(operation) - before

    def _written(self, operation: str) -> float:
        units: dict[str, float] = shown(self.meter)["write_units"].get("submit", {})
        return sum(n for name, n in units.items() if name.startswith(f"dynamodb {operation}"))


def test_emulator_says_of_writes_what_aws_documents() -> None:
    tables = Tables()
    jobs = {"TableName": "afterimage-JobsTable-1"}
    listed = {"tenant": {"S": "demo"}, "id": {"S": "1"}}
    bytes_2_kb = {"pk": {"S": "job#1"}, "text": {"S": "x" * 1_500}}
    update = {**jobs, "Key": {"pk": {"S": "job#1"}}, "ExpressionAttributeValues": {":now": {"S": "1"}}}
    update["UpdateExpression"] = "SET seen = :now"

    assert tables.ask("PutItem", {**jobs, "Item": bytes_2_kb | listed}) == 2 + 1  # and an entry in the index
    assert tables.ask("UpdateItem", update) == 2  # the whole item, and nothing in the index
    assert tables.ask("TransactWriteItems", {"TransactItems": [{"Update": update}]}) == 2 * 2
    assert tables.ask("UpdateItem", update | {"ConditionExpression": "attribute_not_exists(pk)"}) == 0  # AWS: 2
    assert shown(tables.meter)["refused"]["submit"]["dynamodb UpdateItem jobs"] == 1
