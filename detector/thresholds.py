"""Thresholds at stated false positive rates."""

from __future__ import annotations

import numpy as np

FPR_TARGETS = {"at_1": 0.01, "at_5": 0.05}  # false positive rate of the threshold of that name, in every source
MIN_SOURCE_CLIPS = 20  # genuine clips of a source that may set a threshold of its own


def balanced_threshold(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, rate: float) -> float:
    """Lowest score above which at most ``rate`` of the genuine clips lie, as the mean over groups.

    Parameters
    ----------
    scores : float [N]
        Higher is more fake; logits or probabilities.
    labels : int [N]
        1 is fake; fakes are ignored.
    groups : array [N]
        Source of each clip.
    rate : float
        False positive rate in [0, 1].

    Returns
    -------
    float
        The score of a genuine clip; positives are strictly above it.

    Raises
    ------
    ValueError
        If there is no genuine clip.
    """
    genuine = np.asarray(labels) == 0
    if not genuine.any():
        raise ValueError("a false positive rate needs genuine clips")
    values, places = np.unique(np.asarray(scores, dtype=np.float64)[genuine], return_inverse=True)
    _, codes, sizes = np.unique(np.asarray(groups)[genuine], return_inverse=True, return_counts=True)
    mass = np.bincount(places, 1.0 / (len(sizes) * sizes[codes]))
    above = np.append(np.cumsum(mass[::-1])[::-1][1:], 0.0)  # false positive rate if the threshold is this value
    return float(values[np.argmax(above <= rate + 1e-9)])


def fpr_thresholds(p: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Thresholds ``at_1`` and ``at_5``: at most 1 % and 5 % of the genuine clips of *every* source lie above them.

    A threshold is the highest over all sources of 20 genuine clips or more. A rate of 1 % cannot be measured on fewer than 100
    clips, so sources with fewer contribute the pooled, balanced quantile (:func:`balanced_threshold` over all sources of 20 or
    more) in place of their own. If no source has 20, that quantile over all sources is the threshold.

    Parameters
    ----------
    p : float [N]
        Probabilities, or any other scores, of genuine clips.
    groups : array [N]
        Source of each clip.

    Returns
    -------
    dict
        ``at_1`` is never lower than ``at_5``.
    """
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    large = np.flatnonzero(sizes >= MIN_SOURCE_CLIPS)
    pool = np.isin(codes, large) if len(large) else np.ones(len(p), dtype=bool)
    thresholds: dict[str, float] = {}
    lowest = -np.inf
    for name, rate in sorted(FPR_TARGETS.items(), key=lambda item: -item[1]):
        measurable = [group for group in large if sizes[group] * rate >= 1.0 - 1e-9]
        candidates = [balanced_threshold(p, codes != group, codes, rate) for group in measurable]
        if len(measurable) < len(large) or not len(large):
            candidates.append(balanced_threshold(p, ~pool, codes, rate))
        thresholds[name] = lowest = max(lowest, *candidates)
    return thresholds


def page_threshold(
    scores: np.ndarray, pages: np.ndarray, max_fpr: float, max_worst_fpr: float, worst: float = 0.1, min_clips: int = 3
) -> float:
    """The lowest threshold that keeps the false positive rate low on average and on the worst pages.

    Parameters
    ----------
    scores : float [N]
        Of genuine clips; higher is more fake.
    pages : array [N]
    max_fpr : float
        Limit of the mean over pages.
    max_worst_fpr : float
        Limit of the mean over the share ``worst`` of the pages with the highest rates.
    worst : float
    min_clips : int
        Pages with fewer genuine clips share one group: a rate of a single clip is 0 or 1.

    Returns
    -------
    float
        A score of a genuine clip; a false positive lies strictly above it.
    """
    names, codes, sizes = np.unique(pages, return_inverse=True, return_counts=True)
    small = sizes < min_clips
    codes = np.where(small[codes], len(names), codes)
    groups = np.unique(codes)
    n_worst = max(1, round(worst * len(groups)))
    for threshold in np.unique(scores):
        rates = np.sort([(scores[codes == group] > threshold).mean() for group in groups])[::-1]
        if rates.mean() <= max_fpr + 1e-9 and rates[:n_worst].mean() <= max_worst_fpr + 1e-9:
            return float(threshold)
    return float(np.max(scores))
