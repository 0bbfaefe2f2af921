"""Mouth crops of 96x96 pixels, aligned as for AV-HuBERT."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .geometry import mean_face
from .landmarks import LIPS, STABLE
from .tracking import FaceTrack

CROP_SIZE = 96  # pixels, side of the mouth crop
INPUT_SIZE = 88  # pixels, side of the network input: a random part of the crop in training, its centre otherwise
SMOOTHING = 12  # frames over which the alignment is averaged
EYE_DISTANCE = 90.0  # pixels between the outer eye corners of the aligned face; the mouth fills about half of the crop


def _reference() -> np.ndarray:
    """Positions [5, 2] of the stable points of an aligned face, in pixels from the point between the eyes."""
    return mean_face()[list(STABLE), :2].astype(np.float64) * EYE_DISTANCE


def mouth_transforms(landmarks: np.ndarray) -> np.ndarray:
    """Affine maps from frame to crop.

    Parameters
    ----------
    landmarks : float array [T, 478, 3]
        Pixels.

    Returns
    -------
    float64 array [T, 2, 3]
        A similarity to the mean face, from the stable points averaged over this frame and the next eleven, then a shift
        that puts the centre of the lips (not averaged) into the centre of the crop.

    Notes
    -----
    Source: the alignment described with LRS3 preprocessing in Shi et al., *Learning audio-visual speech
    representation by masked multimodal cluster prediction*, ICLR 2022; the mean face is our own.
    """
    stable = landmarks[:, list(STABLE), :2].astype(np.float64)
    lips = landmarks[:, list(LIPS), :2].astype(np.float64).mean(axis=1)
    smoothed = running_mean(stable, SMOOTHING)
    linear = planar_similarities(smoothed, _reference())
    shift = CROP_SIZE / 2 - np.einsum("tij,tj->ti", linear, lips)
    return np.concatenate([linear, shift[:, :, None]], axis=2)


def running_mean(points: np.ndarray, frames: int) -> np.ndarray:
    """Mean of each row of [T, ...] and those that follow, ``frames`` in all; the last rows share the last window."""
    totals = np.concatenate([np.zeros((1, *points.shape[1:])), np.cumsum(points, axis=0)])
    begin = np.minimum(np.arange(len(points)), max(len(points) - frames, 0))
    end = np.minimum(begin + frames, len(points))
    return (totals[end] - totals[begin]) / (end - begin).reshape(-1, *[1] * (points.ndim - 1))


def planar_similarities(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares rotation and scale [T, 2, 2] from each source [T, N, 2] to one target [N, 2]."""
    a = source - source.mean(axis=1, keepdims=True)
    b = target - target.mean(axis=0)
    norm = np.maximum((a**2).sum(axis=(1, 2)), 1e-9)
    cosine = np.einsum("tni,ni->t", a, b) / norm
    sine = (a[..., 0] @ b[:, 1] - a[..., 1] @ b[:, 0]) / norm
    return np.stack([np.stack([cosine, -sine], axis=1), np.stack([sine, cosine], axis=1)], axis=1)


def mouth_crops(frames: Sequence[np.ndarray] | np.ndarray, track: FaceTrack) -> tuple[np.ndarray, np.ndarray]:
    """Mouth crops of one face in every frame.

    Parameters
    ----------
    frames : uint8 [T, H, W, 3]
        RGB.
    track : FaceTrack
        Of the same frames.

    Returns
    -------
    crops : uint8 array [T, 96, 96]
        Grey values; black in the frames where the face is not usable.
    lips : float32 array [T, 40, 2]
        Lip landmarks in pixels of the crop.
    """
    transforms = mouth_transforms(track.landmarks)
    crops = np.zeros((len(frames), CROP_SIZE, CROP_SIZE), dtype=np.uint8)
    for index in np.flatnonzero(track.usable):
        grey = cv2.cvtColor(frames[int(index)], cv2.COLOR_RGB2GRAY)
        transform = transforms[index]
        scale = float(np.hypot(transform[0, 0], transform[1, 0]))
        if scale < 0.5:  # blur before sampling, against aliasing
            grey = cv2.GaussianBlur(grey, (0, 0), 0.35 / scale)
        crops[index] = cv2.warpAffine(grey, transform, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    points = track.landmarks[:, list(LIPS), :2].astype(np.float64)
    lips = np.einsum("tij,tnj->tni", transforms[:, :, :2], points) + transforms[:, None, :, 2]
    return crops, lips.astype(np.float32)


def centre(crops: np.ndarray) -> np.ndarray:
    """The middle 88x88 pixels of mouth crops [T, 96, 96]: the network input outside of training."""
    margin = (CROP_SIZE - INPUT_SIZE) // 2
    return crops[:, margin : margin + INPUT_SIZE, margin : margin + INPUT_SIZE]


def native_scale(track: FaceTrack) -> float:
    """Median enlargement of the mouth in the crop; above 1 the crop has more pixels than the video."""
    linear = mouth_transforms(track.landmarks)[track.usable, :, :2]
    return float(np.median(np.hypot(linear[:, 0, 0], linear[:, 1, 0]))) if len(linear) else float("inf")
