"""Face tracking: landmarks of up to four faces over the frames of a video."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..clip import FRAME_RATE
from .geometry import head_pose
from .landmarker import find_asset, without_native_messages
from .landmarks import JAW_WIDTH

MAX_FACES = 4  # faces tracked at once
STRIDE = 2  # frames between two detections; those between are interpolated (12-frame smoothing hides the difference)
MAX_GAP = 15  # frames (0.6 s) over which an interpolated face is usable
MAX_ABSENCE = 25  # frames (1 s) after which a returning face gets a new name
MIN_PRESENCE = 5  # frames (0.2 s) below which a track is discarded as a false detection


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
        False where the face was not detected and its landmarks are interpolated, or copied from the nearest detection.
    usable : bool array [T]
        ``valid``, and gaps of at most 15 frames between two detections.
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
class _OpenTrack:
    """Detections of one face so far."""

    name: str
    detections: dict[int, np.ndarray] = field(default_factory=dict)  # frame number -> landmarks

    @property
    def last(self) -> int:
        return max(self.detections)


class FaceTracker:
    """Tracks up to four faces through consecutive windows of one video.

    Parameters
    ----------
    asset : path-like, optional
        mediapipe's ``face_landmarker.task``; see :func:`find_asset`.
    max_faces : int
        Faces tracked at once.
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
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(find_asset(asset))),
            running_mode=vision.RunningMode.VIDEO,
            num_faces=max_faces,
        )
        with without_native_messages():
            self._landmarker: Any = vision.FaceLandmarker.create_from_options(options)
        self._open: list[_OpenTrack] = []
        self._count = 0
        self._last = -1  # number of the last processed frame

    def __enter__(self) -> FaceTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the landmarker; further calls of :meth:`track` fail."""
        self._landmarker.close()

    def track(self, frames: Sequence[np.ndarray] | np.ndarray, first_frame: int = 0) -> list[FaceTrack]:
        """Track the faces of one window.

        Parameters
        ----------
        frames : uint8 [T, H, W, 3]
            RGB at 25 fps.
        first_frame : int
            Number of ``frames[0]`` in the video. Windows come in order and may overlap; frames of earlier windows are not
            processed again.

        Returns
        -------
        list of FaceTrack
            Every face detected in this window for at least 0.2 s (or in every frame of a shorter one).
        """
        end = first_frame + len(frames)
        for number in range(max(first_frame, self._last + 1), end):
            if number % self.stride == 0 or number == end - 1:
                self._detect(frames[number - first_frame], number)
        self._last = max(self._last, end - 1)
        tracks = []
        for open_track in self._open:
            # Detections before this window are no longer needed.
            for number in [n for n in open_track.detections if n < first_frame and n != open_track.last]:
                del open_track.detections[number]
            track = _fill(open_track, first_frame, end, self.stride)
            if track is not None and track.valid.sum() >= min(MIN_PRESENCE, len(frames)):
                tracks.append(track)
        self._open = [t for t in self._open if t.last >= first_frame or self._last - t.last <= MAX_ABSENCE]
        return tracks

    def _detect(self, frame: np.ndarray, number: int) -> None:
        import mediapipe

        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        found = self._landmarker.detect_for_video(image, round(number * 1000 / FRAME_RATE)).face_landmarks
        height, width = frame.shape[:2]
        scale = np.array([width, height, width], dtype=np.float32)
        faces = [np.array([(p.x, p.y, p.z) for p in face], dtype=np.float32) * scale for face in found]
        self._assign(faces, number)

    def _assign(self, faces: list[np.ndarray], number: int) -> None:
        """Assign every face to the nearest track within the width of a face; the rest become new tracks."""
        from scipy.optimize import linear_sum_assignment

        open_tracks = [t for t in self._open if number - t.last <= MAX_ABSENCE]
        taken: set[int] = set()
        if open_tracks and faces:
            cost = np.array([[_distance(t.detections[t.last], face) for face in faces] for t in open_tracks])
            for row, column in zip(*linear_sum_assignment(cost), strict=True):
                if cost[row, column] < 0.75:
                    open_tracks[row].detections[number] = faces[column]
                    taken.add(int(column))
        for index, face in enumerate(faces):
            # mediapipe sometimes reports one face twice.
            if index not in taken and not any(_distance(faces[t], face) < 0.3 for t in taken):
                self._count += 1
                self._open.append(_OpenTrack(f"face-{self._count}", {number: face}))
                taken.add(index)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Distance of two faces' centres plus their difference in size, in widths of the larger one."""
    left, right = JAW_WIDTH
    widths = [float(np.linalg.norm(x[left] - x[right])) for x in (a, b)]
    larger = max(*widths, 1e-6)
    return float(np.linalg.norm(a[:, :2].mean(axis=0) - b[:, :2].mean(axis=0)) + abs(widths[0] - widths[1])) / larger


def _fill(track: _OpenTrack, begin: int, end: int, stride: int) -> FaceTrack | None:
    """Interpolate detections over the frames ``begin`` to ``end``."""
    known = np.array(sorted(n for n in track.detections if n < end))
    if not len(known) or known[-1] < begin:
        return None
    numbers = np.arange(begin, end)
    points = np.stack([track.detections[n] for n in known])
    after = np.searchsorted(known, numbers).clip(0, len(known) - 1)
    before = np.maximum(np.where(known[after] == numbers, after, after - 1), 0)
    before = np.where(numbers > known[-1], len(known) - 1, before)
    gap = np.maximum(known[after] - known[before], 1)
    weight = np.clip((numbers - known[before]) / gap, 0.0, 1.0).astype(np.float32)
    landmarks = points[before] * (1 - weight)[:, None, None] + points[after] * weight[:, None, None]
    distance = np.minimum(np.abs(numbers - known[before]), np.abs(numbers - known[after]))
    inside = (numbers >= known[0]) & (numbers <= known[-1])
    valid = (distance == 0) | (inside & (gap <= stride))
    return FaceTrack(track.name, landmarks.astype(np.float32), valid, valid | (inside & (gap <= MAX_GAP)))
