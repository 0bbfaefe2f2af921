from __future__ import annotations

import wave
from pathlib import Path

import cv2
import numpy as np
import pytest
from makers import Talk

from avwitness.evaluation.auditing.file_statistics import NUMBERS, measure_file
from avwitness.evaluation.auditing.statistics import (
    bandwidth,
    frame_difference,
    frame_noise,
    leading_silence,
    loudness,
    noise_floor,
    spectral_slope,
)
from avwitness.media.clip import MediaError
from avwitness.media.encode import write_media

RATE = 16_000


def hiss(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def test_silence_is_measured_to_the_sample() -> None:
    sound = np.concatenate([np.zeros(1920), hiss(0.5)])
    sound[1920] = 0.3
    assert leading_silence(sound, RATE) == (0.12, 0.12)
    faint = sound.copy()
    faint[800] = 0.002  # audible in absolute terms, but 43 dB below the peak
    faint[1920] = 0.9
    assert leading_silence(faint, RATE) == (0.12, 0.05)
    assert leading_silence(np.zeros(RATE), RATE) == (1.0, 1.0)
    assert leading_silence(sound[::-1], RATE)[0] < 0.01


def test_units_of_levels() -> None:
    quiet = hiss(2.0)
    quiet[: RATE // 2] *= 0.01
    assert noise_floor(quiet, RATE) == pytest.approx(-60.0, abs=1.0)
    assert np.isnan(noise_floor(quiet[:100], RATE))
    # ITU-R BS.1770: a full-scale sine of 997 Hz in one channel reads -3.01 LUFS.
    sine = np.sin(2 * np.pi * 997 * np.arange(48_000) / 48_000).astype(np.float32)
    assert loudness(sine, 48_000) == pytest.approx(-3.01, abs=0.3)
    assert np.isnan(loudness(sine[: round(0.39 * 48_000)], 48_000))
    assert np.isnan(loudness(np.zeros(48_000, np.float32), 48_000))


def test_bandwidth_at_any_sample_rate() -> None:
    time = np.arange(48_000) / 48_000
    assert bandwidth(np.sin(2 * np.pi * 15_000 * time), 48_000) == pytest.approx(15_000, abs=100)
    assert bandwidth(np.sin(2 * np.pi * 5_000 * time), 48_000) == pytest.approx(5_000, abs=100)
    # A tone with a trace at 15 kHz, which is outside of 99 % of the power and inside of 99.999 %.
    trace = np.sin(2 * np.pi * 1_000 * time) + 0.01 * np.sin(2 * np.pi * 15_000 * time)
    assert bandwidth(trace, 48_000) < 2_000
    assert bandwidth(trace, 48_000, 0.99999) == pytest.approx(15_000, abs=100)
    assert abs(spectral_slope(hiss(2.0), RATE)) < 0.3
    assert np.isnan(spectral_slope(np.zeros(0), RATE))


def test_frame_statistics() -> None:
    rng = np.random.default_rng(0)
    flat = np.full((64, 64), 100, np.uint8)
    noisy = np.clip(flat + rng.normal(0, 8.0, flat.shape), 0, 255).astype(np.uint8)
    assert frame_noise(flat) == 0.0
    assert frame_noise(noisy) == pytest.approx(8.0, rel=0.15)
    assert frame_difference([flat, flat, flat]) == (0.0, 0.0)
    assert frame_difference([flat, flat + 10, flat + 10]) == (5.0, 5.0)
    assert np.isnan(frame_difference([flat])).all()


def test_all_statistics_of_a_file(talk: Talk, tmp_path: Path) -> None:
    sharp = talk.frames[:25]
    soft = [cv2.GaussianBlur(frame, (0, 0), 2.0) for frame in sharp]
    files = {
        name: write_media(tmp_path / f"{name}.mp4", frames, 0.3 * np.sin(np.arange(24_000)), audio_start=0.2)
        for name, frames in {"sharp": sharp, "soft": soft}.items()
    }
    found = {name: measure_file(file) for name, file in files.items()}
    video, audio = found["sharp"]["video"].numbers, found["sharp"]["audio"].numbers
    assert {kind: {name: len(v) for name, v in s.numbers.items()} for kind, s in found["sharp"].items()} == {
        kind: {name: len(units) for name, units in probes.items()} for kind, probes in NUMBERS.items()
    }
    height, width = sharp[0].shape[:2]
    assert video["frame count"] == [25.0]
    assert video["duration"][0] == pytest.approx(1.0, abs=0.01)
    assert video["frame size and rate"] == [width, height, 25.0]
    assert video["mean colour"] == pytest.approx(np.mean(sharp, axis=(0, 1, 2)), abs=4.0)
    assert 0.1 * width < video["face size"][0] < width
    assert audio["sample rate and channels"] == [RATE, 1.0]
    assert audio["duration"][0] == pytest.approx(1.5, abs=0.13)  # AAC pads to frames of 64 ms
    assert audio["stream start"][2] == pytest.approx(0.2, abs=0.07)
    assert video["duration difference"] == audio["duration difference"] == pytest.approx([-0.5], abs=0.13)
    assert 20_000 < audio["bit rate"][0] < 150_000
    for blur in ("mouth blur", "face blur"):
        assert found["soft"]["video"].numbers[blur][0] > video[blur][0] + 0.5
    assert "codec=h264" in found["sharp"]["video"].tags
    assert any(tag.startswith("signature=x264") and "crf=" in tag for tag in found["sharp"]["video"].tags)


def test_missing_statistics_are_nan(tmp_path: Path) -> None:
    faceless = measure_file(write_media(tmp_path / "faceless.mp4", np.full((5, 64, 64, 3), 90, np.uint8)))
    assert set(faceless) == {"video"}
    for name in ("mouth blur", "face blur", "face size", "duration difference"):
        assert np.isnan(faceless["video"].numbers[name]).all()
    short = measure_file(write_media(tmp_path / "short.wav", waveform=hiss(0.02), audio_codec="pcm_s16le"))
    assert set(short) == {"audio"}
    assert np.isnan(short["audio"].numbers["loudness"]).all()


def test_unreadable_files(broken_files: dict[str, Path]) -> None:
    for kind in ("empty", "text", "missing", "corrupt"):
        with pytest.raises(MediaError, match=broken_files[kind].name):
            measure_file(broken_files[kind])


def test_many_channels_are_measured(tmp_path: Path) -> None:
    file = tmp_path / "many.wav"
    with wave.open(str(file), "wb") as out:
        out.setnchannels(9)
        out.setsampwidth(2)
        out.setframerate(22_050)
        out.writeframes((3000 * np.random.default_rng(0).standard_normal((22_050, 9))).astype(np.int16).tobytes())
    numbers = measure_file(file)["audio"].numbers
    assert numbers["sample rate and channels"] == [22_050.0, 9.0]
    assert numbers["duration"] == [1.0, 1.0]
