"""Where code runs: the layer as Lambda has it, and the peer's packages, installed into .local/bench."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".local" / "bench"
UV = ROOT / ".local" / "uv" / "bin" / "uv"
_TIMEOUT_S = 300
PYTHON = str(Path(sys.executable).resolve())  # the bare interpreter: no environment's packages


def layer() -> list[str]:
    """Give what a deployed function has on its path: the functions' folder, and the layer built for this machine."""
    packages = _installed("layer", ROOT / "shared" / "requirements.txt")
    shutil.rmtree(packages / "shared", ignore_errors=True)
    shutil.copytree(ROOT / "shared", packages / "shared", ignore=shutil.ignore_patterns("__pycache__"))
    task = FOLDER / "task"
    shutil.rmtree(task, ignore_errors=True)
    shutil.copytree(ROOT / "functions", task, ignore=shutil.ignore_patterns("__pycache__"))
    return [str(task), str(packages)]


def peer() -> list[str]:
    """Give the path of the peer, which is a part of this package."""
    return [str(_installed("peer", ROOT / "infra" / "bench" / "peer" / "requirements.txt")), str(ROOT)]


def told(script: Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Run a script in a fresh process that has no environment but what the spec says, and give what it tells.

    Raises:
        RuntimeError: it failed.
    """
    run = subprocess.run(
        [PYTHON, "-I", script, json.dumps(spec)],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        check=False,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    if run.returncode:
        raise RuntimeError(run.stderr[-2000:])
    found: dict[str, Any] = json.loads(run.stderr.splitlines()[-1])
    return found


def _installed(name: str, requirements: Path) -> Path:
    folder, done = FOLDER / name / "python", FOLDER / name / "installed.txt"
    wanted = requirements.read_text()
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        folder.mkdir(parents=True)
        install = [str(UV), "pip", "install", "--quiet", "--python", PYTHON, "--target", str(folder)]
        subprocess.run([*install, "--require-hashes", "-r", str(requirements)], check=True)
        done.write_text(wanted)
    return folder
