"""Looks for known vulnerabilities of all pinned versions: `python -m infra.audit [--online]`.

PyPI's own advisories are asked by pip-audit. Where they cannot be had (a mirror of the registry has none, and pip-audit
then finds nothing wrong with anything), an old database that the registry has as a package is better than nothing,
and is said to be old; with `--online` that is a failure.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".local" / "audit"
IGNORED: Mapping[str, str] = {}  # advisories that do not matter here, each with the reason
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
_MOST_SECONDS = 600


@dataclass(frozen=True)
class Finding:
    """A pinned version that an advisory names."""

    package: str
    version: str
    advisory: str
    fixed_in: str = ""

    def __str__(self) -> str:
        fixed = f", fixed in {self.fixed_in}" if self.fixed_in else ""
        return f"{self.package} {self.version}: {self.advisory}{fixed}"


class Unreachable(Exception):
    """Nobody could say whether anything is known of these versions."""


def pinned_files(root: Path = ROOT) -> list[Path]:
    """Give all files of hashed pins."""
    found = sorted(root.rglob("requirements*.txt"))
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)]


def pins(text: str) -> set[tuple[str, str]]:
    """Read the packages and versions of a file of pins."""
    return {(canonicalize_name(name), version) for name, version in _PIN.findall(text)}


def judge(answer: Mapping[str, Any]) -> list[Finding]:
    """Read what pip-audit says.

    Raises:
        Unreachable: it could not ask about some of the versions.
    """
    dependencies = answer["dependencies"]
    skipped = [one["name"] for one in dependencies if "vulns" not in one]
    if skipped or not dependencies:
        raise Unreachable(f"nothing is said of {len(skipped)} of {len(dependencies)} packages, such as {skipped[:1]}")
    return [
        Finding(one["name"], one["version"], known["id"], ", ".join(known["fix_versions"]))
        for one in dependencies
        for known in one["vulns"]
        if not {known["id"], *known["aliases"]} & set(IGNORED)
    ]


def look_up(database: Mapping[str, Any], versions: set[tuple[str, str]]) -> Iterator[Finding]:
    """Give the versions that a database in the form of safety-db's names."""
    for package, version in sorted(versions):
        for known in database.get(package, []):
            named = any(Version(version) in SpecifierSet(spec, prereleases=True) for spec in known["specs"])
            if named and not {known["id"], known["cve"]} & set(IGNORED):
                yield Finding(package, version, known["cve"] or known["id"])


def ask_pypi(path: Path) -> list[Finding]:
    """Have pip-audit ask PyPI about all pins of a file.

    Raises:
        Unreachable: it could not.
    """
    options = ["--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json", "--timeout=10"]
    run = subprocess.run(
        [TOOLS / "bin" / "pip-audit", *options, "--requirement", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=_MOST_SECONDS,
    )
    try:
        answer = json.loads(run.stdout)
    except ValueError as error:
        raise Unreachable(run.stderr.strip().rpartition("\n")[2]) from error
    return judge(answer)


def read_database() -> tuple[Mapping[str, Any], str]:
    """Give the database that is installed, and the day on which it was made."""
    (path,) = TOOLS.glob("lib/python*/site-packages/safety_db/insecure_full.json")
    database = json.loads(path.read_text())
    made = datetime.fromtimestamp(database["$meta"]["timestamp"], UTC)
    return {name: known for name, known in database.items() if name != "$meta"}, made.strftime("%Y-%m-%d")


def report(findings: Sequence[Finding], clean: str) -> int:
    """Say what was found, and give the exit code."""
    for finding in findings:
        print(finding)
    if not findings:
        print(clean)
    return int(bool(findings))


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--online", action="store_true", help="fail where PyPI's advisories cannot be reached")
    online = parser.parse_args(arguments).online
    files = pinned_files()
    versions = set().union(*(pins(path.read_text()) for path in files))
    try:
        asked = {finding for path in files for finding in ask_pypi(path)}
    except Unreachable as error:
        print(f"PyPI's advisories cannot be had here: {str(error)[:200]}")
        if online:
            return 1
    else:
        return report(sorted(asked, key=str), f"PyPI knows of no vulnerability of the {len(versions)} pinned versions.")
    database, day = read_database()
    print(f"Instead, a database of {day} is looked into: it knows nothing of what was found since.")
    return report(list(look_up(database, versions)), f"It names none of the {len(versions)} pinned versions.")


if __name__ == "__main__":
    sys.exit(main())
