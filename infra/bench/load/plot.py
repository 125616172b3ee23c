"""Draw the load's results: `python plot.py {folder}` reads load.json there and writes load.svg.

It runs in the tool's environment, where matplotlib is.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The same figures give the same file.
mpl.rcParams.update({"svg.hashsalt": "afterimage", "svg.fonttype": "none", "font.size": 8})
SERIES = {
    "calls": "calls to AWS",
    "write_units": "DynamoDB write units",
    "functions_cpu_ms": "CPU of functions",
    "emulator_cpu_ms": "CPU of the emulator",
}
KINDS = ("create", "status", "list")


def main() -> None:
    """Read, draw, write."""
    folder = Path(sys.argv[1])
    found = json.loads(Path(folder, "load.json").read_text())
    figure = Figure(figsize=(9, 3), layout="constrained")
    growth, rates = figure.subplots(1, 2)
    _draw_growth(growth, found["growth"])
    _draw_steps(rates, found["steps"])
    figure.savefig(Path(folder, "load.svg"), metadata={"Date": None, "Creator": None})


def _draw_growth(axes: Axes, growth: list[dict[str, Any]]) -> None:
    totals = [one["total"] for one in growth]
    for name, label in SERIES.items():
        values = [one["a_job"][name] for one in growth]
        axes.plot(totals, [value / values[0] for value in values], marker="o", markersize=3, label=label)
    axes.axhspan(0.9, 1.1, alpha=0.1)
    axes.set(xscale="log", xlabel="jobs", ylabel="for each job, against the first run", ylim=(0, None))
    axes.legend(frameon=False)


def _draw_steps(axes: Axes, steps: list[dict[str, Any]]) -> None:
    users = [one["users"] for one in steps]
    for kind in KINDS:
        for name, style in (("p50", "-"), ("p95", ":")):
            values = [one["latency_ms"][kind][name] for one in steps]
            axes.plot(users, values, style, marker="o", markersize=3, label=f"{kind}, {name[1:]} %")
    axes.set(xscale="log", yscale="log", xlabel="callers at the same time", ylabel="ms until the answer")
    axes.set_xticks(users, [str(number) for number in users])
    axes.legend(frameon=False, ncols=2)


if __name__ == "__main__":
    main()
