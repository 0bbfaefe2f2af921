"""The mean face, alignment to it, and head pose."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from .landmarks import JAW_WIDTH, RIGID


@lru_cache(maxsize=1)
def mean_face() -> np.ndarray:
    """The mean face: float32 [478, 3], eye corners level, outer eye corners 1 apart, centred between them.

    It was derived from the development footage by :func:`fit_mean_face` (``avwitness train mean-face``).
    """
    return np.load(Path(__file__).with_name("mean_face.npy"))


def fit_mean_face(faces: np.ndarray, rounds: int = 5) -> np.ndarray:
    """Generalised Procrustes mean of landmark sets.

    Parameters
    ----------
    faces : float array [N, 478, 3]
        Landmarks in any position, size and (moderate) pose.

    Returns
    -------
    float32 array [478, 3]
        Centred between the eyes, outer eye corners one unit apart.

    Notes
    -----
    Source: J. C. Gower, *Generalized Procrustes analysis*, Psychometrika 40, 1975.
    """
    rigid = list(RIGID)
    mean = np.asarray(faces[0], dtype=np.float64)
    for _ in range(rounds):
        mean = _upright(mean)
        aligned = []
        for face in np.asarray(faces, dtype=np.float64):
            scale, rotation, shift = similarity(face[rigid], mean[rigid])
            aligned.append(scale * face @ rotation.T + shift)
        mean = np.mean(aligned, axis=0)
    return _upright(mean).astype(np.float32)


def _upright(face: np.ndarray) -> np.ndarray:
    """Centre a face between its eyes, rotate it upright, and scale the distance of the outer eye corners to 1."""
    right, left = face[33], face[263]
    across = left - right
    down = face[152] - face[10]  # forehead to chin
    x = across / np.linalg.norm(across)
    y = down - x * (down @ x)
    y /= np.linalg.norm(y)
    axes = np.stack([x, y, np.cross(x, y)])
    return (face - (right + left) / 2) @ axes.T / np.linalg.norm(across)


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Least-squares similarity ``target ~ scale * source @ rotation.T + shift`` in any dimension.

    Notes
    -----
    Source: S. Umeyama, *Least-squares estimation of transformation parameters between two point patterns*, IEEE TPAMI
    13(4), 1991.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(b.T @ a / len(a))
    sign = np.ones(len(singular))
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        sign[-1] = -1.0
    rotation = (u * sign) @ vt
    scale = float((singular * sign).sum() / max(a.var(axis=0).sum(), 1e-12))
    return scale, rotation, target_mean - scale * rotation @ source_mean


def head_pose(landmarks: np.ndarray) -> np.ndarray:
    """Head pose by Procrustes alignment of the mean face to the rigid landmarks.

    Parameters
    ----------
    landmarks : float array [T, 478, 3]
        Pixels.

    Returns
    -------
    float32 array [T, 6]
        Yaw, pitch, roll (radians; pitch grows as the head bows, roll as it tilts clockwise for the viewer), tx, ty
        (position of the point between the eyes, in median face widths of the clip), log scale (natural log of the
        distance of the outer eye corners in pixels).
    """
    left, right = JAW_WIDTH
    widths = np.linalg.norm(landmarks[:, left] - landmarks[:, right], axis=-1)
    pose = rigid_motion(landmarks)
    pose[:, 3:5] /= float(np.median(widths)) if len(widths) else 1.0
    return pose.astype(np.float32)


def rigid_motion(landmarks: np.ndarray) -> np.ndarray:
    """Rotation, shift and scale that bring the mean face closest to the rigid landmarks.

    Parameters
    ----------
    landmarks : float array [T, 478, 3]
        In any unit.

    Returns
    -------
    float64 array [T, 6]
        As :func:`head_pose`, but shift and scale are in the unit of the landmarks.
    """
    rigid, model = list(RIGID), mean_face().astype(np.float64)
    pose = np.empty((len(landmarks), 6))
    for index, face in enumerate(np.asarray(landmarks, dtype=np.float64)):
        scale, rotation, shift = similarity(model[rigid], face[rigid])
        roll, pitch, yaw = Rotation.from_matrix(rotation).as_euler("ZXY")
        pose[index] = (yaw, pitch, roll, shift[0], shift[1], np.log(max(scale, 1e-6)))
    return pose
