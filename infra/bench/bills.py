"""What a simulated load costs: its executions, messages, writes and files, at the prices beside this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.bench import prices
from infra.bench.simulation import LOOK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.bench.demand import Demand
    from infra.bench.simulation import Run

MEMORY_GB = 1.0
LOG_BYTES = 400  # of an execution: an assumption, as in infra/bench/calls.py
# Of an account that does nothing: alarms, one key, and three event sources of which each asks at least thrice a minute
# with five pollers (an assumption), and `reconcile` every minute for half a second.
ALARMS = 28
POLLS_A_MONTH = 3 * 5 * 3 * 60 * 24 * 30
RECONCILE_S = 0.5


def times_a_month(run: Run) -> float:
    """Say how often a month repeats what was simulated."""
    return prices.SECONDS_A_MONTH / run.seconds


def running(run: Run, demand: Demand) -> dict[str, float]:
    """Give the USD that what was simulated costs by itself, without storage, traffic and what costs anyway."""
    counts, done = run.counts, run.counts["done"]
    executions = sum(count for name, count in counts.items() if name.startswith("executions: "))
    reads = counts["reads"]
    seconds = sum(count for name, count in counts.items() if name.startswith("ms: ")) / 1000
    seconds += reads * demand.figures["read"] + counts["woken"] * demand.figures["look"]
    seconds += counts["polls"] * demand.figures["poll"]
    writes = done * demand.write_units + (counts["woken"] + counts["polls"]) * sum(LOOK.values())
    dispatched = counts["executions: dispatch"] - counts["postponed"] - counts["superfluous"]
    # A write whose condition does not hold costs what it would have written.
    writes += dispatched * sum(demand.dispatching.values()) + counts["superfluous"]
    lookups = done * demand.read_units + reads + 0.5 * counts["postponed"]
    messages = counts["messages"]
    requests = counts["executions: submit"] + counts["executions: webhook"] + reads
    found = {
        "DynamoDB": writes * prices.DYNAMODB_WRITE + lookups * prices.DYNAMODB_READ,
        "Lambda": seconds * MEMORY_GB * prices.LAMBDA_GB_SECOND + (executions + reads) * prices.LAMBDA_REQUEST,
        "S3": done * demand.puts * prices.S3_PUT + done * demand.figures["views"] * prices.S3_GET,
        "SQS": 3 * messages * prices.SQS_REQUEST,
        "API Gateway": requests * prices.API_REQUEST,
        "Logs": (executions + reads) * LOG_BYTES / 1e9 * prices.LOGS_GB,
    }
    return found | {"total": sum(found.values())}


def monthly(run: Run, demand: Demand) -> dict[str, float]:
    """Give the USD of a month of the same load, with what the month's files cost to keep to its end and to look at."""
    times = times_a_month(run)
    found = {name: times * usd for name, usd in running(run, demand).items() if name != "total"}
    jobs = times * run.counts["done"]
    bytes_kept = jobs * demand.figures["image_bytes"]
    items = jobs * demand.figures["item_bytes"]
    # What comes evenly is kept for half a month on average.
    found["S3"] += bytes_kept / 2 / 1e9 * prices.S3_GB_MONTH
    found["DynamoDB"] += items / 2 / 1e9 * (prices.DYNAMODB_GB_MONTH + prices.BACKUP_GB_MONTH)
    found["Traffic"] = jobs * demand.figures["views"] * demand.figures["image_bytes"] / 1e9 * prices.TRAFFIC_GB
    found |= {"Standing": standing()}
    return found | {"total": sum(found.values())}


def standing() -> float:
    """Give the USD of a month without any job."""
    runs = prices.SECONDS_A_MONTH / 60
    return (
        ALARMS * prices.ALARM_MONTH
        + prices.KEY_MONTH
        + POLLS_A_MONTH * prices.SQS_REQUEST
        + runs * (RECONCILE_S * MEMORY_GB * prices.LAMBDA_GB_SECOND + prices.LAMBDA_REQUEST)
        + runs * 4 * prices.DYNAMODB_READ
    )


def for_a_thousand(usd: Mapping[str, float], jobs: float) -> float:
    """Give the USD that 1,000 of so many jobs cost."""
    return 1_000 * usd["total"] / jobs
