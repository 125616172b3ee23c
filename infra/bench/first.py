"""One cold start: `python -I first.py {spec}` imports a handler, calls it once, and tells what that took.

It is run by itself, in a fresh process, and so imports nothing of ours.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path


class Context:
    """What Lambda tells a function of its invocation."""

    function_name = "bench"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:bench"
    aws_request_id = "bench"

    def get_remaining_time_in_millis(self) -> int:
        """Give the time that is left."""
        return 60_000


def resident_mb() -> float:
    """Give the most memory that this process has had; the system's own count begins with its parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise OSError("this system does not tell")


def main() -> None:
    """Start, call once, tell."""
    spec = json.loads(sys.argv[1])
    sys.path[:0] = spec["paths"]
    os.environ.update(spec["environment"])
    already = len(sys.modules)
    begun, cpu = time.perf_counter(), time.process_time()
    module, _, name = spec["handler"].rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    imported = time.perf_counter()
    answers = [handler(event, Context()) for event in spec["events"][:1]]
    first, first_cpu = time.perf_counter(), time.process_time()
    modules = len(sys.modules) - already
    warm, warm_cpu = [], []
    for event in spec["events"][1:]:
        if "requestContext" in event:
            event["requestContext"]["timeEpoch"] = time.time_ns() // 1_000_000  # else it would come late
        at, at_cpu = time.perf_counter(), time.process_time()
        answers.append(handler(event, Context()))
        warm.append(time.perf_counter() - at)
        warm_cpu.append(time.process_time() - at_cpu)
    told = {
        "modules": modules,
        "import_ms": 1000 * (imported - begun),
        "first_ms": 1000 * (first - imported),
        "total_ms": 1000 * (first - begun),
        "cpu_ms": 1000 * (first_cpu - cpu),
        "resident_mb": resident_mb(),
        "warm_ms": [1000 * one for one in warm],
        "warm_cpu_ms": [1000 * one for one in warm_cpu],
        "answers": answers,
    }
    sys.stderr.write(json.dumps(told))


main()
