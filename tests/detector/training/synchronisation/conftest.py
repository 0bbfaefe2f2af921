"""Recordings whose audio features follow the lips, so that a network can learn to match them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from avwitness.avsr.sync_network import LIP_POINTS
from avwitness.detector.training.synchronisation.recordings import Recording

WIDTH = 8


def make_recording(name: str, page: str, frames: int, seed: int, lag: int = 0) -> Recording:
    """A mouth that opens at random, and audio features that hold the opening ``lag`` frames later."""
    rng = np.random.default_rng(seed)
    opening = np.convolve(rng.standard_normal(frames + 60), np.ones(3) / 3, "same")[:, None] * np.array([1.0, 0.5])
    mixing = np.random.default_rng(0).standard_normal((2, WIDTH))
    noise = np.random.default_rng(1).standard_normal((LIP_POINTS, 2))
    lips = 48.0 + 8.0 * opening[30 : 30 + frames, None] * noise
    begin = 30 - lag
    features = np.repeat(opening[begin : begin + frames] @ mixing, 2, axis=0)
    return Recording(name, page, lips.astype(np.float32), np.ones(frames, bool), features.astype(np.float16))


@pytest.fixture(scope="session")
def synthetic_recording() -> Callable[..., Recording]:
    return make_recording


@pytest.fixture(scope="session")
def recordings() -> list[Recording]:
    return [make_recording(f"clip{n}#0", f"page{n // 2}", 150, n) for n in range(16)]
