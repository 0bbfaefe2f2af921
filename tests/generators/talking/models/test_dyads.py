"""Dyads: simulated listeners follow their rule, recorded ones are synchronous."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from avwitness.generators.talking.models.base import WINDOW, Attitude
from avwitness.generators.talking.models.dyads import (
    MIRROR_LAG,
    MIRROR_SHARE,
    MOUTH_CORNERS,
    Dyad,
    RecordedDyads,
    SimulatedDyads,
    motion_array,
    simulate_listener,
    smile_expression,
)
from avwitness.generators.talking.rendering.head_clips import HeadClip
from avwitness.generators.talking.rendering.motion import EXPRESSION_SIZE, POSE_SIZE, Motion
from avwitness.generators.talking.rendering.renderer import Renderer
from avwitness.media.speech import STACKED_BINS

LENGTH = 75
STILL = Motion(np.zeros((LENGTH, POSE_SIZE), np.float32), np.zeros((LENGTH, EXPRESSION_SIZE), np.float32))
SMILING = np.eye(EXPRESSION_SIZE, dtype=np.float32)[0]


def speech() -> np.ndarray:
    """Audio with a pause from frame 30 to 60."""
    audio = np.ones((LENGTH, STACKED_BINS), np.float32)
    audio[30:60] = -1.0
    return audio


def listen(attitude: Attitude, seed: int = 0, speaker: np.ndarray | None = None, idle: Motion = STILL, **given: np.ndarray) -> Motion:
    still = np.zeros((LENGTH, POSE_SIZE), np.float32)
    rest = given.get("rest", np.zeros(EXPRESSION_SIZE, np.float32))
    return simulate_listener(
        given.get("audio", speech()), still if speaker is None else speaker, idle, rest, attitude, SMILING, np.random.default_rng(seed)
    )


def same(a: Dyad, b: Dyad) -> bool:
    arrays = ((x.audio, *vars(x.speaker).values(), *vars(x.listener).values(), x.source_pose, x.source_expression, x.face) for x in (a, b))
    return a.attitude == b.attitude and all(np.array_equal(x, y) for x, y in zip(*arrays, strict=True))


def test_a_smile_draws_the_corners_out_and_up(renderer: Renderer) -> None:
    made = smile_expression(renderer.space)
    assert made.shape == (EXPRESSION_SIZE,) and made.dtype == np.float32
    moved = renderer.space.expression_offsets(torch.from_numpy(made)).numpy()
    assert (moved[list(MOUTH_CORNERS), 1] < -0.002).all()  # upwards in the image
    width = np.linalg.norm(np.diff((renderer.space.mean.numpy() + moved)[list(MOUTH_CORNERS), :2], axis=0))
    assert width > np.linalg.norm(np.diff(renderer.space.mean.numpy()[list(MOUTH_CORNERS), :2], axis=0))


def test_positive_listeners_smile_and_negative_ones_frown() -> None:
    strength = {a: listen(a).expression[:, 0] for a in Attitude}
    assert (strength[Attitude.positive][45:] > 0.5).all() and (strength[Attitude.negative][45:] < -0.5).all()
    assert not strength[Attitude.neutral].any()
    for attitude in Attitude:
        assert np.abs(strength[attitude][:15]).max() < 1e-3  # not before the speaker pauses
        assert not listen(attitude).expression[:, 1:].any()


def test_positive_listeners_nod_and_negative_ones_shake_their_heads() -> None:
    moved = {a: np.abs(np.stack([listen(a, seed).pose for seed in range(8)])).max(axis=(0, 1)) for a in Attitude}
    assert moved[Attitude.positive][1] > 1.0 > 3.0 * moved[Attitude.positive][0]
    assert moved[Attitude.negative][0] > 1.0 > 3.0 * moved[Attitude.negative][1]
    assert 0.2 < moved[Attitude.neutral][1] < moved[Attitude.positive][1]
    for attitude in Attitude:
        assert not moved[attitude][2:].any()
        assert not np.stack([listen(attitude, seed).pose for seed in range(8)])[:, :28].any()  # before the pause of the speaker


def test_reactions_fade() -> None:
    pose = np.stack([listen(Attitude.positive, seed).pose[:, 1] for seed in range(8)])
    assert np.abs(pose[:, 30:45]).max() > 4.0 * np.abs(pose[:, 70:]).max()


def test_the_speakers_head_is_mirrored_a_little_later() -> None:
    speaker = np.cumsum(np.random.default_rng(0).standard_normal((LENGTH, POSE_SIZE)), axis=0).astype(np.float32)
    made = listen(Attitude.neutral, speaker=speaker).pose - listen(Attitude.neutral).pose
    assert np.allclose(made[MIRROR_LAG:], MIRROR_SHARE * speaker[:-MIRROR_LAG], atol=1e-5)
    assert not made[:MIRROR_LAG].any()


def test_the_listener_has_its_resting_expression_and_idle_motion() -> None:
    rest = np.linspace(-1, 1, EXPRESSION_SIZE).astype(np.float32)
    assert np.allclose(listen(Attitude.neutral, rest=rest).expression, rest, atol=1e-6)
    rng = np.random.default_rng(0)
    pose, expression = (rng.standard_normal((LENGTH, n)).astype(np.float32) for n in (POSE_SIZE, EXPRESSION_SIZE))
    idle = Motion(pose, 3.0 + expression)
    made = listen(Attitude.neutral, idle=idle)
    assert 0.02 < made.expression.std() < 0.3 and abs(made.expression.mean()) < 0.02
    assert 0.02 < made.pose.std() < 0.6


def test_the_seed_determines_the_result() -> None:
    for attitude in Attitude:
        once, again = listen(attitude, 3), listen(attitude, 3)
        assert np.array_equal(once.pose, again.pose) and np.array_equal(once.expression, again.expression)
        assert not np.array_equal(once.pose, listen(attitude, 4).pose)
        assert once.pose.dtype == once.expression.dtype == np.float32 and len(once) == LENGTH


@pytest.mark.parametrize("length", [1, 2, 5, WINDOW])
def test_short_and_constant_audio_is_accepted(length: int) -> None:
    idle = Motion(np.ones((length, POSE_SIZE), np.float32), np.ones((length, EXPRESSION_SIZE), np.float32))
    for audio in (
        np.zeros((length, STACKED_BINS), np.float32),
        np.random.default_rng(0).standard_normal((length, STACKED_BINS)).astype(np.float32),
    ):
        for attitude in Attitude:
            still = np.zeros((length, POSE_SIZE), np.float32)
            made = simulate_listener(audio, still, idle, np.zeros(EXPRESSION_SIZE, np.float32), attitude, SMILING, np.random.default_rng(0))
            assert made.pose.shape == (length, POSE_SIZE) and np.isfinite(made.pose).all() and np.isfinite(made.expression).all()


def test_simulated_dyads_are_windows_of_clips(dyads: SimulatedDyads, head_clips: list[HeadClip]) -> None:
    assert dyads.simulated and not RecordedDyads.simulated
    drawn = [dyads.draw(np.random.default_rng(seed)) for seed in range(12)]
    assert {d.attitude for d in drawn} == set(Attitude)
    for d in drawn:
        assert d.audio.shape == (WINDOW, STACKED_BINS) and len(d.speaker) == len(d.listener) == WINDOW
        assert motion_array(d.listener).shape == (WINDOW, POSE_SIZE + EXPRESSION_SIZE) and motion_array(d.listener).dtype == np.float32
        assert not d.speaker.pose[0].any()
        assert any((clip.heads == d.face).all(axis=(1, 2, 3)).any() for clip in head_clips)
        assert np.isfinite(motion_array(d.listener)).all() and np.isfinite(motion_array(d.speaker)).all()
    assert same(drawn[0], dyads.draw(np.random.default_rng(0))) and not same(drawn[0], drawn[1])
    assert dyads.draw(np.random.default_rng(0), Attitude.negative).attitude is Attitude.negative


def test_listeners_have_their_mouths_closed(dyads: SimulatedDyads, head_clips: list[HeadClip]) -> None:
    for seed in range(6):
        d = dyads.draw(np.random.default_rng(seed))
        clip, frame = next((c, int(np.flatnonzero(hit)[0])) for c in head_clips if (hit := (c.heads == d.face).all(axis=(1, 2, 3))).any())
        opening = np.linalg.norm(clip.points[:, 13] - clip.points[:, 14], axis=1)
        assert opening[frame] < np.quantile(opening, 0.2)
        assert np.array_equal(d.source_pose, clip.pose[frame])


def test_recorded_dyads_are_on_one_clock(head_clips: list[HeadClip], renderer: Renderer) -> None:
    def marked(clip: HeadClip, length: int) -> HeadClip:
        # Audio and yaw of every frame hold its number.
        audio = np.repeat(np.arange(length, dtype=np.float32)[:, None], STACKED_BINS, axis=1)
        pose = clip.pose[:length].copy()
        pose[:, 0] = np.arange(length)
        return replace(clip, heads=clip.heads[:length], points=clip.points[:length], pose=pose, usable=clip.usable[:length], audio=audio)

    listener, speaker = marked(head_clips[0], 60), marked(head_clips[2], 50)
    pairs = RecordedDyads([(listener, speaker, Attitude.positive)], renderer.space)
    scale = renderer.space.pose_scale.numpy()
    begins = set()
    for seed in range(20):
        d = pairs.draw(np.random.default_rng(seed))
        numbers = d.audio[:, 0]
        begins.add(numbers[0])
        assert np.array_equal(np.diff(numbers), np.ones(WINDOW - 1)) and numbers[-1] < 50
        assert np.allclose(d.speaker.pose[:, 0] * scale[0] + numbers[0], numbers, atol=1e-2)
        assert np.allclose(d.listener.pose[:, 0] * scale[0] + d.source_pose[0], numbers, atol=1e-2)
        assert d.attitude is Attitude.positive
        begin = int(numbers[0])
        assert np.array_equal(d.speaker.expression, renderer.space.expression(speaker.points, speaker.pose)[begin : begin + WINDOW])
        assert np.array_equal(d.listener.expression, renderer.space.expression(listener.points, listener.pose)[begin : begin + WINDOW])
        assert np.array_equal(d.face, listener.heads[int(d.source_pose[0])])
    assert len(begins) > 8
    assert same(pairs.draw(np.random.default_rng(5)), pairs.draw(np.random.default_rng(5)))


def test_too_short_clips_are_no_dyads(head_clips: list[HeadClip], renderer: Renderer) -> None:
    short = [
        replace(c, heads=c.heads[:20], points=c.points[:20], pose=c.pose[:20], usable=c.usable[:20], audio=c.audio[:20]) for c in head_clips
    ]
    with pytest.raises(ValueError, match=f"{WINDOW} frames"):
        SimulatedDyads(short, renderer.space)
    with pytest.raises(ValueError, match=f"{WINDOW} frames"):
        RecordedDyads([(short[0], head_clips[1], Attitude.neutral)], renderer.space)
