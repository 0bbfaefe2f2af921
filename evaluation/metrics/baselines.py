"""A score's figures of merit, beside those of trivial baselines on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .bootstrap import resampled
from .classification import average_precision
from .ranking import Interval, auc, eer, tpr_at_balanced

ADDS_NOTHING, BEATS = "adds nothing", "yes"


@dataclass(frozen=True)
class Ranked:
    """Fakes and genuine clips in the order that a score gives them.

    Parameters
    ----------
    scores : float [N]
        Higher is more fake; NaN where there was nothing to judge.
    labels : int [N]
        1 is fake.
    units : array [N]
        What a bootstrap draws as one.
    groups : array [N]
        Sources over which false alarms are balanced.
    baselines : mapping of str to float [N]
        NaN where a baseline cannot be measured.
    over : str
        Name of the units.
    """

    scores: np.ndarray
    labels: np.ndarray
    units: np.ndarray
    groups: np.ndarray
    baselines: Mapping[str, np.ndarray] = field(default_factory=dict)
    over: str = ""

    def judged(self) -> Ranked:
        """The rows that have a score."""
        kept = ~np.isnan(self.scores)
        baselines = {name: values[kept] for name, values in self.baselines.items()}
        return Ranked(self.scores[kept], self.labels[kept], self.units[kept], self.groups[kept], baselines, self.over)

    @property
    def counts(self) -> str:
        """How many fakes and genuine clips."""
        return f"{int((self.labels == 1).sum())} / {int((self.labels == 0).sum())}"

    def interval(self, figure: Callable[[np.ndarray, np.ndarray], float], seed: int) -> Interval:
        """A figure of scores and labels, over resampled units."""
        return resampled(lambda rows: figure(self.scores[rows], self.labels[rows]), self.units, seed)

    def tpr_at_fpr(self, rate: float, seed: int) -> Interval:
        """Share of fakes found at a false-alarm rate balanced over groups."""
        return resampled(lambda rows: tpr_at_balanced(self.scores[rows], self.labels[rows], self.groups[rows], rate), self.units, seed)

    def figures(self, seed: int) -> tuple[Interval, Interval, Interval]:
        """AUC, average precision and equal error rate."""
        return self.interval(auc, seed), self.interval(average_precision, seed), self.interval(eer, seed)

    def baseline_aucs(self) -> dict[str, float]:
        """AUC of each baseline."""
        return {name: baseline_auc(values, self.labels) for name, values in self.baselines.items()}


def baseline_auc(values: np.ndarray, labels: np.ndarray) -> float:
    """AUC of a statistic, turned the way that suits it best: a baseline is given every advantage."""
    known = ~np.isnan(values)
    value = auc(values[known], labels[known])
    return max(value, 1.0 - value)


def baseline_interval(values: np.ndarray, ranked: Ranked, seed: int) -> Interval:
    """AUC of a baseline with its interval; which way it is turned is settled on all rows."""
    known = ~np.isnan(values)
    values, labels = values[known], ranked.labels[known]
    turned = values if not auc(values, labels) < 0.5 else -values
    return resampled(lambda rows: auc(turned[rows], labels[rows]), ranked.units[known], seed)


def adds(interval: Interval, baselines: Mapping[str, float]) -> str:
    """``yes`` if even the lower end of an AUC's interval lies above the best baseline (or chance), else ``adds nothing``."""
    if np.isnan(interval.value):
        return "-"
    best = max([0.5, *(value for value in baselines.values() if not np.isnan(value))])
    return BEATS if interval.low > best else ADDS_NOTHING


def plain(value: float) -> str:
    """A figure without an interval."""
    return "-" if np.isnan(value) else f"{value:.3f}"
