"""SECURITY.md: the tests that it names are there, and every table of hostile things is named in it."""

import ast
import re
from pathlib import Path

from files.handler import PRESIGNED_S
from shared.accounts import _CHARACTERS, _LENGTH, KEPT_MS
from shared.fetch import REDIRECTS
from shared.signatures import TOLERANCE_S

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_test_that_is_named_is_there() -> None:
    assert len(NAMED) > 50
    for path, name in NAMED:
        assert name in names_in(ROOT / path), f"{path}::{name}"


def test_no_test_is_named_in_any_other_way() -> None:
    """Else it would not be looked for."""
    left = TEXT
    for path, name in NAMED:
        left = left.replace(f"`{path}::{name}`", "")
    assert "::" not in left
    assert re.findall(r"`(tests/[^`]*)`", left) == ["tests/security/", "tests/security/test_documents.py"]


def test_every_threat_names_a_test() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| **")]
    assert len(rows) > 20
    assert all("::test_" in row for row in rows)


def test_every_table_of_hostile_things_is_named() -> None:
    for path in sorted((ROOT / "tests" / "security").glob("test_*.py")):
        assert f"tests/security/{path.name}" in TEXT, path.name


def test_the_numbers_that_it_gives_are_those_of_the_code() -> None:
    assert (PRESIGNED_S, KEPT_MS, REDIRECTS, TOLERANCE_S) == (900, 60_000, 3, 300)
    assert len(_CHARACTERS) ** _LENGTH > 2**190
