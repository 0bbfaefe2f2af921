from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_detector import clip

from avwitness.detector.training.augment import AugmentConfig, augment_audio, augment_faces, augment_mouth
from avwitness.detector.training.samples import Sample
from avwitness.media.pcm import to_float32

ALWAYS = AugmentConfig(**{f.name: 1.0 for f in fields(AugmentConfig) if f.name != "min_size"})
NEVER = AugmentConfig(**{f.name: 0.0 for f in fields(AugmentConfig) if f.name != "min_size"})
SAMPLE = clip(0, 12)
Augment = Callable[[AugmentConfig, np.random.Generator], np.ndarray]


def arrays(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    assert sample.mouth is not None and sample.face is not None and sample.waveform is not None
    return sample.mouth, sample.face, to_float32(sample.waveform)


MOUTH, FACES, WAVEFORM = arrays(SAMPLE)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from((AugmentConfig(), ALWAYS, NEVER)))
def test_shapes_and_inputs_are_kept_and_the_seed_determines_the_result(seed: int, config: AugmentConfig) -> None:
    babble = np.random.default_rng(1).normal(size=20_000).astype(np.float32)
    before = MOUTH.copy(), FACES.copy(), WAVEFORM.copy(), babble.copy()
    first, second = (
        (
            augment_mouth(MOUTH, config, np.random.default_rng(seed)),
            augment_faces(FACES, config, np.random.default_rng(seed)),
            augment_audio(WAVEFORM, config, np.random.default_rng(seed), babble),
        )
        for _ in range(2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(before, (MOUTH, FACES, WAVEFORM, babble), strict=True))
    assert (first[0].shape, first[0].dtype) == ((12, 88, 88), np.uint8)
    assert (first[1].shape, first[1].dtype) == (FACES.shape, np.uint8)
    assert (first[2].shape, first[2].dtype) == (WAVEFORM.shape, np.float32)
    assert np.isfinite(first[2]).all()


def test_no_augmentation_takes_a_label() -> None:
    for augment in (augment_mouth, augment_faces, augment_audio):
        assert set(inspect.signature(augment).parameters) <= {"crops", "faces", "waveform", "config", "rng", "babble"}


@pytest.mark.parametrize(
    "name", ["noise", "babble", "low_pass", "spectral_tilt", "mu_law", "silent_edges", "reverberation", "high_pass", "clipping"]
)
def test_every_audio_augmentation_changes_the_waveform_at_probability_one(name: str) -> None:
    babble = np.random.default_rng(1).normal(size=20_000).astype(np.float32)
    plain = augment_audio(WAVEFORM, NEVER, np.random.default_rng(0), babble)
    assert np.array_equal(plain, WAVEFORM)
    changed = [augment_audio(WAVEFORM, AugmentConfig(**{**vars(NEVER), name: 1.0}), np.random.default_rng(s), babble) for s in range(4)]
    assert any(not np.allclose(s, WAVEFORM, atol=1e-4) for s in changed)


@pytest.mark.parametrize("name", ["resize", "blur", "noise", "jpeg", "low_frame_rate", "lower_face_blur"])
def test_every_image_augmentation_changes_images_at_probability_one(name: str) -> None:
    config = AugmentConfig(**{**vars(NEVER), name: 1.0})

    def changed(augment: Augment) -> bool:
        return any(
            not np.array_equal(augment(config, np.random.default_rng(s)), augment(NEVER, np.random.default_rng(s))) for s in range(4)
        )

    assert changed(lambda c, rng: augment_mouth(MOUTH, c, rng)) == (name != "lower_face_blur")
    assert changed(lambda c, rng: augment_faces(FACES, c, rng)) == (name != "low_frame_rate")


def test_low_pass_removes_high_frequencies() -> None:
    limited = augment_audio(WAVEFORM, AugmentConfig(**{**vars(NEVER), "low_pass": 1.0}), np.random.default_rng(3))
    power = [np.abs(np.fft.rfft(x)) ** 2 for x in (WAVEFORM, limited)]
    kept = [float(p[-200:].sum() / p[: len(p) // 4].sum()) for p in power]
    assert kept[1] < 0.2 * kept[0]


def test_missing_faces_stay_black_and_empty_inputs_stay_empty() -> None:
    faces = FACES.copy()
    faces[1] = 0
    for seed in range(4):
        out = augment_faces(faces, ALWAYS, np.random.default_rng(seed))
        assert not out[1].any() and out[0].any() and out[2].any()
    assert len(augment_audio(np.zeros(0, np.float32), ALWAYS, np.random.default_rng(0))) == 0
    assert augment_mouth(MOUTH[:0], ALWAYS, np.random.default_rng(0)).shape == (0, 88, 88)


def test_a_low_frame_rate_repeats_frames_of_the_clip() -> None:
    numbered = np.repeat(np.arange(12, dtype=np.uint8)[:, None] * 20, 96 * 96, axis=1).reshape(12, 96, 96)
    held = augment_mouth(numbered, AugmentConfig(**{**vars(NEVER), "low_frame_rate": 1.0}), np.random.default_rng(0)).mean(axis=(1, 2))
    each = augment_mouth(numbered, NEVER, np.random.default_rng(0)).mean(axis=(1, 2))
    assert set(held) < set(each)
    assert (np.diff(held) >= 0).all()


def test_reverberation_follows_the_direct_sound() -> None:
    click = np.zeros(16_000, dtype=np.float32)
    click[2000] = 1.0
    out = augment_audio(click, AugmentConfig(**{**vars(NEVER), "reverberation": 1.0}), np.random.default_rng(0))
    assert out[2000] == pytest.approx(1.0, abs=1e-3) and not np.abs(out[:2000]).max() > 1e-5  # the direct sound, and nothing before it
    early, late = (np.square(out[2001 + a : 2001 + b]).sum() for a, b in ((0, 2000), (2000, 12_000)))
    assert early > late > 0.0


def test_high_pass_removes_the_lowest_frequencies() -> None:
    hum = np.sin(2.0 * np.pi * 20.0 * np.arange(16_000) / 16_000).astype(np.float32)
    left = augment_audio(hum, AugmentConfig(**{**vars(NEVER), "high_pass": 1.0}), np.random.default_rng(0))
    assert left.std() < 0.1 * hum.std()
