from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
from avwitness.detector.training.augment import AugmentConfig, augment_audio, augment_faces, augment_mouth
from avwitness.detector.training.samples import Sample
from hypothesis import given, settings
from hypothesis import strategies as st
from witness import clip

ALWAYS = AugmentConfig(**{f.name: 1.0 for f in fields(AugmentConfig) if f.name != "smallest"})
NEVER = AugmentConfig(**{f.name: 0.0 for f in fields(AugmentConfig) if f.name != "smallest"})
SAMPLE = clip(0, 12)
Augment = Callable[[AugmentConfig, np.random.Generator], np.ndarray]


def material(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    assert sample.mouth is not None and sample.face is not None and sample.waveform is not None
    return sample.mouth, sample.face, sample.waveform.astype(np.float32) / 32768.0


MOUTH, FACES, SOUND = material(SAMPLE)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from((AugmentConfig(), ALWAYS, NEVER)))
def test_shapes_stay_inputs_stay_and_chance_decides_alone(seed: int, config: AugmentConfig) -> None:
    babble = np.random.default_rng(1).normal(size=20_000).astype(np.float32)
    before = MOUTH.copy(), FACES.copy(), SOUND.copy(), babble.copy()
    first, second = (
        (
            augment_mouth(MOUTH, config, np.random.default_rng(seed)),
            augment_faces(FACES, config, np.random.default_rng(seed)),
            augment_audio(SOUND, config, np.random.default_rng(seed), babble),
        )
        for _ in range(2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(before, (MOUTH, FACES, SOUND, babble), strict=True))
    assert (first[0].shape, first[0].dtype) == ((12, 88, 88), np.uint8)
    assert (first[1].shape, first[1].dtype) == (FACES.shape, np.uint8)
    assert (first[2].shape, first[2].dtype) == (SOUND.shape, np.float32)
    assert np.isfinite(first[2]).all()


def test_no_augmentation_asks_for_a_label() -> None:
    for augment in (augment_mouth, augment_faces, augment_audio):
        assert set(inspect.signature(augment).parameters) <= {"crops", "faces", "waveform", "config", "rng", "babble"}


@pytest.mark.parametrize("name", ["noise", "babble", "bands", "tilt", "coarse", "mute", "room", "rumble", "clipped"])
def test_every_change_of_sound_strikes_when_it_is_asked_for(name: str) -> None:
    babble = np.random.default_rng(1).normal(size=20_000).astype(np.float32)
    plain = augment_audio(SOUND, NEVER, np.random.default_rng(0), babble)
    assert np.array_equal(plain, SOUND)
    struck = [augment_audio(SOUND, AugmentConfig(**{**vars(NEVER), name: 1.0}), np.random.default_rng(s), babble) for s in range(4)]
    assert any(not np.allclose(s, SOUND, atol=1e-4) for s in struck)


@pytest.mark.parametrize("name", ["resize", "blur", "noise", "jpeg", "slow", "local_blur"])
def test_every_change_of_pictures_strikes_when_it_is_asked_for(name: str) -> None:
    config = AugmentConfig(**{**vars(NEVER), name: 1.0})

    def changed(augment: Augment) -> bool:
        return any(
            not np.array_equal(augment(config, np.random.default_rng(s)), augment(NEVER, np.random.default_rng(s))) for s in range(4)
        )

    assert changed(lambda c, rng: augment_mouth(MOUTH, c, rng)) == (name != "local_blur")
    assert changed(lambda c, rng: augment_faces(FACES, c, rng)) == (name != "slow")


def test_a_band_limit_empties_the_treble() -> None:
    limited = augment_audio(SOUND, AugmentConfig(**{**vars(NEVER), "bands": 1.0}), np.random.default_rng(3))
    power = [np.abs(np.fft.rfft(x)) ** 2 for x in (SOUND, limited)]
    kept = [float(p[-200:].sum() / p[: len(p) // 4].sum()) for p in power]
    assert kept[1] < 0.2 * kept[0]


def test_a_missing_face_stays_black_and_silence_of_no_length_stays() -> None:
    faces = FACES.copy()
    faces[1] = 0
    for seed in range(4):
        out = augment_faces(faces, ALWAYS, np.random.default_rng(seed))
        assert not out[1].any() and out[0].any() and out[2].any()
    assert len(augment_audio(np.zeros(0, np.float32), ALWAYS, np.random.default_rng(0))) == 0
    assert augment_mouth(MOUTH[:0], ALWAYS, np.random.default_rng(0)).shape == (0, 88, 88)


def test_frames_shown_slowly_are_frames_of_the_clip() -> None:
    numbered = np.repeat(np.arange(12, dtype=np.uint8)[:, None] * 20, 96 * 96, axis=1).reshape(12, 96, 96)
    held = augment_mouth(numbered, AugmentConfig(**{**vars(NEVER), "slow": 1.0}), np.random.default_rng(0)).mean(axis=(1, 2))
    each = augment_mouth(numbered, NEVER, np.random.default_rng(0)).mean(axis=(1, 2))
    assert set(held) < set(each)
    assert (np.diff(held) >= 0).all()


def test_a_room_rings_on_after_the_sound() -> None:
    click = np.zeros(16_000, dtype=np.float32)
    click[2000] = 1.0
    heard = augment_audio(click, AugmentConfig(**{**vars(NEVER), "room": 1.0}), np.random.default_rng(0))
    assert heard[2000] == pytest.approx(1.0, abs=1e-3) and not np.abs(heard[:2000]).max() > 1e-5  # the direct sound, and nothing before it
    early, late = (np.square(heard[2001 + a : 2001 + b]).sum() for a, b in ((0, 2000), (2000, 12_000)))
    assert early > late > 0.0


def test_without_rumble_the_lowest_band_is_gone() -> None:
    hum = np.sin(2.0 * np.pi * 20.0 * np.arange(16_000) / 16_000).astype(np.float32)
    left = augment_audio(hum, AugmentConfig(**{**vars(NEVER), "rumble": 1.0}), np.random.default_rng(0))
    assert left.std() < 0.1 * hum.std()
