"""Figures of scores against labels beside those of :mod:`.metrics`: at a threshold, over several labels, and of two detectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...detector.reliability import expected_calibration_error

EVEN = 0.5  # probability at and above which a clip is called fake


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under precision over recall, as a sum of steps; NaN where a class is missing."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores)) if len(np.unique(labels)) == 2 else float("nan")


def threshold_at(genuine: np.ndarray, rate: float) -> float:
    """The lowest of the genuine clips' scores that at most that share of them lie above; at least one is needed."""
    return float(np.sort(genuine)[len(genuine) - 1 - int(np.floor(rate * len(genuine) + 1e-9))])


def tpr_at_fpr(scores: np.ndarray, labels: np.ndarray, rate: float) -> float:
    """Share of fakes found where at most that share of the genuine clips is called fake; NaN where a class is missing."""
    genuine, fakes = scores[labels == 0], scores[labels == 1]
    if not len(genuine) or not len(fakes):
        return float("nan")
    return float((fakes > threshold_at(genuine, rate)).mean()) if rate < 1.0 else 1.0


@dataclass(frozen=True)
class Called:
    """What calling clips fake at a threshold gives; each in [0, 1], NaN where it is not defined."""

    accuracy: float
    balanced_accuracy: float
    precision: float
    recall: float
    f1: float


def called(scores: np.ndarray, labels: np.ndarray, threshold: float = EVEN) -> Called:
    """Accuracy and its kin at a threshold; a score that is equal to it counts as fake."""
    fake, said = np.asarray(labels) == 1, np.asarray(scores) >= threshold
    hit, alarm = int((fake & said).sum()), int((~fake & said).sum())
    precision, recall = _share(hit, hit + alarm), _share(hit, int(fake.sum()))
    specificity = 1.0 - _share(alarm, int((~fake).sum()))
    return Called(
        _share(int((fake == said).sum()), len(fake)), (recall + specificity) / 2.0, precision, recall, harmonic(precision, recall)
    )


def harmonic(precision: float, recall: float) -> float:
    """F1 of precision and recall; 0 where both are."""
    if np.isnan(precision) or np.isnan(recall):
        return 0.0 if not np.isnan(recall) else float("nan")
    return 2.0 * precision * recall / (precision + recall) if precision + recall > 0.0 else 0.0


def calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of probabilities; NaN where scores are none, or there is nothing."""
    inside = len(scores) > 0 and float(np.min(scores)) >= 0.0 and float(np.max(scores)) <= 1.0
    return float(expected_calibration_error(scores, labels)) if inside else float("nan")


@dataclass(frozen=True)
class MultiLabel:
    """Overall (micro) and per-class (macro) precision, recall and F1 of several labels of each clip.

    Notes
    -----
    Source: Wang et al., *CNN-RNN: a unified framework for multi-label image classification*, CVPR 2016. ``cf1`` is the
    harmonic mean of ``cp`` and ``cr``. A class of which nothing is called fake has the precision 0; one without fakes, of which
    nothing could be found, is left out of all figures.
    """

    op: float
    or_: float
    of1: float
    cp: float
    cr: float
    cf1: float


def multi_label(scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], threshold: float = EVEN) -> MultiLabel:
    """Figures over the streams together.

    Parameters
    ----------
    scores, labels : mapping of str to array [N]
        By stream; a row whose label or score is NaN does not count for that stream.
    """
    counts = []
    for stream, truth in labels.items():
        known = ~np.isnan(truth) & ~np.isnan(scores[stream])
        fake, said = truth[known] == 1, scores[stream][known] >= threshold
        if fake.any():
            counts.append((int((fake & said).sum()), int(said.sum()), int(fake.sum())))
    if not counts:
        return MultiLabel(*[float("nan")] * 6)
    hit, claimed, true = (sum(values) for values in zip(*counts, strict=True))
    op, or_ = _share(hit, claimed), _share(hit, true)
    cp = float(np.mean([_share(h, c) if c else 0.0 for h, c, _ in counts]))
    cr = float(np.mean([_share(h, t) for h, _, t in counts]))
    return MultiLabel(op, or_, harmonic(op, or_), cp, cr, harmonic(cp, cr))


@dataclass(frozen=True)
class Compared:
    """Two correlated AUCs: their difference, its standard error, and the two-sided p-value of no difference."""

    first: float
    second: float
    error: float
    p: float

    @property
    def difference(self) -> float:
        """First minus second."""
        return self.first - self.second


def delong(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> Compared:
    """DeLong's test of two scores on the same clips.

    Parameters
    ----------
    first, second : float [N]
    labels : int [N]
        1 is fake; both classes need two clips.

    Raises
    ------
    ValueError
        If a class has fewer.

    Notes
    -----
    Source: DeLong et al., *Comparing the areas under two or more correlated receiver operating characteristic curves*,
    Biometrics 1988, with the midranks of Sun and Xu, IEEE Signal Processing Letters 2014. Clips count as independent: where
    many are of one person, the intervals by identity say more.
    """
    from scipy.stats import norm, rankdata

    fake = np.asarray(labels) == 1
    many, few = int(fake.sum()), int((~fake).sum())
    if min(many, few) < 2:
        raise ValueError("a comparison needs two fakes and two genuine clips")
    areas, of_fakes, of_genuine = [], [], []
    for scores in (first, second):
        ranks = rankdata(scores)
        inner_fake, inner_genuine = rankdata(scores[fake]), rankdata(scores[~fake])
        of_fakes.append((ranks[fake] - inner_fake) / few)
        of_genuine.append(1.0 - (ranks[~fake] - inner_genuine) / many)
        areas.append(float(of_fakes[-1].mean()))
    spread = np.cov(of_fakes) / many + np.cov(of_genuine) / few
    variance = float(spread[0, 0] + spread[1, 1] - 2.0 * spread[0, 1])
    error = float(np.sqrt(max(variance, 0.0)))
    gap = areas[0] - areas[1]
    if error < 1e-12:
        return Compared(areas[0], areas[1], error, 1.0 if abs(gap) < 1e-12 else 0.0)
    return Compared(areas[0], areas[1], error, float(2.0 * norm.sf(abs(gap) / error)))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
