"""Metrics of scores against labels that depend on the order of the scores: AUC, average precision, EER, TPR at an FPR; DeLong's test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...detector.thresholds import balanced_threshold


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve, by ranks (ties count half); NaN where a class is missing."""
    from scipy.stats import rankdata

    fake = np.asarray(labels) == 1
    n_fake, n_genuine = int(fake.sum()), int((~fake).sum())
    if not n_fake or not n_genuine:
        return float("nan")
    return float((rankdata(scores)[fake].sum() - n_fake * (n_fake + 1) / 2.0) / (n_fake * n_genuine))


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under precision over recall, as a sum of steps; NaN where a class is missing."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores)) if len(np.unique(labels)) == 2 else float("nan")


def eer(scores: np.ndarray, labels: np.ndarray) -> float:
    """Equal error rate in [0, 1]: the mean of FPR and FNR at the threshold where they are closest; NaN where a class is missing."""
    from sklearn.metrics import roc_curve

    if len(np.unique(labels)) < 2:
        return float("nan")
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)  # the crossing may be among the points that would be dropped
    fnr = 1.0 - tpr
    index = int(np.argmin(np.abs(fnr - fpr)))
    return float((fnr[index] + fpr[index]) / 2.0)


def threshold_at_fpr(genuine: np.ndarray, fpr: float) -> float:
    """The lowest score of the genuine clips (at least one) that at most a share ``fpr`` of them exceed."""
    return float(np.sort(genuine)[len(genuine) - 1 - int(np.floor(fpr * len(genuine) + 1e-9))])


def tpr_at_fpr(scores: np.ndarray, labels: np.ndarray, fpr: float) -> float:
    """Share of the fakes above :func:`threshold_at_fpr`; NaN where a class is missing."""
    genuine, fakes = scores[labels == 0], scores[labels == 1]
    if not len(genuine) or not len(fakes):
        return float("nan")
    return float((fakes > threshold_at_fpr(genuine, fpr)).mean()) if fpr < 1.0 else 1.0


def tpr_at_balanced_fpr(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, fpr: float = 0.05) -> float:
    """TPR at the threshold whose FPR, averaged over groups of genuine clips, is at most ``fpr``.

    Parameters
    ----------
    scores : float [N]
        Higher is more fake.
    labels : int [N]
        1 is fake.
    groups : array [N]
        Source of each clip. Every source has the same weight in the FPR, so that a large and easy source does not offset the
        false positives of a small and hard one. All fakes have the same weight.
    fpr : float
        In [0, 1].

    Returns
    -------
    float
        In [0, 1]; NaN where a class is missing.
    """
    if len(np.unique(labels)) < 2:
        return float("nan")
    return float((scores[labels == 1] > balanced_threshold(scores, labels, groups, fpr)).mean())


@dataclass(frozen=True)
class DeLongTest:
    """Two correlated AUCs, the standard error of their difference, and the two-sided p-value of no difference."""

    first: float
    second: float
    error: float
    p: float

    @property
    def difference(self) -> float:
        """First minus second."""
        return self.first - self.second


def delong(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> DeLongTest:
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
    Biometrics 1988, with the midranks of Sun and Xu, IEEE Signal Processing Letters 2014. The test takes clips as independent; where
    many clips are of one person, use the bootstrap intervals over identities.
    """
    from scipy.stats import norm, rankdata

    fake = np.asarray(labels) == 1
    n_fake, n_genuine = int(fake.sum()), int((~fake).sum())
    if min(n_fake, n_genuine) < 2:
        raise ValueError("a comparison needs two fakes and two genuine clips")
    areas, of_fakes, of_genuine = [], [], []
    for scores in (first, second):
        ranks = rankdata(scores)
        within_fakes, within_genuine = rankdata(scores[fake]), rankdata(scores[~fake])
        of_fakes.append((ranks[fake] - within_fakes) / n_genuine)
        of_genuine.append(1.0 - (ranks[~fake] - within_genuine) / n_fake)
        areas.append(float(of_fakes[-1].mean()))
    covariance = np.cov(of_fakes) / n_fake + np.cov(of_genuine) / n_genuine
    variance = float(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1])
    error = float(np.sqrt(max(variance, 0.0)))
    difference = areas[0] - areas[1]
    if error < 1e-12:
        return DeLongTest(areas[0], areas[1], error, 1.0 if abs(difference) < 1e-12 else 0.0)
    return DeLongTest(areas[0], areas[1], error, float(2.0 * norm.sf(abs(difference) / error)))
