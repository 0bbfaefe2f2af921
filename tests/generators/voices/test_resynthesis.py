"""The contract of every registered voice, and the fitting of synthetic speech."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from avwitness.generators.demo import synthetic_voice
from avwitness.generators.voices.fitting import (
    GUARD,
    active_power,
    background_noise,
    fit_speech,
    speech_interval,
    synthesise_to_length,
    time_stretch,
)
from avwitness.generators.voices.resynthesis import COPY_VOICES, VOICES, Voice
from avwitness.generators.voices.tts import script
from avwitness.media.speech import log_mel

TRANSCRIPT = "bin blue at f two now"
ARABIC = "قال إن المواطن في البلاد"
LEAD = 8000  # samples of noise before anybody speaks
COPIES = sorted(name for name, voice in VOICES.items() if not voice.needs_text)
SPOKEN = sorted(name for name, voice in VOICES.items() if voice.needs_text)


def usable(name: str) -> Voice:
    voice = VOICES[name]
    if why := voice.missing_reason():
        pytest.skip(f"{name}: {why}")
    return voice


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """With several threads on a busy machine, short transforms take a hundred times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def genuine() -> np.ndarray:
    """Half a second of noise with a click, two seconds of synthetic speech, half a second of noise."""
    noise = 1e-3 * np.random.default_rng(0).standard_normal(3 * 16000).astype(np.float32)
    noise[LEAD:-LEAD] = synthetic_voice(2.0, seed=1)[0]
    noise[2000:2032] = 0.5 * np.random.default_rng(1).choice([-1.0, 1.0], 32)
    return noise


def test_the_registry_uses_the_names_of_the_voices() -> None:
    assert {name: voice.name for name, voice in VOICES.items()} == {name: name for name in VOICES}
    assert COPY_VOICES == ("world_copy", "world_smooth", "world_convert", "griffin_lim", "lpc")
    assert set(COPY_VOICES) <= set(COPIES)
    assert {"hibari", "piper", "kokoro", "espeak"} == set(SPOKEN)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VOICES))
def test_every_voice_keeps_the_length_and_is_finite(name: str, genuine: np.ndarray) -> None:
    voice, before = usable(name), genuine.copy()
    forged, again, other = (voice(genuine, np.random.default_rng(seed), TRANSCRIPT) for seed in (0, 0, 1))
    assert forged.shape == genuine.shape
    assert forged.dtype == np.float32
    assert np.isfinite(forged).all()
    assert 0.05 < np.abs(forged).max() < 1.5
    assert np.array_equal(forged, again)
    assert not np.allclose(forged, genuine, atol=1e-2)
    assert np.array_equal(genuine, before)
    if name in COPY_VOICES:
        assert np.array_equal(forged, other) == (name == "world_copy")  # the only deterministic one
    if voice.needs_text:
        assert not np.array_equal(forged, other)


@pytest.mark.parametrize("name", COPIES)
def test_copies_keep_content_and_timing(name: str) -> None:
    voice, talk = usable(name), synthetic_voice(3.0, seed=1)[0]
    forged = voice(talk, np.random.default_rng(0))
    curves = [log_mel(x).reshape(-1, 4, 80).mean(axis=2).ravel() for x in (talk, forged)]
    scores = [np.corrcoef(curves[0][10:-10], np.roll(curves[1], lag)[10:-10])[0, 1] for lag in range(-5, 6)]
    assert max(scores) > 0.6
    assert abs(int(np.argmax(scores)) - 5) <= 1  # 10 ms
    assert voice.supports_text("")
    assert voice.supports_text(ARABIC)


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_copies_of_silence_and_noise_are_finite(name: str, level: float) -> None:
    voice = usable(name)
    waveform = (level * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
    forged = voice(waveform, np.random.default_rng(0))
    assert forged.shape == waveform.shape
    assert np.isfinite(forged).all()
    assert np.abs(forged).max() < 10 * level + 1e-3


def test_linear_prediction_keeps_spectrum_and_level_but_not_the_waveform() -> None:
    talk = synthetic_voice(2.0, seed=3)[0]
    forged = VOICES["lpc"](talk, np.random.default_rng(0))
    genuine, made = log_mel(talk), log_mel(forged)
    assert np.corrcoef(genuine.ravel(), made.ravel())[0, 1] > 0.85
    assert abs(10 * np.log10(active_power(forged) / active_power(talk))) < 2.0
    assert abs(np.corrcoef(talk, forged)[0, 1]) < 0.8


@pytest.mark.parametrize("name", SPOKEN)
def test_synthetic_speech_replaces_the_speech_interval_only(name: str, genuine: np.ndarray) -> None:
    voice = usable(name)
    forged = voice(genuine, np.random.default_rng(0), TRANSCRIPT)
    begin, end = speech_interval(genuine)
    assert LEAD <= begin <= LEAD + 6400
    edge = GUARD + 320
    assert np.array_equal(forged[: begin - edge], genuine[: begin - edge])
    assert np.array_equal(forged[end + edge :], genuine[end + edge :])
    first, last = speech_interval(forged)
    assert abs(first - begin) <= 1600
    assert abs(last - end) <= 1600
    assert abs(10 * np.log10(active_power(forged[begin:end]) / active_power(genuine[begin:end]))) < 2.0


@pytest.mark.slow
@pytest.mark.parametrize("name", SPOKEN)
def test_text_to_speech_refuses_unsupported_text(name: str, genuine: np.ndarray) -> None:
    voice = usable(name)
    rng = np.random.default_rng(0)
    for text, why in (("", "empty"), ("  \n", "empty"), ("привет", "letters only"), ("...", "letters only")):
        assert not voice.supports_text(text)
        with pytest.raises(ValueError, match=why):
            voice(genuine, rng, text)
    with pytest.raises(ValueError, match="silent"):
        voice(np.zeros(8000, np.float32), rng, TRANSCRIPT)
    with pytest.raises(ValueError, match="the transcript takes"):
        voice(genuine, rng, 12 * TRANSCRIPT)


@pytest.mark.parametrize("name", SPOKEN)
def test_text_to_speech_accepts_noise(name: str) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * 16000).astype(np.float32)
    forged = usable(name)(noise, np.random.default_rng(0), TRANSCRIPT)
    assert forged.shape == noise.shape
    assert np.isfinite(forged).all()
    assert abs(10 * np.log10(active_power(forged) / active_power(noise))) < 3.0


def test_the_speaking_rate_changes_the_duration(genuine: np.ndarray) -> None:
    for name in SPOKEN:
        voice = VOICES[name]
        if voice.missing_reason():
            continue
        slow, normal, fast = (len(voice.synthesise(TRANSCRIPT, speed, np.random.default_rng(0))) for speed in (0.7, 1.0, 1.4))  # type: ignore[attr-defined]
        assert slow > 1.15 * normal > 1.3 * fast, name


def test_espeak_supports_arabic(genuine: np.ndarray) -> None:
    voice = usable("espeak")
    assert voice.supports_text(ARABIC)
    arabic, english = (voice(genuine, np.random.default_rng(0), text) for text in (ARABIC, TRANSCRIPT))
    assert arabic.shape == genuine.shape
    assert not np.allclose(arabic, english, atol=1e-2)
    assert speech_interval(arabic)[1] - speech_interval(arabic)[0] > 16000
    for name in ("hibari", "piper", "kokoro"):
        assert not VOICES[name].supports_text(ARABIC)


def test_scripts_are_detected() -> None:
    assert script("Café at 9, now!") == "LATIN"
    assert script("إنَّ ٱلبلاد، ٢") == "ARABIC"
    assert script("mixed مختلط") is None
    assert script("1984") is None


def test_the_speech_interval_ignores_rumble_and_clicks(genuine: np.ndarray) -> None:
    begin, end = speech_interval(genuine)
    assert (begin, end) == speech_interval(np.where(np.arange(len(genuine)) == 4000, 0.9, genuine))
    rumble = 0.05 * np.sin(2 * np.pi * 30.0 * np.arange(len(genuine)) / 16000)
    assert np.abs(np.subtract(speech_interval(genuine + rumble), (begin, end))).max() <= 320


def test_the_background_noise_has_the_spectrum_of_quiet_frames(genuine: np.ndarray) -> None:
    coloured = np.convolve(0.01 * np.random.default_rng(1).standard_normal(32000), np.ones(8) / 8, mode="same").astype(np.float32)
    coloured[12000:20000] += 0.3
    noise = background_noise(coloured, np.random.default_rng(0))
    power = [np.square(np.abs(np.fft.rfft(x[:8192]))) for x in (coloured, noise)]
    low, high = (10 * np.log10(power[1][band].mean() / power[0][band].mean()) for band in (slice(100, 800), slice(2500, 4000)))
    assert abs(low) < 3.0
    assert abs(high) < 3.0
    assert not background_noise(np.zeros(8000, np.float32), np.random.default_rng(0)).any()


def test_time_stretching_keeps_the_pitch() -> None:
    tone = np.sin(2 * np.pi * 440.0 * np.arange(16000) / 16000).astype(np.float32)
    for length in (12000, 21000):
        longer = time_stretch(tone, length)
        assert longer.shape == (length,)
        peak = np.argmax(np.abs(np.fft.rfft(longer * np.hanning(length)))) * 16000 / length
        assert peak == pytest.approx(440.0, abs=2.0)


def test_the_speaking_rate_is_adjusted_before_stretching() -> None:
    tone = np.sin(2 * np.pi * 200.0 * np.arange(64000) / 16000).astype(np.float32)
    asked = []

    def synthesise(speed: float) -> np.ndarray:
        asked.append(speed)
        return tone[: int(16000 / speed)]

    assert abs(len(synthesise_to_length(synthesise, 12800)) / 12800 - 1.0) <= 0.02
    assert asked == pytest.approx([1.0, 1.25])
    assert len(synthesise_to_length(lambda _: tone[:16000], 12800)) == 12800  # an engine with one pace only
    with pytest.raises(ValueError, match="returned no sound"):
        synthesise_to_length(lambda _: np.zeros(0, np.float32), 12800)


def test_loud_clips_are_limited_not_clipped(genuine: np.ndarray) -> None:
    loud = np.clip(6.0 * genuine, -0.95, 0.95)
    rng = np.random.default_rng(0)
    speech = (rng.standard_normal(40000) ** 3).astype(np.float32)
    forged = fit_speech(lambda _: speech[: np.subtract(*speech_interval(loud)[::-1])], loud, rng)
    assert np.abs(forged).max() < 1.1
