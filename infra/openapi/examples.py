"""Jobs made up as examples: what is published of them is made by the code that serves."""

from collections.abc import Mapping
from typing import Any

from shared.errors import Code, Problem
from shared.identifiers import ids_between
from shared.job import Job, Kind, Makes, Millis, PredictionId, Shape, Status, StoredFile, TenantId
from shared.links import FileLinks
from shared.manifest import manifest_of
from shared.outputs import mark
from shared.pricing import Price, Unit
from shared.views import Views

ORIGIN = "https://images.example.com"
AT = Millis(1_793_534_400_000)  # 2026-11-01T12:00:00Z
FIRST_ID, _ = ids_between(AT, AT)
TENANT = TenantId("acme")


def _file(n: int, name: str, content_type: str, size: int, *, width: int | None = None) -> StoredFile:
    key = f"jobs/{TENANT}/{FIRST_ID}/{name}"
    return StoredFile(n, key, content_type, size, f"{n:x}" * 64, width, width)


def _job(**fields: Any) -> Job:  # noqa: ANN401 - as the fields are
    usual: dict[str, Any] = {
        "id": FIRST_ID,
        "tenant": TENANT,
        "model": "black-forest-labs/flux-schnell",
        "input": {"prompt": "a quiet harbour at dawn", "num_outputs": 2, "seed": 7, "output_format": "webp"},
        "fingerprint": "",
        "created_at": AT,
        "prediction_id": PredictionId("nvt8q3j1wxrmc0cx0a2b4d6f8g"),
        "seed": 7,
        "price": Price(3_000),
        "estimate": 6_000,
    }
    return Job(**(usual | fields))


def _ended(status: Status, **fields: Any) -> Job:  # noqa: ANN401 - as the fields are
    at: dict[str, Any] = {"started_at": Millis(AT + 400), "completed_at": Millis(AT + 2_150), "cost": 0}
    return _job(**({"status": status} | at | fields))


_TRAINING: Mapping[str, Any] = {
    "kind": Kind.TRAINING,
    "makes": Makes.MODEL,
    "model": "ostris/flux-dev-lora-trainer",
    "version": "26dce37af90b9d997eeb970d92e47de3064d46c300504ae376c75bef6a9022d2",
    "destination": "acme/foxy",
    "input": {"input_images": "https://example.com/foxes.zip", "trigger_word": "FOXY", "steps": 1_000},
    "seed": None,
    "price": Price(1_525, Unit.SECOND),
    "estimate": 1_830_000,
}
_WEIGHTS = "acme/foxy:9c1e4c5a1a4f4d0b8f6a7e2d3c5b6a798081726354455667788990aabbccddee"

JOBS: Mapping[str, Job] = {
    "succeeded": _ended(
        Status.SUCCEEDED,
        files=(
            _file(0, "0.webp", "image/webp", 81_204, width=1024),
            _file(1, "1.webp", "image/webp", 79_410, width=1024),
        ),
        metrics={"predict_time": 1.42},
        cost=6_000,
    ),
    "failed": _ended(
        Status.FAILED,
        problem=Problem(Code.NSFW_CONTENT, "NSFW content detected. Try running it again, or try a different prompt."),
        error="NSFW content detected. Try running it again, or try a different prompt.",
        metrics={"predict_time": 1.2},
    ),
    "canceled": _ended(
        Status.CANCELED,
        started_at=None,
        prediction_id=None,
        problem=Problem(Code.DEADLINE_EXCEEDED, "It had not been started by its deadline."),
    ),
    "training": _ended(
        Status.SUCCEEDED,
        **_TRAINING,
        files=(_file(0, "0.tar", "application/x-tar", 171_969_408),),
        files_shape=Shape.NESTED,
        text={"version": _WEIGHTS, "weights": mark(0)},
        completed_at=Millis(AT + 1_260_000),
        metrics={"predict_time": 1_255.3},
        cost=1_914_333,
    ),
    "nested": _ended(
        Status.SUCCEEDED,
        model="acme/layers",
        deployment="acme/layers-fast",
        makes=Makes.ANYTHING,
        input={"prompt": "a poster"},
        files=(_file(0, "0.png", "image/png", 210_336, width=768), _file(1, "1.bin", "application/octet-stream", 512)),
        files_shape=Shape.NESTED,
        text={"layers": [{"name": "sky", "image": mark(0)}], "palette": mark(1), "score": 0.93},
        metrics={"predict_time": 3.5},
        cost=6_000,
    ),
}

_starting = _job(status=Status.STARTING)
_views = Views(FileLinks(key="example", link_days=7, retention_days=0), now=lambda: Millis(AT + 3_000))


DOCUMENTS: Mapping[str, Any] = {
    "starting": _views.replicate(_starting, ORIGIN, created=True).document,
    "succeeded": _views.replicate(JOBS["succeeded"], ORIGIN).document,
    "training": _views.replicate(JOBS["training"], ORIGIN).document,
    "short": _views.short(JOBS["succeeded"], ORIGIN).document,
    "short starting": _views.short(_starting, ORIGIN).document,
}

MANIFESTS: Mapping[str, Mapping[str, Any]] = {name: manifest_of(job) for name, job in JOBS.items()}
