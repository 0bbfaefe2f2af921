"""AUC, average precision and equal error rate of many bootstrap rounds at once: sorted once, weighed anew in every round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .metrics import Interval

RANKED = ("auc", "ap", "eer")


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
    if found[-1] <= 0.0 or alarms[-1] <= 0.0:
        return dict.fromkeys(RANKED, float("nan"))
    hits, false = found / found[-1], alarms / alarms[-1]
    hits0, false0 = np.concatenate([[0.0], hits]), np.concatenate([[0.0], false])
    area = float(((false0[1:] - false0[:-1]) * (hits0[1:] + hits0[:-1])).sum() / 2.0)
    precision = found / np.maximum(found + alarms, 1e-12)
    average = float((np.diff(hits0) * precision).sum())
    gap = np.abs((1.0 - hits0) - false0)
    nearest = int(np.argmin(gap))
    return {"auc": area, "ap": average, "eer": float((1.0 - hits0[nearest] + false0[nearest]) / 2.0)}


def draws(count: int, rounds: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of ``count`` units is drawn, float [U], in every round."""
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        yield np.bincount(rng.integers(0, count, count), minlength=count).astype(float)


def intervals(order: Order, rounds: int, seed: int) -> dict[str, Interval]:
    """:data:`RANKED` with 95 % percentile intervals over resampled units."""
    value = ranked_figures(order)
    drawn: dict[str, list[float]] = {name: [] for name in RANKED}
    for weights in draws(order.count, rounds, seed):
        for name, figure in ranked_figures(order, weights).items():
            if not np.isnan(figure):
                drawn[name].append(figure)
    ends = {name: np.quantile(values, (0.025, 0.975)) if values else (np.nan, np.nan) for name, values in drawn.items()}
    return {name: Interval(value[name], float(ends[name][0]), float(ends[name][1])) for name in RANKED}
