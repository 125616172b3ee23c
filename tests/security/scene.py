"""Two tenants: one who has everything that a tenant can have, and one who would like to have it."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from infra.openapi.document import served
from shared.job import Job
from tests.functions.test_uploads import BOUNDARY, form
from tests.support.catalog import PlayedCatalog, version_of
from tests.support.replicate import FakeReplicate
from tests.support.submits import Caller, configured
from tests.support.world import Answered, World, image

MODEL = "black-forest-labs/flux-dev"
TRAINER = "ostris/flux-dev-lora-trainer"
VERSION, TRAINED = version_of("d"), version_of("e")
ROUTES = served()
PROMPT = "a private fox"
NAME = "private-fox.png"
BODY: Mapping[str, Any] = {"prompt": PROMPT, "model": MODEL, "num_images": 1, "seed": 5}
V1_BODY: Mapping[str, Any] = {"input": {"prompt": PROMPT, "num_outputs": 1, "seed": 5}}
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
PARAMETERS = {
    "AllowedModels": f"{MODEL},{TRAINER},acme/*,deployments/acme/*",
    "FallbackPriceUsd": "0.5",
    "ModelConfig": json.dumps({"deployments": {"acme/fast": {"model": MODEL, "usd_per_image": "0.02"}}}),
}


@dataclass
class Scene:
    """What the victim has, and how the intruder asks for it."""

    world: World
    replicate: FakeReplicate
    victim: Caller
    intruder: Caller
    done: Job
    running: Job
    training: Job
    model: str
    batch: str
    links: list[str]
    file: Mapping[str, Any]
    upload: Mapping[str, Any]
    secret: str
    private: list[str] = field(default_factory=list)  # what nobody else may see, whatever is asked for
    known: Any = None  # the victim's state, as the victim left it

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answered:
        """Ask as the intruder; nothing private is in the answer, whatever it is."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answered = self.world.request(method, path, body, key=self.intruder.key, headers=sent)
        self.check_nothing_private(answered, path, json.dumps(body))
        return answered

    def check_nothing_private(self, answered: Answered, *given: str) -> None:
        """Require that nothing of the victim's is shown but what the intruder has said."""
        shown = answered.body.decode("latin-1") + repr(dict(answered.headers))
        for value in self.private:
            assert not _names(value, shown) or any(_names(value, one) for one in given), value

    def own(self, answered: Answered) -> Job:
        """Require that the answer tells of a job of the intruder's own."""
        assert answered.status in {201, 202}, answered.body
        job = self.intruder.job(answered)
        assert job.tenant == self.intruder.tenant
        return job

    @property
    def state(self) -> Any:
        """Everything of the victim's, to compare with what is known."""
        items = [
            item
            for table in (self.world.jobs_table, self.world.accounts_table)
            for item in self.world.dynamodb.scan(
                TableName=table,
                FilterExpression="contains(tenant, :name) OR contains(pk, :name)",
                ExpressionAttributeValues={":name": {"S": self.victim.tenant}},
            )["Items"]
        ]
        versions = self.world.s3.list_object_versions(Bucket=self.world.bucket).get("Versions", [])
        own = [item for item in items if _names(self.victim.tenant, str(item))]
        return own, [one for one in versions if f"/{self.victim.tenant}/" in one["Key"]]


def _names(value: str, text: str) -> bool:
    """Say whether a text has this as a whole word in it: one tenant's name may begin like another's."""
    return bool(re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", text))


@contextmanager
def two_tenants(world: World, replicate: FakeReplicate) -> Iterator[Scene]:
    """Let there be two tenants, one of whom has jobs in every state, a batch, a model, files and secrets."""
    victim, intruder = Caller(world, replicate), Caller(world, replicate)
    model = f"acme/{victim.tenant}"
    played = PlayedCatalog()
    played.has_model(TRAINER, VERSION)
    played.has_model(model)
    replicate.catalog |= played.catalog
    with configured(world, **PARAMETERS):
        done = victim.finish(victim.job(victim.generate(BODY, idempotency_key="the same")))
        running = victim.job(victim.generate({**BODY, "seed": 6}))
        batch = victim.generate({"model": MODEL, "prompts": [PROMPT, PROMPT]}).json["batch_id"]
        training = victim.job(
            victim.post(
                "/train",
                {"images_zip_url": "https://example.com/private.zip", "destination": model, "trigger_word": "FOXY"},
            )
        )
        assert world.dispatch() == []
        played.has_model(model, TRAINED)
        replicate.catalog |= played.catalog
        training = victim.finish(world.read(training.id), output={"version": f"{model}:{TRAINED}", "weights": None})
        file = world.request("POST", "/v1/files", form(image("PNG"), name=NAME), key=victim.key, headers=FORM).json
        upload = victim.post("/uploads", {"filename": "private.zip"}).json
        links = victim.get(f"/predictions/{done.id}").json["images"]
        secret = victim.get("/v1/webhooks/default/secret").json["key"]
        scene = Scene(
            world, replicate, victim, intruder, done, running, training, model, batch, links, file, upload, secret
        )
        scene.private += [victim.tenant, PROMPT, NAME, "private.zip", TRAINED, secret, victim.key, batch]
        scene.private += [done.id, running.id, training.id, file["id"], upload["id"], str(done.prediction_id)]
        scene.private += [urlsplit(link).query for link in links]
        scene.known = scene.state
        replicate.forget()
        yield scene
