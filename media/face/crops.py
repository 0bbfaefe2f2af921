"""Colour face crops aligned to the mean face, and the inverse transform of a crop into its frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .geometry import mean_face
from .landmarks import STABLE
from .mouth import planar_similarities, running_mean
from .tracking import FaceTrack

FACE_SIZE = 128  # pixels of an aligned face
EYE_SPACING = 0.4  # distance of the outer eye corners as a share of the side: from the hairline to below the chin
EYE_HEIGHT = 0.4  # height of the eyes as a share of the side, from above
FACE_STRIDE = 5  # frames from one face crop to the next; skin changes more slowly than speech
SMOOTHING = 5  # frames over which the alignment is averaged, so that pasted faces do not jitter


def face_transforms(landmarks: np.ndarray, side: int = FACE_SIZE) -> np.ndarray:
    """Affine maps [T, 2, 3] from frame to aligned crop: similarities to the mean face, fitted to landmarks that speech does not move.

    Parameters
    ----------
    landmarks : float array [T, 478, 3]
        Pixels.
    side : int
        Pixels of the crop.
    """
    reference = mean_face()[list(STABLE), :2].astype(np.float64) * EYE_SPACING * side + (side / 2, EYE_HEIGHT * side)
    stable = running_mean(landmarks[:, list(STABLE), :2].astype(np.float64), SMOOTHING)
    linear = planar_similarities(stable, reference)
    shift = reference.mean(axis=0) - np.einsum("tij,tj->ti", linear, stable.mean(axis=1))
    return np.concatenate([linear, shift[:, :, None]], axis=2)


def crop_faces(frames: Sequence[np.ndarray] | np.ndarray, transforms: np.ndarray, side: int = FACE_SIZE) -> np.ndarray:
    """Aligned faces uint8 [T, side, side, 3] of frames [T, H, W, 3]; blurred before sampling where the frame has more pixels."""
    out = np.empty((len(frames), side, side, 3), dtype=np.uint8)
    for index, (frame, transform) in enumerate(zip(frames, transforms, strict=True)):
        scale = float(np.hypot(transform[0, 0], transform[1, 0]))
        image = cv2.GaussianBlur(frame, (0, 0), 0.35 / scale) if scale < 0.6 else frame
        out[index] = cv2.warpAffine(image, transform, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out


def face_crops(frames: Sequence[np.ndarray] | np.ndarray, track: FaceTrack) -> np.ndarray:
    """Every fifth aligned face of one person.

    Parameters
    ----------
    frames : uint8 [T, H, W, 3]
        RGB.
    track : FaceTrack
        Of the same frames.

    Returns
    -------
    uint8 array [ceil(T / 5), 128, 128, 3]
        Black where the face is not usable.
    """
    out = np.zeros((-(-len(frames) // FACE_STRIDE), FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
    transforms = face_transforms(track.landmarks)
    chosen = [i for i in range(0, len(frames), FACE_STRIDE) if track.usable[i]]
    if chosen:
        out[np.array(chosen) // FACE_STRIDE] = crop_faces([frames[i] for i in chosen], transforms[chosen])
    return out


def to_crop(points: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Points [T, N, 2] of the frames in pixels of the crops."""
    return np.einsum("tij,tnj->tni", transforms[:, :, :2], points) + transforms[:, None, :, 2]


def uncrop(image: np.ndarray, transform: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """One crop [S, S] or [S, S, C] warped back into a frame of ``size`` (width, height); zero elsewhere."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    # With the inverse flag warpAffine takes the matrix from destination to source, here from frame to crop.
    return cv2.warpAffine(image, transform, size, flags=flags, borderMode=cv2.BORDER_CONSTANT)
