"""What two streams have in common: canonical correlation with a ridge."""

from __future__ import annotations

import numpy as np

RIDGE = 0.5  # of the mean variance of the features, added to the variance in every direction
SMALLEST = 1e-3  # deviation of a component that says nothing


def canonical(audio: np.ndarray, video: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Projections to the components of two streams that correlate most.

    Parameters
    ----------
    audio, video : float [N, A] and [N, V]
        Centred rows that belong to the same moments.
    components : int
        K, at most.

    Returns
    -------
    float [A, K] and [V, K]
        A component's deviation is the root of its correlation, so it weighs as much as it correlates.

    Notes
    -----
    Source: Vinod, *Canonical ridge and econometrics of joint production*, Journal of Econometrics, 1976.
    """
    whiten = [_whitening(x) for x in (audio, video)]
    left, _, right = np.linalg.svd(whiten[0].T @ (audio.T @ video) @ whiten[1] / len(audio), full_matrices=False)
    heard, seen = whiten[0] @ left[:, :components], whiten[1] @ right[:components].T
    a, v = audio @ heard, video @ seen
    deviations = a.std(axis=0) + SMALLEST, v.std(axis=0) + SMALLEST
    weight = np.sqrt(np.clip((a * v).mean(axis=0) / (deviations[0] * deviations[1]), 0.0, 1.0))
    return heard * weight / deviations[0], seen * weight / deviations[1]


def _whitening(x: np.ndarray) -> np.ndarray:
    """Directions of centred rows [N, D], each divided by its deviation, as columns [D, D]."""
    variances, directions = np.linalg.eigh(x.T @ x / len(x))
    return directions / np.sqrt(np.maximum(variances, 0.0) + RIDGE * variances.mean() + np.finfo(np.float64).tiny)
