"""Comparisons that take away what makes a fake easy: another speaker, or another quality of picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

NEAREST = 5  # genuine clips that each fake is compared with


def within(figure: Callable[[np.ndarray, np.ndarray], float], scores: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> float:
    """Mean over speakers of a figure of scores [N] and labels [N], each taken among the speaker's own clips.

    Speakers without fakes or without genuine clips have none, and so has an unknown one (an empty name). NaN if no one has.
    """
    values = [figure(scores[speakers == name], labels[speakers == name]) for name in np.unique(speakers) if name]
    told = [value for value in values if not np.isnan(value)]
    return float(np.mean(told)) if told else float("nan")


def nearest_genuine(fakes: np.ndarray, genuine: np.ndarray, count: int = NEAREST) -> np.ndarray:
    """The genuine clips that are most like each fake in quality.

    Parameters
    ----------
    fakes : float [F, Q]
    genuine : float [G, Q]
        Measures of quality, on scales where differences mean the same everywhere (logarithms). Each is divided by its
        standard deviation among the genuine clips.
    count : int
        How many; all if there are fewer.

    Returns
    -------
    int [F, min(count, G)]
    """
    spread = genuine.std(axis=0)
    scale = np.where(spread > 0.0, spread, 1.0)
    distance = np.linalg.norm((fakes[:, None] - genuine[None]) / scale, axis=2)
    return np.argsort(distance, axis=1, kind="stable")[:, :count]


def matched_shares(fakes: np.ndarray, genuine: np.ndarray, matches: np.ndarray) -> np.ndarray:
    """Share of each fake's matched genuine clips that score lower than it, ties half: their mean is a matched AUC.

    Parameters
    ----------
    fakes : float [F]
    genuine : float [G]
    matches : int [F, K]

    Returns
    -------
    float [F]
    """
    own, others = fakes[:, None], genuine[matches]
    return np.asarray((own > others).mean(axis=1) + 0.5 * (own == others).mean(axis=1))
