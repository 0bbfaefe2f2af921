"""ROC, DET and reliability of a benchmark's scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from .score_file import TARGETS


def curves_of(tested: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scores and labels of both streams and of the whole file, all folds together, each clip once."""
    found = {}
    tested = tested.drop_duplicates("path")
    for name, column in TARGETS.items():
        rows = tested[tested[[f"{name}_label", column]].notna().all(axis=1)]
        found[name] = rows[column].to_numpy(dtype=float), rows[f"{name}_label"].to_numpy(dtype=int)
    return found


def draw(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], folder: Path) -> list[Path]:
    """ROC, DET and reliability of every target in which both classes are."""
    from matplotlib.figure import Figure
    from scipy.stats import norm
    from sklearn.metrics import roc_curve

    from ..metrics.reliability_plot import draw_reliability

    known = {name: pair for name, pair in curves.items() if len(np.unique(pair[1])) == 2}
    written = []
    for kind in ("roc", "det"):
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        axis = figure.subplots()
        for name, (scores, labels) in known.items():
            alarms, hits, _ = roc_curve(labels, scores)
            inside = (alarms > 0) & (alarms < 1) & (hits > 0) & (hits < 1)
            x, y = (alarms, hits) if kind == "roc" else (norm.ppf(alarms[inside]), norm.ppf(1.0 - hits[inside]))
            axis.plot(x, y, label=name)
        if kind == "det":
            ticks = np.array([0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99])
            axis.set_xticks(norm.ppf(ticks), [f"{100 * t:g} %" for t in ticks])
            axis.set_yticks(norm.ppf(ticks), [f"{100 * t:g} %" for t in ticks])
        axis.set_xlabel("false-alarm rate")
        axis.set_ylabel("share of fakes found" if kind == "roc" else "share of fakes missed")
        if known:
            axis.legend()
        written.append(folder / f"{kind}.png")
        figure.savefig(written[-1], dpi=80)
    (folder / "reliability.png").unlink(missing_ok=True)  # of an earlier run
    honest = {name: pair for name, pair in known.items() if pair[0].min() >= 0.0 and pair[0].max() <= 1.0}
    if honest:
        written.append(folder / "reliability.png")
        draw_reliability(honest, written[-1])
    return written
