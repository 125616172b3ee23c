"""How new versions of the functions take over: what AWS makes of the template, which the emulator cannot show whole."""

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from cfnlint.api import lint
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

from tests.support.template import PATH, read_template

ROOT = PATH.parent
ROLLOUTS = ["AllAtOnce", "Canary10Percent5Minutes", "Canary10Percent15Minutes", "Linear10PercentEvery1Minute"]
WARM = {"SubmitFunction", "WebhookFunction", "StatusFunction"}


class NoManagedPolicies:
    def load(self) -> dict[str, str]:
        raise AssertionError("a role of SAM's own making was asked for")


def transformed(memory_mb: int = 1024, **parameters: str) -> dict[str, Any]:
    """Give what SAM makes of the template, as CloudFormation has it done."""
    source: Any = deepcopy(read_template())
    source["Globals"]["Function"]["MemorySize"] = memory_mb
    source["Resources"]["SharedLayer"]["Properties"]["ContentUri"] = "s3://artifacts/layer-1"
    source["Globals"]["Function"]["CodeUri"] = "s3://artifacts/code-1"
    given = {name: str(one["Default"]) for name, one in source["Parameters"].items()} | parameters
    made: dict[str, Any] = transform(source, given, NoManagedPolicies())
    return made


def of_type(template: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: body for name, body in template["Resources"].items() if body["Type"] == kind}


def versions(template: Mapping[str, Any]) -> set[str]:
    return set(of_type(template, "AWS::Lambda::Version"))


def alarms() -> set[str]:
    resources = yaml_parse((ROOT / "infra/observability.yaml").read_text())["Resources"].values()
    return {json.dumps(one["Properties"]["AlarmName"]) for one in resources if one["Type"] == "AWS::CloudWatch::Alarm"}


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")  # SAM asks for one


def test_everything_that_calls_a_function_calls_its_alias() -> None:
    made = transformed()
    functions = of_type(made, "AWS::Lambda::Function")
    assert len(functions) == 11
    assert set(of_type(made, "AWS::Lambda::Alias")) == {f"{name}Aliaslive" for name in functions}
    callers = ("Integration", "Permission", "EventSourceMapping", "Schedule", "ScheduleRole")
    text = json.dumps({name: body for name, body in made["Resources"].items() if name.endswith(callers)})
    called = {name for name in functions if f'"Ref": "{name}Aliaslive"' in text}
    # The queues' sources have SAM's names.
    sources = of_type(made, "AWS::Lambda::EventSourceMapping").values()
    called |= {one["Properties"]["FunctionName"]["Ref"].removesuffix("Aliaslive") for one in sources}
    assert called == set(functions)
    for name in functions:
        direct = [key for key, body in made["Resources"].items() if f'"{name}", "Arn"' in json.dumps(body)]
        assert direct == [], name


def test_at_once_needs_no_codedeploy() -> None:
    made = transformed()
    assert not of_type(made, "AWS::CodeDeploy::Application") | of_type(made, "AWS::CodeDeploy::DeploymentGroup")
    assert not any("UpdatePolicy" in body for body in made["Resources"].values())


@pytest.mark.parametrize("rollout", ROLLOUTS[1:])
def test_a_gradual_rollout_is_taken_back_when_an_alarm_is_raised(rollout: str) -> None:
    made = transformed(Rollout=rollout)
    groups = of_type(made, "AWS::CodeDeploy::DeploymentGroup")
    functions = of_type(made, "AWS::Lambda::Function")
    assert set(groups) == {f"{name}DeploymentGroup" for name in functions}
    for name in functions:
        group = groups[f"{name}DeploymentGroup"]["Properties"]
        policy = made["Resources"][f"{name}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        assert policy["DeploymentGroupName"] == {"Ref": f"{name}DeploymentGroup"}
        name_of_config = group["DeploymentConfigName"]["Fn::Sub"]
        assert name_of_config == ["CodeDeployDefault.Lambda${ConfigName}", {"ConfigName": rollout}]
        assert group["ServiceRoleArn"] == {"Fn::GetAtt": ["RolloutRole", "Arn"]}
        assert group["AutoRollbackConfiguration"]["Enabled"]
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        watched = {json.dumps(one["Name"]) for one in group["AlarmConfiguration"]["Alarms"]}
        assert group["AlarmConfiguration"]["Enabled"]
        assert watched <= alarms()
        own = name.removesuffix("Function").lower()
        assert {"api-5xx", "unexpected-errors", f"{own}-crashes"} == {
            json.loads(one)["Fn::Sub"].removeprefix("afterimage-${Stage}-") for one in watched
        }


def test_what_shifts_the_calls_may_do_nothing_else() -> None:
    role = transformed()["Resources"]["RolloutRole"]
    assert role["Condition"] == "IsGradual"
    assert "ManagedPolicyArns" not in role["Properties"]
    (policy,) = role["Properties"]["Policies"]
    actions = {action for one in policy["PolicyDocument"]["Statement"] for action in _listed(one["Action"])}
    assert actions == {
        "lambda:GetAlias",
        "lambda:UpdateAlias",
        "lambda:GetProvisionedConcurrencyConfig",
        "cloudwatch:DescribeAlarms",
    }


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("rollout", ROLLOUTS[:2])
def test_what_sam_makes_of_the_template_is_right_for_cloudformation(rollout: str) -> None:
    made = transformed(Rollout=rollout)
    found = lint(json.dumps(made), regions=["us-east-1"])
    assert [str(one) for one in found if one.rule.id.startswith("E")] == []


def test_a_release_publishes_new_versions_of_all_functions() -> None:
    """Of a parameter alone SAM would publish none, and the aliases would stay on what was before."""
    first, second = transformed(Release="aaaaaaaaaaaa"), transformed(Release="bbbbbbbbbbbb")
    assert len(versions(first)) == 11
    assert not versions(first) & versions(second)
    # Else Lambda has nothing to publish: a version is made only of a function that has changed.
    descriptions = [one["Properties"]["Description"] for one in of_type(second, "AWS::Lambda::Function").values()]
    assert set(descriptions) == {"bbbbbbbbbbbb"}


def test_without_a_release_the_code_and_the_template_publish_new_versions() -> None:
    before = versions(transformed())
    assert versions(transformed(memory_mb=1025)) & before == set()
    assert versions(transformed()) == before
    # This is why there is a Release.
    assert versions(transformed(RatePerMinute="51")) == before


def test_former_versions_are_not_kept_since_their_snapshots_would_cost_money() -> None:
    policies = {one["DeletionPolicy"] for one in of_type(transformed(), "AWS::Lambda::Version").values()}
    assert policies == {"Delete"}


def test_warm_starts_are_snapshots_or_provisioned_and_never_both() -> None:
    made = transformed()
    for name, function in of_type(made, "AWS::Lambda::Function").items():
        alias = made["Resources"][f"{name}Aliaslive"]["Properties"]
        snapshots, provisioned = function["Properties"].get("SnapStart"), alias.get("ProvisionedConcurrencyConfig")
        if name not in WARM:
            assert (snapshots, provisioned) == (None, None)
            continue
        nothing = {"Ref": "AWS::NoValue"}
        assert snapshots == {"Fn::If": ["HasSnapshots", {"ApplyOn": "PublishedVersions"}, nothing]}
        assert provisioned == {"Fn::If": ["HasProvisioned", {"ProvisionedConcurrentExecutions": 1}, nothing]}
    conditions = made["Conditions"]
    assert conditions["HasSnapshots"] == {"Fn::Equals": [{"Ref": "WarmStarts"}, "snapstart"]}
    assert conditions["HasProvisioned"] == {"Fn::Equals": [{"Ref": "WarmStarts"}, "provisioned"]}
    assert made["Parameters"]["WarmStarts"]["AllowedValues"] == ["none", "snapstart", "provisioned"]
