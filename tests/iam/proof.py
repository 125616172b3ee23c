"""Trying things on a stack whose emulator has a witness: a step of the journey, with or without a permission."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from infra.local.stack import LocalStack
from tests.iam.journey import Journey, renew
from tests.iam.permissions import permissions_of, roles, without
from tests.iam.witness import Witness
from tests.journey.local import Local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.iam.permissions import Permission, Policy
    from tests.iam.steps import Step
    from tests.iam.witness import Asked

STACK = "afterimage-local"
LEAST_GRACE_S = 5.0
GRACE = 3  # times what a step takes undisturbed


class WitnessedStack(LocalStack):
    """The local stack, with an emulator that writes down what roles ask for."""

    emulator = "tests.iam.witness"


@dataclass(frozen=True)
class Role:
    """A role as it was deployed, with its policies by their names."""

    physical: str
    policies: Mapping[str, Policy]
    function: str | None  # whose it is


@dataclass(frozen=True)
class Run:
    """What came of a step: what roles asked for meanwhile, how long it took, and why it failed, if it did."""

    asked: Sequence[Asked]
    seconds: float
    failure: str | None = None


@dataclass
class Proof:
    """A stack to try things on, and what the steps did there undisturbed."""

    local: Local
    witness: Witness
    roles: Mapping[str, Role]  # by their names in the template
    usual: dict[str, Run] = field(default_factory=dict)  # by the names of the steps

    def permissions(self) -> list[Permission]:
        """Give all permissions that were deployed."""
        return [permission for role in self.roles for permission in permissions_of(role)]

    def run(self, step: Step, *, is_over: Callable[[], bool] = lambda: False) -> Run:
        """Take a step; what it leaves is to be cleared away, when nothing is denied any more."""
        self.witness.begin()
        began, failure = time.monotonic(), None
        try:
            with self.local.tenant() as tenant:
                step(Journey(self.local, tenant, is_over))
        except Exception as error:  # noqa: BLE001 - whatever it is, the step has failed
            failure = f"{type(error).__name__} {error}".strip().partition("\n")[0][:200]
        return Run(self.witness.asked(), time.monotonic() - began, failure)

    def steps_with(self, permission: Permission) -> list[str]:
        """Give the steps that asked for something which only this permission allows, the quickest first."""
        role = self.roles[permission.role]
        policies = {**role.policies, permission.policy: without(role.policies[permission.policy], permission)}
        less, actions = list(policies.values()), permission.action.split(", ")

        def needs_it(one: Asked) -> bool:
            return one.role == role.physical and one.action in actions and one.allowed and not one.allowed_by(less)

        found = [name for name, run in self.usual.items() if any(map(needs_it, run.asked))]
        return sorted(found, key=lambda name: self.usual[name].seconds)

    def run_without(self, permission: Permission, name: str, step: Step) -> Run:
        """Take a step without a permission; gives what its role was denied meanwhile.

        Once it was denied something, the step gets as much time as it usually takes, and some more, to be noticed.
        """
        role = self.roles[permission.role]
        grace_s = max(LEAST_GRACE_S, GRACE * self.usual[name].seconds)
        denied_at: list[float] = []

        def denied(asked: Sequence[Asked]) -> list[Asked]:
            return [one for one in asked if one.role == role.physical and not one.allowed]

        def is_over() -> bool:
            if not denied_at and denied(self.witness.asked()):
                denied_at.append(time.monotonic())
            return bool(denied_at) and time.monotonic() > denied_at[0] + grace_s

        with self.without(permission):
            if role.function:
                # What a process has read once, such as a secret, it would not ask for again.
                renew(self.local, role.function)
            run = self.run(step, is_over=is_over)
        self.clear()
        return Run(denied(run.asked), run.seconds, run.failure)

    @contextmanager
    def without(self, permission: Permission) -> Iterator[None]:
        """Take a permission away for a while."""
        role = self.roles[permission.role]
        policy = role.policies[permission.policy]
        self._put(role, permission.policy, without(policy, permission))
        try:
            yield
        finally:
            self._put(role, permission.policy, policy)

    def _put(self, role: Role, name: str, policy: Policy) -> None:
        # A policy without any statement is none.
        if policy["Statement"]:
            self.local.iam.put_role_policy(RoleName=role.physical, PolicyName=name, PolicyDocument=json.dumps(policy))
        else:
            self.local.iam.delete_role_policy(RoleName=role.physical, PolicyName=name)

    def clear(self) -> None:
        """Leave nothing that could still happen: faults, messages, unfinished jobs."""
        local = self.local
        local.replicate.cancel_all()
        local.replicate.misbehave()
        local.replicate.forget()
        local.forget_messages()
        local.forget_upstream_limit()
        for name in local.dead_letters():
            local.sqs.purge_queue(QueueUrl=local.sqs.get_queue_url(QueueName=name)["QueueUrl"])
        table = local.stack.jobs_table
        for page in local.aws.dynamodb.get_paginator("scan").paginate(TableName=table, IndexName="due"):
            for item in page["Items"]:
                local.aws.dynamodb.delete_item(TableName=table, Key={"pk": item["pk"]})


@contextmanager
def deployed() -> Iterator[Proof]:
    """Deploy the template, and take stock of its roles."""
    with ExitStack() as exits:
        folder = Path(exits.enter_context(TemporaryDirectory(prefix="afterimage-")))
        running = exits.enter_context(WitnessedStack(folder=folder))
        local = exits.enter_context(closing(Local(running)))
        local.stop_schedule()  # what it does would be taken for the step's
        functions = {}
        for function, physical in running.functions.items():
            configuration = local.aws.lambda_.get_function_configuration(FunctionName=physical)
            functions[configuration["Role"].rpartition("/")[2]] = function
        found = {}
        for one in local.aws.cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]:
            name, physical = one["LogicalResourceId"], one["PhysicalResourceId"]
            if name in roles():
                found[name] = Role(physical, _policies(local, physical), functions.get(physical))
                for policy in roles()[name]["Policies"]:
                    statements = found[name].policies[policy["PolicyName"]]["Statement"]
                    assert len(statements) == len(policy["PolicyDocument"]["Statement"]), "the template has changed"
        yield Proof(local, Witness(folder / "state"), found)


def _policies(local: Local, role: str) -> dict[str, Any]:
    found = {}
    for name in local.iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document: Any = local.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        found[name] = json.loads(document) if isinstance(document, str) else dict(document)
    return found
