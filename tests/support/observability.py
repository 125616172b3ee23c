"""Reads alarms and the dashboard as CloudWatch would: which metrics they look at, by name and dimensions."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

ROOT = Path(__file__).parents[2]
ANY = "*"  # the value of a dimension in a search: whatever there is
_SEARCH = re.compile(
    r"SEARCH\('\{(?P<namespace>[^,}]+),(?P<names>[^}]+)\} MetricName=\"(?P<name>\w+)\"(?P<rest>[^']*)', "
    r"'(?P<statistic>\w+)', \d+\)"
)
_VALUE = re.compile(r'(\w+)="([^"]+)"')


@dataclass(frozen=True)
class Watched:
    """One metric that somebody looks at."""

    where: str
    namespace: str
    name: str
    dimensions: Mapping[str, str]


@dataclass(frozen=True)
class Alarm:
    """An alarm as it is deployed; `short` is its name without the deployment's, as in the runbook."""

    short: str
    description: str
    watched: Watched
    properties: Mapping[str, Any]


@cache
def read_observability() -> Mapping[str, Any]:
    document: Mapping[str, Any] = yaml_parse((ROOT / "infra" / "observability.yaml").read_text())
    return document


def resolved(value: Any, names: Mapping[str, str]) -> Any:
    """Evaluate references; what `names` does not hold stands for itself."""
    match value:
        case {"Ref": name}:
            return names.get(name, name)
        case {"Fn::GetAtt": [name, attribute]}:
            return names.get(f"{name}.{attribute}", f"{name}.{attribute}")
        case {"Fn::Sub": str() as text}:
            text = re.sub(r"\${([\w:.]+)}", lambda match: names.get(match[1], match[1]), text)
            return text.replace("${!", "${")
        case dict():
            return {key: resolved(one, names) for key, one in value.items()}
        case list():
            return [resolved(one, names) for one in value]
    return value


def alarms_of(template: Mapping[str, Any], names: Mapping[str, str], prefix: str) -> dict[str, Alarm]:
    """Give the alarms of a template by their short names."""
    found = {}
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            alarm = alarm_of(resolved(resource["Properties"], names), prefix)
            found[alarm.short] = alarm
    return found


def alarm_of(properties: Mapping[str, Any], prefix: str) -> Alarm:
    """Read an alarm as CloudFormation or CloudWatch describes it."""
    name = str(properties["AlarmName"])
    assert name.startswith(prefix), name
    dimensions = {one["Name"]: one["Value"] for one in properties.get("Dimensions", [])}
    watched = Watched(f"alarm {name}", properties["Namespace"], str(properties["MetricName"]), dimensions)
    return Alarm(name.removeprefix(prefix), str(properties["AlarmDescription"]), watched, properties)


def widgets_of(template: Mapping[str, Any], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Give the widgets of the dashboard."""
    body = resolved(template["Resources"]["Dashboard"]["Properties"]["DashboardBody"], names)
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets


def watched_by(widget: Mapping[str, Any]) -> Iterator[Watched]:
    """Give the metrics that a widget shows."""
    where = f"widget {widget['properties'].get('title')}"
    for row in widget["properties"].get("metrics", []):
        if isinstance(row[0], dict):
            yield _searched(where, row[0]["expression"])
            continue
        namespace, name, *rest = [one for one in row if isinstance(one, str)]
        yield Watched(where, namespace, name, dict(zip(rest[::2], rest[1::2], strict=True)))


def _searched(where: str, expression: str) -> Watched:
    found = _SEARCH.search(expression)
    assert found, expression
    dimensions = dict.fromkeys(found["names"].split(","), ANY) | dict(_VALUE.findall(found["rest"]))
    return Watched(where, found["namespace"], found["name"], dimensions)
