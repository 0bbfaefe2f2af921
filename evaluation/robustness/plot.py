"""Plot of AUC over severity, with one panel for each degradation."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..benchmarks.score_file import TARGETS
from .conditions import CONTROL

MAX_COLUMNS = 4  # panels in a row
CHANCE_AUC = 0.5


def draw_robustness(results: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw a line with its interval as a band for every target; the control is a dashed line of the same colour.

    Parameters
    ----------
    results : mapping
        Of :func:`avwitness.evaluation.robustness.suite.run_robustness`.
    path : path-like
        The PNG to write.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    shown = results["degradations"]
    n_columns = max(1, min(MAX_COLUMNS, len(shown)))
    n_rows = max(1, math.ceil(len(shown) / n_columns))
    figure = Figure(figsize=(3.2 * n_columns, 2.8 * n_rows + 0.6), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    colours = {target: f"C{number}" for number, target in enumerate(TARGETS)}
    for axis in axes.flat[len(shown) :]:
        axis.axis("off")
    for axis, about in zip(axes.flat, shown, strict=False):
        severities = [f"{severity:g}" for severity in about["severities"]]
        places = np.arange(len(severities))  # equidistant, whatever the scale of the severities
        axis.axhline(CHANCE_AUC, color="0.85", linewidth=1)
        for target, colour in colours.items():
            curve = _curve(results, about["name"], target, len(severities))
            known = ~np.isnan(curve[:, 0])
            if not known.any():
                continue
            axis.plot(places[known], curve[known, 0], color=colour, marker="o", markersize=3)
            axis.fill_between(places[known], curve[known, 1], curve[known, 2], color=colour, alpha=0.15, linewidth=0)
            axis.axhline(_curve(results, CONTROL, target, 1)[0, 0], color=colour, linestyle="--", linewidth=1)
        axis.set_xticks(places, severities)
        axis.set_title(about["title"], fontsize="medium")
        axis.set_xlabel(about["unit"])
        axis.grid(axis="y", color="0.93")
    for axis in axes[:, 0]:
        axis.set_ylabel("AUC")
    key = [Line2D([], [], color=colour, marker="o", markersize=3, label=target) for target, colour in colours.items()]
    key.append(Line2D([], [], color="0.4", linestyle="--", linewidth=1, label=CONTROL))
    figure.legend(handles=key, loc="outside upper center", ncols=len(key))
    figure.savefig(path, dpi=100)


def _curve(results: Mapping[str, Any], name: str, target: str, count: int) -> np.ndarray:
    """AUC and the ends of its interval, float [count, 3]; NaN where there is none. The control is a curve of one point."""
    found = np.full((count, 3), np.nan)
    for row in results["results"]:
        if row["condition"] == name and row["target"] == target:
            found[max(row["level"], 1) - 1] = [np.nan if value is None else value for value in row["auc"]]
    return found
