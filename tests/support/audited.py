"""Synthetic audio data sets with and without shortcuts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from avwitness.media.encode import write_media

RATE = 16_000
PAIRS = 30  # genuine clips of a synthetic set, each with one fake; of twenty people


def rows(count: int, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and identities: every person has as many fakes as genuine clips."""
    return np.arange(count) % 2, (np.arange(count) // 2) % people


def voice(seed: int, wait: float) -> np.ndarray:
    """Two bursts with 150 ms of silence between them; ``wait`` seconds of it are moved to the start."""
    rng = np.random.default_rng(seed)
    dull, loud = rng.integers(2, 12), 10.0 ** rng.uniform(-2.0, -1.0)
    bursts = [loud * np.convolve(rng.standard_normal(4000), np.ones(dull) / dull, mode="same") for _ in range(2)]
    begin, rest = round(wait * RATE), round((0.15 - wait) * RATE)
    return np.concatenate([np.zeros(begin), bursts[0], np.zeros(rest), bursts[1], np.zeros(rng.integers(0, 800))]).astype(np.float32)


def late(stem: Path, clip: int, label: int) -> Path:
    return write_media(stem.with_suffix(".wav"), waveform=voice(clip, 0.12 if label else 0.0), audio_codec="pcm_s16le")


def collection(folder: Path, make: Callable[[Path, int, int], Path], *, video: bool, audio: bool) -> Path:
    """A set of pairs; ``make(stem, clip, label)`` writes one file."""
    table = []
    for clip in range(PAIRS):
        for label in (0, 1):
            file = make(folder / f"{clip}_{label}", clip, label)
            labels = {"video_label": label if video else None, "audio_label": label if audio else None}
            table.append(
                {"path": file.name, **labels, "identity": f"p{clip % 20}", "source_clip": f"clip{clip}", "method": "f" if label else ""}
            )
    pd.DataFrame(table).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"
