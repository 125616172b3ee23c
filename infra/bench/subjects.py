"""What is measured: each function as it is deployed, the peer in its place, and its floor, with something to do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from infra.bench import places
from shared.job_store import job_pk
from shared.notify_queue import COMPLETED
from shared.signatures import sign_callback
from tests.journey.replicate import signed
from tests.support.world import http_event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.job import Job
    from tests.journey.local import Local, Tenant

type Who = Literal["ours", "peer", "floor"]

ALL: tuple[Who, ...] = ("ours", "peer", "floor")
# Function: what the peer does in its place.
PEERS = {
    "webhook": "webhook",
    "status": "read",
    "files": "read",
    "notify": "webhook",
    "submit": "submit",
    "dispatch": "submit",
    "reconcile": "submit",
    "archive": "store",
    "cancel": "submit",
    "catalog": "read",
    "console": "read",
}
CREATE = "/v1/models/black-forest-labs/flux-schnell/predictions"
BODY = {"input": {"prompt": "a quiet harbour", "num_outputs": 1, "megapixels": "0.25"}}
RATE = {"ReplicateRatePerMinute": "100000"}  # so that no submission is queued for being one of many
_LOST = {"on": "webhook", "kind": "lost"}
_THROTTLED = {"on": "create", "kind": "throttled", "retry_after": 900, "times": 1}
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Place:
    """A handler, and what it finds around it."""

    handler: str
    paths: Sequence[str]
    environment: Mapping[str, str]


class OtherwiseDone(Exception):
    """Something else was done than what was to be measured."""


class Subject:
    """Jobs on the local stack for every function to work on, whose own functions take nothing from its queues."""

    def __init__(self, local: Local, tenant: Tenant, sink: str) -> None:
        """`sink` is the origin of a server that answers every request with 200."""
        self.local = local
        self.tenant = tenant
        endpoint = f"{sink}/endpoint"
        (self.job,) = local.end([tenant.generate(webhook=endpoint)])
        local.heard(self.job.id, COMPLETED)
        local.stop_schedule()
        for mapping in local.aws.lambda_.list_event_source_mappings()["EventSourceMappings"]:
            local.aws.lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        self._running = self.unfinished()
        self._peer = self._prepare_peer()
        self._layer, self._peer_paths = places.layer(), places.peer()

    def place(self, who: Who, name: str) -> Place:
        """Say where a function runs."""
        aws = {
            "AWS_ENDPOINT_URL": self.local.stack.aws_endpoint_url,
            **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test"),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_LAMBDA_FUNCTION_NAME": name,
        }
        if who == "peer":
            return Place("infra.bench.peer.app.handler", self._peer_paths, aws | self._peer)
        configured: Any = self.local.aws.lambda_.get_function_configuration(
            FunctionName=self.local.stack.functions[name]
        )
        environment = configured["Environment"]["Variables"] | aws
        if who == "floor":
            return Place(f"infra.bench.floors.{name}.handler", [str(places.ROOT), self._layer[1]], environment)
        return Place(f"{name}.handler.handler", self._layer, environment)

    def event(self, who: Who, name: str) -> Any:  # noqa: ANN401
        """Give something to do; each is new where doing it twice would be less work."""
        return self._peer_event(PEERS[name]) if who == "peer" else self._own_event(name)

    def check(self, who: Who, name: str, event: Any, answers: Sequence[Any]) -> None:  # noqa: ANN401
        """Require that the work was done: what does nothing is fast.

        Raises:
            OtherwiseDone: it was not.
        """
        for answer in answers:
            if answer.get("statusCode", 200) >= 400 or answer.get("batchItemFailures"):  # noqa: PLR2004
                raise OtherwiseDone(f"{who}'s {name} did not do its work: {answer}")
        if (who, name) == ("ours", "archive"):
            job_id = json.loads(event["Records"][0]["body"])["job_id"]
            if not self.local.job(job_id).archived_at:
                raise OtherwiseDone(f"archive did not finish {job_id}")
        if (who, name) == ("ours", "dispatch"):
            job_id = json.loads(event["Records"][0]["body"])["job_id"]
            if not self.local.job(job_id).prediction_id:
                raise OtherwiseDone(f"dispatch did not start {job_id}")
        if (who, name) == ("ours", "notify"):
            self.local.heard(self.job.id, COMPLETED)
        if (who, name) == ("ours", "submit"):
            stages = {json.loads(answer["body"])["afterimage"]["stage"] for answer in answers}
            if stages != {"starting"}:
                self.local.forget_upstream_limit()
                raise OtherwiseDone(f"submit did not start what it took: {stages}")

    def unfinished(self) -> tuple[str, dict[str, Any]]:
        """Give a job whose prediction has ended, of which nobody has told us, and the prediction itself."""
        self.local.replicate.misbehave(_LOST)
        job_id = self.tenant.generate()
        (prediction,) = self.local.replicate.predictions_of(job_id)
        while (document := self.local.replicate.document(prediction["id"]))["status"] != "succeeded":
            pass
        self.local.replicate.misbehave()
        # Not `reconcile`'s either, which is to find nothing.
        self.local.aws.dynamodb.update_item(
            TableName=self.local.stack.jobs_table,
            Key={"pk": {"S": job_pk(job_id)}},
            UpdateExpression="SET due_at = due_at + :day",
            ExpressionAttributeValues={":day": {"N": str(_DAY_MS)}},
        )
        return job_id, document

    def queued(self) -> Job:
        """Give a job that Replicate did not take at once, and now would."""
        self.local.replicate.misbehave(_THROTTLED)
        job_id = self.tenant.generate()
        self.local.replicate.misbehave()
        self.local.forget_upstream_limit()
        return self.local.job(job_id)

    def told(self, document: Mapping[str, Any], job_id: str | None = None) -> dict[str, Any]:
        """Give the event of a webhook with this document: to us for one of our jobs, or else to the peer."""
        body = json.dumps(document)
        path = "/webhooks/replicate"
        if job_id:
            path += f"/{job_id}?attempt=1&k={sign_callback(self._secret('callback-key'), job_id, 1)}"
        return http_event("POST", path, body.encode(), headers=signed(self.local.stack.webhook_secret, body))

    def _own_event(self, name: str) -> Any:  # noqa: ANN401, C901, PLR0911 - one for each function
        key, job = self.tenant.key, self.job
        match name:
            case "submit":
                return http_event("POST", CREATE, BODY, key=key)
            case "status":
                return http_event("GET", f"/v1/predictions/{job.id}", key=key)
            case "files":
                url = self.tenant.read(job.id)["output"][0]
                return http_event("GET", "/" + url.split("/", 3)[3])
            case "cancel":
                return http_event("POST", f"/v1/predictions/{job.id}/cancel", b"", key=key)
            case "catalog":
                return http_event("GET", "/v1/models/black-forest-labs/flux-schnell", key=key)
            case "console":
                return http_event("GET", "/")
            case "webhook":
                job_id, document = self._running
                return self.told(document | {"status": "processing", "logs": "", "output": None}, job_id)
            case "archive":
                job_id, document = self.unfinished()
                return _message({"job_id": job_id, "prediction_id": document["id"], "prediction": document})
            case "dispatch":
                waiting = self.queued()
                return _message({"job_id": waiting.id, "tenant": waiting.tenant, "attempt": waiting.attempt})
            case "notify":
                heard = {"pk": {"S": f"heard#msg_{job.id}_{COMPLETED}"}}
                self.local.aws.dynamodb.delete_item(TableName=self.local.stack.jobs_table, Key=heard)
                return _message({"detail": {"object": {"key": f"jobs/{job.tenant}/{job.id}/manifest.json"}}})
        return {}

    def _peer_event(self, does: str) -> Any:  # noqa: ANN401
        _, document = self._running
        match does:
            case "submit":
                return http_event("POST", "/generate", {"prompt": "a quiet harbour"})
            case "read":
                return http_event("GET", f"/predictions/{document['id']}")
            case "store":
                return self.told(document)
        return self.told(document | {"status": "processing", "output": None})

    def _prepare_peer(self) -> dict[str, str]:
        aws = self.local.aws
        aws.dynamodb.create_table(
            TableName="peer",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )
        _, document = self._running
        item = {"pk": {"S": document["id"]}, "status": {"S": "succeeded"}, "images": {"L": [{"S": "images/x/0.webp"}]}}
        aws.dynamodb.put_item(TableName="peer", Item=item)
        return {
            "TABLE": "peer",
            "BUCKET": self.local.stack.bucket,
            "REPLICATE_API_TOKEN": self._secret("replicate-api-token"),
            "REPLICATE_URL": self.local.stack.replicate_url,
            "WEBHOOK_SECRET": self.local.stack.webhook_secret,
            "PUBLIC_URL": "https://images.example.com",
        }

    def _secret(self, name: str) -> str:
        answer = self.local.aws.ssm.get_parameter(Name=f"/afterimage/local/{name}", WithDecryption=True)
        return str(answer["Parameter"]["Value"])


def _message(body: Mapping[str, Any]) -> dict[str, Any]:
    record = {
        "messageId": "m",
        "body": json.dumps(body),
        "receiptHandle": "r",
        "attributes": {"ApproximateReceiveCount": "1"},
    }
    return {"Records": [record]}
