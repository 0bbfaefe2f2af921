from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwitness.avsr.correlation import canonical


def streams(seed: int, noise: float, rows: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two streams with one shared direction among louder independent ones, and the shared signal."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=rows)
    made = []
    for width in (12, 9):
        own = rng.normal(size=(rows, width))
        direction = np.linalg.qr(rng.normal(size=(width, width)))[0][:, 0]
        own -= np.outer(own @ direction, direction)
        x = own + np.outer(shared + noise * rng.normal(size=rows), direction)
        made.append(x - x.mean(axis=0))
    return made[0], made[1], shared


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_the_shared_direction_is_the_first_component(seed: int) -> None:
    audio, video, shared = streams(seed, 0.3)
    to_audio, to_video = canonical(audio, video, 4)
    assert to_audio.shape == (12, 4) and to_video.shape == (9, 4)
    projected_audio, projected_video = audio @ to_audio, video @ to_video
    for first in (projected_audio[:, 0], projected_video[:, 0]):
        assert abs(np.corrcoef(first, shared)[0, 1]) > 0.9
    assert np.corrcoef(projected_audio[:, 0], projected_video[:, 0])[0, 1] > 0.8  # the same sign, too
    assert projected_audio[:, 0].std() > 2.0 * projected_audio[:, 1].std()  # independent directions have small deviations


def test_deviations_of_components_are_roots_of_correlations() -> None:
    audio, video, _ = streams(0, 0.5)
    to_audio, to_video = canonical(audio, video, 3)
    for k in range(3):
        projected_audio, projected_video = audio @ to_audio[:, k], video @ to_video[:, k]
        correlation = np.corrcoef(projected_audio, projected_video)[0, 1]
        assert projected_audio.std() == pytest.approx(np.sqrt(max(correlation, 0.0)), abs=0.02)
        assert projected_video.std() == pytest.approx(projected_audio.std(), abs=0.02)


def test_there_are_at_most_as_many_components_as_channels() -> None:
    audio, video, _ = streams(1, 0.3, 200)
    to_audio, to_video = canonical(audio, video, 50)
    assert to_audio.shape == (12, 9) and to_video.shape == (9, 9)


def test_a_constant_stream_gives_finite_projections() -> None:
    audio, _, _ = streams(2, 0.3, 100)
    to_audio, to_video = canonical(audio, np.zeros((100, 4)), 2)
    assert np.isfinite(audio @ to_audio).all() and np.isfinite(to_video).all()
