"""Plot of reliability curves."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from ...detector.reliability import expected_calibration_error, reliability


def draw_reliability(streams: Mapping[str, tuple[np.ndarray, np.ndarray]], path: str | os.PathLike[str], bins: int = 10) -> None:
    """Plot the share of fakes over the predicted probability, one line per stream; perfect calibration is the diagonal.

    Parameters
    ----------
    streams : mapping
        From a name to probabilities of being fake, float [N], and labels, int [N], of which 1 is fake.
    path : path-like
        The PNG to write.
    bins : int
        Bins of equal mass.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name, (p, labels) in streams.items():
        predicted, observed, _ = reliability(p, labels, bins)
        axis.plot(predicted, observed, marker="o", markersize=4, label=f"{name}: ECE {expected_calibration_error(p, labels, bins):.3f}")
    axis.set_xlabel("predicted probability of being fake")
    axis.set_ylabel("share of fakes")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    if streams:
        axis.legend()
    figure.savefig(path, dpi=80)
