"""Who may import whom: functions → shared; in shared: wiring → adapters → pure core."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.template import Template

ROOT = Path(__file__).parents[1]
SHARED = sorted((ROOT / "shared").rglob("*.py"))
FUNCTIONS = sorted((ROOT / "functions").glob("*/*.py"))
PURE = {
    "job",
    "prediction",
    "pricing",
    "identifiers",
    "errors",
    "schedule",
    "signatures",
    "media",
    "manifest",
    "links",
    "outputs",
    "presets",
    "trigger",
    "addresses",
}
ADAPTERS_NEED = {"boto3", "botocore", "httpx", "replicate", "urllib3", "aws_lambda_powertools", "certifi"}


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported(path: Path, *, types: bool = False) -> set[str]:
    """Give the modules that a file imports when it runs; with `types` also those only for the type checker."""
    tree = ast.parse(path.read_text())
    skipped = set()
    for node in ast.walk(tree):
        if not types and isinstance(node, ast.stmt) and is_type_checking(node):
            assert isinstance(node, ast.If)
            skipped |= {id(inner) for one in node.body for inner in ast.walk(one)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = node.module or ""
            found.add(module)
            if module == "shared":
                found |= {f"shared.{alias.name}" for alias in node.names}
    return found


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_the_job_imports_only_the_standard_library_when_it_runs() -> None:
    names = imported(ROOT / "shared" / "job.py")
    ours = {name for name in names if name.startswith("shared")}
    assert tops(names) - {"shared"} <= sys.stdlib_module_names
    assert ours <= {"shared.errors", "shared.pricing"}


def test_what_the_job_imports_is_as_pure() -> None:
    for name in ("errors", "pricing"):
        assert tops(imported(ROOT / "shared" / f"{name}.py")) <= sys.stdlib_module_names


@pytest.mark.parametrize("name", sorted(PURE))
def test_the_core_imports_no_adapter_and_no_client(name: str) -> None:
    names = imported(ROOT / "shared" / f"{name}.py")
    assert not tops(names) & ADAPTERS_NEED
    assert {one.removeprefix("shared.") for one in names if one.startswith("shared.")} <= PURE


@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.stem)
def test_shared_knows_neither_the_functions_nor_the_wiring(path: Path) -> None:
    names = imported(path, types=True)
    folders = {folder.name for folder in (ROOT / "functions").iterdir() if folder.is_dir()}
    assert not tops(names) & ({"functions", "tests", "infra"} | folders)
    assert "shared.services" not in names


@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: path.parent.name)
def test_a_function_imports_only_shared_and_the_standard_library(path: Path) -> None:
    assert tops(imported(path)) <= sys.stdlib_module_names | {"shared"}


def test_replicates_package_is_imported_in_exactly_one_module() -> None:
    importing = {path.name for path in [*SHARED, *FUNCTIONS] if "replicate" in tops(imported(path, types=True))}
    assert importing == {"replicate_api.py"}


def test_clients_are_made_in_one_module_and_the_environment_is_read_in_the_wiring() -> None:
    for path in [*SHARED, *FUNCTIONS]:
        text = path.read_text()
        assert path.name == "services.py" or "boto3" not in tops(imported(path)), path
        if path.name not in {"services.py", "console_services.py"}:
            assert "os.environ" not in text, path
            assert "getenv" not in text, path


def run(code: str, *arguments: str, **environment: str) -> set[str]:
    """Give the top-level names of the modules that a fresh process has loaded after running this."""
    found = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))", *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'functions'}", **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    names: list[str] = json.loads(found.stdout)
    return tops(set(names))


# What takes long to load, of all that the layer has.
HEAVY = {
    "aws_lambda_powertools",
    "boto3",
    "botocore",
    "filetype",
    "httpx",
    "imagesize",
    "multipart",
    "pydantic",
    "replicate",
    "urllib3",
}
ALL_NEED = {"aws_lambda_powertools", "botocore"}
AWS = {*ALL_NEED, "urllib3"}
REPLICATE = {*AWS, "replicate", "httpx", "pydantic"}  # replicate brings these two along
MEDIA = {"filetype", "imagesize"}
LOADED = {
    "submit": REPLICATE | MEDIA,
    "dispatch": REPLICATE | MEDIA,
    "cancel": REPLICATE,
    "reconcile": REPLICATE,
    "webhook": AWS,
    "status": AWS,
    "notify": AWS,
    "archive": AWS | MEDIA,
    "files": AWS | MEDIA,
    "catalog": AWS | {"pydantic"},
    "console": ALL_NEED,
}
# A function as Lambda has it, wired as by its first request; its secrets are made up, since nobody is to be asked.
WIRED = """
import importlib, sys
importlib.import_module(f"{sys.argv[1]}.handler")
from shared import services
services._read_secrets = lambda *names: dict.fromkeys(names, "whsec_bWFkZS11cA==")
wire = getattr(services, sys.argv[1], None)
wire and wire()
"""


@pytest.mark.parametrize("function", sorted({path.parent.name for path in FUNCTIONS}))
def test_a_function_loads_these_heavy_packages_and_no_others(function: str) -> None:
    found = run(
        WIRED,
        function,
        **Template({}, {}).function(f"{function.capitalize()}Function").environment,
        AWS_LAMBDA_FUNCTION_NAME=function,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="made-up",
        AWS_SECRET_ACCESS_KEY="made-up",
    )
    assert found & HEAVY == LOADED[function]


def test_no_function_loads_what_belongs_to_tests() -> None:
    handlers = [f"{path.parent.name}.handler" for path in FUNCTIONS if path.stem == "handler"]
    assert not run(f"import {', '.join(handlers)}") & {"moto", "pytest", "hypothesis", "PIL", "samcli"}
