"""The running stack keeps to its OpenAPI document, whatever it is asked: thousands of requests made of the document."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from infra.local.stack import LocalStack, Stack
from tests.journey.local import SCHNELL, Local, Tenant
from tests.support.published import ROOT

pytestmark = pytest.mark.sockets

DOCUMENT = ROOT / "functions" / "console" / "openapi.json"
CONFIG = Path(__file__).with_name("schemathesis.toml")
FEWEST_CASES = 3_000
SPARE_JOBS = 10  # to be canceled and deleted
MOST_SECONDS = 600


@pytest.fixture
def stack() -> Iterator[Stack]:
    # Nobody outside this machine is called back, whatever address is made up.
    with LocalStack(parameters={"WebhookHosts": "http://127.0.0.1:*"}) as running:
        yield running


@pytest.fixture
def local(stack: Stack) -> Iterator[Local]:
    with closing(Local(stack)) as made:
        yield made


def test_no_request_is_answered_other_than_documented(local: Local, tmp_path: Path) -> None:
    with local.tenant() as first, local.tenant() as second:
        (tmp_path / "tenants.json").write_text(json.dumps(tenants(first=first, second=second)))
        config = CONFIG.read_text() + "".join(
            f"\n[dictionaries.{name}]\nvalues = {json.dumps(values)}\n"
            for name, values in made(local, first, second).items()
        )
        (tmp_path / CONFIG.name).write_text(config)
        report = ask(local.stack.api_url, tmp_path)
    assert (report["stop_reason"], report["exit_code"]) == ("completed", 0), report["failures"] or report["errors"]
    assert {phase["status"] for phase in report["phases"].values()} == {"success"}
    assert report["operations"]["tested"] == report["operations"]["total"] > 30
    assert report["test_cases"]["generated"] >= FEWEST_CASES


def ask(api_url: str, folder: Path) -> dict[str, Any]:
    """Run schemathesis, which prints what it does, with the configuration of a folder; gives its report."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(DOCUMENT), "--url", api_url),
        *("--phases", "examples,coverage,fuzzing,stateful"),
        *("--report", "json", "--report-json-path", "report.json"),
    ]
    subprocess.run(command, cwd=folder, check=False, timeout=MOST_SECONDS)
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def tenants(**named: Tenant) -> dict[str, Any]:
    """Say who asks, as the Web Fuzzing Commons write it."""
    keys = {name: {"name": "Authorization", "value": f"Bearer {tenant.key}"} for name, tenant in named.items()}
    return {"auth": [{"name": name, "fixedHeaders": [header]} for name, header in keys.items()]}


def made(local: Local, first: Tenant, second: Tenant) -> dict[str, list[str]]:
    """Make jobs of all kinds, and give values of parameters that lead to them."""
    succeeded, withheld, spare, theirs = (
        first.generate(num_images=2),
        first.generate("a fox nsfw-all"),
        [first.generate() for _ in range(SPARE_JOBS)],
        second.generate(),
    )
    batch = first.http.post("/generate", json={"prompts": ["a fox", "a hare"], "model": SCHNELL, "num_images": 1})
    training = first.http.post("/train", json={"images_zip_url": "https://example.com/foxes.zip"})
    parts = [part["prediction_id"] for part in batch.json()["predictions"]]
    local.end([succeeded, withheld, *spare, theirs, *parts, training.json()["prediction_id"]])
    local.replicate.misbehave({"on": "prediction", "kind": "never", "times": 2})
    running, canceled = first.generate(), first.generate()
    first.http.post(f"/predictions/{canceled}/cancel")
    local.end([canceled])
    link = urlsplit(second.read(theirs)["output"][0])  # needs no key, and the first tenant cannot delete it
    _, _, job, name = link.path.split("/")
    signed = parse_qs(link.query)
    (version,) = set(re.findall(r"/console/(\w+)/", first.http.get("/").text))
    return {
        "jobs": [succeeded, withheld, canceled, running, theirs],
        "spare_jobs": [*spare, running, theirs],
        "trainings": [training.json()["prediction_id"]],
        "batches": [batch.json()["batch_id"]],
        "link_job": [job],
        "link_name": [name],
        "link_e": signed["e"],
        "link_s": signed["s"],
        "console_version": [version],
        "versions": ["latest", local.replicate.version_of("simulated-user/flux-lora")],
    }
