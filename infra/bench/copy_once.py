"""One process that copies: `python -I copy_once.py {spec}` copies outputs in one of the ways, and tells what that took.

`ours` is what `archive` does. `memory` is the plainest loop that there is: it holds each output as a whole. `stream`
lets boto3 read from the connection, which it does in parts and with threads, each part a request to be paid for.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def resident_mb(name: str) -> float:
    """Give what this process has in memory now (`VmRSS`), or has had at most (`VmHWM`)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise OSError("this system does not tell")


def main() -> None:
    """Copy something small, so that everything is loaded, and then what is measured."""
    spec = json.loads(sys.argv[1])
    sys.path[:0] = spec["paths"]
    os.environ.update(spec["environment"])
    copy = {"ours": _ours, "memory": _memory, "stream": _stream}[spec["way"]](spec)
    copy([f"{spec['origin']}/1000"] * 2)
    before, at = resident_mb("VmRSS"), time.perf_counter()
    copy([f"{spec['origin']}/{spec['bytes']}"] * spec["count"])
    told = {"seconds": time.perf_counter() - at, "grown_mb": resident_mb("VmHWM") - before}
    sys.stderr.write(json.dumps(told))


def _ours(spec: dict[str, Any]) -> Any:  # noqa: ANN401
    from shared import services
    from shared.copying import Copier
    from shared.fetch import parse_rules
    from shared.job import Job, JobId, Millis, PredictionId, Status, TenantId
    from shared.pricing import Price

    rules = parse_rules(spec["origin"], most_bytes=2**30, most_seconds=600)
    copier = Copier(services._files("bucket"), rules, at_once=spec["at_once"])  # noqa: SLF001 - as `archive` has it
    job = Job(
        id=JobId("0" * 26),
        tenant=TenantId("bench"),
        status=Status.STORING,
        model="m",
        input={},
        fingerprint="",
        created_at=Millis(0),
        price=Price(0),
        prediction_id=PredictionId("p"),
    )

    def copy(urls: list[str]) -> None:
        for _, stored in copier.copy(job, dict(enumerate(urls))):
            if isinstance(stored, Exception):
                raise stored

    return copy


def _memory(_: dict[str, Any]) -> Any:  # noqa: ANN401
    import boto3
    import urllib3

    s3, pool = boto3.client("s3"), urllib3.PoolManager()

    def copy(urls: list[str]) -> None:
        for n, url in enumerate(urls):
            s3.put_object(Bucket="bucket", Key=f"{n}.webp", Body=pool.request("GET", url).data)

    return copy


def _stream(_: dict[str, Any]) -> Any:  # noqa: ANN401
    import boto3
    import urllib3

    s3, pool = boto3.client("s3"), urllib3.PoolManager()

    def copy(urls: list[str]) -> None:
        for n, url in enumerate(urls):
            with pool.request("GET", url, preload_content=False) as response:
                source: Any = response
                s3.upload_fileobj(source, "bucket", f"{n}.webp")

    return copy


main()
