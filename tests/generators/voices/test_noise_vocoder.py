"""The pitch of speech, the pulse train at it, and the vocoder that filters it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avwitness.generators.demo import synthetic_voice
from avwitness.generators.voices.noise_vocoder import NoiseVocoder, NoiseVocoderConfig, pulse_train
from avwitness.generators.voices.pitch import per_sample, pitch_periods, voicing
from avwitness.generators.voices.vocoder import mel_spectrogram

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = NoiseVocoderConfig(channels=16, blocks=1)


def buzz(hertz: float) -> np.ndarray:
    """A second of a tone with ten harmonics."""
    time = np.arange(16_000) / 16_000
    return 0.03 * sum(np.cos(2 * np.pi * hertz * k * time) for k in range(1, 11))


@pytest.mark.parametrize("hertz", [90.0, 160.0, 320.0])
def test_the_period_of_a_tone_is_found(hertz: float) -> None:
    periods, periodicity = pitch_periods(buzz(hertz))
    assert np.median(periods) == pytest.approx(16_000 / hertz, abs=1.0)
    assert np.median(voicing(periodicity)) > 0.9
    assert per_sample(periods, 16_000).shape == (16_000,)
    noise = np.random.default_rng(0).standard_normal(16_000)
    assert np.median(voicing(pitch_periods(noise)[1])) < 0.2


@pytest.mark.parametrize("hertz", [90.0, 320.0])
def test_pulses_are_harmonics_of_equal_amplitude_and_unit_power(hertz: float) -> None:
    pulses = pulse_train(buzz(hertz), 0.3)
    assert pulses.dtype == np.float32
    middle = pulses[4000:12_000]
    assert np.mean(np.square(middle)) == pytest.approx(1.0, abs=0.15)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    low, high = (spectrum[band].max() for band in (slice(0, 1000), slice(3000, 3900)))
    assert 0.3 < high / low <= 1.5
    assert not pulse_train(np.zeros(3200), 0.0).any()


def test_untrained_filters_follow_the_spectrum_of_the_speech() -> None:
    torch.manual_seed(0)
    talk = torch.from_numpy(synthetic_voice(1.0, seed=1)[0])[None]
    made, loss = NoiseVocoder(TINY).resynthesise(talk)
    assert made.shape == talk.shape and float(loss) == 0.0
    before, after = (mel_spectrogram(x).flatten() for x in (talk, made.detach()))
    assert float(torch.corrcoef(torch.stack([before, after]))[0, 1]) > 0.6


def test_the_length_is_that_of_the_spectrogram() -> None:
    for frames in (4, 7, 50):
        mel, source = torch.randn(2, 80, frames), torch.randn(2, 160 * frames)
        assert NoiseVocoder(TINY)(mel, source, source).shape == source.shape
