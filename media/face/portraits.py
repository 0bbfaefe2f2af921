"""Portraits: a few upright crops of the whole face with a margin, as general image encoders expect them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .tracking import FaceTrack

PORTRAIT_SIZE = 224  # pixels
MARGIN = 1.5  # side of the crop over the longer side of the box around the landmarks
N_PORTRAITS = 4  # of a window


def portrait_crops(frames: Sequence[np.ndarray] | np.ndarray, track: FaceTrack, count: int = N_PORTRAITS) -> tuple[np.ndarray, np.ndarray]:
    """Portraits of one person, at equal distances among the frames that show the face.

    Parameters
    ----------
    frames : uint8 [T, H, W, 3]
        RGB.
    track : FaceTrack
        Of the same frames.
    count : int
        Portraits at most.

    Returns
    -------
    portraits : uint8 [N, 224, 224, 3]
    numbers : int [N]
        The frames that they show.
    """
    usable = np.flatnonzero(track.usable)
    numbers = np.unique(usable[np.linspace(0, len(usable) - 1, 2 * count + 1).round().astype(int)[1::2]]) if len(usable) else usable
    portraits = [_square(frames[int(n)], track.landmarks[n, :, :2]) for n in numbers]
    shape = (0, PORTRAIT_SIZE, PORTRAIT_SIZE, 3)
    return (np.stack(portraits) if portraits else np.zeros(shape, np.uint8)), numbers


def _square(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """A square around the landmarks; what lies outside of the frame repeats its edge."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    side = max(2, round(MARGIN * float((high - low).max())))
    left, top = (round(float(c) - side / 2) for c in (low + high) / 2)
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = (max(0, -left), max(0, -top), max(0, left + side - width), max(0, top + side - height))
    inside = frame[max(top, 0) : top + side, max(left, 0) : left + side]
    if not inside.size:  # landmarks beyond the frame
        return np.zeros((PORTRAIT_SIZE, PORTRAIT_SIZE, 3), np.uint8)
    padded = cv2.copyMakeBorder(inside, y0, y1, x0, x1, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(padded, (PORTRAIT_SIZE, PORTRAIT_SIZE), interpolation=cv2.INTER_AREA))
