"""AUC, average precision and equal error rate with bootstrap intervals: scores are sorted once and weighted anew in every draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .bootstrap import Interval, draw_weights, percentile_interval

RANKING_METRICS = ("auc", "ap", "eer")
MAX_STEPS = 4096  # of a curve in a bootstrap draw


@dataclass(frozen=True)
class SortedScores:
    """Scores in falling order.

    Parameters
    ----------
    fake : bool [N]
    last : int [K]
        Index of the last row of every run of equal scores, which is one step of a curve.
    units : int [N]
        Index of the bootstrap unit of each row.
    n_units : int
    """

    fake: np.ndarray
    last: np.ndarray
    units: np.ndarray
    n_units: int


def sort_scores(scores: np.ndarray, labels: np.ndarray, units: np.ndarray) -> SortedScores:
    """Sort scores [N] once for all draws.

    Parameters
    ----------
    labels : int [N]
        1 is fake.
    units : array [N]
        Bootstrap unit of each row, see :func:`avwitness.evaluation.metrics.bootstrap.bootstrap_units`.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    names, codes = np.unique(units, return_inverse=True)
    return SortedScores(np.asarray(labels)[order] == 1, last, codes[order], len(names))


def ranking_metrics(rows: SortedScores, weights: np.ndarray | None = None) -> dict[str, float]:
    """:data:`RANKING_METRICS`; NaN where a class is missing.

    Parameters
    ----------
    weights : float [U], optional
        Weight of each unit; 1 by default.
    """
    weight = np.ones(len(rows.fake)) if weights is None else weights[rows.units]
    true_positives = np.cumsum(weight * rows.fake)[rows.last]
    false_positives = np.cumsum(weight * ~rows.fake)[rows.last]
    return {name: float(values[0]) for name, values in _from_curves(true_positives[:, None], false_positives[:, None]).items()}


def _from_curves(true_positives: np.ndarray, false_positives: np.ndarray) -> dict[str, np.ndarray]:
    """:data:`RANKING_METRICS` [B] of the cumulated weights [K, B] of the fakes and of the genuine clips down to every step."""
    fakes, genuine = true_positives[-1], false_positives[-1]
    known = (fakes > 0.0) & (genuine > 0.0)
    zero = np.zeros((1, true_positives.shape[1]))
    tpr = np.concatenate([zero, true_positives / np.where(known, fakes, 1.0)])
    fpr = np.concatenate([zero, false_positives / np.where(known, genuine, 1.0)])
    area = ((fpr[1:] - fpr[:-1]) * (tpr[1:] + tpr[:-1])).sum(axis=0) / 2.0
    precision = true_positives / np.maximum(true_positives + false_positives, 1e-12)
    average = (np.diff(tpr, axis=0) * precision).sum(axis=0)
    crossing = np.argmin(np.abs((1.0 - tpr) - fpr), axis=0)[None]
    equal = (1.0 - np.take_along_axis(tpr, crossing, 0)[0] + np.take_along_axis(fpr, crossing, 0)[0]) / 2.0
    return {name: np.where(known, values, np.nan) for name, values in zip(RANKING_METRICS, (area, average, equal), strict=True)}


def ranking_intervals(scores: np.ndarray, labels: np.ndarray, units: np.ndarray, n_bootstrap: int, seed: int) -> dict[str, Interval]:
    """:data:`RANKING_METRICS` with 95 % percentile intervals over resampled units.

    With more than :data:`MAX_STEPS` different scores, the curves of the bootstrap draws have that many steps. The difference that this
    makes to the value itself (below three decimals) is added to the ends of its interval.

    Parameters
    ----------
    scores : float [N]
        Higher is more fake.
    labels : int [N]
        1 is fake.
    units : array [N]
        Bootstrap unit of each row.

    Returns
    -------
    dict of str to Interval
        NaN where a class is missing; no interval with fewer than :data:`avwitness.evaluation.metrics.bootstrap.MIN_UNITS` units.
    """
    if not len(scores):
        return {name: Interval() for name in RANKING_METRICS}
    rows = sort_scores(scores, labels, units)
    values = ranking_metrics(rows)
    fakes, genuine = _counts_by_step(rows)

    def weighted(weights: np.ndarray) -> dict[str, np.ndarray]:
        return _from_curves(np.cumsum(fakes @ weights, axis=0), np.cumsum(genuine @ weights, axis=0))

    coarse = weighted(np.ones((rows.n_units, 1)))
    draws = [weighted(weights) for weights in draw_weights(rows.n_units, n_bootstrap, seed)]
    found = {}
    for name, value in values.items():
        low, high = percentile_interval(np.concatenate([draw[name] for draw in draws]) if draws else np.zeros(0), rows.n_units)
        shift = value - float(coarse[name][0])
        found[name] = Interval(value, low + shift, high + shift)
    return found


def auc_difference(first: np.ndarray, second: np.ndarray, labels: np.ndarray, units: np.ndarray, n_bootstrap: int, seed: int) -> Interval:
    """AUC of the first scores [N] minus that of the second on the same clips; both are computed on the same bootstrap draws."""
    if not len(first):
        return Interval()
    rows = [sort_scores(scores, labels, units) for scores in (first, second)]
    values = [ranking_metrics(part)["auc"] for part in rows]
    differences = [
        ranking_metrics(rows[0], weights)["auc"] - ranking_metrics(rows[1], weights)["auc"]
        for batch in draw_weights(rows[0].n_units, n_bootstrap, seed)
        for weights in batch.T
    ]
    return Interval(values[0] - values[1], *percentile_interval(np.array(differences), rows[0].n_units))


def _counts_by_step(rows: SortedScores) -> tuple[Any, Any]:
    """Number of fakes and of genuine clips by step of the curve and unit, sparse [K, U]."""
    from scipy.sparse import csr_array

    last = rows.last
    if len(last) > MAX_STEPS:
        last = last[np.unique(np.linspace(0, len(last) - 1, MAX_STEPS).round().astype(int))]
    step = np.searchsorted(last, np.arange(len(rows.fake)))
    shape = (len(last), rows.n_units)
    return tuple(csr_array((np.ones(kind.sum()), (step[kind], rows.units[kind])), shape) for kind in (rows.fake, ~rows.fake))  # type: ignore[return-value]
