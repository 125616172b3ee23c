"""Plots as files that are the same whenever the figures are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_plot(width: float, height: float) -> tuple[Figure, Axes]:
    """Begin a plot, of so many inches."""
    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - which asks what to draw with when it is imported

    mpl.rcdefaults()  # whatever was drawn before
    mpl.rcParams["svg.hashsalt"] = "afterimage"
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a plot as SVG, without a date."""
    options: Any = {"Date": None}
    figure.savefig(path, metadata=options)
