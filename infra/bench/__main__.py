"""Measure everything, print it beside what is wanted, and keep it: `make bench`; `ONLY=calls,copying` for some of it."""

import json
import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.bench import answers, artifacts, calls, copying, places, report, runtime, starts
from infra.bench.subjects import RATE, Subject
from infra.bench.targets import judge
from infra.local.stack import LocalStack
from tests.journey.local import Local

RESULTS = Path(__file__).parent / "results"
PARTS = ("calls", "artifacts", "copying", "warm", "answer", "cold", "runtime")
_NO_ACCOUNT = {
    **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test"),
    "AWS_DEFAULT_REGION": "us-east-1",
}


def main() -> int:
    """Run what is asked for; 1 if something is not as wanted. Only a run of all parts is kept."""
    os.environ.update(_NO_ACCOUNT)
    sys.path.append(str(places.ROOT / "functions"))
    console = Console(width=120, stderr=False)
    only = [part for part in os.environ.get("ONLY", "").split(",") if part] or list(PARTS)
    found: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_before": os.getloadavg()[0],
    }
    for part in only:
        console.print(f"measuring: {part}", style="dim")
        found |= _measure(part)
    for table in report.tables(found):
        console.print(table)
    missed = [one for one in judge(found) if not one.is_met]
    if set(only) == set(PARTS):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "latest.json").write_text(json.dumps(found, indent=1) + "\n")
        report.plot(found, RESULTS)
        report.update_readme(found)
        console.print(f"infra/bench/results/ and the README hold this run. {_verdict(len(missed))}")
    else:
        console.print(f"This was a part, and is not kept. {_verdict(len(missed))}")
    return 1 if missed else 0


def _verdict(missed: int) -> str:
    return f"{missed} of the targets are not met: see above." if missed else "All targets are met."


def _measure(part: str) -> dict[str, Any]:
    match part:
        case "calls":
            logging.disable()  # the functions run in this process, and their lines are nobody's here
            try:
                return calls.report()
            finally:
                logging.disable(logging.NOTSET)
        case "artifacts":
            return {"artifacts": artifacts.measure()}
        case "copying":
            return {"copying": copying.measure()}
    with _subject() as subject, copying.sink() as origin:
        match part:
            case "warm":
                return {"warm_cpu_ms": starts.warm(subject)}
            case "answer":
                return {"answer": answers.measure(subject, origin)}
            case "cold":
                return {"cold": starts.cold(subject)}
            case "runtime":
                return {"runtime": runtime.measure(subject)}
    raise ValueError(f"there is no part {part!r}, but {', '.join(PARTS)}")


@contextmanager
def _subject() -> Iterator[Subject]:
    with LocalStack(parameters=RATE) as stack, copying.sink() as sink:
        local = Local(stack)
        try:
            with local.tenant() as tenant:
                yield Subject(local, tenant, sink)
        finally:
            local.close()


if __name__ == "__main__":
    sys.exit(main())
