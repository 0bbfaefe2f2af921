"""Whether stated probabilities come true: reliability curves and the expected calibration error."""

from __future__ import annotations

import numpy as np


def equal_mass_bins(values: np.ndarray, bins: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Number of the bin of every value, where all bins hold about the same weight.

    Equal values always share a bin: dividing them would sort clips by something other than their value. Bins that would
    be empty for it are left out.

    Parameters
    ----------
    values : float [N]
    bins : int
        How many bins there are at most.
    weights : float [N], optional

    Returns
    -------
    int [N]
        0, 1, ... in the order of the values, without gaps.
    """
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    _, codes = np.unique(values, return_inverse=True)
    mass = np.bincount(codes, weights)
    middle = (np.cumsum(mass) - mass / 2.0) / mass.sum()
    numbers = np.minimum((middle * bins).astype(int), bins - 1)
    return np.unique(numbers[codes], return_inverse=True)[1]


def expected_calibration_error(p: np.ndarray, labels: np.ndarray, bins: int = 10, weights: np.ndarray | None = None) -> float:
    """Mean distance in [0, 1] between stated probability and share of fakes, over bins of equal weight.

    Guo et al., *On calibration of modern neural networks*, ICML 2017; bins of equal mass after Nixon et al., *Measuring
    calibration in deep learning*, CVPR workshops 2019, because most probabilities lie at the ends and bins of equal width
    would leave the middle to a handful of clips. Chance alone gives up to ``0.4 * sqrt(bins / N)``, so compare like with like.

    Parameters
    ----------
    p : float [N]
        Probabilities of being fake.
    labels : int [N]
        1 is fake.
    bins : int
    weights : float [N], optional
        For example those of a balanced prior.

    Returns
    -------
    float
        NaN where there is no clip.
    """
    p, labels = np.asarray(p, dtype=np.float64), np.asarray(labels)
    if len(p) == 0:
        return float("nan")
    weights = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
    numbers = equal_mass_bins(p, bins, weights)
    return float(np.abs(np.bincount(numbers, weights * (p - labels))).sum() / weights.sum())


def reliability(p: np.ndarray, labels: np.ndarray, bins: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of a reliability curve, over bins of equal mass.

    Parameters
    ----------
    p : float [N]
        Probabilities of being fake.
    labels : int [N]
        1 is fake.
    bins : int

    Returns
    -------
    stated : float [B]
        Mean probability in each bin; B is at most ``bins``.
    observed : float [B]
        Share of fakes in each bin.
    count : int [B]
        Clips in each bin.
    """
    p, labels = np.asarray(p, dtype=np.float64), np.asarray(labels)
    numbers = equal_mass_bins(p, bins) if len(p) else np.zeros(0, dtype=int)
    count = np.bincount(numbers)
    return np.bincount(numbers, p) / count, np.bincount(numbers, labels) / count, count
