"""Portraits, driving signals, and the windows of long motions."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from makers import Talk

from avwitness.generators.talking.models.base import OVERLAP, WINDOW, Attitude, DrivingSignals, Portrait, crossfade_windows, window_spans
from avwitness.generators.talking.models.registry import HEADS
from avwitness.generators.talking.rendering.head_clips import HeadClip
from avwitness.generators.talking.rendering.head_crops import HEAD_SIZE, Box, head_box
from avwitness.generators.talking.rendering.motion import EXPRESSION_SIZE, POSE_SIZE, Motion
from avwitness.generators.talking.rendering.renderer import Renderer
from avwitness.media.face.landmarks import LIPS
from avwitness.media.face.tracking import FaceTrack
from avwitness.media.speech import STACKED_BINS

windows = st.tuples(st.integers(1, 500), st.integers(2, 40)).flatmap(
    lambda x: st.tuples(st.just(x[0]), st.just(x[1]), st.integers(0, x[1] - 1))
)


@given(windows)
def test_windows_cover_every_frame_of_any_length(case: tuple[int, int, int]) -> None:
    length, window, overlap = case
    made = window_spans(length, window, overlap)
    assert made[0][0] == 0 and made[-1][1] == length
    assert all(0 < end - begin <= window for begin, end in made)
    for before, after in itertools.pairwise(made):
        assert after[0] == before[1] - overlap and after[1] > before[1]
        assert before[1] - before[0] == window  # only the last one is shorter
    assert sorted({i for begin, end in made for i in range(begin, end)}) == list(range(length))


@given(windows, st.floats(-100.0, 100.0))
def test_constant_windows_are_joined_to_a_constant(case: tuple[int, int, int], value: float) -> None:
    where = window_spans(*case)
    made = crossfade_windows([np.full((end - begin, 3), value, np.float32) for begin, end in where], where)
    assert made.shape == (case[0], 3) and made.dtype == np.float32
    assert np.allclose(made, np.float32(value), rtol=1e-5, atol=1e-6)


@given(windows, st.integers(0, 2**32 - 1))
def test_windows_of_a_sequence_are_joined_to_the_sequence(case: tuple[int, int, int], seed: int) -> None:
    whole = np.random.default_rng(seed).standard_normal((case[0], 2)).astype(np.float32)
    where = window_spans(*case)
    assert np.allclose(crossfade_windows([whole[begin:end] for begin, end in where], where), whole, atol=1e-5)


def test_one_window_fades_into_the_next() -> None:
    where = window_spans(2 * WINDOW - OVERLAP)
    assert len(where) == 2
    made = crossfade_windows([np.full((end - begin, 1), float(i), np.float32) for i, (begin, end) in enumerate(where)], where)[:, 0]
    assert (made[: WINDOW - OVERLAP] == 0.0).all() and (made[WINDOW:] == 1.0).all()
    fade = made[WINDOW - OVERLAP - 1 : WINDOW + 1]
    assert np.allclose(np.diff(fade), 1 / (OVERLAP + 1), atol=1e-6)


def test_longer_windows_are_cut_where_the_sequence_ends() -> None:
    where = window_spans(30)
    made = crossfade_windows([np.arange(WINDOW, dtype=np.float32)[:, None] for _ in where], where)
    assert made.shape == (30, 1)
    assert made[-1, 0] == where[-1][1] - where[-1][0] - 1


def test_a_portrait_from_a_frame(talk: Talk, talk_track: FaceTrack, renderer: Renderer) -> None:
    landmarks = talk_track.landmarks[0]
    made = Portrait.from_frame(talk.frames[0], landmarks, renderer.space)
    assert made.head.shape == (HEAD_SIZE, HEAD_SIZE, 3) and made.head.dtype == np.uint8
    assert made.box == head_box(landmarks[None])
    assert np.allclose(made.box.from_unit(made.points), landmarks, atol=1e-2)
    assert np.abs(made.points[:, :2]).max() < 1.0
    assert len(made.motion) == 1
    assert made.image.shape == (1, 3, HEAD_SIZE, HEAD_SIZE) and made.image.dtype == torch.float32
    assert torch.equal((255.0 * made.image[0]).round().byte().permute(1, 2, 0), torch.from_numpy(made.head))
    assert made.pose.shape == (1, POSE_SIZE) and made.expression.shape == (1, EXPRESSION_SIZE)
    mesh = renderer.space.mesh(torch.from_numpy(made.identity)[None], made.pose, made.expression)
    assert np.allclose(mesh[0, :, :2], made.points[:, :2], atol=1e-3)  # depth begins between the eyes
    as_state = made.as_state()
    assert [tuple(x.shape) for x in as_state] == [(1, POSE_SIZE), (1, EXPRESSION_SIZE), (1, 478, 2)]
    assert np.array_equal(as_state.points[0], made.points[:, :2])
    other = Portrait.from_frame(talk.frames[0], landmarks, renderer.space, Box(0.0, 0.0, 384.0))
    assert other.box == Box(0.0, 0.0, 384.0) and not np.array_equal(other.head, made.head)
    assert np.allclose(other.motion.pose[0, :3], made.motion.pose[0, :3], atol=1e-3)  # a head turns alike in any square


def test_a_portrait_from_a_crop(head_clips: list[HeadClip], renderer: Renderer) -> None:
    clip = head_clips[0]
    made = Portrait.from_crop(clip.heads[7], clip.points[7], renderer.space)
    assert np.array_equal(made.head, clip.heads[7]) and made.box == Box(0.0, 0.0, 96.0)
    assert np.allclose(made.motion.pose[0], clip.pose[7], atol=1e-4)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_what_a_cue_lacks_is_named(name: str, driving_of: Callable[..., DrivingSignals], portrait: Portrait) -> None:
    head = HEADS[name](HEADS[name].config_type(width=32)).eval()
    assert set(head.needs) <= {"pose", "speaker"}
    for need in head.needs:
        holds = {"audio": driving_of(5).audio, "pose": driving_of(5).pose, "speaker": driving_of(5).speaker} | {need: None}
        with pytest.raises(ValueError, match=rf"{name} needs a .*--{need}"):
            head.generate_motion(portrait, DrivingSignals(**holds), np.random.default_rng(0))
    silent = DrivingSignals(np.zeros((0, STACKED_BINS), np.float32), np.zeros((3, POSE_SIZE), np.float32), driving_of(3).speaker)
    with pytest.raises(ValueError, match=rf"{name}: the audio is empty"):
        head.generate_motion(portrait, silent, np.random.default_rng(0))


def test_the_default_attitude_is_neutral() -> None:
    driving = DrivingSignals(np.zeros((3, STACKED_BINS), np.float32))
    assert driving.attitude is Attitude.neutral and driving.pose is None and driving.speaker is None
    assert [str(a) for a in Attitude] == ["positive", "neutral", "negative"]


def test_lips_that_are_equal_are_no_distance_apart(renderer: Renderer) -> None:
    head = HEADS["font"](HEADS["font"].config_type(width=32))
    head.space.load_state_dict(renderer.space.state_dict())
    a, b = torch.randn(2, 2, 5, EXPRESSION_SIZE)
    assert float(head.lip_distance(a, a)) == 0.0
    assert float(head.lip_distance(a, b)) == pytest.approx(float(head.lip_distance(b, a)), rel=1e-5)
    assert float(head.lip_distance(a, a + 2 * (b - a))) == pytest.approx(2 * float(head.lip_distance(a, b)), rel=1e-4)
    # In hundredths of the distance of the outer eye corners, which are one apart in the mean face.
    meshes = [head.space.mesh(torch.zeros(478, 3), torch.zeros(2, 5, POSE_SIZE), x) for x in (a, b)]
    away = (meshes[0] - meshes[1])[..., list(LIPS), :2].norm(dim=-1).mean()
    assert float(head.lip_distance(a, b)) == pytest.approx(100.0 * float(away), rel=1e-4)


def test_motions_have_a_length() -> None:
    assert len(Motion(np.zeros((7, POSE_SIZE)), np.zeros((7, EXPRESSION_SIZE)))) == 7
