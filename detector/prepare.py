"""Corpora to training material: views, and re-voiced speech beside them, in a cache folder outside the repository."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..generators.voices import COPY_VOICES, VOICES
from ..media.decode import read_clip
from ..media.encode import write_media
from ..media.face import FaceTracker, fit_mean_face
from ..media.views import cache_name, fill, fill_views, load_views, save_arrays

HEADROOM = 0.4  # peak of the genuine waveform before it is re-voiced and coded
TRAINING_VOICES = tuple(name for name in COPY_VOICES if name != "lpc")  # forged for the detector to learn from
VERSION = 1  # of the cached arrays; raise it when they change
CODECS = (("aac", ".m4a", 48_000, 128_000), ("libmp3lame", ".mp3", 48_000, 128_000), ("libopus", ".ogg", 24_000, 64_000))  # bits per second


@dataclass(frozen=True)
class Material:
    """One clip, ready to be forged.

    Parameters
    ----------
    mouth : uint8 [T, 96, 96]
    lips : float32 [T, 40, 2]
        Pixels of the crop.
    usable : bool [T]
    speech : int16 [2, V, S] or None
        At 16 kHz; first as made, then after a lossy codec; voice 0 is the genuine one, the rest follow ``voices``.
    voices : tuple of str
    """

    mouth: np.ndarray | None
    lips: np.ndarray | None
    usable: np.ndarray | None
    speech: np.ndarray | None
    voices: tuple[str, ...]


def voices_name(path: str) -> str:
    """File name of a clip's voices, by its path in the manifest."""
    return f"voices-{VERSION}-{cache_name(path)}"


def load_material(cache: str | os.PathLike[str], path: str) -> Material | None:
    """What :func:`prepare` wrote of one clip, or None if it could not be prepared."""
    views, voices = Path(cache) / cache_name(path), Path(cache) / voices_name(path)
    if not views.exists() or not voices.exists():
        return None
    seen = load_views(views)
    with np.load(voices) as data:
        return Material(
            mouth=seen.mouth,
            lips=seen.lips,
            usable=seen.usable,
            speech=data["speech"] if "speech" in data else None,
            voices=tuple(str(v) for v in data["voices"]),
        )


def recode(waveform: np.ndarray, codec: str, suffix: str, bit_rate: int) -> np.ndarray:
    """A waveform after a lossy codec, of the same length and in step with the original."""
    with tempfile.TemporaryDirectory() as folder:
        file = write_media(Path(folder) / f"sound{suffix}", waveform=waveform, audio_codec=codec, audio_bit_rate=bit_rate)
        coded = read_clip(file).waveform
    assert coded is not None
    return np.pad(coded, (0, max(0, len(waveform) - len(coded))))[: len(waveform)]


def _int16(waveform: np.ndarray) -> np.ndarray:
    return (np.clip(waveform, -1.0, 1.0) * 32767.0).round().astype(np.int16)


def voice_clip(views: str | os.PathLike[str], target: str | os.PathLike[str], seed: int, voices: Iterable[str] = TRAINING_VOICES) -> None:
    """Re-synthesise the voice of a clip whose views are there, and write all of it to ``target`` at once."""
    voices = tuple(voices)
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {"voices": np.array(voices)}
    waveform = load_views(views).waveform
    if waveform is not None:
        # Headroom: neither a voice nor a codec may be clipped, or clipping would give it away. Level is no feature.
        genuine = waveform * (HEADROOM / max(float(np.abs(waveform).max()), 1e-4))
        made = [genuine] + [VOICES[name](genuine, rng) for name in voices]
        codec, suffix, low, high = CODECS[rng.integers(len(CODECS))]
        bit_rate = int(np.exp(rng.uniform(np.log(low), np.log(high))))
        coded = [recode(voice, codec, suffix, bit_rate) for voice in made]
        arrays["speech"] = np.stack([np.stack([_int16(v) for v in made]), np.stack([_int16(v) for v in coded])])
    save_arrays(target, **arrays)


def prepare(table: pd.DataFrame, cache: str | os.PathLike[str], workers: int = 2, seed: int = 0) -> list[str]:
    """Fill the cache for every row of a manifest; what is there already is left alone.

    Returns
    -------
    list of str
        One sentence for every clip that could not be prepared.
    """
    cache = Path(cache)
    failures = fill_views(table.file, table.path, cache, workers)
    jobs = [(cache / cache_name(path), cache / voices_name(path), seed + index) for index, path in enumerate(table.path)]
    return failures + fill((job for job in jobs if job[0].exists()), voice_clip, workers, "re-voicing clips")


def derive_mean_face(table: pd.DataFrame, clips: int = 3, seed: int = 0) -> np.ndarray:
    """The mean face [478, 3] of some clips of every speaker, see :func:`avwitness.media.face.fit_mean_face`."""
    rng = np.random.default_rng(seed)
    faces = []
    for _, rows in table.groupby("speaker", sort=False):
        for file in rng.permutation(rows.file.to_numpy())[:clips]:
            clip = read_clip(file, audio=False, max_seconds=2.4, reader="decord")
            if clip.frames is None:
                continue
            with FaceTracker() as tracker:
                tracks = tracker.track(clip.frames)
            faces += [track.landmarks[track.valid][::10] for track in tracks[:1]]
    return fit_mean_face(np.concatenate(faces))
