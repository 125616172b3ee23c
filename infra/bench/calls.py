"""Calls and money a job, counted on the functions themselves against moto."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from infra.bench import prices
from infra.bench.usage import Call, metered
from shared.upstream_limit import PK as LIMIT
from tests.functions.test_archive import serving_originals
from tests.support.loopback import serving
from tests.support.replicate import FakeReplicate, answer, prediction
from tests.support.world import ALICE, World, deployed

if TYPE_CHECKING:
    from collections.abc import Sequence

PATH = "/v1/models/black-forest-labs/flux-schnell/predictions"
MEMORY_GB = 1.0
# Seconds that a function takes on Lambda: assumptions, of which the network is most. Replicate's create takes 0.3 s.
SECONDS = {"submit": 0.45, "webhook": 0.02, "archive": 0.4, "notify": 0.02}
LOG_BYTES = 6 * 400
READS_A_JOB = 2  # polls of a caller
REASONS = (
    "admission: the tenant's numbers and the job, in one",
    "adoption: the job learns its prediction, which belongs to it alone",
    "started",
    "ended: handed over, so that Replicate's webhook is answered at once",
    "taken to be stored, with a lease",
    "the image",
    "settlement: the end, the tenant's numbers, the day's costs, in one",
    "the manifest",
    "out of the index of what is due",
)


def count() -> dict[str, list[Call]]:
    """Run jobs of each kind, and a read, through functions that have worked before; give the calls of each."""
    with deployed() as world, metered(world) as calls:
        fake = FakeReplicate()
        with serving(fake.respond) as origin, serving_originals(world) as originals:
            world.parameters["ReplicateApiUrl"] = origin
            succeed: dict[str, Any] = {"status": "succeeded", "output": originals.urls(1)}
            _run(world, calls, 1, **succeed)
            found = {
                "one_image": _run(world, calls, 1, **succeed),
                "four_images": _run(world, calls, 4, status="succeeded", output=originals.urls(4)),
                "failed": _run(world, calls, 1, status="failed", error="CUDA out of memory"),
            }
            for _ in range(2):  # after the first, `dispatch` has worked before too
                fake.will(answer(429, {"detail": "Request was throttled."}))
                found["throttled"] = _run(world, calls, 1, **succeed)
            path = f"/v1/predictions/{world.jobs_written()[0]}"
            world.request("GET", path, key=world.keys[ALICE])
            calls.clear()
            world.request("GET", path, key=world.keys[ALICE])
            return {**found, "read": list(calls)}


def _run(world: World, calls: list[Call], images: int, *, status: str, **ended: Any) -> list[Call]:  # noqa: ANN401
    """Let a job run to its end; what this itself asks AWS for is not counted."""
    calls.clear()
    body = {"input": {"prompt": "a fox in the snow, watercolor", "num_outputs": images}}
    job_id = world.request("POST", PATH, body, key=world.keys[ALICE]).json["id"]
    found = list(calls)
    waiting = world.read(job_id)
    if waiting.prediction_id is None:
        # As if the minute were over for which Replicate wants to be left alone.
        world.dynamodb.delete_item(TableName=world.accounts_table, Key={"pk": {"S": LIMIT}})
        order = json.dumps({"job_id": job_id, "tenant": waiting.tenant, "attempt": waiting.attempt})
        calls.clear()
        world.call("DispatchFunction", {"Records": [{"messageId": "message-1", "body": order}]})
        found += calls
    prediction_id: Any = world.read(job_id).prediction_id
    calls.clear()
    started = {"started_at": "2026-11-01T12:00:02.000Z"}
    world.webhook(job_id, prediction(prediction_id, "processing", **started))
    world.webhook(job_id, prediction(prediction_id, status, **ended, **started))
    found += calls
    (order,) = world.orders_as_sent()
    calls.clear()
    world.deliver(order)
    return found + calls


def cost(calls: Sequence[Call]) -> dict[str, float]:
    """Give the USD that 1,000 such jobs cost, by service, without storage, traffic, polls and waits."""
    puts = sum(call.service == "s3" for call in calls)
    messages = sum(call.service == "sqs" for call in calls)
    each = {
        "DynamoDB": sum(call.write_units for call in calls) * prices.DYNAMODB_WRITE
        + sum(call.read_units for call in calls) * prices.DYNAMODB_READ,
        "S3": puts * prices.S3_PUT,
        # Each message is sent, received and deleted; the manifest's event is one more for `notify`.
        "SQS": (3 * messages + 3) * prices.SQS_REQUEST,
        "Lambda": sum(SECONDS[name] * times for name, times in INVOCATIONS.items())
        * MEMORY_GB
        * prices.LAMBDA_GB_SECOND
        + sum(INVOCATIONS.values()) * prices.LAMBDA_REQUEST,
        "API Gateway": 3 * prices.API_REQUEST,
        "Logs": LOG_BYTES / 1e9 * prices.LOGS_GB,
    }
    return {service: 1_000 * usd for service, usd in each.items()}


INVOCATIONS = {"submit": 1, "webhook": 2, "archive": 1, "notify": 1}


def report() -> dict[str, Any]:
    """Give everything of this part, for the results."""
    counted = count()
    costs = cost(counted["one_image"])
    return {
        "calls": {name: [asdict(call) for call in made] for name, made in counted.items()},
        "usd_per_1000": costs | {"total": sum(costs.values())},
        "prices_of": prices.READ_ON,
    }
