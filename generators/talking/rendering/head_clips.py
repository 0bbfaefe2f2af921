"""Training clips of the talking-head models: head crops, landmarks in units of the crop, pose and log-mel, cached on disk."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....media.face.geometry import rigid_motion
from ....media.parallel import make_files
from ....media.speech import log_mel
from ....media.views import save_arrays
from ....media.windows import read_clip
from ...methods.source import MAX_SECONDS, Origin
from .head_crops import crop_heads, head_box

MIN_FRAMES = 12  # frames with a tracked face; shorter clips are left out
ARRAYS = ("heads", "points", "pose", "usable", "audio")
CACHE_VERSION = 2  # of the cached arrays; increase it when their content changes


@dataclass(frozen=True)
class HeadClip:
    """Head crops and features of one tracked clip.

    Parameters
    ----------
    path, identity, corpus : str
    heads : uint8 [T, 96, 96, 3]
    points : float32 [T, 478, 3]
        Landmarks in units of the crop.
    pose : float32 [T, 6]
    usable : bool [T]
    audio : float32 [T, 320]
        Log-mel; zeros if the clip has no audio.
    """

    path: str
    identity: str
    corpus: str
    heads: np.ndarray
    points: np.ndarray
    pose: np.ndarray
    usable: np.ndarray
    audio: np.ndarray

    def __len__(self) -> int:
        return len(self.heads)


def crop_head_clip(file: str | os.PathLike[str], target: str | os.PathLike[str], track: str | os.PathLike[str]) -> None:
    """Crop the head of a tracked clip (``track``: see :func:`...methods.source.track_clip`) and write the arrays, atomically.

    For a clip without a face, or one that is too short, the arrays are empty.

    Raises
    ------
    MediaError
        If the file cannot be read.
    """
    with np.load(track) as data:
        landmarks = data["landmarks"] if "landmarks" in data else np.zeros((0, 478, 3), np.float32)
        usable = data["usable"] if "usable" in data else np.zeros(0, bool)
        waveform = data["waveform"] if "waveform" in data else np.zeros(0, np.float32)
    if usable.sum() < MIN_FRAMES:
        empty = np.zeros(0)
        save_arrays(target, heads=empty, points=empty, pose=empty, usable=empty, audio=empty)
        return
    clip = read_clip(file, audio=False, max_seconds=MAX_SECONDS, reader="decord")
    assert clip.frames is not None
    box = head_box(landmarks[usable])
    heads = crop_heads(clip.frames[: len(landmarks)], box)
    points = box.to_unit(landmarks[: len(heads)])
    audio = audio_features(waveform, len(heads))
    save_arrays(target, heads=heads, points=points, pose=rigid_motion(points).astype(np.float32), usable=usable[: len(heads)], audio=audio)


def audio_features(waveform: np.ndarray, frames: int) -> np.ndarray:
    """Log-mel float32 [frames, 320] of a waveform at 16 kHz, padded by its last frame, or by zeros if it is empty."""
    audio = log_mel(waveform)
    short = max(0, frames - len(audio))
    return np.pad(audio, ((0, short), (0, 0)), mode="edge" if len(audio) else "constant")[:frames]


def load_head_clips(clips: Sequence[Origin], tracks: Sequence[Path], cache: str | os.PathLike[str], workers: int) -> list[HeadClip]:
    """Head clips of all clips with a tracked face; cropped once and kept in ``cache``, about 33 kB per frame, and in memory."""
    targets = [Path(cache) / f"head-{CACHE_VERSION}-{track.name}" for track in tracks]
    jobs = ((c.file, target, t) for c, target, t in zip(clips, targets, tracks, strict=True) if t.exists())
    for failure in make_files(jobs, crop_head_clip, workers, "cropping heads"):
        warnings.warn(f"left out: {failure}", stacklevel=2)
    out = []
    for clip, target in zip(clips, targets, strict=True):
        if target.exists():
            with np.load(target) as data:
                arrays = [data[name] for name in ARRAYS]
            if len(arrays[0]):
                out.append(HeadClip(clip.path, clip.identity, clip.corpus, *arrays))
    return out


def sampling_weights(clips: Sequence[HeadClip]) -> np.ndarray:
    """Sampling probability of every clip, proportional to 1 / sqrt(clips of its person): some people have a hundred times more clips."""
    names, counts = np.unique([clip.identity for clip in clips], return_counts=True)
    count = dict(zip(names, counts, strict=True))
    weights = np.array([float(count[clip.identity]) ** -0.5 for clip in clips])
    return weights / weights.sum()
