"""The world of the other tests with its tables in dynalite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

from shared.accounts import Accounts
from shared.dynamo import ConditionFailed, Dynamo, TransactionFailed
from shared.job_store import JobStore
from tests.support.world import LIMITS, START, World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.dynamo import Expression, Item


class DynaliteDynamo(Dynamo):
    """Makes up for what dynalite lacks: the item of a failed condition, and transactions."""

    @override
    def update(self, table: str, pk: str, expression: Expression) -> Item:
        try:
            return super().update(table, pk, expression)
        except ConditionFailed as failed:
            raise ConditionFailed(self.get(table, pk)) from failed

    @override
    def transact(self, actions: Sequence[Mapping[str, Any]]) -> None:
        """Do these writes one after the other up to the first whose condition fails: that is not atomic.

        It shows what each part is worth by itself.
        """
        for number, action in enumerate(actions):
            [(verb, request)] = action.items()
            key = {"pk": request["Key" if verb == "Update" else "Item"]["pk"]}
            try:
                (self.client.update_item if verb == "Update" else self.client.put_item)(**request)
            except self.client.exceptions.ConditionalCheckFailedException as error:
                met: list[Item | None] = [None] * len(actions)
                met[number] = self.client.get_item(TableName=request["TableName"], Key=key).get("Item", {})
                raise TransactionFailed(met) from error


class DynaliteWorld(World):
    """Only the tables are dynalite's; buckets and queues stay moto's."""

    def __init__(self) -> None:
        super().__init__()
        self.dynamo = DynaliteDynamo(self.dynamodb, sleep=self.sleeps.append)
        self.jobs = JobStore(self.dynamo, self.jobs_table)
        self.accounts = Accounts(self.dynamo, self.accounts_table, defaults=LIMITS, now=self.clock)

    def begin_again(self) -> None:
        """Make it what it was at first."""
        for table in (self.jobs_table, self.accounts_table):
            for item in self.dynamodb.scan(TableName=table)["Items"]:
                self.dynamodb.delete_item(TableName=table, Key={"pk": item["pk"]})
        self.clock.at = START
        self.sleeps.clear()
        self._settle_tenants()

    @override
    def _create(self) -> None:
        super()._create()
        for name, _ in self.template.resources("AWS::DynamoDB::Table"):
            self.dynamodb.get_waiter("table_exists").wait(TableName=self.physical[name], WaiterConfig={"Delay": 1})
