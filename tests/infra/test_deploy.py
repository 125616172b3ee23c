"""What `make deploy` reads, and what it tells the SAM CLI, without an AWS."""

import json
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samcli.cli.types import CfnParameterOverridesType

from infra.deploy.target import CONFIG, ROOT, read_target, release
from infra.ops.screen import OpsError
from tests.support.template import Template, read_template

STAGES = ("dev", "prod")


def built(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_a_stack_of_its_own_and_parameters_that_the_template_takes(stage: str) -> None:
    target = read_target(stage)
    assert target.stack == f"afterimage-{stage}"
    assert target.parameters["Stage"] == stage
    Template(target.parameters, {})  # refuses what it does not know
    for name, value in target.parameters.items():
        allowed = read_template()["Parameters"][name].get("AllowedValues")
        assert allowed is None or value in map(str, allowed), name


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_deployed_only_when_somebody_has_agreed(stage: str) -> None:
    settings: Any = tomllib.loads(CONFIG.read_text())[stage]["deploy"]["parameters"]
    assert settings["confirm_changeset"] is True
    assert settings["capabilities"] == "CAPABILITY_IAM"
    # One that is remembered from `make deploy` would keep `sam deploy` alone from publishing new versions.
    assert settings["parameter_overrides"]["Release"] == ""


def test_only_prod_is_rolled_out_step_by_step() -> None:
    assert read_target("prod").parameters["Rollout"].startswith("Canary")
    assert "Rollout" not in read_target("dev").parameters


def test_a_parameter_that_is_given_goes_over_the_settings() -> None:
    target = read_target("dev", ["Stage=mine", "ModelConfig={}", "PublicUrl=https://a.example?b=c"])
    assert (target.parameters["Stage"], target.parameters["ModelConfig"]) == ("mine", "{}")
    assert target.parameters["PublicUrl"] == "https://a.example?b=c"


def test_what_makes_no_sense_is_said() -> None:
    with pytest.raises(OpsError, match=r"samconfig\.toml has no stage 'test', but dev, prod\."):
        read_target("test")
    with pytest.raises(OpsError, match=r"not 'Stage'\."):
        read_target("dev", ["Stage"])


def test_a_release_is_the_digest_of_all_that_is_built_and_of_the_parameters(tmp_path: Path) -> None:
    one = release(built(tmp_path / "one", a="1", b="2"), {"x": "1", "y": "2"})
    assert one == release(built(tmp_path / "same", b="2", a="1"), {"y": "2", "x": "1"})
    others = {
        release(built(tmp_path / "content", a="1", b="3"), {"x": "1", "y": "2"}),
        release(built(tmp_path / "name", a="1", c="2"), {"x": "1", "y": "2"}),
        release(built(tmp_path / "less", a="1"), {"x": "1", "y": "2"}),
        release(tmp_path / "one", {"x": "1", "y": "3"}),
        release(tmp_path / "one", {"x": "1"}),
    }
    assert len({one, *others}) == 6
    Template({"Release": one}, {})


@given(
    st.dictionaries(
        st.sampled_from(["Stage", "ModelConfig", "PublicUrl"]),
        st.sampled_from(["", "a b", '{"a": [1, "b,c"]}', "*", "x=y", "30"]),
    )
)
def test_sam_takes_the_values_of_a_file_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, parameters: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("given") / "parameters.yaml"
    path.write_text(json.dumps(parameters))
    assert CfnParameterOverridesType().convert((f"file://{path}",), None, None) == parameters


@pytest.mark.parametrize("command", ["deploy", "destroy"])
def test_make_hands_the_stage_over(command: str) -> None:
    # As if nobody had called make before: what tests is called by one, too.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    said = subprocess.run(
        ["make", "--dry-run", command, "STAGE=prod"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert said.rstrip().endswith(f"python -m infra.deploy {command} --stage prod")
