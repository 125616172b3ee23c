"""Measure everything, print it beside its targets, and keep it: `make bench`."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.bench import calls, starts

RESULTS = Path(__file__).parent / "results" / "latest.json"
MOST_CALLS = {"one_image": 10, "four_images": 13, "read": 1}
MOST_USD = 0.05  # for 1,000 jobs of one image
_NO_ACCOUNT = {
    **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test"),
    "AWS_DEFAULT_REGION": "us-east-1",
}


def main() -> int:
    """Run all parts; 1 if a target is not met."""
    os.environ.update(_NO_ACCOUNT)
    found: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **calls.report(),
        **starts.measure(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    console = Console(width=110)
    missed = [*_show_calls(console, found), *_show_starts(console, found)]
    console.print(f"\n{RESULTS.name} is written. " + ("Not met: " + "; ".join(missed) if missed else "All are met."))
    return 1 if missed else 0


def _show_calls(console: Console, found: dict[str, Any]) -> list[str]:
    table = Table(
        "call", "touches", "write units", "why", title="One image, from the request to the end", title_justify="left"
    )
    for call, reason in zip(found["calls"]["one_image"], calls.REASONS, strict=True):
        name = f"{call['service']} {call['operation']}"
        table.add_row(name, call["touches"], str(call["write_units"] or ""), reason)
    console.print(table)
    counts = {name: len(made) for name, made in found["calls"].items()}
    usd = found["usd_per_1000"]
    shares = ", ".join(f"{service} {each:.4f}" for service, each in usd.items() if service != "total")
    console.print(", ".join(f"{name.replace('_', ' ')}: {count} calls" for name, count in counts.items()))
    console.print(f"1,000 jobs of one image: {usd['total']:.4f} USD ({shares}); Replicate's own price for them: 3.00")
    missed = [f"calls of {name}" for name, most in MOST_CALLS.items() if counts[name] > most]
    return missed + (["cost"] if usd["total"] > MOST_USD else [])


def _show_starts(console: Console, found: dict[str, Any]) -> list[str]:
    missed = []
    columns = ("function", "CPU ms", "modules", "MB", "peer", "floor", "of the peer's CPU", "of the floor's")
    table = Table(*columns, title="Cold starts: import and first invocation", title_justify="left")
    for name, one in found["cold"].items():
        ours, target = one["ours"], starts.TARGETS[name][1]
        judged = ((one["to_peer"], target), (one["to_floor"], starts.FLOOR))
        cells = [f"{ratio:.2f} ({'met' if ratio <= most else 'not met'}: {most})" for ratio, most in judged]
        missed += [f"{name} {ratio:.2f} > {most}" for ratio, most in judged if ratio > most]
        table.add_row(
            name,
            f"{ours['cpu_ms']:.0f}",
            f"{ours['modules']:.0f}",
            f"{ours['resident_mb']:.0f}",
            f"{one['peer']['cpu_ms']:.0f}",
            f"{one['floor']['cpu_ms']:.0f}",
            *cells,
        )
    console.print(table)
    warm = Table("function", "ours", "peer", "floor", title="Warm: CPU ms an invocation", title_justify="left")
    for name, one in found["warm_cpu_ms"].items():
        warm.add_row(name, *(f"{one[who]:.2f}" for who in ("ours", "peer", "floor")))
        if one["ours"] > one["peer"]:
            missed.append(f"{name} warm {one['ours'] / one['peer']:.2f} > 1")
    console.print(warm)
    return missed


if __name__ == "__main__":
    sys.exit(main())
