"""Every command of the command line, run against the local stack."""

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
from PIL import Image
from typer.testing import CliRunner

from infra.local.stack import ROOT, Stack
from infra.ops.__main__ import app
from shared.identifiers import new_job_id
from shared.job import Job, Millis
from shared.job_store import job_pk
from tests.journey.local import PRICES, SCHNELL, Local, Tenant, until
from tests.journey.replicate import Replicate
from tests.support.loopback import Answer, Call, serving
from tests.support.world import fresh_wiring

pytestmark = pytest.mark.sockets

PROMPT = "a heron in the reeds"


@dataclasses.dataclass(frozen=True)
class Ran:
    """What a command has left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Afterimage:
    """The command line, told that the local stack of these tests is the one to work on."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *arguments: str, status: int = 0, answer: str | None = None, json: bool = False) -> Ran:
        """Run a command in this process; `answer` is what is typed, `status` how it must end."""
        options = ["--json"] if json else []
        local = [] if "--help" in arguments else ["--local"]
        run = CliRunner().invoke(app, [*arguments, *local, *options], input=answer)
        if run.exception is not None and not isinstance(run.exception, SystemExit):
            raise run.exception
        assert run.exit_code == status, run.output
        return Ran(run.exit_code, run.stdout, run.stderr)

    def json(self, *arguments: str, status: int = 0) -> Any:
        """Run a command, and read what it prints for programs."""
        return self(*arguments, status=status, json=True).json

    def alone(self, *arguments: str) -> Ran:
        """Run a command as people do, in a process of its own."""
        run = subprocess.run(
            [sys.executable, "-m", "infra.ops", *arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Ran(run.returncode, run.stdout, run.stderr)


@pytest.fixture
def afterimage(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Afterimage]:
    places = tmp_path / "stack.json"
    places.write_text(json.dumps(dataclasses.asdict(stack)))
    environment = {"AFTERIMAGE_STACK_FILE": str(places)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # What `--local` sets for its process, which is this one, is to be gone afterwards.
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    fresh_wiring()
    yield Afterimage(environment)
    fresh_wiring()


@pytest.fixture
def failed(tenant: Tenant, local: Local, replicate: Replicate) -> Job:
    """A job that has failed, at no cost."""
    replicate.misbehave({"on": "prediction", "kind": "fail", "times": 1})
    (job,) = local.end([tenant.generate(PROMPT)])
    assert (job.status, job.cost) == ("failed", 0)
    return job


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


# For people


def test_images_are_made_and_downloaded(afterimage: Afterimage, tenant: Tenant, tmp_path: Path) -> None:
    asked = ("generate", PROMPT, "--model", SCHNELL, "--num-images", "2", "--api-url", str(tenant.http.base_url))
    run = afterimage.alone(*asked, "--api-key", tenant.key, "--out", str(tmp_path / "made"))
    assert (run.status, run.err) == (0, "")
    paths = [Path(line) for line in run.out.splitlines()]
    assert len(paths) == 2
    assert {opened(path).format for path in paths} == {"WEBP"}
    assert sorted((tmp_path / "made").iterdir()) == sorted(paths)


def test_a_request_for_images_can_be_repeated(afterimage: Afterimage, local: Local) -> None:
    asked = ("generate", PROMPT, "--model", SCHNELL, "--preset", "square", "--seed", "7", "--idempotency-key", "once")
    first = afterimage.json(*asked)
    again = afterimage.json(*asked, "--wait")
    assert again["predictions"][0]["prediction_id"] == first["predictions"][0]["prediction_id"]
    assert again["predictions"][0]["status"] == "succeeded"
    assert len(again["predictions"][0]["images"]) == 1
    (job,) = local.end([first["predictions"][0]["prediction_id"]])
    assert (job.tenant, local.charged([job])) == ("demo", 1)


def test_what_is_refused_is_said_in_a_line(afterimage: Afterimage, stack: Stack) -> None:
    refused = afterimage("generate", PROMPT, "--preset", "sqare", status=1)
    assert "(invalid_input)" in refused.err
    assert "Did you mean square?" in refused.err
    stranger = afterimage("generate", PROMPT, "--api-url", stack.api_url, "--api-key", "aft_nobody_x", status=1)
    assert "(unauthorized)" in stranger.err
    for run in (refused, stranger):
        assert (run.out, run.err.count("\n")) == ("", 1)


def test_who_does_not_want_to_wait_longer_is_told_how_to_go_on(afterimage: Afterimage, replicate: Replicate) -> None:
    replicate.misbehave({"on": "prediction", "kind": "held", "times": 1})
    asked = ("generate", PROMPT, "--model", SCHNELL, "--wait", "--idempotency-key", "patience")
    early = afterimage(*asked, "--timeout", "0", status=3)
    assert "--idempotency-key patience" in early.err
    replicate.misbehave()
    assert "http" in afterimage(*asked).out


def test_images_that_could_not_be_made_are_said_to_be_so(afterimage: Afterimage, replicate: Replicate) -> None:
    replicate.misbehave({"on": "prediction", "kind": "fail", "times": 1})
    assert "out_of_memory" in afterimage("generate", PROMPT, "--model", SCHNELL, "--wait", status=1).out


# Tenants and keys


def test_a_stack_is_found_by_its_name(afterimage: Afterimage, stack: Stack) -> None:
    aws = {"AWS_ENDPOINT_URL": stack.aws_endpoint_url, "AWS_DEFAULT_REGION": "us-east-1"}
    afterimage.environment |= aws | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    found = afterimage.alone("tenants", "list", "--stack", "afterimage-local", "--json")
    assert {"demo", "other"} <= {one["tenant"] for one in json.loads(found.out)}
    missing = afterimage.alone("tenants", "list", "--stack", "nothing")
    assert (missing.status, missing.out) == (1, "")
    assert missing.err.startswith("There is no stack 'nothing' in us-east-1.")


def test_tenants_are_made_and_limited(afterimage: Afterimage, stack: Stack) -> None:
    name = f"tenant-{time.time_ns()}"
    key = afterimage("tenants", "create", name, "--max-in-flight", "3", "--daily-budget-usd", "1.50").out.strip()
    caller = Tenant(name, key, stack.api_url)
    with caller.http:
        caller.read(caller.generate())
    assert "already" in afterimage("tenants", "create", name, status=1).err
    afterimage("tenants", "create", "Not_A_Name", status=2)
    shown = afterimage.json("tenants", "show", name)
    assert (shown["max_in_flight"], shown["daily_budget_usd"], shown["own_limits"]) == (
        3,
        1.5,
        ["daily_budget", "max_in_flight"],
    )
    assert (shown["rate_per_minute"], shown["valid_keys"]) == (50, 1)
    assert afterimage.json("tenants", "limits", name, "--rate-per-minute", "7")["rate_per_minute"] == 7
    assert "7" in afterimage("tenants", "limits", name).out
    limited = afterimage.json("tenants", "limits", name, "--default")
    assert (limited["rate_per_minute"], limited["max_in_flight"]) == (50, 100)
    assert afterimage.json("tenants", "budget", name, "0.001")["daily_budget_usd"] == 0.001
    assert afterimage.json("tenants", "budget", name, "--default")["daily_budget_usd"] == 25
    assert "25 (default)" in afterimage("tenants", "budget", name).out
    afterimage("tenants", "budget", name, "much", status=2)
    assert name in afterimage("tenants", "list").out
    assert name in {one["tenant"] for one in afterimage.json("tenants", "list")}
    secret = afterimage("tenants", "rotate-webhook-secret", name).out.strip()
    assert secret.startswith("whsec_")
    unknown = afterimage("tenants", "show", "nobody", status=1)
    assert unknown.err == "there is no tenant 'nobody'\n"


def test_keys_are_made_rotated_and_revoked(afterimage: Afterimage, tenant: Tenant, stack: Stack) -> None:
    def lets_in(key: str) -> bool:
        caller = Tenant(tenant.name, key, stack.api_url)
        with caller.http:
            return caller.http.get("/v1/account").status_code == 200

    made = afterimage.json("keys", "create", tenant.name, "--expires-days", "30")
    assert lets_in(made["api_key"])
    rotated = afterimage("keys", "rotate", made["id"], "--overlap-hours", "1")
    assert lets_in(rotated.out.strip())
    assert made["id"] in rotated.err
    until_, former = (afterimage.json("keys", "expiry", made["id"])[name] for name in ("valid_until", "state"))
    assert (former, until_ < made["valid_until"]) == ("valid", True)
    assert afterimage.json("keys", "expiry", made["id"], "--never")["valid_until"] is None
    # Not known to any process yet, so that it need not be forgotten.
    fresh = afterimage("keys", "create", tenant.name).out.strip()
    assert "Revoke" in afterimage("keys", "revoke", fresh, answer="n\n", status=1).err
    revoked = afterimage.json("keys", "revoke", fresh, "--yes")
    assert not lets_in(fresh)
    states = {one["id"]: one["state"] for one in afterimage.json("keys", "list", tenant.name)}
    assert (states[revoked["id"]], states[made["id"]], len(states)) == ("revoked", "valid", 4)
    listed = afterimage("keys", "list", tenant.name).out
    assert "revoked" in listed
    assert fresh not in listed
    assert "is revoked" in afterimage("keys", "rotate", revoked["id"], status=1).err
    assert "no such key" in afterimage("keys", "revoke", "00000000", "--yes", status=1).err


def test_a_tenant_is_exported_and_deleted(
    afterimage: Afterimage, tenant: Tenant, local: Local, replicate: Replicate, tmp_path: Path
) -> None:
    done = local.end([tenant.generate(PROMPT, num_images=2), tenant.generate()])
    uploaded = tenant.http.post("/v1/files", files={"content": ("reeds.png", b"\x89PNG\r\n\x1a\nreeds", "image/png")})
    assert uploaded.status_code == 201, uploaded.text
    replicate.misbehave({"on": "prediction", "kind": "never", "times": 1})
    running = tenant.generate()

    folder = tmp_path / "export"
    exported = afterimage.json("tenants", "export", tenant.name, "--out", str(folder))
    assert (exported["jobs"], exported["files"], exported["kept"], exported["missing"]) == (3, 6, 0, [])
    lines = [json.loads(line) for line in (folder / "jobs.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == sorted([*(job.id for job in done), running], reverse=True)
    assert PROMPT in {line["input"]["prompt"] for line in lines}
    for job in done:
        assert json.loads((folder / f"jobs/{tenant.name}/{job.id}/manifest.json").read_text())["job_id"] == job.id
        assert all((folder / file.key).stat().st_size == file.bytes for file in job.files)
    # As if it had been interrupted: only what is not there is fetched.
    (folder / done[0].files[0].key).unlink()
    resumed = afterimage.json("tenants", "export", tenant.name, "--out", str(folder))
    assert (resumed["files"], resumed["kept"]) == (1, 5)
    archive = tmp_path / "export.tar.gz"
    afterimage("tenants", "export", tenant.name, "--out", str(archive))
    with tarfile.open(archive) as packed:
        assert f"export/{done[0].files[0].key}" in packed.getnames()

    assert "Delete" in afterimage("tenants", "delete", tenant.name, answer="n\n", status=1).err
    assert tenant.read(running)["status"] == "starting"
    afterimage("tenants", "delete", tenant.name, "--yes", "--no-wait", status=3)
    # What its last requests may still bring is waited for from its closing on, which is put off here.
    local.move_back(local.stack.accounts_table, f"account#{tenant.name}", -3600)

    def sweep() -> Any:
        return afterimage.json("tenants", "delete", tenant.name, "--yes", "--no-wait", status=3)

    left = until(lambda: (left := sweep())["until"] and left, seconds=120, what="the end of all jobs")
    assert left["jobs"] == {"gone": 3}
    jobs = [local.job(job_id) for job_id in (*(job.id for job in done), running)]
    assert all(job.purged_at and not job.input and not job.files for job in jobs)
    assert [one["status"] for one in replicate.predictions_of(running)] == ["canceled"]
    local.move_back(local.stack.accounts_table, f"account#{tenant.name}", 3600 + 120)
    gone = afterimage("tenants", "delete", tenant.name, "--yes").out
    assert gone == f"Deleted: {tenant.name}, with 3 jobs.\n"
    for place in ("jobs", "inputs", "uploads"):
        found = local.aws.s3.list_object_versions(Bucket=local.stack.bucket, Prefix=f"{place}/{tenant.name}/")
        assert not found.get("Versions")
        assert not found.get("DeleteMarkers")
    assert "no tenant" in afterimage("tenants", "delete", tenant.name, "--yes", status=1).err
    assert afterimage.json("keys", "list", tenant.name) == []


# Jobs


def test_a_job_is_shown_with_its_history_but_without_its_prompt(
    afterimage: Afterimage, tenant: Tenant, local: Local
) -> None:
    (job,) = local.end([tenant.generate(PROMPT)])
    shown = afterimage("jobs", "show", job.id).out
    for part in (SCHNELL, str(job.prediction_id), "attempt 1 claimed", "manifest written", job.files[0].key, "0.003"):
        assert part in shown
    document = afterimage("jobs", "show", job.id, json=True)
    assert PROMPT not in shown + document.out
    whats = [moment["what"] for moment in document.json["history"]]
    assert {"accepted", "succeeded", "manifest written"} <= set(whats)
    assert document.json["files"][0]["sha256"] == job.files[0].sha256
    assert afterimage.json("jobs", "show", job.id, "--contents")["input"]["prompt"] == PROMPT

    def logged() -> set[str]:
        return {line["message"] for line in afterimage.json("jobs", "show", job.id, "--logs")["log_lines"]}

    until(lambda: {"admitted", "ended"} <= logged(), what="the lines of the log")
    assert "There is no job" in afterimage("jobs", "show", new_job_id(Millis(1)), status=1).err


def test_jobs_are_listed(afterimage: Afterimage, tenant: Tenant, local: Local, failed: Job) -> None:
    (job,) = local.end([tenant.generate()])
    mine = ("jobs", "list", "--tenant", tenant.name)

    def listed(*options: str) -> Sequence[str]:
        return [one["id"] for one in afterimage.json(*mine, *options)]

    until(lambda: listed() == [job.id, failed.id], what="both in the index")
    assert listed("--status", "failed") == [failed.id]
    assert listed("--limit", "1") == [job.id]
    assert listed("--kind", "training") == listed("--model", "nobody/nothing") == []
    assert job.id in afterimage("jobs", "list", "--since", "1h").out
    afterimage(*mine, "--since", "yesterday", status=2)


def test_a_job_is_canceled(afterimage: Afterimage, tenant: Tenant, local: Local, replicate: Replicate) -> None:
    replicate.misbehave({"on": "prediction", "kind": "never", "times": 1})
    job_id = tenant.generate()
    afterimage("jobs", "cancel", job_id, answer="n\n", status=1)
    afterimage("jobs", "cancel", job_id, "--yes")
    (job,) = local.end([job_id])
    assert (job.status, local.account(tenant)) == ("canceled", (0, 0))
    assert "nothing to cancel" in afterimage("jobs", "cancel", job_id, "--yes", status=1).err


def test_what_failed_for_nothing_is_started_anew_once(
    afterimage: Afterimage, tenant: Tenant, local: Local, failed: Job
) -> None:
    new_id = afterimage("jobs", "retry", failed.id, "--yes").out.strip()
    (new,) = local.end([new_id])
    assert (new.status, new.input["prompt"], new.seed != failed.seed) == ("succeeded", PROMPT, True)
    assert local.charged([new]) == 1
    assert f"as {new_id}" in afterimage("jobs", "retry", failed.id, "--yes", status=1).err
    assert afterimage.json("jobs", "show", failed.id)["retried_as"] == new_id
    assert "succeeded" in afterimage("jobs", "retry", new_id, "--yes", status=1).err
    assert local.account(tenant) == (0, PRICES[SCHNELL])


# Queues and messages


def test_dead_letters_are_looked_at_and_sent_again(
    afterimage: Afterimage, tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave({"on": "create", "kind": "throttled", "retry_after": 900, "times": 1})
    job_id = tenant.generate(PROMPT)
    local.forget_messages()
    local.forget_upstream_limit()
    dead = local.stack.dispatch_queue_url + "-dead-letters"
    local.sqs.purge_queue(QueueUrl=dead)
    body = json.dumps({"job_id": job_id, "tenant": tenant.name, "attempt": local.job(job_id).attempt})
    local.sqs.send_message(QueueUrl=dead, MessageBody=body)
    looked = afterimage.json("queues", "look", "dispatch")
    assert looked["queues"][0]["dead_letters"] == 1
    (head,) = looked["heads"]
    assert (head["what"], head["job_id"]) == ("dispatch: attempt 2", job_id)
    assert job_id in afterimage("queues", "look").out
    assert "no dead-letter queue" in afterimage("queues", "look", "nothing", status=1).err
    afterimage("queues", "redrive", status=2)
    afterimage("queues", "redrive", "dispatch", answer="n\n", status=1)
    assert afterimage.json("queues", "redrive", "dispatch", "--yes") == [{"queue": "dispatch", "moved": 1, "left": 0}]
    (job,) = local.end([job_id])
    assert job.status == "succeeded"
    # The other queues may have some of other tests.
    assert {one["left"] for one in afterimage.json("queues", "redrive", "--all", "--yes")} == {0}


def test_the_storing_of_a_result_is_asked_for_again(
    afterimage: Afterimage, tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave({"on": "webhook", "kind": "lost"}, {"on": "prediction", "kind": "held", "times": 1})
    job_id = tenant.generate()
    # `reconcile` must not be faster.
    local.move_back(local.stack.jobs_table, job_pk(job_id), -3600)
    assert "nothing to store yet" in afterimage("replay", "archive", job_id, status=3).out
    replicate.misbehave({"on": "webhook", "kind": "lost"})
    until(lambda: replicate.predictions_of(job_id)[0]["status"] == "succeeded", what="the end of the prediction")
    assert "is to be stored" in afterimage("replay", "archive", job_id).out
    (job,) = local.end([job_id])
    assert (job.status, len(job.files)) == ("succeeded", 1)
    assert "Nothing is missing" in afterimage("replay", "archive", job_id, status=1).err


def test_a_caller_is_told_again(afterimage: Afterimage, tenant: Tenant, local: Local) -> None:
    calls: list[Call] = []

    def hear(call: Call) -> Answer:
        calls.append(call)
        return Answer(204, b"", {})

    with serving(hear) as receiver:
        (job,) = local.end([tenant.generate(webhook=f"{receiver}/hook")])
        until(lambda: afterimage.json("jobs", "show", job.id)["webhook_heard"], what="the first call")
        assert "has heard it" in afterimage("replay", "notify", job.id, status=1).err
        assert "is to be told" in afterimage("replay", "notify", job.id, "--again").out
        until(lambda: len(calls) > 1, what="another call")
    assert len({call.headers["webhook-id"] for call in calls}) == 1
    (silent,) = local.end([tenant.generate()])
    assert "no webhook" in afterimage("replay", "notify", silent.id, status=1).err


# Money and health


def test_costs_are_told_by_day_tenant_and_model(afterimage: Afterimage, tenant: Tenant, local: Local) -> None:
    local.end([tenant.generate(num_images=2)])
    costs = afterimage.json("costs", "--tenant", tenant.name, "--days", "2")
    assert (costs["total_usd"], costs["by_tenant"], costs["by_model"]) == (
        0.006,
        {tenant.name: 0.006},
        {SCHNELL: 0.006},
    )
    assert len(costs["by_day"]) == 2
    assert tenant.name in afterimage("costs").out
    assert afterimage.json("costs", "--model", "nobody/nothing")["total_usd"] == 0


def test_the_audit_finds_what_was_paid_for_and_belongs_to_nobody(
    afterimage: Afterimage, tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    (job,) = local.end([tenant.generate()])
    # A second prediction for the same job, which its webhook tells of and nobody hears.
    replicate.misbehave({"on": "webhook", "kind": "lost"})
    webhook = replicate.predictions_of(job.id)[0]["webhook"]
    stray = replicate.start(input={"prompt": PROMPT}, webhook=webhook, webhook_events_filter=["completed"])
    until(lambda: replicate.document(stray)["status"] == "succeeded", what="the end of the stray")
    found = afterimage.json("audit", "--since", "1h", status=1)
    mine = [one for one in found["findings"] if one["job_id"] == job.id]
    assert [(one["fault"], one["prediction_id"]) for one in mine] == [("unowned", stray)]
    assert found["predictions"]["ours"] >= 1
    assert stray in afterimage("audit", "--since", "1h", status=1).out


def test_the_doctor_looks_a_deployment_over(afterimage: Afterimage, tenant: Tenant, local: Local) -> None:
    def states() -> dict[str, str]:
        run = CliRunner().invoke(app, ["doctor", "--local", "--json"])
        assert run.exit_code == int('"failed"' in run.stdout), run.output
        return {one["check"]: one["state"] for one in json.loads(run.stdout)}

    local.end([tenant.generate()])
    found = states()
    assert found.pop("alarms") == "unknown"
    # Other tests leave traces: refusals of Replicate's, jobs whose time was moved, messages.
    traces = {name: found.pop(name) for name in ("permissions", "credit", "results", "reconcile", "dead letters")}
    assert set(traces.values()) <= {"ok", "failed"}, traces
    assert set(found.values()) == {"ok"}, found
    dead = local.stack.notify_queue_url.replace("-notify", "-reconcile-dead-letters")
    local.sqs.send_message(QueueUrl=dead, MessageBody="{}")
    assert states()["dead letters"] == "failed"
    assert "queues redrive" in afterimage("doctor", status=1).out
    assert afterimage.json("queues", "redrive", "reconcile", "--yes")[0]["left"] == 0


def test_secrets_are_stored_and_replaced(afterimage: Afterimage, local: Local) -> None:
    def stored(name: str) -> str:
        parameter = local.aws.ssm.get_parameter(Name=f"/afterimage/{name}", WithDecryption=True)["Parameter"]
        return parameter["Value"]

    token, signs = stored("local/replicate-api-token"), stored("local/replicate-webhook-secret")
    assert afterimage.json("secrets", "set", "--token", token) == {
        "/afterimage/local/replicate-api-token": "set",
        "/afterimage/local/replicate-webhook-secret": "set",
        "/afterimage/local/callback-key": "kept",
        "/afterimage/local/link-key": "kept",
    }
    assert "credentials" in afterimage("secrets", "set", "--token", "r8_wrong", status=1).err
    shown = (
        afterimage("secrets", "rotate", "webhook").out + afterimage("secrets", "rotate", "token", "--token", token).out
    )
    assert signs not in shown
    assert token not in shown
    assert (stored("local/replicate-api-token"), stored("local/replicate-webhook-secret")) == (token, signs)
    # The keys of a stage that nothing runs on.
    elsewhere = ("--stage", f"spare-{time.time_ns()}")
    for name in ("callback-key", "link-key"):
        afterimage("secrets", "rotate", name, *elsewhere, answer="n\n", status=1)
        afterimage("secrets", "rotate", name, *elsewhere, "--yes")
        assert stored(f"{elsewhere[1]}/{name}")


def test_every_command_is_run_here(afterimage: Afterimage) -> None:
    text, named = Path(__file__).read_text(), re.compile(r"^  ([a-z-]+) ", re.MULTILINE)
    found: list[tuple[str, ...]] = []
    for name in named.findall(afterimage("--help").out.partition("Commands:")[2]):
        inner = named.findall(afterimage(name, "--help").out.partition("Commands:")[2])
        found += [(name, one) for one in inner] or [(name,)]
    assert len(found) == 27
    for path in found:
        assert ", ".join(f'"{name}"' for name in path) in text, path
