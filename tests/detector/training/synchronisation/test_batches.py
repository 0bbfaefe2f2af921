from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwitness.avsr.sync_network import MAX_OFFSET
from avwitness.detector.training.synchronisation.batches import changed_lips, make_batch, sampling_weights, window
from avwitness.detector.training.synchronisation.config import SyncAugment, SyncTrainConfig
from avwitness.detector.training.synchronisation.recordings import Recording

PLAIN = SyncAugment(mirror=0.0, rotation=0.0, scale=0.0, jitter=0.0, tempo=0.0, audio_noise=0.0, audio_dropout=0.0)


def numbered(frames: int, lag: int = 0) -> Recording:
    """The position of a frame is its value, in lips and in audio."""
    lips = np.broadcast_to(np.arange(frames, dtype=np.float32)[:, None, None], (frames, 40, 2)).copy()
    features = np.repeat(np.arange(frames), 2)[:, None].astype(np.float16) / 1.0
    return Recording("clip#0", "page", lips, np.ones(frames, bool), features, lag=lag)


@given(frames=st.integers(20, 90), lag=st.integers(-5, 5), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_audio_reaches_beyond_the_lips_and_follows_the_lag(frames: int, lag: int, seed: int) -> None:
    features, heard, lips, seen = window(numbered(200, lag), frames, replace(PLAIN), np.random.default_rng(seed))
    assert features.shape == (2 * (frames + 2 * MAX_OFFSET), 1) and heard.shape == (frames + 2 * MAX_OFFSET,)
    inner = slice(MAX_OFFSET, MAX_OFFSET + frames)
    known = heard[inner] & seen
    assert np.abs(features[::2][inner, 0] - lag - lips[:, 0, 0])[known].max(initial=0.0) < 1.0


def test_frames_outside_of_the_recording_are_masked() -> None:
    _, heard, _, seen = window(numbered(40), 60, PLAIN, np.random.default_rng(0))
    assert seen[:40].all() and not seen[40:].any()
    assert not heard[:MAX_OFFSET].any() and heard[MAX_OFFSET : MAX_OFFSET + 40].all() and not heard[MAX_OFFSET + 40 :].any()


def test_lips_are_only_changed_by_what_is_asked_for() -> None:
    lips = np.random.default_rng(0).uniform(20, 70, (10, 40, 2)).astype(np.float32)
    assert np.allclose(changed_lips(lips, PLAIN, np.random.default_rng(1)), lips, atol=1e-4)
    mirrored = changed_lips(lips, replace(PLAIN, mirror=1.0), np.random.default_rng(1))
    assert np.allclose(mirrored[..., 0], 96 - lips[..., 0], atol=1e-4) and np.allclose(mirrored[..., 1], lips[..., 1], atol=1e-4)


def test_pages_with_much_footage_are_drawn_less_often_for_a_second(recordings: list[Recording]) -> None:
    many = [*recordings, *(replace(recordings[0], name=f"more{n}#0") for n in range(20))]
    weights = sampling_weights(many, 0.5)
    assert weights.sum() == pytest.approx(1.0) and weights[0] < weights[5]
    assert np.allclose(sampling_weights(many, 0.0), 1.0 / len(many))


def test_every_third_batch_has_short_windows(recordings: list[Recording]) -> None:
    config = SyncTrainConfig(batch=4, frames=40)
    weights = sampling_weights(recordings, 0.5)
    shapes = [tuple(make_batch(recordings, weights, config, n, np.random.default_rng(n)).lips.shape[:2]) for n in (0, 1, 2, 3)]
    assert shapes == [(8, 20), (4, 40), (4, 40), (8, 20)]
