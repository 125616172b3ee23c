"""The workflows of GitHub Actions: what they may do, and that they do what people do here, with make."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from samcli.yamlhelper import yaml_parse

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")

each = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["jobs"]
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job.get("steps", [])]


def test_there_are_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["deploy", "stage"]


@each
def test_what_others_wrote_is_pinned_by_its_commit(path: Path) -> None:
    used = [line.strip().removeprefix("- ") for line in path.read_text().splitlines() if "uses:" in line]
    assert used
    assert [line for line in used if not PINNED.fullmatch(line) and "./.github/workflows/" not in line] == []


@each
def test_a_job_may_only_read_unless_it_deploys(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {}
    for name, job in jobs(path).items():
        deploys = name in {"dev", "prod", "deploy"}
        assert job["permissions"] == {"contents": "read"} | ({"id-token": "write"} if deploys else {}), name


@each
def test_no_secret_is_named_and_nothing_from_outside_gets_into_a_command(path: Path) -> None:
    assert "secrets" not in re.sub(r"(?m)#.*$", "", path.read_text())
    assert not [step["run"] for step in steps(path) if "${{" in step.get("run", "")]
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}


@each
def test_what_they_run_is_there(path: Path) -> None:
    for step in steps(path):
        if "run" in step:
            program, *targets = shlex.split(step["run"])
            assert program == "make"
            done = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, check=False, timeout=60)
            assert done.returncode == 0, done.stderr.decode()


def test_only_what_was_merged_checked_and_built_is_deployed_and_prod_comes_last() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text())
    assert workflow[True] == {"pull_request": None, "push": {"branches": ["main"]}}  # YAML takes "on" for a yes
    check, dev, prod = (workflow["jobs"][name] for name in ("check", "dev", "prod"))
    assert (dev["if"], dev["needs"], prod["needs"]) == ("github.event_name == 'push'", "check", "dev")
    assert (dev["with"], prod["with"]) == ({"stage": "dev"}, {"stage": "prod"})
    run = " ".join(step.get("run", "") for step in check["steps"])
    assert {"check", "test", "test-artifact"} <= set(run.split())
    kept = [step["with"] for step in check["steps"] if "upload-artifact" in step.get("uses", "")]
    fetched = [
        step["with"] for step in steps(ROOT / ".github/workflows/stage.yml") if "download" in step.get("uses", "")
    ]
    assert [(one["name"], one["path"]) for one in kept] == [(one["name"], one["path"]) for one in fetched]
    assert kept[0]["include-hidden-files"] is True


def test_a_deployment_asks_its_environment_and_is_never_stopped_halfway() -> None:
    (job,) = jobs(ROOT / ".github/workflows/stage.yml").values()
    assert job["environment"] == "${{ inputs.stage }}"
    assert job["concurrency"] == {"group": "deploy-${{ inputs.stage }}", "cancel-in-progress": False}
    (deploy,) = [step for step in job["steps"] if step["name"] == "Deploy"]
    assert "--unattended" in deploy["run"]
    assert deploy["env"] == {"STAGE": "${{ inputs.stage }}"}


def test_the_role_of_the_workflow_trusts_one_environment_of_one_repository() -> None:
    role = yaml_parse((ROOT / "infra/deploy/github.yaml").read_text())["Resources"]["Role"]["Properties"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    (operator,) = statement["Condition"]
    assert operator == "StringEquals"
    subject = statement["Condition"][operator]["token.actions.githubusercontent.com:sub"]
    assert subject == {"Fn::Sub": "repo:${Repository}:environment:${Stage}"}
