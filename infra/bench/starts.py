"""Cold starts and warm invocations: ours, the peer's and the floor's, in turn, each in a fresh process."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from infra.bench import places
from infra.local.stack import LocalStack
from shared.signatures import sign_callback
from tests.journey.local import Local, Tenant
from tests.journey.replicate import signed
from tests.support.world import http_event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIRST = Path(__file__).parent / "first.py"
ROUNDS = 7
WARM = 40  # invocations of a process, after its first
CREATE = "/v1/models/black-forest-labs/flux-schnell/predictions"
LOST = {"on": "webhook", "kind": "lost"}
# Function: what the peer does in its place, and how much of its start, and of the floor's, ours may take.
TARGETS = {
    "webhook": ("webhook", 0.45),
    "status": ("status", 0.45),
    "files": ("status", 0.45),
    "notify": ("webhook", 0.45),
    "submit": ("submit", 0.65),
    "dispatch": ("submit", 0.65),
    "reconcile": ("submit", 0.65),
    "archive": ("archive", 0.65),
}
FLOOR = 1.25
WARM_FUNCTIONS = ("submit", "webhook", "status")
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Place:
    """A handler, and what it finds around it."""

    handler: str
    paths: Sequence[str]
    environment: Mapping[str, str]


class Subject:
    """The local stack, with jobs for every function to work on."""

    def __init__(self, local: Local, tenant: Tenant) -> None:
        self._local = local
        self._tenant = tenant
        (self._job,) = local.end([tenant.generate()])
        self._running = self._unfinished(1)[0]
        self._ended = self._unfinished(2 * (ROUNDS + 2) + 2)
        self._peer = self._prepare_peer()
        self._layer, self._peer_paths = places.layer(), places.peer()

    def place(self, who: str, name: str) -> Place:
        """Say where a function runs."""
        aws = {
            "AWS_ENDPOINT_URL": self._local.stack.aws_endpoint_url,
            **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test"),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_LAMBDA_FUNCTION_NAME": name,
        }
        if who == "peer":
            return Place("infra.bench.peer.app.handler", self._peer_paths, aws | self._peer)
        configured: Any = self._local.aws.lambda_.get_function_configuration(
            FunctionName=self._local.stack.functions[name]
        )
        environment = configured["Environment"]["Variables"] | aws
        if who == "floor":
            return Place(f"infra.bench.floors.{name}.handler", [str(places.ROOT), self._layer[1]], environment)
        return Place(f"{name}.handler.handler", self._layer, environment)

    def event(self, who: str, name: str) -> Any:  # noqa: ANN401, PLR0911 - one for each function
        """Give something to do; each is new where doing it twice would be less work."""
        if who == "peer":
            return self._peer_event(TARGETS[name][0])
        key, job = self._tenant.key, self._job
        match name:
            case "submit":
                body = {"input": {"prompt": "a quiet harbour", "num_outputs": 1, "megapixels": "0.25"}}
                return http_event("POST", CREATE, body, key=key)
            case "status":
                return http_event("GET", f"/v1/predictions/{job.id}", key=key)
            case "files":
                url = self._tenant.read(job.id)["output"][0]
                return http_event("GET", "/" + url.split("/", 3)[3])
            case "webhook":
                job_id, document = self._running
                k = sign_callback(self._secret("callback-key"), job_id, 1)
                started = json.dumps(document | {"status": "processing", "logs": "", "output": None})
                path = f"/webhooks/replicate/{job_id}?attempt=1&k={k}"
                return http_event("POST", path, started.encode(), headers=self._signed(started))
            case "archive":
                job_id, document = self._ended.pop()
                return _message({"job_id": job_id, "prediction_id": document["id"], "prediction": document})
            case "dispatch":
                return _message({"job_id": job.id, "tenant": job.tenant, "attempt": 0})
            case "notify":
                return _message({"detail": {"object": {"key": f"jobs/{job.tenant}/{job.id}/manifest.json"}}})
        return {}

    def _peer_event(self, name: str) -> Any:  # noqa: ANN401
        _, document = self._running if name == "webhook" else self._ended[0]
        match name:
            case "submit":
                return http_event("POST", "/generate", {"prompt": "a quiet harbour"})
            case "status":
                return http_event("GET", f"/predictions/{document['id']}")
        shown = document if name == "archive" else document | {"status": "processing", "output": None}
        body = json.dumps(shown)
        return http_event("POST", "/webhooks/replicate", body.encode(), headers=self._signed(body))

    def _signed(self, body: str) -> dict[str, str]:
        return signed(self._local.stack.webhook_secret, body)

    def _unfinished(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """Give jobs whose predictions have ended, of which nobody has told us yet."""
        self._local.replicate.misbehave(LOST)
        made = []
        for _ in range(count):
            job_id = self._tenant.generate()
            (prediction,) = self._local.replicate.predictions_of(job_id)
            made.append((job_id, prediction["id"]))
        found = []
        for job_id, prediction_id in made:
            while (document := self._local.replicate.document(prediction_id))["status"] != "succeeded":
                pass
            found.append((job_id, document))
        self._local.replicate.misbehave()
        return found

    def _prepare_peer(self) -> dict[str, str]:
        aws = self._local.aws
        aws.dynamodb.create_table(
            TableName="peer",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )
        _, document = self._ended[0]
        item = {"pk": {"S": document["id"]}, "status": {"S": "succeeded"}, "images": {"L": [{"S": "images/x/0.webp"}]}}
        aws.dynamodb.put_item(TableName="peer", Item=item)
        return {
            "TABLE": "peer",
            "BUCKET": self._local.stack.bucket,
            "REPLICATE_API_TOKEN": self._secret("replicate-api-token"),
            "REPLICATE_URL": self._local.stack.replicate_url,
            "WEBHOOK_SECRET": self._local.stack.webhook_secret,
            "PUBLIC_URL": "https://images.example.com",
        }

    def _secret(self, name: str) -> str:
        answer = self._local.aws.ssm.get_parameter(Name=f"/afterimage/local/{name}", WithDecryption=True)
        return str(answer["Parameter"]["Value"])


def start(place: Place, events: Sequence[Any]) -> dict[str, Any]:
    """Start a process, let it work on these events, and give what it measured."""
    spec = {
        "paths": list(place.paths),
        "environment": dict(place.environment),
        "handler": place.handler,
        "events": events,
    }
    run = subprocess.run(
        [places.PYTHON, "-I", FIRST, json.dumps(spec)],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        check=False,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    if run.returncode:
        raise RuntimeError(f"{place.handler}: {run.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(run.stderr.splitlines()[-1])
    for answer in told.pop("answers"):
        if answer.get("statusCode", 200) >= 400 or answer.get("batchItemFailures"):  # noqa: PLR2004
            raise RuntimeError(f"{place.handler} did not do its work: {answer}")
    return told


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure all functions; the first round, which compiles, does not count."""
    cold: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in TARGETS}
    warm: dict[str, dict[str, float]] = {name: {} for name in WARM_FUNCTIONS}
    with LocalStack() as stack:
        local = Local(stack)
        with local.tenant() as tenant:
            local.stop_schedule()
            subject = Subject(local, tenant)
            for number in range(rounds + 1):
                for name in TARGETS:
                    for who in ("ours", "peer", "floor"):
                        told = start(subject.place(who, name), [subject.event(who, name)])
                        if number:
                            cold[name].setdefault(who, []).append(told)
            for name in WARM_FUNCTIONS:
                for who in ("ours", "peer", "floor"):
                    events = [subject.event(who, name) for _ in range(WARM)]
                    warm[name][who] = median(start(subject.place(who, name), events)["warm_cpu_ms"])
        local.close()
    return {"cold": {name: _summary(found) for name, found in cold.items()}, "warm_cpu_ms": warm}


def _summary(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    measures = ("modules", "import_ms", "first_ms", "total_ms", "cpu_ms", "resident_mb")
    medians: dict[str, Any] = {
        who: {measure: median(one[measure] for one in runs) for measure in measures} for who, runs in found.items()
    }
    for other in ("peer", "floor"):
        # Each of ours against the one beside it: what the machine did meanwhile hits both.
        medians[f"to_{other}"] = median(
            ours["cpu_ms"] / its["cpu_ms"] for ours, its in zip(found["ours"], found[other], strict=True)
        )
    return medians


def _message(body: Mapping[str, Any]) -> dict[str, Any]:
    record = {
        "messageId": "m",
        "body": json.dumps(body),
        "receiptHandle": "r",
        "attributes": {"ApproximateReceiveCount": "1"},
    }
    return {"Records": [record]}
