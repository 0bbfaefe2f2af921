"""AUC, average precision and equal error rate of many bootstrap rounds at once: sorted once, weighed anew in every round."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .ranking import Interval

RANKED = ("auc", "ap", "eer")
LEAST = 5  # units, below which resampling them says nothing, and no interval is given
STEPS = 4096  # of a curve in a bootstrap
BATCH = 50  # rounds at once


@dataclass(frozen=True)
class Order:
    """Scores in falling order.

    Parameters
    ----------
    fake : bool [N]
    last : int [K]
        Last place of every run of equal scores: equal ones are one step of a curve.
    units : int [N]
        Number of the unit that a row belongs to.
    count : int
        How many units there are.
    """

    fake: np.ndarray
    last: np.ndarray
    units: np.ndarray
    count: int


def ordered(scores: np.ndarray, labels: np.ndarray, units: np.ndarray) -> Order:
    """Sort scores [N] once.

    Parameters
    ----------
    units : array [N]
        What a bootstrap draws as one: identities, or source clips.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    names, codes = np.unique(units, return_inverse=True)
    return Order(np.asarray(labels)[order] == 1, last, codes[order], len(names))


def ranked_figures(order: Order, weights: np.ndarray | None = None) -> dict[str, float]:
    """:data:`RANKED` where units weigh as drawn; NaN where a class is missing.

    Parameters
    ----------
    weights : float [U], optional
        How often each unit was drawn; once each otherwise.
    """
    each = np.ones(len(order.fake)) if weights is None else weights[order.units]
    found = np.cumsum(each * order.fake)[order.last]
    alarms = np.cumsum(each * ~order.fake)[order.last]
    return {name: float(values[0]) for name, values in _of_curves(found[:, None], alarms[:, None]).items()}


def _of_curves(found: np.ndarray, alarms: np.ndarray) -> dict[str, np.ndarray]:
    """:data:`RANKED` [B] of fakes and of genuine clips [K, B] that scores down to every step hold."""
    fakes, genuine = found[-1], alarms[-1]
    known = (fakes > 0.0) & (genuine > 0.0)
    start = np.zeros((1, found.shape[1]))
    hits = np.concatenate([start, found / np.where(known, fakes, 1.0)])
    false = np.concatenate([start, alarms / np.where(known, genuine, 1.0)])
    area = ((false[1:] - false[:-1]) * (hits[1:] + hits[:-1])).sum(axis=0) / 2.0
    precision = found / np.maximum(found + alarms, 1e-12)
    average = (np.diff(hits, axis=0) * precision).sum(axis=0)
    nearest = np.argmin(np.abs((1.0 - hits) - false), axis=0)[None]
    even = (1.0 - np.take_along_axis(hits, nearest, 0)[0] + np.take_along_axis(false, nearest, 0)[0]) / 2.0
    return {name: np.where(known, values, np.nan) for name, values in zip(RANKED, (area, average, even), strict=True)}


def draws(count: int, rounds: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of ``count`` units is drawn, float [U], in every round."""
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        yield np.bincount(rng.integers(0, count, count), minlength=count).astype(float)


def intervals(order: Order, rounds: int, seed: int) -> dict[str, Interval]:
    """:data:`RANKED` with 95 % percentile intervals over resampled units, NaN where there are less than :data:`LEAST` of them.

    Of more than :data:`STEPS` different scores, curves of the bootstrap have that many steps; what the value itself loses by that
    (nothing that three decimals show) is given back to the ends of its interval.
    """
    value = ranked_figures(order)
    fakes, genuine = _by_step(order)
    coarse = _of_curves(*(np.cumsum(counts @ np.ones((order.count, 1)), axis=0) for counts in (fakes, genuine)))
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in RANKED}
    drawing = draws(order.count, rounds, seed)
    while weights := list(itertools.islice(drawing, BATCH)):
        together = np.stack(weights, axis=1)
        for name, figures in _of_curves(np.cumsum(fakes @ together, axis=0), np.cumsum(genuine @ together, axis=0)).items():
            drawn[name].append(figures[~np.isnan(figures)])
    found = {}
    for name in RANKED:
        values = np.concatenate(drawn[name]) if drawn[name] else np.zeros(0)
        low, high = np.nan, np.nan
        if len(values) and order.count >= LEAST:
            low, high = np.quantile(values, (0.025, 0.975)) + value[name] - coarse[name][0]
        found[name] = Interval(value[name], float(low), float(high))
    return found


def auc_change(scores: np.ndarray, before: np.ndarray, labels: np.ndarray, units: np.ndarray, rounds: int, seed: int) -> Interval:
    """AUC of scores [N] minus that of others of the same clips; in every round the same units are drawn for both."""
    if not len(scores):
        return Interval(float("nan"), float("nan"), float("nan"))
    orders = [ordered(values, labels, units) for values in (scores, before)]
    now, then = (ranked_figures(order)["auc"] for order in orders)
    gaps = []
    for weights in draws(orders[0].count, rounds, seed):
        drawn, beside = (ranked_figures(order, weights)["auc"] for order in orders)
        if not np.isnan(drawn):  # a class was not drawn, which is so for both
            gaps.append(drawn - beside)
    low, high = np.quantile(gaps, (0.025, 0.975)) if gaps and orders[0].count >= LEAST else (np.nan, np.nan)
    return Interval(now - then, float(low), float(high))


def _by_step(order: Order) -> tuple[Any, Any]:
    """Fakes and genuine clips of every unit at every step of the curve, sparse [K, U]."""
    from scipy.sparse import csr_array

    last = order.last
    if len(last) > STEPS:
        last = last[np.unique(np.linspace(0, len(last) - 1, STEPS).round().astype(int))]
    step = np.searchsorted(last, np.arange(len(order.fake)))
    shape = (len(last), order.count)
    return tuple(csr_array((np.ones(kind.sum()), (step[kind], order.units[kind])), shape) for kind in (order.fake, ~order.fake))  # type: ignore[return-value]
