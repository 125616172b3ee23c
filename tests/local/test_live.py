"""`make run LIVE=1`, with the simulator where Replicate would be: `reconcile` alone hears of everything."""

import dataclasses
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from infra.local.deploy import Aws
from infra.local.live import Live, LiveError, Reconciling
from infra.local.simulator import Simulator
from infra.local.stack import LocalStack, Stack
from shared.job import Status
from tests.journey.local import PRICES, SCHNELL, Local, Tenant

pytestmark = pytest.mark.sockets

TOKEN = "r8_made_up"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(api_token=TOKEN, webhook_secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") as running:
        yield running


@pytest.fixture(scope="module")
def stack(simulator: Simulator) -> Iterator[Stack]:
    places = {"ReplicateApiUrl": simulator.replicate_url, "OutputHosts": simulator.delivery_url}
    with LocalStack(live=Live(TOKEN), parameters=places) as running:
        yield running


@pytest.fixture
def local(stack: Stack, simulator: Simulator) -> Iterator[Local]:
    """The stack with a Replicate that behaves, and remembers nothing."""
    local = Local(dataclasses.replace(stack, simulator_url=simulator.simulator_url))
    httpx.delete(f"{simulator.simulator_url}/_simulator/calls").raise_for_status()
    yield local
    local.replicate.misbehave()
    local.forget_upstream_limit()
    local.replicate.close()


@pytest.fixture
def tenant(local: Local) -> Iterator[Tenant]:
    with local.tenant() as made:
        yield made


def test_predictions_succeed_with_their_files_though_no_webhook_is_ever_sent(local: Local, tenant: Tenant) -> None:
    ids = [tenant.generate(num_images=2) for _ in range(5)]
    jobs = local.end(ids)
    assert {job.status for job in jobs} == {Status.SUCCEEDED}
    for job in jobs:
        assert len([name for name in local.objects(job) if name != "manifest.json"]) == 2
        for image in tenant.http.get(f"/predictions/{job.id}").json()["images"]:
            httpx.get(image, follow_redirects=True, trust_env=False, timeout=60).raise_for_status()
    seen = local.replicate.seen()
    assert (seen["charged"], seen["webhooks"]) == (5, [])
    assert [one["webhook"] for one in seen["predictions"]] == [None] * 5
    assert local.account(tenant) == (0, 5 * 2 * PRICES[SCHNELL])


def test_a_prediction_whose_answer_was_lost_is_waited_for_and_found_in_replicates_list(
    local: Local, tenant: Tenant
) -> None:
    local.replicate.misbehave({"on": "create", "kind": "cut_after_taken", "times": 1})
    job_id = tenant.generate()
    for _ in range(2):
        local.reconcile()  # A list may lag, so that it does not look yet.
    assert tenant.read(job_id)["status"] == "starting"
    assert local.replicate.seen()["charged"] == 1
    local.pass_time([job_id], 90)
    (job,) = local.end([job_id])
    assert job.status is Status.SUCCEEDED
    assert (local.replicate.seen()["charged"], local.replicate.creates()) == (1, 1)
    assert local.account(tenant) == (0, PRICES[SCHNELL])


def test_what_replicate_could_not_be_reached_for_waits_and_runs_once(local: Local, tenant: Tenant) -> None:
    local.replicate.misbehave({"on": "create", "kind": "refused"})
    job_id = tenant.generate()
    assert local.job(job_id).prediction_id is None
    local.replicate.misbehave()
    (job,) = local.end([job_id])
    assert job.status is Status.SUCCEEDED
    assert (local.replicate.seen()["charged"], local.replicate.creates()) == (1, 1)


def test_the_stack_names_no_simulator_and_no_webhook_secret(stack: Stack, simulator: Simulator) -> None:
    assert (stack.simulator_url, stack.webhook_secret) == ("", "")
    assert stack.replicate_url == simulator.replicate_url


def test_left_to_itself_it_is_the_real_replicate_with_a_small_budget_until_the_stack_stops() -> None:
    before = set(threading.enumerate())
    local = LocalStack(live=Live(TOKEN, "0.50"))
    with local as stack:
        assert [child.name for child in local.children] == ["emulator of AWS (MiniStack)"]
        assert stack.replicate_url == "https://api.replicate.com"
        assert variables(stack, "archive")["OUTPUT_HOSTS"] == "replicate.delivery"
        submit = variables(stack, "submit")
        assert submit["DEFAULT_MODEL"] == SCHNELL
        assert (submit["DAILY_BUDGET_USD"], submit["WEBHOOKS"]) == ("0.50", "off")
        (reconciling,) = (thread for thread in set(threading.enumerate()) - before if thread.name == "reconcile")
    reconciling.join(60)
    assert not reconciling.is_alive()


def variables(stack: Stack, function: str) -> dict[str, str]:
    lambda_ = Aws(stack.aws_endpoint_url).lambda_
    return lambda_.get_function_configuration(FunctionName=stack.functions[function])["Environment"]["Variables"]


class Function:
    """A function that fails the first times, and knows whether it ever ran twice at once."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.runs = 0
        self.at_once = 0
        self.most_at_once = 0
        self.ran_often = threading.Event()

    def invoke(self, **_: Any) -> dict[str, Any]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.01)
        self.at_once -= 1
        self.runs += 1
        if self.runs > self.failures + 2:
            self.ran_often.set()
        if self.runs <= self.failures:
            return {"FunctionError": "Unhandled", "Payload": BytesIO(json.dumps({"errorMessage": "broken"}).encode())}
        return {"Payload": BytesIO(b'{"looked_after": 0}')}


def test_a_reconcile_that_fails_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    function = Function(failures=3)
    with (
        caplog.at_level(logging.WARNING, "infra.local.live"),
        Reconciling(cast("Aws", SimpleNamespace(lambda_=function)), "reconcile", pause_s=0.001),
    ):
        assert function.ran_often.wait(60)
    assert [record.getMessage() for record in caplog.records] == [
        "reconcile fails, so that nothing hears from Replicate: broken"
    ]
    assert function.most_at_once == 1


@pytest.mark.parametrize("live", [{}, {"LIVE": ""}, {"LIVE": "0"}])
def test_without_live_it_is_the_simulator(live: dict[str, str]) -> None:
    assert Live.asked_for({"REPLICATE_API_TOKEN": TOKEN} | live) is None


def test_live_takes_its_token_and_budget_from_the_environment() -> None:
    asked = {"LIVE": "1", "REPLICATE_API_TOKEN": f"{TOKEN}\n"}
    assert Live.asked_for(asked) == Live(TOKEN, "1")
    assert Live.asked_for(asked | {"BUDGET_USD": "2.50"}) == Live(TOKEN, "2.50")
    assert TOKEN not in repr(Live(TOKEN))


@pytest.mark.parametrize("budget", ["a lot", "-1", "1e3", "nan", "1.", "1234567"])
def test_a_budget_that_is_no_amount_is_refused(budget: str) -> None:
    with pytest.raises(LiveError, match="BUDGET_USD"):
        Live.asked_for({"LIVE": "1", "REPLICATE_API_TOKEN": TOKEN, "BUDGET_USD": budget})


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"LIVE": "1"}, "put its API token into REPLICATE_API_TOKEN"),
        ({"LIVE": "yes", "REPLICATE_API_TOKEN": TOKEN}, "LIVE should be 1"),
        ({"LIVE": "1", "REPLICATE_API_TOKEN": TOKEN, "BUDGET_USD": "all"}, "BUDGET_USD should be"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused_in_one_sentence(environment: dict[str, str], said: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in {"LIVE", "REPLICATE_API_TOKEN"}}
    refused = subprocess.run(
        [sys.executable, "-m", "infra.local"],
        cwd=Path(__file__).parents[2],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert said in refused.stderr
