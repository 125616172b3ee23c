"""What is deployed where: a section of infra/samconfig.toml, and the digest of what is built with it."""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.ops.screen import OpsError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "infra" / "samconfig.toml"
_DIGITS = 16


@dataclass(frozen=True)
class Target:
    """One deployment: its stage, its stack, and the parameters that are not left as they are."""

    stage: str
    stack: str
    parameters: Mapping[str, str]
    config: Path = CONFIG


def read_target(stage: str, given: Sequence[str] = (), config: Path = CONFIG) -> Target:
    """Read the section of a stage; `given` are parameters as `Name=Value`, over those of the section.

    Raises:
        OpsError: there is no such section, or a parameter is written otherwise.
    """
    sections: dict[str, Any] = tomllib.loads(config.read_text())
    stages = {name: one["deploy"]["parameters"] for name, one in sections.items() if "deploy" in _table(one)}
    if stage not in stages:
        raise OpsError(f"{config.name} has no stage {stage!r}, but {', '.join(sorted(stages))}.")
    parameters = {name: str(value) for name, value in stages[stage]["parameter_overrides"].items()}
    for one in given:
        name, is_parameter, value = one.partition("=")
        if not is_parameter:
            raise OpsError(f"A parameter is written Name=Value, not {one!r}.")
        parameters[name] = value
    return Target(stage, str(stages[stage]["stack_name"]), parameters, config)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def release(built: Path, parameters: Mapping[str, str]) -> str:
    """Give the digest of everything that makes a version of the functions: the code, the template, the parameters."""
    whole = hashlib.sha256(json.dumps(dict(parameters), sort_keys=True).encode())
    for path in sorted(path for path in built.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).digest()
        whole.update(str(path.relative_to(built)).encode() + b"\0" + content)
    return whole.hexdigest()[:_DIGITS]
