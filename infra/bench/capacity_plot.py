"""The plot of the capacity simulation, the same bytes for the same figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from infra.bench.prices import SECONDS_A_MONTH
from infra.bench.scenarios import BILLS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

_QUEUES = ("burst at 600", "burst at 6,000", "burst at 6,000 set", "singles at 60,000", "singles at 60,000 set")
_FLOODS = ("flood, fair", "flood, one line", "unequal 12/s")
_COLORS = ("#1f77b4", "#d95f02", "#2a9d5c", "#7b4fa3", "#c0356b", "#8c6d31", "#5a6772", "#17a2b8", "#b58900")


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw queues, waits, limits and bills."""
    mpl.use("Agg")
    # Text stays text, in whatever plain font there is: as outlines it would be most of the file.
    mpl.rcParams.update({"svg.hashsalt": "afterimage", "svg.fonttype": "none", "font.size": 8.5, "axes.titlesize": 9.5})
    from matplotlib import pyplot as plt  # noqa: PLC0415 - it takes the backend that is set when it is imported

    figure, ((queues, waits), (limits, bills)) = plt.subplots(2, 2, figsize=(11.5, 8.6), layout="constrained")
    figure.patch.set_facecolor("white")
    _draw_queues(queues, found)
    _draw_waits(waits, found)
    _draw_limits(limits, found)
    _draw_bills(bills, found)
    for axes in (queues, waits, limits, bills):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, axis="x" if axes is limits else "y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _draw_queues(axes: Axes, found: Mapping[str, Any]) -> None:
    for key, color in zip(_QUEUES, _COLORS, strict=False):
        samples = found["scenarios"][key]["samples"]
        axes.plot(samples["minutes"], samples["to_dispatch"], color=color, label=key)
        axes.plot(samples["minutes"], samples["to_archive"], color=color, linestyle=":")
    axes.set_title("100,000 jobs, until all are done: messages to dispatch (dotted: archive)")
    axes.set_xlabel("minutes")
    axes.legend(frameon=False)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _draw_waits(axes: Axes, found: Mapping[str, Any]) -> None:
    names, width = ("largest", "middle", "small"), 0.26
    ticks = []
    for group, key in enumerate(_FLOODS):
        for number, name in enumerate(names):
            waits = found["scenarios"][key]["waits_s"].get(name)
            if waits is None:
                continue
            x = group + (number - 1) * width
            label = f"{name} tenant{'' if name == 'largest' else 's'}" if not group else None
            axes.bar(x, waits["median"], width * 0.9, color=_COLORS[number], label=label)
            axes.plot([x, x], [waits["median"], waits["p99"]], color=_COLORS[number], linewidth=1.2)
            axes.plot([x], [waits["p95"]], "o", color=_COLORS[number], markersize=4)
            axes.plot([x], [waits["p99"]], "_", color=_COLORS[number], markersize=9)
        ticks.append(key)
    axes.set_yscale("log")
    axes.set_title("Wait for the start, by size of tenant: median, p95 (dot), p99")
    axes.set_ylabel("seconds")
    axes.set_xticks(range(len(ticks)), ticks)
    axes.legend(frameon=False)


def _draw_limits(axes: Axes, found: Mapping[str, Any]) -> None:
    equal = {one["name"]: one["jobs_per_s"] for one in found["ceilings"]["equal"]}
    unequal = {one["name"]: one["jobs_per_s"] for one in found["ceilings"]["unequal"]}
    names = sorted(equal, key=lambda name: min(equal[name], unequal[name]), reverse=True)
    labels = [name if len(name) < 44 else f"{name[:42]}…" for name in names]  # noqa: PLR2004 - what fits
    axes.barh(labels, [equal[name] for name in names], color="#c9d6e2", label="20 equal tenants")
    axes.barh(labels, [unequal[name] for name in names], height=0.45, color=_COLORS[0], label="one has 80 %")
    for rate in (1, 10, 100, 1_000):
        axes.axvline(rate, color=_COLORS[1], linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlim(0.8)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_title("Jobs a second at which each limit binds, with defaults")
    axes.tick_params(axis="y", labelsize=7)
    axes.legend(frameon=False, loc="upper right")


def _draw_bills(axes: Axes, found: Mapping[str, Any]) -> None:
    bottom = [0.0] * len(BILLS)
    for service, color in zip(
        (name for name in found["scenarios"]["1/s"]["usd_a_month"] if name != "total"), _COLORS, strict=False
    ):
        heights = []
        for key in BILLS:
            one = found["scenarios"][key]
            jobs = one["jobs"]["done"] / one["simulated_s"] * SECONDS_A_MONTH
            heights.append(1_000 * one["usd_a_month"][service] / jobs)
        axes.bar(BILLS, heights, 0.55, bottom=bottom, color=color, label=service)
        bottom = [below + height for below, height in zip(bottom, heights, strict=True)]
    price = 1_000 * found["figures"]["usd_an_image"]["value"]
    axes.set_title(f"AWS, USD for 1,000 jobs; Replicate's own price is {price:.2f}")
    axes.set_ylim(0, 1.45 * max(bottom))
    axes.legend(frameon=False, ncols=4, loc="upper center")
