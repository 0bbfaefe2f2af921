"""Metrics of a score with intervals, beside those of trivial baselines on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .bootstrap import N_BOOTSTRAP, Interval, bootstrap
from .bootstrap_curves import RANKING_METRICS, ranking_intervals
from .ranking import auc, tpr_at_balanced_fpr

YES, NO = "yes", "no"


@dataclass(frozen=True)
class ScoredRows:
    """Scores, labels and baselines of the same rows.

    Parameters
    ----------
    scores : float [N]
        Higher is more fake; NaN where there is no score.
    labels : int [N]
        1 is fake.
    units : array [N]
        Bootstrap unit of each row.
    groups : array [N]
        Source of each row, over which the FPR is balanced.
    baselines : mapping of str to float [N]
        NaN where a baseline cannot be measured.
    unit_name : str
    """

    scores: np.ndarray
    labels: np.ndarray
    units: np.ndarray
    groups: np.ndarray
    baselines: Mapping[str, np.ndarray] = field(default_factory=dict)
    unit_name: str = ""

    def scored(self) -> ScoredRows:
        """The rows that have a score."""
        return self.take(~np.isnan(self.scores))

    def take(self, rows: np.ndarray) -> ScoredRows:
        """Some rows, bool [N]."""
        baselines = {name: values[rows] for name, values in self.baselines.items()}
        return ScoredRows(self.scores[rows], self.labels[rows], self.units[rows], self.groups[rows], baselines, self.unit_name)

    @property
    def counts(self) -> str:
        """Number of fakes and of genuine clips."""
        return f"{int((self.labels == 1).sum())} / {int((self.labels == 0).sum())}"

    def ranking(self, seed: int) -> tuple[Interval, Interval, Interval]:
        """AUC, average precision and equal error rate."""
        found = ranking_intervals(self.scores, self.labels, self.units, N_BOOTSTRAP, seed)
        auc, ap, eer = (found[name] for name in RANKING_METRICS)
        return auc, ap, eer

    def auc(self, seed: int) -> Interval:
        """AUC."""
        return self.ranking(seed)[0]

    def tpr_at_fpr(self, fpr: float, seed: int) -> Interval:
        """TPR at an FPR that is balanced over groups."""
        return bootstrap(lambda rows: tpr_at_balanced_fpr(self.scores[rows], self.labels[rows], self.groups[rows], fpr), self.units, seed)

    def baseline(self, name: str) -> ScoredRows:
        """The rows where a baseline is measured, with the baseline as the score, oriented so that its AUC is at least 0.5."""
        values = self.baselines[name]
        known = ~np.isnan(values)
        return ScoredRows(orient(values[known], self.labels[known]), self.labels[known], self.units[known], self.groups[known])

    def baseline_aucs(self) -> dict[str, float]:
        """AUC of each baseline, at least 0.5."""
        return {name: baseline_auc(values, self.labels) for name, values in self.baselines.items()}


def orient(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A statistic [N] with the sign that makes its AUC at least 0.5."""
    return -values if auc(values, labels) < 0.5 else values


def baseline_auc(values: np.ndarray, labels: np.ndarray) -> float:
    """AUC of a statistic in its better orientation."""
    known = ~np.isnan(values)
    value = auc(values[known], labels[known])
    return max(value, 1.0 - value)


def exceeds_baselines(interval: Interval, baselines: Mapping[str, float]) -> str:
    """``yes`` if the lower end of an AUC's interval lies above the best baseline (and 0.5), ``no`` otherwise, ``-`` without an AUC."""
    if np.isnan(interval.value):
        return "-"
    best = max([0.5, *(value for value in baselines.values() if not np.isnan(value))])
    return YES if interval.low > best else NO
