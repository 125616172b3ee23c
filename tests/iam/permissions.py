"""The permissions of a role, one by one, and its policy without one of them.

A policy is read twice: from the template, whose names say what it is about, and as it was deployed.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.template import read_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    type Policy = Mapping[str, Any]

_ARN = re.compile(r"arn:\${AWS::Partition}:\w+:\${AWS::Region}:\${AWS::AccountId}:(parameter/afterimage/\${Stage}/)?")


@dataclass(frozen=True)
class Permission:
    """One action on one resource; or one of several values that a condition allows, for all that the statement does.

    Its parts are numbers of the statement's lists: they are the same in the template and as deployed.
    """

    role: str  # all names are those of the template
    policy: str
    action: str
    resource: str
    value: str  # of the condition
    place: int  # of the statement
    among: tuple[str, str, int] | None = None  # operator, key and number of the condition's value
    number: int = 0  # of the resource

    def __str__(self) -> str:
        """Say what may be done."""
        if not self.value:
            return f"{self.action} {self.resource}"
        return f"{self.resource} {self.value} ({self.action.replace('dynamodb:', '')})"


def listed(value: Any) -> list[Any]:
    """Give one or several as a list."""
    return value if isinstance(value, list) else [value]


def roles() -> dict[str, Mapping[str, Any]]:
    """Give the properties of the template's roles."""
    resources = read_template()["Resources"].items()
    return {name: body["Properties"] for name, body in resources if body["Type"] == "AWS::IAM::Role"}


def named(resource: Any) -> str:
    """Write the resource of a statement by the names of the template: `JobsTable`, `Bucket/jobs/*`, `link-key`."""
    match resource:
        case {"Fn::GetAtt": [name, "Arn"]}:
            return str(name)
        case {"Ref": name}:
            return str(name).removesuffix(".Alias")
        case {"Fn::Sub": str() as text}:
            return re.sub(r"\${(\w+)\.Arn}", r"\1", _ARN.sub("", text))
    return str(resource)


def permissions_of(role: str) -> Iterator[Permission]:
    """Give every action on every resource, and of each condition that allows several values, each of these."""
    for policy in roles()[role]["Policies"]:
        for place, statement in enumerate(policy["PolicyDocument"]["Statement"]):
            actions = listed(statement["Action"])
            resources = [named(one) for one in listed(statement["Resource"])]
            for action in actions:
                for number, resource in enumerate(resources):
                    yield Permission(role, policy["PolicyName"], action, resource, "", place, number=number)
            everything = ", ".join(actions), ", ".join(resources)
            for operator, keys in statement.get("Condition", {}).items():
                for key, values in keys.items():
                    for number, value in enumerate(listed(values) if len(listed(values)) > 1 else []):
                        among = operator, key, number
                        yield Permission(role, policy["PolicyName"], *everything, str(value), place, among)


def without(policy: Policy, permission: Permission) -> dict[str, Any]:
    """Give a policy, as it was deployed, without this permission, and with all the others."""
    statements: list[Any] = []
    for place, statement in enumerate(policy["Statement"]):
        statements += _less(statement, permission) if place == permission.place else [statement]
    return {**policy, "Statement": statements}


def _less(statement: Mapping[str, Any], permission: Permission) -> Iterator[Mapping[str, Any]]:
    if permission.among is not None:
        operator, key, number = permission.among
        less = copy.deepcopy(dict(statement))
        del less["Condition"][operator][key][number]
        yield less
        return
    others = [action for action in listed(statement["Action"]) if action != permission.action]
    elsewhere = [one for number, one in enumerate(listed(statement["Resource"])) if number != permission.number]
    if others:
        yield {**statement, "Action": others}
    if elsewhere:
        yield {**statement, "Action": permission.action, "Resource": elsewhere}
