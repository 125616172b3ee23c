"""What a function asks AWS for when it starts."""

import pytest

from tests.support.loopback import serving
from tests.support.replicate import FakeReplicate, prediction
from tests.support.wire import counted
from tests.support.world import ALICE, deployed

pytestmark = pytest.mark.sockets

PATH = "/v1/models/black-forest-labs/flux-schnell/predictions"


def test_a_function_that_starts_reads_its_secrets_in_one_call() -> None:
    with counted() as calls, deployed() as world, serving(FakeReplicate().respond) as origin:
        world.parameters["ReplicateApiUrl"] = origin
        calls.clear()
        made = world.request("POST", PATH, {"input": {"prompt": "a fox"}}, key=world.keys[ALICE])
        assert [call for call in calls if call.startswith("ssm")] == ["ssm GetParameters"]
        calls.clear()
        world.request("POST", f"/v1/predictions/{made.json['id']}/cancel", key=world.keys[ALICE])
        world.webhook(made.json["id"], prediction("p1", "processing"))
        world.request("GET", f"/v1/predictions/{made.json['id']}", key=world.keys[ALICE])
        assert [call for call in calls if call.startswith("ssm")] == ["ssm GetParameters"] * 3
