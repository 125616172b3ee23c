"""The artifact: the one that is deployed, and the same for the machine that tests, where its Python can run it."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / ".aws-sam" / "build"
_NATIVE = ROOT / ".local" / "native"
_ARM = frozenset({"aarch64", "arm64"})


def build_for_this_machine() -> Path:
    """Build what `make build` builds, but with wheels for this machine, and give the folder."""
    if platform.machine() in _ARM:
        return BUILT
    template = (ROOT / "template.yaml").read_text()
    assert template.count("arm64") == 3  # of the functions, of the layer, and of what builds it
    nested = _NATIVE / "infra" / "observability.yaml"  # it is looked for beside the template
    nested.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "infra" / nested.name, nested)
    (_NATIVE / "template.yaml").write_text(template.replace("arm64", platform.machine()))
    folder = _NATIVE / "build"
    subprocess.run(
        [
            *("sam", "build", "--cached", "--parallel", "--template", _NATIVE / "template.yaml", "--base-dir", ROOT),
            *("--build-dir", folder, "--cache-dir", _NATIVE / "cache"),
        ],
        cwd=ROOT,
        env=os.environ | {"SAM_CLI_TELEMETRY": "0"},
        check=True,
        timeout=900,
    )
    return folder
