"""When words are said: read from a corpus's own timings, aligned by the speech reader, or cut where the voice is weakest."""

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

GRID_CLOCK = 25_000  # units per second in the alignment files of the GRID corpus
SILENCE = ("sil", "sp")  # what those files call pauses
BLOCK = 160  # samples, 10 ms, of the loudness curve
ACTIVE = 30.0  # dB below the loudest block within which a block counts as speech
SYLLABLE = 0.16  # seconds between two weak places at least, where nothing is known of the words
EARLY, LATE = 0.16, 0.04  # seconds before and after an aligned letter within which its word may begin

Words = tuple[tuple[float, float], ...]


def word_times(file: str | os.PathLike[str], waveform: np.ndarray | None, transcript: str = "") -> Words:
    """Begin and end of every word in seconds.

    Parameters
    ----------
    file : path-like
        The clip; timings of the GRID corpus are sought beside it (``s1/x.mp4`` and ``s1_align/x.align`` or ``align/x.align``).
    waveform : float32 [S] or None
        Mono at 16 kHz.
    transcript : str
        Aligned by the bundled speech reader where it can spell it.
    """
    timings = find_timings(file)
    if timings is not None:
        return read_timings(timings)
    if waveform is None or len(waveform) < 4 * BLOCK:
        return ()
    words = _aligned(waveform, transcript) if transcript else ()
    return words or speech_segments(waveform)


def find_timings(file: str | os.PathLike[str]) -> Path | None:
    """The GRID alignment file that belongs to a clip, if there is one."""
    file = Path(file)
    for folder in (file.parent.with_name(f"{file.parent.name}_align"), file.parent / "align", file.parent.parent / "align"):
        candidate = folder / f"{file.stem}.align"
        if candidate.is_file():
            return candidate
    return None


def read_timings(file: str | os.PathLike[str]) -> Words:
    """Words of a GRID alignment file: lines of begin, end (1/25000 s) and word; pauses are left out."""
    words = []
    for line in Path(file).read_text().splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[2] not in SILENCE:
            words.append((int(parts[0]) / GRID_CLOCK, int(parts[1]) / GRID_CLOCK))
    return tuple(words)


def loudness(waveform: np.ndarray) -> np.ndarray:
    """Level of every 10 ms in dB of full scale, smoothed over 30 ms."""
    if len(waveform) < BLOCK:
        return np.zeros(0)
    blocks = waveform[: len(waveform) // BLOCK * BLOCK].reshape(-1, BLOCK)
    level = 10.0 * np.log10(np.mean(np.square(blocks, dtype=np.float64), axis=1) + 1e-10)
    return np.convolve(np.pad(level, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")


def speech_segments(waveform: np.ndarray) -> Words:
    """Active speech cut at its weakest places: what stands in for words where nothing is known of them."""
    from scipy.signal import find_peaks

    level = loudness(waveform)
    if not len(level) or level.max() < -80.0:
        return ()
    active = np.flatnonzero(level > level.max() - ACTIVE)
    weak, _ = find_peaks(-level, distance=round(SYLLABLE * SAMPLE_RATE / BLOCK), prominence=4.0)
    marks = [active[0], *(w for w in weak if active[0] + 4 < w < active[-1] - 4), active[-1] + 1]
    seconds = np.array(marks) * BLOCK / SAMPLE_RATE
    return tuple((float(a), float(b)) for a, b in itertools.pairwise(seconds))


@lru_cache(maxsize=1)
def _reader() -> Any:
    from ...avsr.transcriber import Transcriber

    return Transcriber.load("small", 1, "cpu")


def _aligned(waveform: np.ndarray, transcript: str) -> Words:
    """The reader's forced alignment; every boundary moved to the weakest place nearby, because CTC letters come late."""
    from ...avsr.decoding import align
    from ...avsr.text import normalise

    recognizer, text = _reader(), normalise(transcript)
    features = recognizer.reader.backbone.extract_audio_features(waveform)
    if not text or not len(features):
        return ()
    with torch.inference_mode():
        words = align(recognizer.scores(features, None), text, 25.0 * recognizer.reader.config.rate)
    starts = [word.start for word in words]
    if not words or any(start is None for start in starts):
        return ()
    level = loudness(waveform)
    active = np.flatnonzero(level > level.max() - ACTIVE) * BLOCK / SAMPLE_RATE
    last = words[-1].end
    assert last is not None
    marks = [_weakest(level, start) for start in starts]
    marks = [max(marks[0], float(active[0])), *marks[1:], min(last + EARLY, float(active[-1]))]
    pairs = list(itertools.pairwise(marks))
    return tuple(pairs) if all(b - a > 0.05 for a, b in pairs) else ()


def _weakest(level: Sequence[float] | np.ndarray, second: float | None) -> float:
    assert second is not None
    first = max(0, round((second - EARLY) * SAMPLE_RATE / BLOCK))
    last = min(len(level), round((second + LATE) * SAMPLE_RATE / BLOCK) + 1)
    return (first + int(np.argmin(level[first:last]))) * BLOCK / SAMPLE_RATE if last > first else second
