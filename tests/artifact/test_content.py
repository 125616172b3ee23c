"""What the artifact holds: the code and what it depends on, for Lambda's machines, and nothing else."""

import filecmp
import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.tags import parse_tag
from packaging.utils import canonicalize_name
from samcli.yamlhelper import yaml_parse

from tests.artifact.building import ROOT
from tests.support.template import read_template

MEGABYTE = 1024 * 1024
LAMBDA_RUNS = {"sys_platform": "linux", "platform_machine": "aarch64", "platform_system": "Linux", "extra": ""}
ELF, AARCH64 = b"\x7fELF", 183
GLIBC_OF_LAMBDA = 34  # Amazon Linux 2023 has 2.34
FUNCTIONS = {
    name: body["Properties"]
    for name, body in read_template()["Resources"].items()
    if body["Type"] == "AWS::Serverless::Function"
}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def sources(folder: Path) -> set[str]:
    return {name for name in files(folder) if "__pycache__" not in name}


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def zipped(folder: Path) -> int:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files(folder)):
            archive.write(folder / name, name)
    return len(content.getvalue())


def digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for name in sorted(files(folder)):
        whole.update(name.encode() + (folder / name).read_bytes())
    return whole.hexdigest()


def pinned() -> dict[str, str]:
    lines = (ROOT / "shared" / "requirements.txt").read_text().replace("\\\n", "").splitlines()
    found: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith((" ", "#")):
            one = Requirement(line.partition(" --hash")[0])
            if one.marker is None or one.marker.evaluate(LAMBDA_RUNS):
                (version,) = one.specifier
                found[canonicalize_name(one.name)] = version.version
    return found


@pytest.fixture
def layer(built: Path) -> Path:
    return built / "SharedLayer" / "python"


@pytest.fixture
def template(built: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = yaml_parse((built / "template.yaml").read_text())
    return document


def wheels(layer: Path) -> dict[str, Any]:
    return {path.parent.name: HeaderParser().parsestr(path.read_text()) for path in layer.glob("*.dist-info/WHEEL")}


def test_the_layer_holds_exactly_the_pinned_distributions(layer: Path) -> None:
    found = {}
    for path in layer.glob("*.dist-info/METADATA"):
        about = HeaderParser().parsestr(path.read_text())
        found[canonicalize_name(about["Name"])] = about["Version"]
    assert found == pinned()
    assert {"boto3", "pydantic", "replicate"} <= set(found)


def test_whatever_is_in_the_layer_belongs_to_a_distribution_or_to_shared(layer: Path) -> None:
    recorded = {
        line.split(",")[0] for path in layer.glob("*.dist-info/RECORD") for line in path.read_text().splitlines()
    }
    left = {name for name in files(layer) if name not in recorded and not name.startswith("shared/")}
    # What pip writes itself, or lays out below a folder of its own.
    assert {name for name in left if ".dist-info/" not in name and ".data/" not in name} == set()


def test_the_layer_has_the_package_shared_as_it_is_here(layer: Path) -> None:
    here = ROOT / "shared"
    assert files(layer / "shared") == sources(here)
    _, different, unreadable = filecmp.cmpfiles(here, layer / "shared", sources(here), shallow=False)
    assert (different, unreadable) == ([], [])


def test_functions_have_the_folder_functions_as_it_is_here_and_nothing_more(built: Path) -> None:
    here = ROOT / "functions"
    for function, properties in FUNCTIONS.items():
        folder = built / function
        assert files(folder) == sources(here)
        _, different, unreadable = filecmp.cmpfiles(here, folder, sources(here), shallow=False)
        assert (different, unreadable) == ([], [])
        module, _, _ = properties["Handler"].rpartition(".")
        assert (folder / f"{module.replace('.', '/')}.py").is_file()
    assert len({digest(built / function) for function in FUNCTIONS}) == 1  # so it is uploaded once


def test_the_built_template_is_the_template_with_the_places_of_the_code(template: Mapping[str, Any]) -> None:
    for name, resource in read_template()["Resources"].items():
        there = template["Resources"][name]
        if resource["Type"] == "AWS::Serverless::Function":
            assert there["Properties"] == resource["Properties"] | {"CodeUri": name}
        elif resource["Type"] == "AWS::Serverless::LayerVersion":
            assert there["Properties"] == resource["Properties"] | {"ContentUri": name}
        elif resource["Type"] not in {"AWS::CloudFormation::Stack", "AWS::Serverless::Application"}:
            assert there["Properties"] == resource["Properties"], name
    assert template["Parameters"] == read_template()["Parameters"]


def test_nothing_of_the_tests_and_the_tools_is_inside(built: Path, layer: Path) -> None:
    ours = [name for folder in (*FUNCTIONS, "SharedLayer/python/shared") for name in files(built / folder)]
    assert not [name for name in ours if "test" in name or name.endswith(".pyc") or "/." in f"/{name}"]
    tools = {"tests", "infra", "pytest", "moto", "ministack", "samcli", "mypy", "ruff", "hypothesis", "typer", "pip"}
    assert not tools & {path.name for path in layer.iterdir()}


def test_programs_in_the_layer_are_for_arm64(layer: Path) -> None:
    machines = {}
    for name in files(layer):
        with (layer / name).open("rb") as opened:
            head = opened.read(20)
        if head.startswith(ELF):
            machines[name] = int.from_bytes(head[18:20], "little")
    assert any(name.startswith("pydantic_core/") for name in machines)
    assert set(machines.values()) == {AARCH64}
    assert set(machines) == {name for name in files(layer) if name.endswith(".so")}


def test_wheels_in_the_layer_run_on_lambdas_arm64_and_python(layer: Path) -> None:
    found = wheels(layer)
    assert len(found) == len(pinned())
    for name, about in found.items():
        tags = [tag for line in about.get_all("Tag") for tag in parse_tag(line)]
        assert any(_runs(tag.interpreter, tag.platform) for tag in tags), name


def _runs(interpreter: str, platform: str) -> bool:
    if platform == "any":
        return interpreter in {"py3", "py313", "cp313"}
    if not platform.endswith("_aarch64"):
        return False
    system = platform.removesuffix("_aarch64")
    glibc = {"manylinux2014": 17}.get(system) or int(system.removeprefix("manylinux_2_"))
    return interpreter == "cp313" and glibc <= GLIBC_OF_LAMBDA


def test_the_artifact_is_small(built: Path) -> None:
    """Lambda takes 250 MB unpacked and 50 MB packed; a cold start loads it all. More than this was not meant."""
    assert bytes_in(built / "SharedLayer") < 60 * MEGABYTE
    assert zipped(built / "SharedLayer") < 25 * MEGABYTE
    for function in FUNCTIONS:
        assert bytes_in(built / function) < MEGABYTE


def test_the_artifact_has_no_links_that_lead_out_of_it(built: Path) -> None:
    links = [path for path in built.rglob("*") if path.is_symlink()]
    assert [path for path in links if not os.path.realpath(path).startswith(str(built))] == []
