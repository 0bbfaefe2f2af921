"""Canonical correlation of two streams, with ridge regularisation."""

from __future__ import annotations

import numpy as np

RIDGE = 0.5  # of the mean variance of the features, added to the variance in every direction
MIN_DEVIATION = 1e-3  # added to the standard deviations of the components


def canonical(audio: np.ndarray, video: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Projections to the components of two streams with the highest correlation.

    Parameters
    ----------
    audio, video : float [N, A] and [N, V]
        Centred rows, of the same frames.
    components : int
        K, at most.

    Returns
    -------
    float [A, K] and [V, K]
        The standard deviation of a component is the square root of its correlation.

    Notes
    -----
    Source: Vinod, *Canonical ridge and econometrics of joint production*, Journal of Econometrics, 1976.
    """
    whiten = [_whitening(x) for x in (audio, video)]
    left, _, right = np.linalg.svd(whiten[0].T @ (audio.T @ video) @ whiten[1] / len(audio), full_matrices=False)
    to_audio, to_video = whiten[0] @ left[:, :components], whiten[1] @ right[:components].T
    a, v = audio @ to_audio, video @ to_video
    deviations = a.std(axis=0) + MIN_DEVIATION, v.std(axis=0) + MIN_DEVIATION
    weight = np.sqrt(np.clip((a * v).mean(axis=0) / (deviations[0] * deviations[1]), 0.0, 1.0))
    return to_audio * weight / deviations[0], to_video * weight / deviations[1]


def _whitening(x: np.ndarray) -> np.ndarray:
    """Principal directions of centred rows [N, D], each divided by its standard deviation, as columns [D, D]."""
    variances, directions = np.linalg.eigh(x.T @ x / len(x))
    return directions / np.sqrt(np.maximum(variances, 0.0) + RIDGE * variances.mean() + np.finfo(np.float64).tiny)
