"""Overlapping windows of a file with the inputs of models: waveform, face tracks, mouth and face crops of the speaking face."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from .clip import FRAME_RATE, SAMPLES_PER_FRAME, Clip
from .face.crops import face_crops
from .face.mouth import mouth_crops
from .face.portraits import N_PORTRAITS, portrait_crops
from .face.speaking import speaking_face
from .face.tracking import FaceTrack, FaceTracker
from .windows import HOP, WINDOW, MediaReader

MIN_FACE_FRAMES = 10  # frames (0.4 s) in which the speaking face must be usable to be cropped; fewer in a shorter window


@dataclass(frozen=True)
class WindowViews:
    """One window of a file, without its decoded frames.

    Parameters
    ----------
    first : int
        Number of its first frame in the file, at 25 Hz.
    waveform : float32 [S] or None
        Mono at 16 kHz.
    video_frames : int
        Frames T of the video stream; 0 without one.
    frame_size : (int, int)
        Width and height of a frame in pixels.
    tracks : tuple of FaceTrack
        Every face of the window.
    speaker : FaceTrack or None
        The face that speaks, see :func:`avwitness.media.face.speaking.speaking_face`.
    mouth : uint8 [T, 96, 96] or None
        Its mouth crops; ``None`` where it is usable in too few frames.
    lips : float32 [T, 40, 2] or None
        Lip landmarks in pixels of the mouth crop.
    faces : uint8 [ceil(T / 5), 128, 128, 3] or None
        Every fifth aligned face, see :func:`avwitness.media.face.crops.face_crops`.
    portraits : uint8 [N, 224, 224, 3] or None
        See :func:`avwitness.media.face.portraits.portrait_crops`.
    portrait_numbers : int [N] or None
        Frames of the window that they show.
    """

    first: int
    waveform: np.ndarray | None = None
    video_frames: int = 0
    frame_size: tuple[int, int] = (0, 0)
    tracks: tuple[FaceTrack, ...] = ()
    speaker: FaceTrack | None = None
    mouth: np.ndarray | None = None
    lips: np.ndarray | None = None
    faces: np.ndarray | None = None
    portraits: np.ndarray | None = None
    portrait_numbers: np.ndarray | None = None

    @property
    def usable(self) -> np.ndarray | None:
        """Frames [T] whose mouth crop shows the face; ``None`` without crops."""
        return None if self.mouth is None or self.speaker is None else self.speaker.usable

    @property
    def audio_frames(self) -> int:
        """Whole frames (40 ms) of audio."""
        return 0 if self.waveform is None else len(self.waveform) // SAMPLES_PER_FRAME


def window_views(
    media: MediaReader,
    seconds: float = WINDOW,
    hop: float = HOP,
    *,
    faces: bool = True,
    portraits: bool = False,
    n_portraits: int = N_PORTRAITS,
    min_face_frames: int = MIN_FACE_FRAMES,
) -> Generator[WindowViews, None, None]:
    """Decode a file window by window, follow its faces, and crop the one that speaks.

    The frames of a window are released before its views are yielded, so memory is bounded by one decoded window. Close the
    generator (``contextlib.closing``) where it may not be used up: it holds the face tracker.

    Parameters
    ----------
    media : MediaReader
    seconds, hop : float
        Length of a window, and from the start of one to the start of the next.
    faces : bool
        Whether to make the aligned face crops too.
    portraits : bool
        Whether to make the portraits too.
    n_portraits : int
        Portraits of a window at most.
    min_face_frames : int
        Frames in which the speaking face must be usable to be cropped (all frames of a window that has fewer).

    Raises
    ------
    MediaError
        As :class:`avwitness.media.windows.MediaReader`.
    """
    tracker = FaceTracker() if media.has_video else None
    try:
        for clip in media.windows(seconds, hop):
            views = _views(clip, tracker, faces, n_portraits if portraits else 0, min_face_frames)
            del clip  # its frames would stay in memory while the next window is decoded
            yield views
    finally:
        if tracker is not None:
            tracker.close()


def _views(clip: Clip, tracker: FaceTracker | None, faces: bool, n_portraits: int, min_face_frames: int) -> WindowViews:
    first = round(clip.start * FRAME_RATE)
    if clip.frames is None or not len(clip.frames) or tracker is None:
        return WindowViews(first, clip.waveform)
    tracks = tracker.track(clip.frames, first)
    speaker = speaking_face(tracks, clip.waveform)
    mouth = lips = aligned = crops = numbers = None
    if speaker is not None and speaker.usable.sum() >= min(min_face_frames, len(clip.frames)):
        mouth, lips = mouth_crops(clip.frames, speaker)
        aligned = face_crops(clip.frames, speaker) if faces else None
        crops, numbers = portrait_crops(clip.frames, speaker, n_portraits) if n_portraits else (None, None)
    height, width = clip.frames.shape[1:3]
    size = (width, height)
    return WindowViews(first, clip.waveform, len(clip.frames), size, tuple(tracks), speaker, mouth, lips, aligned, crops, numbers)
