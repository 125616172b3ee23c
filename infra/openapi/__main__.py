"""Writes what is published of the interface, or checks that it is up to date: `python -m infra.openapi --help`."""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from infra.openapi.compatibility import breaking_changes
from infra.openapi.document import FUNCTIONS, ROOT, build
from infra.openapi.examples import MANIFESTS

DOCUMENT = FUNCTIONS / "console" / "openapi.json"
RELEASED = Path(__file__).with_name("released.json")
EXAMPLES = ROOT / "infra" / "schemas" / "examples"


def published() -> dict[Path, str]:
    """Give the texts of all files that are made of the code."""
    manifests = {EXAMPLES / f"{name}.json": manifest for name, manifest in MANIFESTS.items()}
    return {path: _text(document) for path, document in {DOCUMENT: build(), **manifests}.items()}


def _text(document: Any) -> str:  # noqa: ANN401
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Give 1 if what is published is out of date, or would break a caller."""
    parser = argparse.ArgumentParser(prog="python -m infra.openapi", description=__doc__)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--check", action="store_true", help="write nothing; fail if something should be written")
    kinds.add_argument("--release", action="store_true", help="what is published now is what callers are promised")
    given = parser.parse_args()
    if given.release:
        shutil.copyfile(DOCUMENT, RELEASED)
        return 0
    return _check() if given.check else _write()


def _write() -> int:
    for path, text in published().items():
        path.write_text(text)
    return 0


def _check() -> int:
    texts = published()
    old = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    for path in old:
        print(f"{path.relative_to(ROOT)} is not what the code says: run `make openapi`.")
    broken = breaking_changes(json.loads(RELEASED.read_text()), json.loads(texts[DOCUMENT]))
    for change in broken:
        print(f"This would break callers: {change}")
    return int(bool(old or broken))


if __name__ == "__main__":
    sys.exit(main())
