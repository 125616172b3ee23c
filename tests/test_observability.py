"""Alarms and the dashboard: they look at what is really written, tell somebody, and the runbook says what to do."""

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from typer.main import get_command

from shared.errors import Code
from shared.job import Kind
from shared.metrics import NAMESPACE, SERVICE, SHAPES, Metric
from shared.registry import FAMILIES, FINE_TUNED, MODELS, Model, family_of
from tests.drill.breaks import BREAKS
from tests.support.aws_metrics import AWS_METRICS
from tests.support.observability import (
    ANY,
    ROOT,
    Alarm,
    Watched,
    alarms_of,
    read_observability,
    resolved,
    watched_by,
    widgets_of,
)
from tests.support.template import read_template

TEMPLATE = read_template()
NESTED = read_observability()
PREFIX = "afterimage-test-"
NAMES = {"Stage": "test", "AWS::Region": "us-east-1"}
HANDED = TEMPLATE["Resources"]["Observability"]["Properties"]["Parameters"]

ALARMS = alarms_of(NESTED, NAMES, PREFIX)
WIDGETS = widgets_of(NESTED, NAMES)
WATCHED = [alarm.watched for alarm in ALARMS.values()] + [one for widget in WIDGETS for one in watched_by(widget)]
RUNBOOK = (ROOT / "infra" / "runbook.md").read_text()

each_alarm = pytest.mark.parametrize("alarm", [pytest.param(alarm, id=name) for name, alarm in ALARMS.items()])


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: body["Properties"] for name, body in TEMPLATE["Resources"].items() if body["Type"] == kind}


FUNCTIONS = {resolved(body["FunctionName"], NAMES) for body in of_type("AWS::Serverless::Function").values()}
QUEUES = {resolved(body["QueueName"], NAMES): body for body in of_type("AWS::SQS::Queue").values()}
VALUES = {
    "FunctionName": FUNCTIONS | set(of_type("AWS::Serverless::Function")),
    "QueueName": set(QUEUES),
    "ApiId": {"ApiId", "Api"},
    "TableName": {"JobsTable", "AccountsTable"},
    "BucketName": {"Bucket"},
    "StorageType": {"StandardStorage"},
    SERVICE: {"afterimage-test"},
    "code": {ANY, *Code},
    "model": {ANY},
}


@pytest.mark.parametrize("watched", WATCHED, ids=lambda one: f"{one.where} {one.name}")
def test_what_is_looked_at_is_written_by_somebody_under_these_dimensions(watched: Watched) -> None:
    names = frozenset(watched.dimensions)
    if watched.namespace == NAMESPACE:
        assert names in {frozenset({SERVICE, *by}) for by in SHAPES[Metric(watched.name)].by}
    else:
        assert names in AWS_METRICS[watched.namespace].metrics[watched.name]
    for name, value in watched.dimensions.items():
        assert value in VALUES[name], watched


def test_no_metric_is_paid_for_that_nobody_looks_at() -> None:
    ours = {(one.name, frozenset(one.dimensions)) for one in WATCHED if one.namespace == NAMESPACE}
    written = {(metric.value, frozenset({SERVICE, *by})) for metric, shape in SHAPES.items() for by in shape.by}
    assert written == ours


def test_the_functions_write_under_the_name_that_alarms_look_for() -> None:
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    assert {resolved(variables["POWERTOOLS_SERVICE_NAME"], NAMES)} == VALUES[SERVICE]


@each_alarm
def test_an_alarm_says_what_happens_without_data_and_tells_when_it_is_over(alarm: Alarm) -> None:
    told = {"Fn::If": ["HasAlarmTopic", ["AlarmTopic"], "AWS::NoValue"]}
    assert (alarm.properties["AlarmActions"], alarm.properties["OKActions"]) == (told, told)
    expected = "breaching" if alarm.short == "reconcile-stands" else "notBreaching"
    assert alarm.properties["TreatMissingData"] == expected


@each_alarm
def test_an_alarm_names_its_section_of_the_runbook(alarm: Alarm) -> None:
    assert alarm.description.endswith(f" See infra/runbook.md, {alarm.short}.")
    section = sections()[alarm.short]
    for part in ("**Means.**", "**Look.**", "**Repair.**"):
        assert part in section, part


def sections() -> dict[str, str]:
    """Give what the runbook says, by the names of alarms; some share a section."""
    found: dict[str, str] = {}
    for heading, text in re.findall(r"^### (.+)\n((?:(?!^##).*\n)*)", RUNBOOK, re.MULTILINE):
        found |= dict.fromkeys(re.findall(r"`([a-z0-9-]+)`", heading), text)
    return found


def test_the_runbook_knows_all_alarms_and_no_others() -> None:
    assert set(sections()) == set(ALARMS)


def test_all_alarms_are_of_the_nested_stack_those_of_rollouts_too() -> None:
    assert of_type("AWS::CloudWatch::Alarm") == {}
    preferences = [TEMPLATE["Globals"]["Function"], *of_type("AWS::Serverless::Function").values()]
    named = [one for function in preferences for one in function.get("DeploymentPreference", {}).get("Alarms", [])]
    assert {str(resolved(one, NAMES)).removeprefix(PREFIX) for one in named} <= set(ALARMS)


def test_what_the_runbook_calls_is_there() -> None:
    from infra.ops.__main__ import app  # noqa: PLC0415 - what it imports is for this test alone

    known = dict(commands_of(get_command(app)))
    called = re.findall(r"`python -m infra\.ops ([^`]+)`", re.sub(r"\s+", " ", RUNBOOK))
    assert called
    for line in called:
        name = next(name for name in known if f"{line} ".startswith(f"{name} "))
        options = {word for option in known[name].params for word in option.opts}
        assert {word for word in line.split() if word.startswith("--")} <= options, line


def commands_of(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Give the commands of the command line by their names."""
    if nested := getattr(command, "commands", None):
        for word, inner in nested.items():
            yield from commands_of(inner, f"{name} {word}".strip())
    else:
        yield name, command


def test_every_dead_letter_queue_function_and_failure_of_replicates_has_its_alarm() -> None:
    by_metric: dict[str, set[str]] = {}
    for one in (alarm.watched for alarm in ALARMS.values()):
        values = [value for name, value in one.dimensions.items() if name != SERVICE]
        by_metric.setdefault(one.name, set()).update(values or [""])
    dead = {name for name in QUEUES if name.endswith("-dead-letters")}
    assert by_metric["ApproximateNumberOfMessagesVisible"] == dead
    # A caller's own endpoint that is down keeps messages in NotifyQueue for a day.
    assert by_metric["ApproximateAgeOfOldestMessage"] == set(QUEUES) - dead - {f"{PREFIX}notify"}
    assert by_metric["Errors"] == FUNCTIONS
    assert by_metric["Invocations"] == {f"{PREFIX}reconcile"}
    for metric in (Metric.NO_CREDIT, Metric.CREDENTIALS_REFUSED, Metric.MINUTES_TO_EXPIRY, Metric.BUDGET_USED):
        assert metric in by_metric


def test_the_drill_raises_every_alarm() -> None:
    assert {one.alarm for one in BREAKS} == set(ALARMS)


def test_the_nested_stack_is_handed_what_it_asks_for() -> None:
    assert TEMPLATE["Resources"]["Observability"]["Properties"]["TemplateURL"] == "infra/observability.yaml"
    assert set(HANDED) == set(NESTED["Parameters"])
    for name, value in HANDED.items():
        assert value == {"Ref": name.removesuffix("Id")}, name


def test_the_widgets_fit_beside_each_other() -> None:
    taken = {}
    for number, widget in enumerate(WIDGETS):
        assert widget["x"] + widget["width"] <= 24
        places = {(x, y) for x in range(widget["x"], widget["x"] + widget["width"])
                  for y in range(widget["y"], widget["y"] + widget["height"])}  # fmt: skip
        taken[number] = places
    for one, other in combinations(taken.values(), 2):
        assert not one & other


def test_the_dashboard_shows_every_alarm_that_is_always_there() -> None:
    (shown,) = (widget["properties"]["alarms"] for widget in WIDGETS if widget["type"] == "alarm")
    always = {
        f"{name}.Arn"
        for name, body in NESTED["Resources"].items()
        if body["Type"] == "AWS::CloudWatch::Alarm" and "Condition" not in body
    }
    assert set(shown) == always


def test_the_logs_that_the_dashboard_searches_are_those_of_the_functions() -> None:
    (query,) = (widget["properties"]["query"] for widget in WIDGETS if widget["type"] == "log")
    assert set(re.findall(r"SOURCE '/aws/lambda/([^']+)'", query)) == FUNCTIONS


def test_the_price_that_is_told_is_that_of_what_is_there() -> None:
    lines = (ROOT / "infra" / "observability.yaml").read_text().splitlines()
    text = " ".join(line.removeprefix("# ") for line in lines)
    by_model = sum(by == ("model",) for shape in SHAPES.values() for by in shape.by)
    by_code = sum(by == ("code",) for shape in SHAPES.values() for by in shape.by)
    others = sum(by == () for shape in SHAPES.values() for by in shape.by)
    families = len({*FAMILIES, "other"})
    codes = 11  # those of jobs that ended, three of requests that Replicate refused or never took, and none
    assert f"of which there are {len(ALARMS)}" in text
    assert f"there are {by_model} for each model" in text
    assert f"{by_code} for each code with which jobs fail, and {others} more" in text
    assert f"most {families} names, and jobs fail with at most {codes} codes" in text
    usual, most = (by_model * models + by_code * failing + others for models, failing in ((3, 5), (families, codes)))
    assert f"make {usual} metrics, and {usual * 0.3 + len(ALARMS) * 0.1 + 3:.2f} USD" in text
    assert f"about {round(most * 0.3 + len(ALARMS) * 0.1 + 3)} USD is the most" in text


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_the_registry_is_counted_by_its_name(name: str) -> None:
    assert family_of(MODELS[name]) == name


def test_all_other_models_are_counted_as_two() -> None:
    tariff = FINE_TUNED.tariff
    own = Model(name="somebody/own-lora", input=FINE_TUNED.input, tariff=tariff)
    unknown = Model(name="somebody/anything", input=None, tariff=tariff)
    assert (family_of(own), family_of(unknown), unknown.kind) == ("flux-lora", "other", Kind.PREDICTION)
