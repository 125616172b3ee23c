"""`audit`: says what it found, and by its status whether it found anything."""

import pytest

from shared.job import Adopted, Millis, PredictionId
from shared.services import now
from tests.infra.ops.conftest import Afterimage
from tests.support.loopback import Answer, Call, serving
from tests.support.replicate import answer, prediction
from tests.support.world import ORIGIN, World, job

pytestmark = pytest.mark.sockets


def test_what_is_found_is_told_with_its_status(afterimage: Afterimage, world: World) -> None:
    listed: list[object] = []

    def respond(call: Call) -> Answer:
        assert call.method == "GET"
        results = listed if call.path.startswith("/v1/predictions") else []
        return answer(200, {"next": None, "previous": None, "results": results})

    one = world.put(job(created_at=Millis(now() - 60_000)))
    world.jobs.adopt(one.id, Adopted(PredictionId("p1"), due_at=Millis(now())))
    hook = f"{ORIGIN}/webhooks/replicate/{one.id}?attempt=1&k=x"
    listed.append(prediction("p1", "succeeded", webhook=hook))
    with serving(respond) as origin:
        world.parameters["ReplicateApiUrl"] = origin
        clean = afterimage.json("audit")
        assert (clean["jobs"], clean["predictions"]["ours"], clean["findings"]) == (1, 1, [])
        assert "Nothing was found." in afterimage("audit", "--since", "90m").out
        listed.append(prediction("p2", "succeeded", webhook=hook, started_at="2026-11-01T12:00:00Z"))
        (finding,) = afterimage.json("audit", status=1)["findings"]
        assert (finding["fault"], finding["prediction_id"], finding["job_id"]) == ("unowned", "p2", one.id)
        assert "p2" in afterimage("audit", status=1).out


def test_a_replicate_that_cannot_be_had_is_no_finding(afterimage: Afterimage, world: World) -> None:
    with serving(lambda _: answer(500, {})) as origin:
        world.parameters["ReplicateApiUrl"] = origin
        run = afterimage("audit", status=1)
    assert (run.out, run.err) == ("", "Replicate gives no clear answer: status 500\n")
