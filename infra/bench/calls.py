"""Calls and money a job, counted on the functions themselves against moto."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from infra.bench import prices
from infra.bench.usage import Call, metered
from tests.functions.test_archive import serving_originals
from tests.support.loopback import serving
from tests.support.replicate import FakeReplicate, prediction
from tests.support.world import ALICE, World, deployed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.functions.test_archive import Originals

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


@dataclass(frozen=True)
class Counted:
    """The calls of one scenario."""

    one_image: Sequence[Call]
    four_images: Sequence[Call]
    read: Sequence[Call]


def count() -> Counted:
    """Run one job, four images and a read through functions that have worked before."""
    with deployed() as world, metered(world) as calls:
        fake = FakeReplicate()
        with serving(fake.respond) as origin, serving_originals(world) as originals:
            world.parameters["ReplicateApiUrl"] = origin
            _run(world, calls, originals, 1)
            one, four = _run(world, calls, originals, 1), _run(world, calls, originals, 4)
            job_id = world.jobs_written()[0]
            path = f"/v1/predictions/{job_id}"
            world.request("GET", path, key=world.keys[ALICE])
            calls.clear()
            world.request("GET", path, key=world.keys[ALICE])
            return Counted(one, four, list(calls))


def _run(world: World, calls: list[Call], originals: Originals, images: int) -> list[Call]:
    """Let a job run to its end; what this itself asks AWS for is not counted."""
    calls.clear()
    body = {"input": {"prompt": "a fox in the snow, watercolor", "num_outputs": images}}
    job_id = world.request("POST", PATH, body, key=world.keys[ALICE]).json["id"]
    found = list(calls)
    prediction_id: Any = world.read(job_id).prediction_id
    calls.clear()
    started = {"started_at": "2026-11-01T12:00:02.000Z"}
    world.webhook(job_id, prediction(prediction_id, "processing", **started))
    world.webhook(job_id, prediction(prediction_id, "succeeded", output=originals.urls(images), **started))
    found += calls
    (order,) = world.orders_as_sent()
    calls.clear()
    world.deliver(order)
    found += calls
    return found


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
    costs = cost(counted.one_image)
    return {
        "calls": {
            name: [asdict(call) for call in getattr(counted, name)] for name in ("one_image", "four_images", "read")
        },
        "usd_per_1000": costs | {"total": sum(costs.values())},
        "prices_of": prices.READ_ON,
    }
