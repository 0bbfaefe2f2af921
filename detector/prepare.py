"""Corpora to training material: decoded, cropped and re-voiced once, into a cache folder outside the repository."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..generators.voices import VOICES
from ..media.clip import MediaError
from ..media.decode import MediaReader, read_clip
from ..media.encode import write_media
from ..media.face import FaceTracker, fit_mean_face, speaking_face
from ..media.mouth import mouth_crops

MAX_SECONDS = 16.0  # of each clip
HEADROOM = 0.4  # peak of the genuine waveform before it is re-voiced and coded
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


def cache_name(path: str) -> str:
    """File name of a clip's material, by its path in the manifest."""
    return hashlib.sha1(f"{VERSION}:{path}".encode()).hexdigest()[:20] + ".npz"


def load_material(file: str | os.PathLike[str]) -> Material:
    """Read what :func:`prepare` wrote."""
    with np.load(file) as data:
        return Material(
            mouth=data["mouth"] if "mouth" in data else None,
            lips=data["lips"].astype(np.float32) if "lips" in data else None,
            usable=data["usable"] if "usable" in data else None,
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


def prepare_clip(file: str | os.PathLike[str], target: str | os.PathLike[str], seed: int, voices: Iterable[str] = tuple(VOICES)) -> None:
    """Decode one clip, crop its mouth, re-synthesise its voice, and write all of it to ``target`` at once."""
    voices = tuple(voices)
    reader = MediaReader(file, reader="decord")
    clip = next(reader.windows(MAX_SECONDS, MAX_SECONDS))
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {"voices": np.array(voices)}
    if clip.frames is not None:
        with FaceTracker() as tracker:
            track = speaking_face(tracker.track(clip.frames), clip.waveform)
        if track is not None:
            arrays["mouth"], lips = mouth_crops(clip.frames, track)
            arrays["lips"], arrays["usable"] = lips.astype(np.float16), track.usable
    if clip.waveform is not None:
        # Headroom: neither a voice nor a codec may be clipped, or clipping would give it away. Level is no feature.
        genuine = clip.waveform * (HEADROOM / max(float(np.abs(clip.waveform).max()), 1e-4))
        made = [genuine] + [VOICES[name](genuine, rng) for name in voices]
        codec, suffix, low, high = CODECS[rng.integers(len(CODECS))]
        bit_rate = int(np.exp(rng.uniform(np.log(low), np.log(high))))
        coded = [recode(voice, codec, suffix, bit_rate) for voice in made]
        arrays["speech"] = np.stack([np.stack([_int16(v) for v in made]), np.stack([_int16(v) for v in coded])])
    partial = Path(f"{target}.partial.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    os.replace(partial, target)


def prepare(table: pd.DataFrame, cache: str | os.PathLike[str], workers: int = 2, seed: int = 0) -> list[str]:
    """Fill the cache for every row of a manifest; what is there already is left alone.

    Returns
    -------
    list of str
        One sentence for every clip that could not be prepared.
    """
    from rich.progress import Progress

    cache = Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    jobs = [(file, cache / cache_name(path), seed + index) for index, (file, path) in enumerate(zip(table.file, table.path, strict=True))]
    jobs = [job for job in jobs if not job[1].exists()]
    failures: list[str] = []
    with Progress() as progress, ProcessPoolExecutor(workers, initializer=_single_thread) as pool:
        bar = progress.add_task("preparing clips", total=len(jobs))
        futures = [pool.submit(prepare_clip, *job) for job in jobs]
        for future in as_completed(futures):
            try:
                future.result()
            except (MediaError, ValueError, RuntimeError, FloatingPointError) as error:
                failures.append(str(error))
            progress.advance(bar)
    return failures


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


def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)
