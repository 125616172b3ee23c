"""Reads template.yaml as CloudFormation would, so that tests run on what is deployed and cannot drift from it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

PATH = Path(__file__).parents[2] / "template.yaml"
REGION = "us-east-1"
_PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": None,
}


@cache
def read_template() -> Mapping[str, Any]:
    document: Mapping[str, Any] = yaml_parse(PATH.read_text())
    return document


@dataclass(frozen=True)
class Function:
    """One Lambda function of the template, with its environment resolved."""

    name: str
    handler: str
    timeout: int
    environment: Mapping[str, str]


class Template:
    """The template with these parameters, the others at their defaults; `physical` names what was created."""

    def __init__(self, parameters: Mapping[str, str], physical: Mapping[str, str]) -> None:
        self._document = read_template()
        declared = self._document["Parameters"]
        if unknown := set(parameters) - set(declared):
            raise KeyError(unknown)
        for name, value in parameters.items():
            pattern = declared[name].get("AllowedPattern")
            if pattern and not re.fullmatch(pattern, value):
                raise ValueError(f"{name} does not take {value!r}")
        self._parameters = {name: spec["Default"] for name, spec in declared.items()} | dict(parameters)
        self._physical = physical

    def resources(self, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Give the logical ids and the unresolved properties of all resources of a type."""
        for name, resource in self._document["Resources"].items():
            if resource["Type"] == kind:
                yield name, resource["Properties"]

    def function(self, name: str) -> Function:
        """Give a function by its logical id."""
        properties = self._document["Resources"][name]["Properties"]
        common = self._document["Globals"]["Function"]
        variables = {**common["Environment"]["Variables"], **properties["Environment"]["Variables"]}
        return Function(
            name=name,
            handler=properties["Handler"],
            timeout=properties.get("Timeout", common["Timeout"]),
            environment={key: str(self.resolve(value)) for key, value in variables.items()},
        )

    def functions(self) -> Iterator[Function]:
        """Give all functions."""
        for name, _ in self.resources("AWS::Serverless::Function"):
            yield self.function(name)

    def function_of_route(self, method: str, path: str) -> Function:
        """Give the function that the API sends a request to: the most specific route wins, `$default` is last."""
        found = "$default"
        targets = {}
        for _, properties in self.resources("AWS::ApiGatewayV2::Route"):
            targets[properties["RouteKey"]] = properties["Target"]
        # What is more literal comes later, and so wins.
        for key in sorted(targets, key=lambda key: ("+" not in key, len(re.sub(r"{[^}]+}", "", key)))):
            wanted, _, pattern = key.partition(" ")
            regex = re.sub(r"{\w+\\\+}", ".+", re.sub(r"{\w+}", "[^/]+", pattern.replace("+", r"\+")))
            if wanted == method and re.fullmatch(regex, path):
                found = key
        integration = re.search(r"\${(\w+)}", targets[found]["Fn::Sub"])
        assert integration
        uri = self._document["Resources"][integration[1]]["Properties"]["IntegrationUri"]
        return self.function(uri["Ref"].removesuffix(".Alias"))

    def resolve(self, value: Any) -> Any:
        """Evaluate intrinsic functions."""
        match value:
            case {"Ref": name}:
                value = self._name(name)
            case {"Fn::Sub": str() as text}:
                value = re.sub(r"\${([\w:.]+)}", lambda match: str(self._name(match[1])), text)
            case {"Fn::Split": [separator, inner]}:
                value = self.resolve(inner).split(separator)
            case {"Fn::GetAtt": [name, attribute]}:
                value = f"{self._name(name)}.{attribute}"
            case {"Fn::If": [condition, yes, no]}:
                value = self.resolve(yes if self._holds(self._document["Conditions"][condition]) else no)
            case dict():
                value = {key: self.resolve(one) for key, one in value.items()}
            case list():
                value = [self.resolve(one) for one in value]
        return value

    def _name(self, name: str) -> Any:
        for known in (_PSEUDO, self._parameters, self._physical):
            if name in known:
                return known[name]
        return f"{name.lower()}-made-up"

    def _holds(self, condition: Any) -> bool:
        match condition:
            case {"Fn::Not": [inner]}:
                return not self._holds(inner)
            case {"Fn::Equals": [one, other]}:
                return str(self.resolve(one)) == str(self.resolve(other))
        raise ValueError(condition)
