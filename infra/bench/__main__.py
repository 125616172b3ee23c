"""Measure everything, print it beside what is wanted, and keep it: `make bench`; `ONLY=calls,copying` for a part."""

import contextlib
import io
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
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
        found |= PARTS[part]()
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


def _calls() -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()):  # the functions run in this process, and log
        return calls.report()


def _on_the_stack(measure: Callable[[Subject, str], Any]) -> Any:  # noqa: ANN401
    with LocalStack(parameters=RATE) as stack, copying.sink() as sink:
        local = Local(stack)
        try:
            with local.tenant() as tenant:
                return measure(Subject(local, tenant, sink), sink)
        finally:
            local.close()


PARTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "calls": _calls,
    "artifacts": lambda: {"artifacts": artifacts.measure()},
    "copying": lambda: {"copying": copying.measure()},
    "warm": lambda: {"warm_cpu_ms": _on_the_stack(lambda subject, _: starts.warm(subject))},
    "answer": lambda: {"answer": _on_the_stack(answers.measure)},
    "cold": lambda: {"cold": _on_the_stack(lambda subject, _: starts.cold(subject))},
    "runtime": lambda: {"runtime": _on_the_stack(lambda subject, _: runtime.measure(subject))},
}


if __name__ == "__main__":
    sys.exit(main())
