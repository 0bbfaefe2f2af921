from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwitness.media import speech


def test_filterbank_equals_the_published_front_end(golden: Path) -> None:
    values = np.load(golden / "avhubert" / "audio_features.npz")
    features = speech.filterbank(values["waveform_int16"])
    # The stored filterbank carries the zero rows that stacking by four appends.
    assert np.allclose(features, values["logfbank"][: len(features)], atol=1e-3)
    assert not values["logfbank"][len(features) :].any()
    assert np.allclose(speech.stack(features), values["stacked"], atol=1e-3)
    assert np.allclose(speech.avhubert_features(values["waveform_int16"]), values["normalized"], atol=1e-3)


def test_float_and_integer_samples_give_the_same_filterbank() -> None:
    samples = np.random.default_rng(0).integers(-20_000, 20_000, 8000).astype(np.int16)
    assert np.allclose(speech.filterbank(samples), speech.filterbank(samples / 32768.0), atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(0, 20_000), gain=st.floats(0.01, 1.0))
def test_log_mel_ignores_level_and_has_25_frames_a_second(samples: int, gain: float) -> None:
    waveform = 0.3 * np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    features = speech.log_mel(waveform)
    assert features.shape == (samples // 640, 320)
    assert np.isfinite(features).all()
    assert np.allclose(features, speech.log_mel((gain * waveform).astype(np.float32)), atol=1e-3)


def test_log_mel_hears_a_tone_where_it_is() -> None:
    clock = np.arange(16_000) / 16_000
    energies = [speech.log_mel(np.sin(2 * np.pi * hertz * clock).astype(np.float32))[10, :80].argmax() for hertz in (300, 1000, 3000, 7000)]
    assert energies == sorted(energies)
    assert energies[0] < 15
    assert energies[-1] > 70


def test_digital_silence_stays_finite() -> None:
    assert np.isfinite(speech.log_mel(np.zeros(16_000, np.float32))).all()


@pytest.mark.parametrize("frames", [1, 3, 4, 5])
def test_stack_pads_with_zeros(frames: int) -> None:
    stacked = speech.stack(np.ones((frames, 2), np.float32))
    assert stacked.shape == (-(-frames // 4), 8)
    assert stacked.sum() == frames * 2


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(0, 20_000), gain=st.floats(0.01, 1.0))
def test_log_spectrum_ignores_level_and_has_25_frames_a_second(samples: int, gain: float) -> None:
    waveform = 0.3 * np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    features = speech.log_spectrum(waveform)
    assert features.shape == (samples // 640, 1024) and features.dtype == np.float32
    assert np.isfinite(features).all()
    assert np.allclose(features, speech.log_spectrum((gain * waveform).astype(np.float32)), atol=1e-3)


@pytest.mark.parametrize("bin_", [0, 31, 127, 250])
def test_log_spectrum_hears_a_tone_in_its_own_bin(bin_: int) -> None:
    hertz = (bin_ + 1) * 16_000 / 512  # the lowest bin is left out
    clock = np.arange(16_000) / 16_000
    frames = speech.log_spectrum(np.sin(2 * np.pi * hertz * clock).astype(np.float32))[5:20].reshape(-1, 256)
    assert (frames.argmax(axis=1) == bin_).all()


def test_log_spectrum_of_silence_stays_finite_and_moments_stay_in_order() -> None:
    assert np.isfinite(speech.log_spectrum(np.zeros(16_000, np.float32))).all()
    waveform = np.zeros(16_000, np.float32)
    waveform[10 * 640 + 2 * 160] = 1.0  # a click on the third 10 ms of frame 10
    loud = speech.log_spectrum(waveform).reshape(-1, 256).mean(axis=1)
    assert abs(int(loud.argmax()) - 42) <= 1
