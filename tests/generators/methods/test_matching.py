"""Matching: sharpness, grain, motion, spectrum and level of a forgery become those of its source."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt, welch

from avwitness.generators.demo import portrait, synthetic_voice
from avwitness.generators.methods.matching import match_detail, match_motion, match_spectrum


def grained(frames: int = 6) -> np.ndarray:
    """A face with camera noise."""
    rng = np.random.default_rng(0)
    image = cv2.resize(portrait(), (192, 192), interpolation=cv2.INTER_AREA).astype(np.float32)
    noise = 2.0 * rng.standard_normal((frames, 192, 192, 1))
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def patch_weight(frames: int = 6) -> np.ndarray:
    weight = np.zeros((frames, 192, 192), np.float32)
    weight[:, 50:140, 50:140] = 1.0
    return weight


def sharpness(images: np.ndarray) -> float:
    return float(np.median([cv2.Laplacian(p[56:134, 56:134].mean(axis=-1), cv2.CV_64F).var() for p in images]))


@pytest.mark.parametrize("sigma", [0.6, 0.9, 1.5, 2.5])
def test_a_blurred_region_gets_its_sharpness_back(sigma: float) -> None:
    genuine, weight = grained(), patch_weight()
    soft = np.where(weight[..., None] > 0, np.stack([cv2.GaussianBlur(p, (0, 0), sigma) for p in genuine]), genuine)
    restored = match_detail(soft, genuine, weight, np.random.default_rng(0))
    assert sharpness(soft) < 0.6 * sharpness(genuine)
    assert sharpness(restored) == pytest.approx(sharpness(genuine), rel=0.15)


def test_a_noisy_region_is_calmed() -> None:
    genuine, weight = grained(), patch_weight()
    noise = 8.0 * np.random.default_rng(1).standard_normal((*genuine.shape[:3], 1))
    rough = np.where(weight[..., None] > 0, np.clip(genuine + noise, 0, 255), genuine).astype(np.uint8)
    restored = match_detail(rough, genuine, weight, np.random.default_rng(0))
    assert sharpness(rough) > 2.0 * sharpness(genuine)
    assert sharpness(restored) == pytest.approx(sharpness(genuine), rel=0.15)


def test_what_lies_outside_stays_as_it_is() -> None:
    genuine, weight = grained(), patch_weight()
    soft = np.stack([cv2.GaussianBlur(p, (0, 0), 1.5) for p in genuine])
    before = soft.copy()
    restored = match_detail(soft, genuine, weight, np.random.default_rng(0))
    outside = weight == 0.0
    assert np.array_equal(restored[outside], soft[outside])
    assert not np.array_equal(restored[~outside], soft[~outside])
    assert np.array_equal(soft, before)
    nothing = match_detail(soft, genuine, np.zeros_like(weight), np.random.default_rng(0))
    assert np.array_equal(nothing, soft)


def test_what_is_as_sharp_already_is_hardly_touched() -> None:
    genuine, weight = grained(), patch_weight()
    same = match_detail(genuine, genuine, weight, np.random.default_rng(0))
    assert np.abs(same.astype(int) - genuine).max() <= 1


def test_sharpness_is_matched_part_by_part_where_a_span_is_given() -> None:
    genuine, weight = grained(), patch_weight()
    uneven = genuine.copy()
    uneven[:, 50:95, 50:140] = np.stack([cv2.GaussianBlur(p, (0, 0), 1.0) for p in genuine])[:, 50:95, 50:140]
    upper = (slice(None), slice(58, 88), slice(58, 132))

    def off(images: np.ndarray) -> float:
        values = [np.mean([cv2.Laplacian(p.mean(axis=-1), cv2.CV_64F)[upper[1:]].var() for p in x]) for x in (images, genuine)]
        return abs(float(np.log(values[0] / values[1])))

    whole = match_detail(uneven, genuine, weight, np.random.default_rng(0))
    local = match_detail(uneven, genuine, weight, np.random.default_rng(0), span=8.0)
    assert off(local) < 0.5 * off(whole)
    assert off(local) < 0.3
    assert np.array_equal(local[weight == 0.0], uneven[weight == 0.0])
    assert np.array_equal(local, match_detail(uneven, genuine, weight, np.random.default_rng(0), span=8.0))
    assert not np.array_equal(local, match_detail(uneven, genuine, weight, np.random.default_rng(1), span=8.0))


def shaken(frames: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A moving face, and its position."""
    image = cv2.resize(portrait(), (192, 192), interpolation=cv2.INTER_AREA)
    path = np.random.default_rng(3).normal(0.0, 0.8, (frames, 2))
    maps = [np.array([[1.0, 0.0, x], [0.0, 1.0, y]]) for x, y in path]
    moving = np.stack([cv2.warpAffine(image, m, (192, 192), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for m in maps])
    return moving, path


def unrest(images: np.ndarray) -> float:
    """Mean squared difference of neighbouring frames in the face region."""
    grey = images[:, 56:134, 56:134].astype(np.float64).mean(axis=-1)
    return float(np.square(np.diff(grey, axis=0)).mean())


def test_a_still_patch_moves_as_much_as_its_source() -> None:
    (genuine, path), weight = shaken(), patch_weight(20)
    still = np.where(weight[..., None] > 0, genuine[:1], genuine)
    before = still.copy()
    moved = match_motion(still, genuine, weight, path)
    assert unrest(still) == 0.0
    assert unrest(moved) == pytest.approx(unrest(genuine), rel=0.2)
    assert np.array_equal(moved[weight == 0.0], still[weight == 0.0])
    assert np.array_equal(still, before)
    assert np.array_equal(moved, match_motion(still, genuine, weight, path))


def test_what_moves_enough_or_has_no_path_stays_as_it_is() -> None:
    (genuine, path), weight = shaken(), patch_weight(20)
    calm = genuine[:1].repeat(20, axis=0)
    assert np.array_equal(match_motion(genuine, calm, weight, path), genuine)
    assert np.array_equal(match_motion(calm, genuine, weight, np.zeros_like(path)), calm)
    assert np.array_equal(match_motion(calm[:1], genuine[:1], weight[:1], path[:1]), calm[:1])
    assert np.array_equal(match_motion(calm, genuine, np.zeros_like(weight), path), calm)


def test_no_forgery_is_thrown_about() -> None:
    (genuine, path), weight = shaken(), patch_weight(20)
    flicker = np.clip(genuine.astype(int) + 60 * (np.arange(20) % 2)[:, None, None, None], 0, 255).astype(np.uint8)
    still = genuine[:1].repeat(20, axis=0)
    moved = match_motion(still, flicker, weight, path)  # no motion makes up for it
    assert unrest(moved) < 8.0 * unrest(genuine)


def octaves(waveform: np.ndarray) -> np.ndarray:
    """Long-term level in dB of six bands."""
    hertz, power = welch(waveform, 16_000, nperseg=1024)
    edges = (100, 250, 500, 1000, 2000, 4000, 7500)
    return np.array([10 * np.log10(power[(hertz >= a) & (hertz < b)].mean()) for a, b in itertools.pairwise(edges)])


@pytest.mark.parametrize("gain", [0.1, 1.0, 4.0])
@pytest.mark.parametrize(("kind", "corner"), [("lowpass", 2500.0), ("highpass", 600.0)])
def test_filtered_audio_gets_spectrum_and_level_of_the_source(kind: str, corner: float, gain: float) -> None:
    genuine = synthetic_voice(3.0, seed=1)[0]
    forged = (gain * sosfilt(butter(1, corner, kind, fs=16_000, output="sos"), synthetic_voice(3.0, seed=2)[0])).astype(np.float32)
    before = forged.copy()
    matched = match_spectrum(forged, genuine)
    assert np.array_equal(forged, before)
    assert matched.dtype == np.float32
    assert np.abs(octaves(forged) - octaves(genuine)).max() > 5.0
    assert np.abs(octaves(matched) - octaves(genuine)).max() < 1.5
    assert np.sqrt(np.mean(matched**2)) == pytest.approx(np.sqrt(np.mean(genuine**2)), rel=0.01)


def test_matching_audio_is_unchanged() -> None:
    genuine = synthetic_voice(2.0, seed=1)[0]
    assert np.abs(match_spectrum(genuine, genuine) - genuine).max() < 1e-3


def test_the_words_stay_where_they_are() -> None:
    genuine, forged = synthetic_voice(2.0, seed=1)[0], synthetic_voice(2.0, seed=2)[0]
    matched = match_spectrum(forged, genuine)
    loud = [np.sqrt(np.mean(x[: len(x) // 640 * 640].reshape(-1, 640) ** 2, axis=1)) for x in (forged, matched)]
    assert np.corrcoef(*loud)[0, 1] > 0.9


def test_silence_is_left_alone() -> None:
    voice, silence = synthetic_voice(1.0, seed=1)[0], np.zeros(16_000, np.float32)
    assert not match_spectrum(silence, voice).any()
    assert np.array_equal(match_spectrum(voice, silence), voice)


@settings(max_examples=60)
@given(st.integers(0, 6000), st.integers(0, 6000), st.floats(-8.0, 0.5), st.floats(-8.0, 0.0), st.integers(0, 99))
def test_matching_any_two_waveforms_is_finite(made: int, real: int, loud: float, louder: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    forged, genuine = ((10.0**e * rng.standard_normal(n)).astype(np.float32) for n, e in ((made, loud), (real, louder)))
    matched = match_spectrum(forged, genuine)
    assert matched.shape == forged.shape
    assert matched.dtype == np.float32
    assert np.isfinite(matched).all()
    assert np.abs(matched).max(initial=0.0) <= 10.0 * max(np.abs(forged).max(initial=0.0), np.abs(genuine).max(initial=0.0))
