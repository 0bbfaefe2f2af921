"""What several test files make their media from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Talk:
    """An animated face [T, H, W, 3] and its voice [S], three seconds of both."""

    frames: np.ndarray
    waveform: np.ndarray
    opening: np.ndarray


def noise_frames(count: int, side: int = 128, seed: int = 0) -> np.ndarray:
    """Blurry moving noise: video without a face."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, side // 16, side // 16, 3), dtype=np.uint8)
    return small.repeat(16, axis=1).repeat(16, axis=2)
