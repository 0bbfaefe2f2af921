"""The contract that every registered voice keeps."""

from __future__ import annotations

import numpy as np
import pytest
from avwitness.generators.voices import VOICES
from avwitness.media.speech import log_mel
from makers import Talk


@pytest.mark.parametrize("name", sorted(VOICES))
def test_voices(name: str, talk: Talk) -> None:
    forged, again, other = (VOICES[name](talk.waveform, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert forged.shape == talk.waveform.shape
    assert forged.dtype == np.float32
    assert np.isfinite(forged).all()
    assert np.abs(forged).max() < 1.5
    assert np.array_equal(forged, again)
    assert np.array_equal(forged, other) == (name == "world_copy")  # the only one that draws nothing
    assert not np.allclose(forged, talk.waveform, atol=1e-2)
    # It says the same thing at the same time: loudness over time stays where it was.
    loud, quiet = (log_mel(x).reshape(-1, 4, 80).mean(axis=(1, 2)) for x in (talk.waveform, forged))
    assert np.corrcoef(loud, quiet)[0, 1] > 0.6


@pytest.mark.parametrize("name", sorted(VOICES))
def test_voices_survive_silence_and_noise(name: str) -> None:
    for waveform in (np.zeros(8000, np.float32), 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)):
        forged = VOICES[name](waveform, np.random.default_rng(0))
        assert forged.shape == waveform.shape
        assert np.isfinite(forged).all()
