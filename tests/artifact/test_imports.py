"""Every module of the artifact is imported as Lambda lays it out, in an interpreter that has nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.artifact.building import ROOT

HANDLERS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))

# Lambda's order: the function, the layer, and then, here without boto3, what belongs to Python.
PROGRAM = """
import importlib, json, pkgutil, sys

task, layer, *modules = sys.argv[1:]
sys.path[:0] = [task, layer]
for name in modules:
    module = importlib.import_module(name)
    for inner in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        importlib.import_module(inner.name)
print(json.dumps({name: getattr(module, "__file__", None) for name, module in sys.modules.items()}))
"""


def run(program: str, native: Path, function: str, *modules: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program without the environment's packages, the user's, and what the environment says about Python."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program, native / function, native / "SharedLayer/python", *modules],
        cwd="/",
        env={},
        capture_output=True,
        check=False,
        timeout=300,
    )


def imported(native: Path, function: str, *modules: str) -> dict[str, Any]:
    """Import modules, and give the place of everything that came with them."""
    done = run(PROGRAM, native, function, *modules)
    assert done.returncode == 0, done.stderr.decode()
    places: dict[str, Any] = json.loads(done.stdout)
    return places


def strangers(native: Path, places: dict[str, Any]) -> list[str]:
    """Give the modules that are neither in the artifact nor part of Python."""
    known = (str(native), str(Path(sys.base_prefix).resolve()))
    found = {str(Path(place).resolve()) for place in places.values() if place}
    return [place for place in found if not place.startswith(known) or "site-packages" in place]


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handler_imports_with_its_function_and_the_layer_alone(native: Path, name: str) -> None:
    places = imported(native, f"{name.capitalize()}Function", f"{name}.handler")
    assert places[f"{name}.handler"] == str(native / f"{name.capitalize()}Function" / name / "handler.py")
    assert places["shared"] == str(native / "SharedLayer/python/shared/__init__.py")
    assert strangers(native, places) == []


def test_everything_in_shared_imports_with_the_layer_alone(native: Path) -> None:
    # boto3 is loaded where it is needed, and then from the layer too.
    places = imported(native, "SubmitFunction", "shared", "boto3.session")
    here = ROOT / "shared"
    modules = {path.relative_to(here.parent).with_suffix("") for path in here.rglob("*.py")}
    names = {".".join(path.parts).removesuffix(".__init__") for path in modules}
    assert names <= set(places)
    assert {"boto3", "pydantic", "replicate"} <= set(places)
    assert strangers(native, places) == []


def test_nothing_random_comes_from_what_is_imported(native: Path) -> None:
    """With SnapStart, all copies of a function begin with what one of them had imported, Python's dice included."""
    program = PROGRAM.replace("print(", "assert random.getstate() == before\nprint(", 1)
    names = [f"{name}.handler" for name in HANDLERS]
    done = run(f"import random\nbefore = random.getstate()\n{program}", native, "SubmitFunction", "shared", *names)
    assert done.returncode == 0, done.stderr.decode()
    uses = re.compile(r"\brandom\.(?!SystemRandom\b)\w+\(|\bfrom random import\b|\buuid\b")
    drawing = [path.name for path in (ROOT / "shared").rglob("*.py") if uses.search(path.read_text())]
    assert drawing == []
