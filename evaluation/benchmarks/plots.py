"""ROC, DET and reliability curves of a benchmark's scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from .score_file import TARGETS

DET_TICKS = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99)


def target_scores(tested: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scores and labels of both streams and of the whole file, with all folds pooled and each clip once."""
    found = {}
    tested = tested.drop_duplicates("path")
    for name, column in TARGETS.items():
        rows = tested[tested[[f"{name}_label", column]].notna().all(axis=1)]
        found[name] = rows[column].to_numpy(dtype=float), rows[f"{name}_label"].to_numpy(dtype=int)
    return found


def draw_curves(scores: Mapping[str, tuple[np.ndarray, np.ndarray]], folder: Path) -> list[Path]:
    """Write ``roc.png``, ``det.png`` and ``reliability.png`` with the targets that have both classes; returns what was written."""
    from matplotlib.figure import Figure
    from scipy.stats import norm
    from sklearn.metrics import roc_curve

    from ..metrics.reliability_plot import draw_reliability

    known = {name: pair for name, pair in scores.items() if len(np.unique(pair[1])) == 2}
    written = []
    for kind in ("roc", "det"):
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        axis = figure.subplots()
        for name, (values, labels) in known.items():
            fpr, tpr, _ = roc_curve(labels, values)
            inside = (fpr > 0) & (fpr < 1) & (tpr > 0) & (tpr < 1)
            x, y = (fpr, tpr) if kind == "roc" else (norm.ppf(fpr[inside]), norm.ppf(1.0 - tpr[inside]))
            axis.plot(x, y, label=name)
        if kind == "det":
            labels_of_ticks = [f"{100 * tick:g} %" for tick in DET_TICKS]
            axis.set_xticks(norm.ppf(DET_TICKS), labels_of_ticks)
            axis.set_yticks(norm.ppf(DET_TICKS), labels_of_ticks)
        axis.set_xlabel("FPR")
        axis.set_ylabel("TPR" if kind == "roc" else "FNR")
        if known:
            axis.legend()
        written.append(folder / f"{kind}.png")
        figure.savefig(written[-1], dpi=80)
    (folder / "reliability.png").unlink(missing_ok=True)  # of an earlier run
    probabilities = {name: pair for name, pair in known.items() if pair[0].min() >= 0.0 and pair[0].max() <= 1.0}
    if probabilities:
        written.append(folder / "reliability.png")
        draw_reliability(probabilities, written[-1])
    return written
