"""The tenants of the local stack."""

import time
from typing import TYPE_CHECKING

from shared.accounts import Accounts, Limits
from shared.dynamo import Dynamo
from shared.job import Millis

if TYPE_CHECKING:
    from infra.local.deploy import Aws

# Never read here: the defaults of tenants without limits of their own are the functions' settings.
_NO_LIMITS = Limits(rate_per_minute=0, max_in_flight=0, daily_budget=0)


def create_tenant(aws: "Aws", table: str, tenant: str) -> str:
    """Create a tenant and return an API key of it."""
    dynamo = Dynamo(aws.dynamodb)
    accounts = Accounts(dynamo, table, defaults=_NO_LIMITS, now=lambda: Millis(time.time_ns() // 1_000_000))
    accounts.create_tenant(tenant)
    return accounts.create_key(tenant)
