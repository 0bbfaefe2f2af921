"""Genuine source clips of the forge: decoding, and face tracks that are computed once and kept in a cache folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from ...media.clip import FRAME_RATE, SAMPLES_PER_FRAME
from ...media.face.crops import FACE_SIZE, crop_faces, face_transforms
from ...media.face.speaking import speaking_face
from ...media.face.tracking import FaceTracker
from ...media.views import save_arrays
from ...media.windows import read_clip
from .word_times import Words, word_times

MAX_SECONDS = 16.0  # of each clip that are used
MIN_PEAK = 3e-3  # of full scale (-50 dB); a waveform with a lower peak is silent
MIN_FACE_SHARE = 0.9  # share of the frames in which the face must be tracked
PORTRAIT_SIZE = 32  # pixels, side of the thumbnail by which faces are compared
CACHE_VERSION = 1  # of the cached arrays; increase it when their content changes


@dataclass(frozen=True)
class Origin:
    """A genuine clip as listed in a manifest: its file, person, corpus, split and transcript; and which streams are known to be genuine."""

    path: str
    file: str
    identity: str
    corpus: str
    split: str
    transcript: str
    video: bool = True
    audio: bool = True


@dataclass(frozen=True)
class Source:
    """One decoded genuine clip with its face track.

    Parameters
    ----------
    path : str
        As in the manifest.
    identity : str
        The person who speaks.
    frames : uint8 [T, H, W, 3] or None
        RGB at 25 fps.
    waveform : float32 [S] or None
        Mono at 16 kHz.
    landmarks : float32 [T, 478, 2] or None
        In pixels, of the speaking face; ``None`` without one.
    usable : bool [T] or None
        Frames in which that face was detected.
    words : tuple of (float, float)
        Begin and end of every word in seconds.
    transcript : str
        Empty if unknown.
    depth : float32 [T, 478] or None
        Depth of the landmarks, away from the camera, in pixels.
    """

    path: str
    identity: str
    frames: np.ndarray | None
    waveform: np.ndarray | None
    landmarks: np.ndarray | None = None
    usable: np.ndarray | None = None
    words: Words = ()
    transcript: str = ""
    depth: np.ndarray | None = None

    @property
    def has_face(self) -> bool:
        """Whether the speaking face was tracked in at least nine tenths of the frames."""
        return self.usable is not None and len(self.usable) > 0 and float(self.usable.mean()) >= MIN_FACE_SHARE

    @property
    def length(self) -> int:
        """Length in frames of 40 ms: of the shorter stream, or of the only one."""
        lengths = (0 if self.frames is None else len(self.frames), 0 if self.waveform is None else len(self.waveform) // SAMPLES_PER_FRAME)
        return min((length for length in lengths if length), default=0)

    def cut(self, begin: int, frames: int) -> Source:
        """The part of ``frames`` frames from frame ``begin`` on; words that lie wholly in it are kept."""
        span, samples = slice(begin, begin + frames), slice(begin * SAMPLES_PER_FRAME, (begin + frames) * SAMPLES_PER_FRAME)
        start, end = begin / FRAME_RATE, (begin + frames) / FRAME_RATE
        return replace(
            self,
            frames=None if self.frames is None else self.frames[span],
            waveform=None if self.waveform is None else self.waveform[samples],
            landmarks=None if self.landmarks is None else self.landmarks[span],
            usable=None if self.usable is None else self.usable[span],
            depth=None if self.depth is None else self.depth[span],
            words=tuple((a - start, b - start) for a, b in self.words if a >= start and b <= end),
        )


@dataclass(frozen=True)
class Facts:
    """Properties of a tracked clip that are known without decoding it.

    Parameters
    ----------
    length : int
        As :attr:`Source.length`.
    video, audio, face : bool
        Whether the clip has that stream (``audio``: not silent) and a tracked face.
    portrait : uint8 [32, 32, 3]
        Thumbnail of the face; black without one.
    words : tuple of (float, float)
    """

    length: int
    video: bool
    audio: bool
    face: bool
    portrait: np.ndarray
    words: Words


def cache_name(file: str | os.PathLike[str], transcript: str = "") -> str:
    """File name of a clip's track; it depends on file content and transcript, not on the path."""
    path = Path(file)
    content = hashlib.sha1(path.read_bytes()).hexdigest() if path.is_file() else os.fspath(file)
    key = (CACHE_VERSION, content, transcript)
    return "track-" + hashlib.sha1(str(key).encode()).hexdigest()[:20] + ".npz"


def track_clip(file: str | os.PathLike[str], target: str | os.PathLike[str], transcript: str = "") -> None:
    """Track the speaking face of a clip; write landmarks, aligned face crops, waveform and word times, atomically.

    Raises
    ------
    MediaError
        If the file cannot be read.
    """
    clip = read_clip(file, max_seconds=MAX_SECONDS, reader="decord")
    arrays: dict[str, np.ndarray] = {"frames": np.array(0 if clip.frames is None else len(clip.frames))}
    if clip.waveform is not None:
        arrays["waveform"] = clip.waveform
    if clip.frames is not None:
        with FaceTracker() as tracker:
            track = speaking_face(tracker.track(clip.frames), clip.waveform)
        if track is not None:
            faces = crop_faces(clip.frames, face_transforms(track.landmarks, FACE_SIZE), FACE_SIZE)
            arrays |= {"landmarks": track.landmarks, "usable": track.usable, "faces": faces}
            middle = faces[np.flatnonzero(track.usable)[int(track.usable.sum()) // 2]]
            arrays["portrait"] = cv2.resize(middle, (PORTRAIT_SIZE, PORTRAIT_SIZE), interpolation=cv2.INTER_AREA)
    arrays["words"] = np.array(word_times(file, clip.waveform, transcript), dtype=np.float64).reshape(-1, 2)
    save_arrays(target, **arrays)


def load_facts(file: str | os.PathLike[str]) -> Facts:
    """Read the facts from a file that :func:`track_clip` wrote, without the large arrays."""
    with np.load(file) as data:
        frames, samples = int(data["frames"]), len(data["waveform"]) if "waveform" in data else 0
        lengths = [n for n in (frames, samples // SAMPLES_PER_FRAME) if n]
        usable = data["usable"] if "usable" in data else np.zeros(0, dtype=bool)
        return Facts(
            length=min(lengths, default=0),
            video=frames > 0,
            audio=samples >= SAMPLES_PER_FRAME and is_audible(data["waveform"]),
            face=len(usable) > 0 and float(usable.mean()) >= MIN_FACE_SHARE,
            portrait=data["portrait"] if "portrait" in data else np.zeros((PORTRAIT_SIZE, PORTRAIT_SIZE, 3), np.uint8),
            words=_words(data["words"]),
        )


def load_source(file: str | os.PathLike[str], track: str | os.PathLike[str], path: str, identity: str, transcript: str = "") -> Source:
    """Decode a clip and combine it with the track that :func:`track_clip` wrote.

    Raises
    ------
    MediaError
        If the file cannot be read.
    """
    clip = read_clip(file, max_seconds=MAX_SECONDS, reader="decord")
    with np.load(track) as data:
        face = "landmarks" in data
        return Source(
            path=path,
            identity=identity,
            frames=clip.frames,
            waveform=clip.waveform,
            landmarks=data["landmarks"][..., :2] if face else None,
            usable=data["usable"] if face else None,
            words=_words(data["words"]),
            transcript=transcript,
            depth=data["landmarks"][..., 2] if face else None,
        )


def is_audible(waveform: np.ndarray | None) -> bool:
    """Whether a waveform is not silent; forged silence would carry a fake label without any forged signal."""
    return waveform is not None and float(np.abs(waveform).max(initial=0.0)) > MIN_PEAK


def _words(rows: np.ndarray) -> Words:
    return tuple((float(a), float(b)) for a, b in rows)
