"""Figures of merit with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...detector.calibration import balanced_threshold


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve, by ranks (ties count half); NaN where a class is missing."""
    from scipy.stats import rankdata

    fakes = np.asarray(labels) == 1
    many, few = int(fakes.sum()), int((~fakes).sum())
    if not many or not few:
        return float("nan")
    return float((rankdata(scores)[fakes].sum() - many * (many + 1) / 2.0) / (many * few))


def eer(scores: np.ndarray, labels: np.ndarray) -> float:
    """Equal error rate in [0, 1]: where as many genuine clips are called fake as fakes genuine; NaN where a class is missing."""
    from sklearn.metrics import roc_curve

    if len(np.unique(labels)) < 2:
        return float("nan")
    false_alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)  # or the crossing may be among those that are dropped
    misses = 1.0 - hits
    index = int(np.argmin(np.abs(misses - false_alarms)))
    return float((misses[index] + false_alarms[index]) / 2.0)


def tpr_at_balanced(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, rate: float = 0.05) -> float:
    """Share of fakes found at a false-alarm rate that is balanced over sources.

    Parameters
    ----------
    scores : float [N]
        Higher is more fake.
    labels : int [N]
        1 is fake.
    groups : array [N]
        Source of each clip. The threshold keeps the mean over sources of the genuine clips' false-alarm rate, so that a
        large, easy source cannot pay for the alarms of a small, hard one; fakes count alike wherever they come from.
    rate : float
        False-alarm rate in [0, 1].

    Returns
    -------
    float
        In [0, 1]; NaN where a class is missing.
    """
    if len(np.unique(labels)) < 2:
        return float("nan")
    return float((scores[labels == 1] > balanced_threshold(scores, labels, groups, rate)).mean())


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "-"
        return f"{self.value:.3f}" if np.isnan(self.low) else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    figure: Callable[[np.ndarray, np.ndarray], float],
    scores: np.ndarray,
    labels: np.ndarray,
    units: np.ndarray,
    seed: int = 0,
    rounds: int = 500,
) -> Interval:
    """A figure with its 95 % percentile interval over resampled units.

    Parameters
    ----------
    figure : callable
        Of scores and labels.
    units : array [N]
        What is drawn with replacement: all rows of one source clip or identity stay together.
    """
    rng = np.random.default_rng(seed)
    names, codes = np.unique(units, return_inverse=True)
    rows = [np.flatnonzero(codes == code) for code in range(len(names))]
    values = []
    for _ in range(rounds):
        drawn = np.concatenate([rows[i] for i in rng.integers(0, len(names), len(names))])
        value = figure(scores[drawn], labels[drawn])
        if not np.isnan(value):
            values.append(value)
    low, high = np.quantile(values, (0.025, 0.975)) if values else (np.nan, np.nan)
    return Interval(figure(scores, labels), float(low), float(high))
