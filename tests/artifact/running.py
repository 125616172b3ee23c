"""One function of the artifact, run by Lambda's own programs: the runtime's client and the emulator of its service.

The emulator is the one that the SAM CLI puts into containers; it also runs without one.
"""

import http.client
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import samcli

from tests.artifact.building import ROOT

RUNTIME = ROOT / ".local" / "artifact" / "runtime"
_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_PATIENCE_S = 120


@dataclass(frozen=True)
class Answer:
    """What the function gave, and everything that was logged meanwhile."""

    value: Any
    log: str
    ms: float  # from the event to the answer, in which the runtime starts


def invoke(
    task: Path,
    handler: str,
    event: object,
    *,
    log: Path,
    variables: Mapping[str, str] = {},
    paths: Sequence[Path] = (),
) -> Answer:
    """Start a function of a built artifact as Lambda does, send it one event, and end it; `paths` are its packages."""
    packages = paths or (task, task.parent / "SharedLayer/python", RUNTIME)
    with _serving(task, handler, variables, log, packages) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
        began = time.perf_counter()
        connection.request("POST", "/2015-03-31/functions/function/invocations", json.dumps(event))
        value = json.loads(connection.getresponse().read())
        took = time.perf_counter() - began
        connection.close()
    return Answer(value, log.read_text(), 1000 * took)


@contextmanager
def _serving(
    task: Path, handler: str, variables: Mapping[str, str], log: Path, packages: Sequence[Path]
) -> Iterator[int]:
    emulator = Path(samcli.__file__).parent / f"local/rapid/aws-lambda-rie-{_ARCHITECTURES[platform.machine()]}"
    port, inner = _free_ports()
    environment = {
        **variables,
        "PATH": os.defpath,
        "HOME": str(log.parent),
        "LAMBDA_TASK_ROOT": str(task),
        "PYTHONPATH": os.pathsep.join(map(str, packages)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": task.name,
        # There are no credentials, and nobody is asked for some: no call can leave this machine.
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    python = (sys.executable, "-S", "-P", "-m", "awslambdaric", handler)
    places = (
        "--runtime-interface-emulator-address",
        f"127.0.0.1:{port}",
        "--runtime-api-address",
        f"127.0.0.1:{inner}",
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            [emulator, *places, *python], cwd=task, env=environment, stdout=output, stderr=output
        )
    try:
        _wait(process, port, log)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE_S)
        finally:
            process.kill()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return


def _free_ports() -> tuple[int, int]:
    """Give two ports that nobody has now; the emulator takes no socket that is open already."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
