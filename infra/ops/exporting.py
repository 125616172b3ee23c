"""Exporting a tenant into a folder, or an archive of one: what is interrupted goes on where it was.

tenant.json   its limits and what it uses
jobs.jsonl    its jobs, newest first, a line each
jobs/…        files and manifests, by their keys in the bucket
inputs/…      what was given to jobs as data
uploads/…     what was uploaded, as far as it is kept
"""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.ops.deployment import Deployment
from infra.ops.documents import document_of
from infra.ops.screen import Bar, OpsError
from shared.file_store import Gone, prefix_of
from shared.job import Job, TenantId
from shared.services import now

_ARCHIVES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz"}
_DAY_MS = 86_400_000


@dataclass
class Done:
    """What was exported; `kept` files were there from an earlier call."""

    jobs: int = 0
    files: int = 0
    kept: int = 0
    bytes: int = 0
    expired: int = 0
    missing: list[str] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        """Give it for programs."""
        return dict(vars(self))


def export(deployment: Deployment, tenant: TenantId, about: Mapping[str, Any], out: Path, bar: Bar) -> Done:
    """Export all of a tenant's.

    Raises:
        OpsError: the archive is there already, or a file is not what was stored.
    """
    mode = next((mode for suffix, mode in _ARCHIVES.items() if out.name.endswith(suffix)), None)
    if mode is None:
        return _Export(deployment, tenant, out, bar).run(about)
    if out.exists():
        raise OpsError(f"{out} is there already.")
    folder = out.with_name(f"{out.name}.parts")
    done = _Export(deployment, tenant, folder, bar).run(about)
    bar.say(what=f"packing {out.name}")
    _pack(folder, out, mode)
    return done


class _Export:
    def __init__(self, deployment: Deployment, tenant: TenantId, folder: Path, bar: Bar) -> None:
        self._deployment = deployment
        self._tenant = tenant
        self._folder = folder
        self._bar = bar
        self._done = Done()
        # Set where it is known what the bucket must hold.
        self._sha256: dict[str, str] = {}
        self._prefixes: set[str] = set()

    def run(self, about: Mapping[str, Any]) -> Done:
        self._folder.mkdir(parents=True, exist_ok=True)
        _write(self._folder / "tenant.json", json.dumps(about, indent=2))
        jobs = self._write_jobs()
        for place in ("jobs", "inputs", "uploads"):
            for key, size in self._deployment.files.keys(f"{place}/{self._tenant}/"):
                # What is being deleted is no longer the tenant's.
                if place == "uploads" or key.rpartition("/")[0] in self._prefixes:
                    self._fetch(key, size)
        for job in jobs:
            self._check(job)
        return self._done

    def _write_jobs(self) -> list[Job]:
        found = []
        draft = self._folder / "jobs.jsonl.part"
        with draft.open("w") as lines:
            for job in self._deployment.jobs.each(self._tenant):
                if job.deleted_at is not None:
                    continue
                lines.write(json.dumps(document_of(job, contents=True), ensure_ascii=False) + "\n")
                self._prefixes |= {prefix_of(job).rstrip("/"), f"inputs/{job.tenant}/{job.id}"}
                self._sha256 |= {file.key: file.sha256 for file in job.files}
                self._done.jobs += 1
                if job.files:
                    found.append(job)
        draft.replace(self._folder / "jobs.jsonl")
        self._bar.say(total=len(self._sha256))
        return found

    def _fetch(self, key: str, size: int) -> None:
        """Have an object in the folder. Objects never change, so that one of the right size is the right one."""
        path = self._folder / key
        self._bar.step()
        if path.exists() and path.stat().st_size == size:
            self._done.kept += 1
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        draft, digest = path.with_name(f"{path.name}.part"), hashlib.sha256()
        try:
            with draft.open("wb") as file:
                for part in self._deployment.files.download(key):
                    digest.update(part)
                    file.write(part)
        except Gone:
            draft.unlink()  # deleted while this ran
            return
        if self._sha256.get(key, digest.hexdigest()) != digest.hexdigest():
            raise OpsError(f"{key} is not what was stored: its SHA-256 is another one. It is kept as {draft}.")
        draft.replace(path)
        self._done.files += 1
        self._done.bytes += size

    def _check(self, job: Job) -> None:
        lives_ms = self._deployment.reading.file_retention_days * _DAY_MS
        is_expired = bool(lives_ms) and job.completed_at is not None and now() >= job.completed_at + lives_ms
        missing = [file.key for file in job.files if not (self._folder / file.key).exists()]
        if is_expired:
            self._done.expired += len(missing)
        else:
            self._done.missing += missing


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(text + "\n")
    draft.replace(path)


def _pack(folder: Path, out: Path, mode: Any) -> None:  # noqa: ANN401
    draft = out.with_name(f"{out.name}.part")
    with tarfile.open(draft, mode) as archive:
        archive.add(folder, arcname=out.name.partition(".tar")[0].removesuffix(".tgz"))
    draft.replace(out)
    shutil.rmtree(folder)
