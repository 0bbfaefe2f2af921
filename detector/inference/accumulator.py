"""Sums over the windows of one file: logits of each stream, similarity of the streams, faces, and what limits the scores."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...avsr.sync_network import MAX_OFFSET
from ...media.clip import SAMPLES_PER_FRAME
from ...media.face.mouth import native_scale
from ...media.window_views import MIN_FACE_FRAMES, WindowViews
from .quality import sharpness
from .window_model import WindowModel

MIN_AUDIO_FRAMES = 10  # frames (0.4 s) with sound that a window must hold for its audio to be scored
ACTIVE_RMS = 3e-3  # root mean square of a 40-ms frame (-50 dB of full scale) that counts as sound


@dataclass
class StreamLogits:
    """Logits of one stream, summed over overlapping windows.

    Attributes
    ----------
    windows : list of (float, int)
        Logit of every window, and the number of frames that it rests on.
    total : float64 [T]
        Sum of the frame logits.
    count : float64 [T]
        Windows that scored each frame.
    """

    windows: list[tuple[float, int]] = field(default_factory=list)
    total: np.ndarray = field(default_factory=lambda: np.zeros(0))
    count: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, logit: float, frames: np.ndarray, mask: np.ndarray, first: int) -> None:
        """Add one window whose first frame is ``first``; frames outside of the mask do not count."""
        self.windows.append((logit, int(mask.sum())))
        end = first + len(frames)
        if end > len(self.total):
            self.total, self.count = (np.pad(x, (0, end - len(x))) for x in (self.total, self.count))
        self.total[first:end] += np.where(mask, frames, 0.0)
        self.count[first:end] += mask

    @property
    def logit(self) -> float | None:
        """Mean over the windows, weighted by their frames; ``None`` without any."""
        if not self.windows:
            return None
        values, weights = np.array(self.windows).T
        return float((values * weights).sum() / weights.sum())


@dataclass
class FaceRecord:
    """One face over all windows: first and last frame, the frames that show it, and its box in every window."""

    first: int
    last: int
    frames: set[int] = field(default_factory=set)
    speaking: bool = False
    boxes: list[np.ndarray] = field(default_factory=list)  # left, top, right, bottom as shares of the frame


class Accumulator:
    """Runs a model on the windows of one file and adds up what it outputs.

    Parameters
    ----------
    model : WindowModel

    Attributes
    ----------
    audio, video : StreamLogits
    sync : float64 [2, 31]
        Sums of similarities and counts of compared frames.
    audio_windows, video_windows : int
        Windows with enough sound, and with the speaking face in enough frames, to be scored.
    faces : dict
        :class:`FaceRecord` by name.
    face_usable : bool [T]
        Frames in which the speaking face is usable.
    scales, sharpness : list of float
        Of the mouth crops of every window, see :mod:`avwitness.detector.inference.quality`.
    peak : float
        Largest absolute sample.
    frames : int
        Frames (25 Hz) of the longer stream so far.
    """

    def __init__(self, model: WindowModel) -> None:
        self.model = model
        self.audio, self.video = StreamLogits(), StreamLogits()
        self.sync = np.zeros((2, 2 * MAX_OFFSET + 1))
        self.audio_windows = self.video_windows = 0
        self.faces: dict[str, FaceRecord] = {}
        self.face_usable = np.zeros(0, dtype=bool)
        self.scales: list[float] = []
        self.sharpness: list[float] = []
        self.peak = 0.0
        self.frames = 0

    def add(self, views: WindowViews) -> None:
        """Score one window and add its output.

        Raises
        ------
        NonFiniteOutput
            If the model outputs NaN or infinity.
        """
        features = self._audio_features(views)
        self._add_faces(views)
        crops, usable, faces = views.mouth, views.usable, views.faces
        if crops is None or usable is None or views.speaker is None or usable.sum() < MIN_FACE_FRAMES:
            crops = usable = faces = None
        else:
            self.scales.append(native_scale(views.speaker))
            self.sharpness.append(sharpness(crops[usable]))
        if features is None and crops is None:
            return
        self.audio_windows += features is not None
        self.video_windows += crops is not None
        portraits = None
        if crops is not None and views.portraits is not None and views.portrait_numbers is not None:
            portraits = (views.portraits, views.portrait_numbers)
        output = self.model.predict_window(features, crops, usable, faces, views.waveform, portraits, None if crops is None else views.lips)
        output.check()
        if features is not None and output.audio is not None and output.audio_frames is not None:
            self.audio.add(output.audio, output.audio_frames, np.ones(len(features), dtype=bool), views.first)
        if usable is not None and output.video is not None and output.video_frames is not None:
            self.video.add(output.video, output.video_frames, usable, views.first)
        if output.sync is not None:
            self.sync += output.sync

    def _audio_features(self, views: WindowViews) -> np.ndarray | None:
        """Features of the window's audio, or ``None`` where it holds too little sound."""
        if views.waveform is None:
            return None
        count = views.audio_frames
        frames = views.waveform[: count * SAMPLES_PER_FRAME].reshape(count, SAMPLES_PER_FRAME)
        active = int((np.sqrt(np.mean(frames**2, axis=1)) > ACTIVE_RMS).sum())
        self.peak = max(self.peak, float(np.abs(views.waveform).max(initial=0.0)))
        self.frames = max(self.frames, views.first + count)
        return self.model.extract_audio_features(views.waveform) if active >= MIN_AUDIO_FRAMES else None

    def _add_faces(self, views: WindowViews) -> None:
        if not views.video_frames:
            return
        end = views.first + views.video_frames
        self.frames = max(self.frames, end)
        if end > len(self.face_usable):
            self.face_usable = np.pad(self.face_usable, (0, end - len(self.face_usable)))
        if views.speaker is not None:
            self.face_usable[views.first : end] |= views.speaker.usable
        for track in views.tracks:
            frames = np.flatnonzero(track.valid) + views.first
            record = self.faces.setdefault(track.name, FaceRecord(int(frames[0]), int(frames[-1])))
            record.last = max(record.last, int(frames[-1]))
            record.frames.update(frames.tolist())
            record.speaking |= track is views.speaker
            record.boxes.append(np.array(track.box) / (*views.frame_size, *views.frame_size))
