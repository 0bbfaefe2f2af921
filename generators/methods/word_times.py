"""Word times of a clip: from the alignment files of GRID, by forced alignment with the bundled AVSR model, or by energy."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...media.clip import SAMPLE_RATE

GRID_UNITS_PER_SECOND = 25_000  # time unit of the alignment files of the GRID corpus
GRID_PAUSES = ("sil", "sp")  # labels of pauses in those files
BLOCK_SAMPLES = 160  # samples, 10 ms, of one value of the loudness
ACTIVE_RANGE = 30.0  # dB below the loudest block within which a block counts as speech
MIN_SEGMENT = 0.16  # seconds between two cuts of the segmentation by energy
SEARCH_BEFORE, SEARCH_AFTER = 0.16, 0.04  # seconds before and after an aligned character in which the begin of its word is searched

Words = tuple[tuple[float, float], ...]


def word_times(file: str | os.PathLike[str], waveform: np.ndarray | None, transcript: str = "") -> Words:
    """Begin and end of every word in seconds.

    Parameters
    ----------
    file : path-like
        The clip; a GRID alignment file is searched beside it (``s1/x.mp4`` and ``s1_align/x.align`` or ``align/x.align``).
    waveform : float32 [S] or None
        Mono at 16 kHz.
    transcript : str
        Aligned by the bundled AVSR model if its characters cover it.
    """
    timings = find_grid_alignment(file)
    if timings is not None:
        return read_grid_alignment(timings)
    if waveform is None or len(waveform) < 4 * BLOCK_SAMPLES:
        return ()
    words = _aligned(waveform, transcript) if transcript else ()
    return words or speech_segments(waveform)


def find_grid_alignment(file: str | os.PathLike[str]) -> Path | None:
    """The GRID alignment file of a clip, or ``None``."""
    file = Path(file)
    for folder in (file.parent.with_name(f"{file.parent.name}_align"), file.parent / "align", file.parent.parent / "align"):
        candidate = folder / f"{file.stem}.align"
        if candidate.is_file():
            return candidate
    return None


def read_grid_alignment(file: str | os.PathLike[str]) -> Words:
    """Words of a GRID alignment file: lines of begin, end (1/25000 s) and word; pauses are left out."""
    words = []
    for line in Path(file).read_text().splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[2] not in GRID_PAUSES:
            words.append((int(parts[0]) / GRID_UNITS_PER_SECOND, int(parts[1]) / GRID_UNITS_PER_SECOND))
    return tuple(words)


def loudness(waveform: np.ndarray) -> np.ndarray:
    """Level of every 10 ms in dB of full scale, smoothed over 30 ms."""
    if len(waveform) < BLOCK_SAMPLES:
        return np.zeros(0)
    blocks = waveform[: len(waveform) // BLOCK_SAMPLES * BLOCK_SAMPLES].reshape(-1, BLOCK_SAMPLES)
    level = 10.0 * np.log10(np.mean(np.square(blocks, dtype=np.float64), axis=1) + 1e-10)
    return np.convolve(np.pad(level, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")


def speech_segments(waveform: np.ndarray) -> Words:
    """Active speech cut at its energy minima: a substitute for word times where they are unknown."""
    from scipy.signal import find_peaks

    level = loudness(waveform)
    if not len(level) or level.max() < -80.0:
        return ()
    active = np.flatnonzero(level > level.max() - ACTIVE_RANGE)
    weak, _ = find_peaks(-level, distance=round(MIN_SEGMENT * SAMPLE_RATE / BLOCK_SAMPLES), prominence=4.0)
    marks = [active[0], *(w for w in weak if active[0] + 4 < w < active[-1] - 4), active[-1] + 1]
    seconds = np.array(marks) * BLOCK_SAMPLES / SAMPLE_RATE
    return tuple((float(a), float(b)) for a, b in itertools.pairwise(seconds))


@lru_cache(maxsize=1)
def _transcriber() -> Any:
    from ...avsr.transcriber import Transcriber

    return Transcriber.load("small", 1, "cpu")


def _aligned(waveform: np.ndarray, transcript: str) -> Words:
    """Forced alignment by the AVSR model; every boundary is moved to the energy minimum nearby, since CTC outputs are late."""
    from ...avsr.decoding import align
    from ...avsr.text import normalise

    transcriber, text = _transcriber(), normalise(transcript)
    features = transcriber.model.backbone.extract_audio_features(waveform)
    if not text or not len(features):
        return ()
    with torch.inference_mode():
        words = align(transcriber.scores(features, None), text, 25.0 * transcriber.model.config.rate)
    starts = [word.start for word in words]
    if not words or any(start is None for start in starts):
        return ()
    level = loudness(waveform)
    active = np.flatnonzero(level > level.max() - ACTIVE_RANGE) * BLOCK_SAMPLES / SAMPLE_RATE
    last = words[-1].end
    assert last is not None
    marks = [_quietest(level, start) for start in starts]
    marks = [max(marks[0], float(active[0])), *marks[1:], min(last + SEARCH_BEFORE, float(active[-1]))]
    pairs = list(itertools.pairwise(marks))
    return tuple(pairs) if all(b - a > 0.05 for a, b in pairs) else ()


def _quietest(level: Sequence[float] | np.ndarray, second: float | None) -> float:
    assert second is not None
    first = max(0, round((second - SEARCH_BEFORE) * SAMPLE_RATE / BLOCK_SAMPLES))
    last = min(len(level), round((second + SEARCH_AFTER) * SAMPLE_RATE / BLOCK_SAMPLES) + 1)
    return (first + int(np.argmin(level[first:last]))) * BLOCK_SAMPLES / SAMPLE_RATE if last > first else second
