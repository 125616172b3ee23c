"""`make audit`: what it finds fails it, what it could not ask is not called clean, and exceptions have reasons."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.audit import __main__ as audit
from infra.audit.__main__ import Finding, Unreachable, judge, look_up, main, pinned_files, pins

ROOT = Path(__file__).parents[2]
KNOWN = {"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["1.0.1", "2.0"], "description": "bad"}
DATABASE: Mapping[str, Any] = {
    "made-up": [
        {"specs": ["<1.0"], "id": "pyup.io-1", "cve": "CVE-2021-1", "advisory": "bad", "v": "<1.0"},
        {"specs": [">=2,<2.1", "==3.0b1"], "id": "pyup.io-2", "cve": None, "advisory": "worse", "v": ""},
    ]
}


def said(*dependencies: Mapping[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(dependencies), "fixes": []}


def test_an_advisory_is_a_finding() -> None:
    answer = said(
        {"name": "fine", "version": "1", "vulns": []}, {"name": "made-up", "version": "1.0", "vulns": [KNOWN]}
    )
    assert judge(answer) == [Finding("made-up", "1.0", "PYSEC-1", "1.0.1, 2.0")]
    assert str(judge(answer)[0]) == "made-up 1.0: PYSEC-1, fixed in 1.0.1, 2.0"


@pytest.mark.parametrize("name", ["PYSEC-1", "CVE-2026-1"])
def test_an_advisory_can_be_set_aside_by_any_of_its_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "IGNORED", {name: "It is about another platform."})
    assert judge(said({"name": "made-up", "version": "1.0", "vulns": [KNOWN]})) == []


@pytest.mark.parametrize(
    "answer",
    [
        said(),
        said({"name": "made-up", "skip_reason": "not found on PyPI"}),
        said({"name": "fine", "version": "1", "vulns": []}, {"name": "made-up", "skip_reason": "not found on PyPI"}),
    ],
)
def test_what_was_skipped_is_not_called_clean(answer: dict[str, Any]) -> None:
    """As pip-audit does by itself, where a mirror of PyPI has no advisories."""
    with pytest.raises(Unreachable):
        judge(answer)


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("0.9", ["CVE-2021-1"]), ("1.0", []), ("1.0rc1", []), ("2.0.5", ["pyup.io-2"]), ("2.1", []),
        ("3.0b1", ["pyup.io-2"]), ("3.0", []),
    ],
)  # fmt: skip
def test_a_version_that_the_database_names_is_a_finding(version: str, found: list[str]) -> None:
    versions = {("made-up", version), ("other", version)}
    assert [finding.advisory for finding in look_up(DATABASE, versions)] == found


def test_pins_are_read_as_uv_writes_them() -> None:
    text = (
        "# a comment==1\naiohttp==3.14.5 \\\n    --hash=sha256:00\n    # via x==2\n"
        'ministack[full]==1.5.33 ; python_version < "4"\nPy_YAML==6.0\n'
    )
    assert pins(text) == {("aiohttp", "3.14.5"), ("ministack", "1.5.33"), ("py-yaml", "6.0")}


def test_all_files_of_pins_are_looked_at() -> None:
    names = {str(path.relative_to(ROOT)) for path in pinned_files()}
    assert {"requirements-dev.txt", "shared/requirements.txt", "infra/audit/requirements.txt"} <= names
    for path in pinned_files():
        found = pins(path.read_text())
        assert len(found) == len(re.findall(r"^[A-Za-z0-9]", path.read_text(), re.MULTILINE)), path


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PyPI's advisories be out of reach, and a database be there."""

    def fail(path: Path) -> list[Finding]:
        raise Unreachable(f"nothing was said of {path.name}")

    monkeypatch.setattr(audit, "ask_pypi", fail)
    monkeypatch.setattr(audit, "read_database", lambda: (DATABASE, "2021-07-01"))


@pytest.mark.usefixtures("mirror")
def test_where_pypi_is_out_of_reach_an_old_database_is_said_to_be_old(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert "cannot be had" in text
    assert "2021-07-01" in text
    assert "nothing of what was found since" in text


@pytest.mark.usefixtures("mirror")
def test_where_pypi_must_be_reached_an_old_database_is_not_enough() -> None:
    assert main(["--online"]) == 1


@pytest.mark.usefixtures("mirror")
def test_a_finding_in_the_old_database_fails_it_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "read_database", lambda: ({"boto3": [{**DATABASE["made-up"][0], "specs": [">0"]}]}, ""))
    assert main([]) == 1
    assert "boto3" in capsys.readouterr().out


def test_a_finding_of_pypis_fails_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(audit, "ask_pypi", lambda _: [Finding("boto3", "1", "PYSEC-1")])
    assert main([]) == 1
    assert capsys.readouterr().out == "boto3 1: PYSEC-1\n"
    monkeypatch.setattr(audit, "ask_pypi", lambda _: [])
    assert main(["--online"]) == 0


# Exceptions


def test_every_rule_of_checkovs_that_is_left_out_has_a_reason_above_it() -> None:
    lines = (ROOT / "infra" / "audit" / "checkov.yaml").read_text().splitlines()
    left_out = [n for n, line in enumerate(lines) if re.match(r"\s*- CKV", line)]
    assert left_out
    assert all(lines[n - 1].strip().startswith("#") for n in left_out)


def test_tests_that_reasons_name_are_there() -> None:
    for name in re.findall(r"tests/[\w/]+\.py", (ROOT / "infra" / "audit" / "checkov.yaml").read_text()):
        assert (ROOT / name).is_file(), name


def test_every_rule_of_bandits_that_is_left_out_has_a_reason_beside_it() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for code in tomllib.loads(text)["tool"]["bandit"]["skips"]:
        (line,) = [line for line in text.splitlines() if f'"{code}"' in line]
        assert "# " in line


def test_no_line_is_excused_from_all_rules_at_once() -> None:
    for folder in ("shared", "functions", "infra"):
        for path in (ROOT / folder).rglob("*.py"):
            for excuse in re.findall(r"#\s*(nosec|noqa)\b(.{0,6})", path.read_text()):
                assert re.match(r":? [A-Z]+[0-9]+", excuse[1]), path
