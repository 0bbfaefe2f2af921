"""AUC within speakers, and AUC against genuine clips of matched video quality."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

N_NEAREST = 5  # genuine clips that each fake is compared with


def mean_within(metric: Callable[[np.ndarray, np.ndarray], float], scores: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> float:
    """Mean over speakers of a metric of scores [N] and labels [N], each computed on the speaker's own clips.

    Speakers without fakes or genuine clips, and unknown ones (an empty name), are left out. NaN if no speaker is left.
    """
    values = [metric(scores[speakers == name], labels[speakers == name]) for name in np.unique(speakers) if name]
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def nearest_genuine(fakes: np.ndarray, genuine: np.ndarray, count: int = N_NEAREST) -> np.ndarray:
    """The genuine clips nearest to each fake in quality.

    Parameters
    ----------
    fakes : float [F, Q]
    genuine : float [G, Q]
        Measures of quality on logarithmic scales. Each is divided by its standard deviation among the genuine clips.
    count : int
        Number of clips; all if there are fewer.

    Returns
    -------
    int [F, min(count, G)]
    """
    spread = genuine.std(axis=0)
    scale = np.where(spread > 0.0, spread, 1.0)
    distance = np.linalg.norm((fakes[:, None] - genuine[None]) / scale, axis=2)
    return np.argsort(distance, axis=1, kind="stable")[:, :count]


def matched_shares(fakes: np.ndarray, genuine: np.ndarray, matches: np.ndarray) -> np.ndarray:
    """Share of each fake's matched genuine clips with a lower score (ties count half); the mean over fakes is a matched AUC.

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
