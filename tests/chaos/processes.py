"""Processes of the functions: their real handlers and wiring, loaded anew, with another world around them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, override

from shared import file_store, replicate_api, services
from shared.dynamo import Dynamo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from shared.fetch import Download
    from shared.job import Job, Millis, StoredFile
    from shared.replicate_api import ReplicateApi
    from tests.chaos.replicate import Replicate

    type Handler = Callable[[Mapping[str, Any], Any], Any]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Surroundings:
    """What a process finds around it."""

    environment: Mapping[str, str]
    client: Callable[[str], Any]  # for a service of AWS
    network: httpx.BaseTransport  # to Replicate's API
    outputs: Replicate  # the host of the outputs
    now: Callable[[], Millis]
    sleep: Callable[[float], None]


class _Files(file_store.FileStore):
    """Copies outputs from a host that is played: they are data URIs, and need none."""

    def __init__(self, client: Any, bucket: str, outputs: Replicate) -> None:
        super().__init__(client, bucket)
        self._outputs = outputs

    @override
    def put(self, job: Job, n: int, download: Download) -> StoredFile:
        self._outputs.reach(job.prediction_id)
        return super().put(job, n, download)


def start(function: str, around: Surroundings) -> Handler:
    """Start a process of a function, and give its handler; nothing that other processes see is changed."""
    wiring = _load("shared.services", "shared/services.py")
    wiring.os = SimpleNamespace(environ=around.environment)
    wiring._client = wiring._boto3_client = lambda service, *_: around.client(service)
    wiring.now = around.now
    wiring.COPIES_AT_ONCE = 1  # so that calls come in the same order in every run
    wiring._dynamo = lambda: Dynamo(around.client("dynamodb"), sleep=around.sleep)
    wiring._files = lambda bucket: _Files(around.client("s3"), bucket, around.outputs)
    gateways: dict[str, ReplicateApi] = {}

    def gateway(token_parameter: str, base_url: str) -> ReplicateApi:
        if base_url not in gateways:
            token = wiring.secret(token_parameter)
            gateways[base_url] = replicate_api.ReplicateApi(token=token, base_url=base_url, transport=around.network)
        return gateways[base_url]

    wiring._replicate = gateway
    # The handler imports the wiring by its name. (`patch.dict` would forget what else it imports.)
    sys.modules["shared.services"] = wiring
    try:
        handler: Handler = _load(f"{function}.handler", f"functions/{function}/handler.py").handler
    finally:
        sys.modules["shared.services"] = services
    return handler


def _load(name: str, path: str) -> Any:
    """Give a module of its own, made of a file, that nobody else can import."""
    module = ModuleType(name)
    exec(_code(ROOT / path), vars(module))  # noqa: S102 - it is our own code
    return module


@cache
def _code(path: Path) -> CodeType:
    return compile(path.read_text(), path, "exec")
