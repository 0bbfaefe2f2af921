from __future__ import annotations

import numpy as np
import pytest
from avwitness.avsr.correlation import canonical
from hypothesis import given, settings
from hypothesis import strategies as st


def streams(seed: int, noise: float, rows: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two streams that share one direction among louder ones they do not share, and what they share."""
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
def test_what_the_streams_share_comes_first(seed: int) -> None:
    audio, video, shared = streams(seed, 0.3)
    hear, see = canonical(audio, video, 4)
    assert hear.shape == (12, 4) and see.shape == (9, 4)
    heard, seen = audio @ hear, video @ see
    for first in (heard[:, 0], seen[:, 0]):
        assert abs(np.corrcoef(first, shared)[0, 1]) > 0.9
    assert np.corrcoef(heard[:, 0], seen[:, 0])[0, 1] > 0.8  # the same sign, too
    assert heard[:, 0].std() > 2.0 * heard[:, 1].std()  # what is not shared weighs little


def test_a_component_weighs_as_it_correlates() -> None:
    audio, video, _ = streams(0, 0.5)
    hear, see = canonical(audio, video, 3)
    for k in range(3):
        heard, seen = audio @ hear[:, k], video @ see[:, k]
        correlation = np.corrcoef(heard, seen)[0, 1]
        assert heard.std() == pytest.approx(np.sqrt(max(correlation, 0.0)), abs=0.02)
        assert seen.std() == pytest.approx(heard.std(), abs=0.02)


def test_more_components_than_channels_are_not_invented() -> None:
    audio, video, _ = streams(1, 0.3, 200)
    hear, see = canonical(audio, video, 50)
    assert hear.shape == (12, 9) and see.shape == (9, 9)


def test_a_dead_stream_stays_finite() -> None:
    audio, _, _ = streams(2, 0.3, 100)
    hear, see = canonical(audio, np.zeros((100, 4)), 2)
    assert np.isfinite(audio @ hear).all() and np.isfinite(see).all()
