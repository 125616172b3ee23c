"""Takes every permission of every role away in turn, and demands that a step of the journey fails: `make test-iam`.

First each step is taken undisturbed, while a witness in the emulator writes down what each role asks for. So it is
known which steps ask for something that one permission alone allows; of these the quickest is tried without it, then
the next. A step counts as failing for a permission only if its role was denied something meanwhile. What no step
notices is superfluous, unless `unchecked.py` says why the emulator cannot tell.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from tests.iam.journey import renew
from tests.iam.proof import deployed
from tests.iam.steps import STEPS
from tests.iam.unchecked import UNCHECKED, unchecked

if TYPE_CHECKING:
    from tests.iam.permissions import Permission
    from tests.iam.proof import Proof

AT_ONCE = "predict and download"  # the step that shows that a change of a policy takes effect at once


def main() -> int:
    """Give 1 if a permission is superfluous, or if nothing could be shown."""
    parser = argparse.ArgumentParser(prog="python -m tests.iam", description=__doc__)
    parser.add_argument("--role", action="append", help="only the permissions of this role, as the template names it")
    given = parser.parse_args()
    began = time.monotonic()
    proved = 0
    with deployed() as proof:
        wrongs = _walk(proof) or _take_effect_at_once(proof)
        if not wrongs:
            permissions = [one for one in proof.permissions() if not given.role or one.role in given.role]
            wrongs = [wrong for one in permissions if (wrong := _prove(proof, one))]
            proved = len(permissions)
            _say("\nWhat is not checked here is used by AWS in a role's name, as its documentation says:")
            for source in dict.fromkeys(one.source for one in UNCHECKED):
                _say(f"  {source}")
    for wrong in wrongs:
        _say(f"WRONG: {wrong}")
    _say(f"{proved} permissions, {len(wrongs)} wrong, {time.monotonic() - began:.0f} s")
    return int(bool(wrongs))


def _walk(proof: Proof) -> list[str]:
    """Take every step undisturbed."""
    for function in proof.local.stack.functions:
        renew(proof.local, function)  # what it has read before must be asked for again
    wrongs = []
    for name, step in STEPS.items():
        run = proof.usual[name] = proof.run(step)
        proof.clear()
        denied = [f"{one.action} {one.resource}" for one in run.asked if not one.allowed]
        _say(f"{run.seconds:6.1f} s  {name}{'' if run.failure is None else f'  FAILED: {run.failure}'}")
        if run.failure is not None or denied:
            wrongs.append(f"“{name}” fails undisturbed: {run.failure or denied}")
    return wrongs


def _take_effect_at_once(proof: Proof) -> list[str]:
    """Show that processes which run already feel a change of their role's policy at once, both ways."""
    permission = next(
        one for one in proof.permissions() if (one.role, one.action) == ("SubmitRole", "dynamodb:PutItem")
    )
    with proof.without(permission):
        failed = proof.run(STEPS[AT_ONCE])
    restored = proof.run(STEPS[AT_ONCE])
    proof.clear()
    if failed.failure is None or restored.failure is not None:
        return [f"a policy does not take effect at once: {failed.failure}, then {restored.failure}"]
    _say(f"\nA running process is refused {permission} once that is gone, and given it once it is back.\n")
    return []


def _prove(proof: Proof, permission: Permission) -> str | None:
    """Show what a permission is needed for, or say what is wrong with it."""
    known = unchecked(permission.role, permission.action, permission.resource)
    candidates = proof.steps_with(permission)
    if known is not None:
        _tell(permission, f"(not checked here: {known.reason})")
        return f"{permission.role}: {permission} is checked by now, and needs no reason" if candidates else None
    for name in candidates:
        run = proof.run_without(permission, name, STEPS[name])
        if run.failure is not None and run.asked:
            _tell(permission, name)
            return None
    _tell(permission, f"NOTHING; tried: {', '.join(candidates) or 'none'}")
    return f"{permission.role}: nothing notices that {permission} is missing"


def _tell(permission: Permission, needed_by: str) -> None:
    _say(f"{permission.role.removesuffix('Role').lower():18} {permission!s:62} {needed_by}")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
