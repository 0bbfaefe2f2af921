from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwitness.evaluation.robustness.degradations import audio
from avwitness.media.clip import SAMPLE_RATE

Waveform = np.ndarray


def tone(hertz: float, seconds: float = 1.0, level: float = 0.1) -> Waveform:
    return (level * np.sqrt(2.0) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def power(waveform: Waveform) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64)))


def decibels(ratio: float) -> float:
    return float(10.0 * np.log10(ratio))


VOICES = [tone(hertz, 0.7, level) for hertz, level in ((150, 0.3), (330, 0.01), (710, 0.1))]
KINDS = {"noise": 10.0, "babble": 10.0, "reverb": 0.5, "band_limit": 3400.0}


@pytest.mark.parametrize(("name", "severity"), KINDS.items())
@pytest.mark.parametrize("length", [1, 37, 640, SAMPLE_RATE])
def test_length_and_full_scale(name: str, severity: float, length: int) -> None:
    waveform = rng().uniform(-1.0, 1.0, length).astype(np.float32)
    before = waveform.copy()
    out = getattr(audio, name)(waveform, severity, rng(1), VOICES)
    assert out.shape == (length,)
    assert out.dtype == np.float32
    assert np.isfinite(out).all() and np.abs(out).max() <= 1.0
    assert np.array_equal(waveform, before)
    assert np.array_equal(out, getattr(audio, name)(waveform, severity, rng(1), VOICES))


@pytest.mark.parametrize(("name", "severity"), KINDS.items())
def test_silence_stays_silent(name: str, severity: float) -> None:
    assert not getattr(audio, name)(np.zeros(8000, np.float32), severity, rng(), VOICES).any()


@given(st.floats(0.0, 40.0), st.floats(0.001, 0.2), st.floats(0.0, 0.6))
@settings(max_examples=30)
def test_snr_does_not_depend_on_pauses(snr: float, level: float, pause: float) -> None:
    spoken = tone(440, 1.0, level)
    silent = np.zeros(round(pause * SAMPLE_RATE / 160) * 160, np.float32)
    waveform = np.concatenate([silent, spoken, silent])
    added = audio.noise(waveform, snr, rng()) - waveform
    assert decibels(power(spoken) / power(added)) == pytest.approx(snr, abs=0.4)


def test_noise_is_white() -> None:
    added = audio.noise(tone(440), 0.0, rng()) - tone(440)
    spectrum = np.square(np.abs(np.fft.rfft(added))).reshape(-1)[:8000].reshape(8, 1000).mean(axis=1)
    assert spectrum.max() / spectrum.min() < 1.3


@given(st.floats(0.0, 30.0), st.integers(1, 9), st.integers(0, 5))
@settings(max_examples=30)
def test_snr_of_babble(snr: float, count: int, seed: int) -> None:
    waveform = tone(440, 1.0)
    voices = [tone(100 + 37 * i, 0.5 + 0.2 * i, 0.02 * (i + 1)) for i in range(count)]
    added = audio.babble(waveform, snr, rng(seed), voices) - waveform
    assert decibels(audio.active_level(waveform) ** 2 / audio.active_level(added) ** 2) == pytest.approx(snr, abs=0.3)


def test_babble_has_at_most_six_equally_loud_voices() -> None:
    hertz = [500, 800, 1100, 1400, 1700, 2000, 2300]
    voices = [tone(h, 1.0, level) for h, level in zip(hertz, (0.3, 0.001, 0.05, 0.2, 0.01, 0.1, 0.3), strict=True)]
    spectrum = np.abs(np.fft.rfft(audio.babble(tone(440), 0.0, rng(), voices)))
    heard = spectrum[hertz]  # a bin is 1 Hz
    assert heard[:6].max() / heard[:6].min() < 1.05
    assert heard[6] < 0.01 * heard[0]


def test_short_voices_are_repeated_from_a_random_begin() -> None:
    waveform, voice = tone(440, 2.0), rng(3).normal(0, 0.1, 4000).astype(np.float32)
    first, second = (audio.babble(waveform, 0.0, rng(seed), [voice]) - waveform for seed in (0, 1))
    assert np.allclose(first[:4000], first[4000:8000], atol=1e-6)
    assert not np.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("voices", [[], [np.zeros(8000, np.float32)], [np.zeros(0, np.float32)]])
def test_babble_without_voices_is_refused(voices: list[Waveform]) -> None:
    with pytest.raises(ValueError, match="voices of other people"):
        audio.babble(tone(440), 10.0, rng(), voices)


@pytest.mark.parametrize("seconds", [0.25, 0.7, 1.5])
def test_reverberation_time(seconds: float) -> None:
    click = np.zeros(3 * SAMPLE_RATE, np.float32)
    click[100] = 0.5
    response = np.mean([np.square(audio.reverb(click, seconds, rng(seed)).astype(float)) for seed in range(4)], axis=0)
    left = np.cumsum(response[:100:-1])[::-1]  # Schroeder's backward integral after the click
    times = np.arange(len(left)) / SAMPLE_RATE
    decay = 10.0 * np.log10(left / left[0] + 1e-12)
    fitted = (decay < -5.0) & (decay > -35.0)
    slope = np.polyfit(times[fitted], decay[fitted], 1)[0]
    assert -60.0 / slope == pytest.approx(seconds, rel=0.05)


@pytest.mark.parametrize("seconds", [0.25, 0.7, 1.5])
def test_direct_to_reverberant_ratio(seconds: float) -> None:
    click = np.zeros(3 * SAMPLE_RATE, np.float32)
    click[1000] = 0.5
    out = audio.reverb(click, seconds, rng()).astype(float)
    assert np.abs(out).argmax() == 1000
    assert np.abs(out[:1000]).max() < 1e-6
    late = np.square(out[1001:]).sum() / out[1000] ** 2
    assert late == pytest.approx(audio.DISTANCE**2 * seconds / (0.057**2 * audio.ROOM_VOLUME), rel=0.05)
    assert power(out) == pytest.approx(power(click), rel=0.05)


@given(st.sampled_from([7000.0, 5500.0, 3400.0, 2500.0]), st.floats(100.0, 7900.0))
@settings(max_examples=60)
def test_band_limit(limit: float, hertz: float) -> None:
    waveform = tone(hertz)
    out = audio.band_limit(waveform, limit, rng())
    middle = slice(1000, -1000)
    if hertz < limit - 120.0:
        assert np.abs(out - waveform)[middle].max() < 1e-3
    elif hertz > limit + 120.0:
        assert decibels(power(out[middle]) / power(waveform)) < -60.0


@given(st.floats(1e-3, 0.9), st.floats(0.0, 2.0))
@settings(max_examples=30)
def test_the_active_level_does_not_depend_on_pauses(level: float, pause: float) -> None:
    waveform = np.concatenate([tone(400, 0.5, level), np.zeros(round(pause * 100) * 160, np.float32)])
    assert audio.active_level(waveform) == pytest.approx(level, rel=1e-3)


def test_active_level_of_silence() -> None:
    assert audio.active_level(np.zeros(1600, np.float32)) == 0.0
    assert audio.active_level(np.zeros(0, np.float32)) == 0.0


def test_loud_output_is_scaled_and_not_clipped() -> None:
    loud = tone(440, 1.0, 0.68)
    out = audio.noise(loud, 10.0, rng())
    assert np.abs(out).max() == pytest.approx(audio.PEAK, abs=1e-3)
    assert (np.abs(out) > 0.97 * np.abs(out).max()).mean() < 0.01
