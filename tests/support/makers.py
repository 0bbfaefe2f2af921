"""Synthetic media that several test files use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Talk:
    """Frames uint8 [T, H, W, 3] of an animated face, its waveform float32 [S] and mouth opening [T], three seconds."""

    frames: np.ndarray
    waveform: np.ndarray
    opening: np.ndarray


def noise_frames(count: int, side: int = 128, seed: int = 0) -> np.ndarray:
    """Frames of low-resolution noise uint8 [count, side, side, 3]: video without a face."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, side // 16, side // 16, 3), dtype=np.uint8)
    return small.repeat(16, axis=1).repeat(16, axis=2)
