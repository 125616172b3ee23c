"""The emulator of AWS with a witness, who writes down every request of a role, and what its policy said to it."""

from __future__ import annotations

import json
import os
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ministack.core import iam_evaluator

from infra.local import emulator
from infra.local.conditions import LEADING_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.iam.permissions import Policy

RECORD = "requests.jsonl"
_of_resource = ContextVar("of_resource", default=False)


@dataclass(frozen=True)
class Asked:
    """A request of a role: what was to be done with what, in which context, and whether its policies allowed that."""

    role: str
    action: str
    resource: str
    context: Mapping[str, Any]
    allowed: bool

    def allowed_by(self, policies: Sequence[Policy]) -> bool:
        """Say whether these policies would allow it, as the emulator judges them."""
        context = iam_evaluator.EvalContext(
            principal_arn="",
            principal_type="AssumedRole",
            principal_account="",
            action=self.action,
            resource_arn=self.resource,
            region="",
            service_context=dict(self.context),
        )
        statements = [iam_evaluator.parse_policy_document(dict(policy)) for policy in policies]
        return bool(iam_evaluator.evaluate(context, statements).decision == "Allow")


class Witness:
    """Reads what the witness wrote, from where it was last told to begin."""

    def __init__(self, state: Path) -> None:
        self._path = state / RECORD
        self._from = 0

    def begin(self) -> None:
        """Forget what was asked before."""
        self._from = self._path.stat().st_size if self._path.exists() else 0

    def asked(self) -> list[Asked]:
        """Give all requests since then."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as record:
            record.seek(self._from)
            return [Asked(**json.loads(line)) for line in record if line.endswith(b"\n")]


def witnessed(evaluate: Callable[..., Any], write: Callable[[bytes], object]) -> Callable[..., Any]:
    """Wrap what judges a request by the policies of who asks: what roles ask for is written down."""

    def judge(request: Any, policies: Any, *limits: Any) -> Any:
        result = evaluate(request, policies, *limits)
        _, is_role, role = request.principal_arn.partition(":assumed-role/")
        if is_role and not _of_resource.get():
            keys = dict(request.service_context)
            if LEADING_KEYS.lower() in keys:
                keys[LEADING_KEYS.lower()] = iam_evaluator._resolve_condition_key(LEADING_KEYS, request)
            allowed = result.decision == "Allow"
            one = Asked(role.partition("/")[0], request.action, request.resource_arn, keys, allowed)
            write(json.dumps(asdict(one), default=str).encode() + b"\n")
        return result

    return judge


def set_apart(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what judges a request by the resource's own policy: that says nothing of the role's."""

    def judge(*arguments: Any, **named: Any) -> Any:
        token = _of_resource.set(True)
        try:
            return evaluate(*arguments, **named)
        finally:
            _of_resource.reset(token)

    return judge


def main() -> None:
    """Serve as the emulator does."""
    # In one write each, by whatever thread.
    record = os.open(Path(os.environ["HOME"]) / RECORD, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    iam_evaluator.evaluate = witnessed(iam_evaluator.evaluate, lambda line: os.write(record, line))
    iam_evaluator.evaluate_resource_policy = set_apart(iam_evaluator.evaluate_resource_policy)
    emulator.main()


if __name__ == "__main__":
    main()
