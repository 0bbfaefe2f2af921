"""Faces to squares and back: crops aligned to the mean face, in colour, and the way of a changed crop into its frame again."""

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
FACE_STRIDE = 5  # frames from one face that a network looks at to the next: skin changes more slowly than speech
SMOOTHING = 5  # frames over which the alignment is averaged; a paste that trembles would be a clue of its own


def face_transforms(landmarks: np.ndarray, side: int = FACE_SIZE) -> np.ndarray:
    """Affine maps [T, 2, 3] from frame to aligned crop: similarities to the mean face by points that speech does not move.

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
    """Aligned faces uint8 [T, side, side, 3] of frames [T, H, W, 3]; averaged before sampling where the frame holds more pixels."""
    out = np.empty((len(frames), side, side, 3), dtype=np.uint8)
    for index, (frame, transform) in enumerate(zip(frames, transforms, strict=True)):
        scale = float(np.hypot(transform[0, 0], transform[1, 0]))
        picture = cv2.GaussianBlur(frame, (0, 0), 0.35 / scale) if scale < 0.6 else frame
        out[index] = cv2.warpAffine(picture, transform, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
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
    looked = [i for i in range(0, len(frames), FACE_STRIDE) if track.usable[i]]
    if looked:
        out[np.array(looked) // FACE_STRIDE] = crop_faces([frames[i] for i in looked], transforms[looked])
    return out


def to_crop(points: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Points [T, N, 2] of the frames in pixels of the crops."""
    return np.einsum("tij,tnj->tni", transforms[:, :, :2], points) + transforms[:, None, :, 2]


def uncrop(picture: np.ndarray, transform: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """One crop [S, S] or [S, S, C] brought back to where it lay in a frame of ``size`` (width, height); zero elsewhere."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    # warpAffine with the inverse flag maps destination to source by the given matrix: frame to crop is what we have.
    return cv2.warpAffine(picture, transform, size, flags=flags, borderMode=cv2.BORDER_CONSTANT)
