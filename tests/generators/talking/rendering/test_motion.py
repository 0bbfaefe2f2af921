"""Decomposition of meshes into pose and expression, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avwitness.generators.talking.rendering.head_clips import HeadClip
from avwitness.generators.talking.rendering.motion import (
    DEPTH_WEIGHT,
    EXPRESSION_SIZE,
    EYES,
    LIP_WEIGHT,
    POSE_SIZE,
    Motion,
    MotionSpace,
    apply_pose,
    point_weights,
    remove_pose,
    rotations,
)
from avwitness.generators.talking.rendering.renderer import Renderer
from avwitness.media.face.geometry import mean_face, rigid_motion
from avwitness.media.face.landmarks import LANDMARKS, LIPS, RIGID

angles = st.floats(-1.2, 1.2)
shifts = st.floats(-2.0, 2.0)
poses = st.tuples(angles, angles, angles, shifts, shifts, st.floats(-1.5, 5.0))


@dataclass(frozen=True)
class Known:
    """Meshes [T, 478, 3] of two people, composed of known components."""

    clips: list[np.ndarray]
    coefficients: list[np.ndarray]
    space: MotionSpace


@pytest.fixture(scope="module")
def known() -> Known:
    rng = np.random.default_rng(0)
    components = 0.01 * rng.standard_normal((EXPRESSION_SIZE, LANDMARKS, 3))
    components[:, list(RIGID)] = 0.0  # otherwise they would change the pose
    sizes = np.geomspace(3.0, 1.0, EXPRESSION_SIZE)
    clips, coefficients = [], []
    for _ in range(2):
        identity = 0.03 * rng.standard_normal((LANDMARKS, 3))
        identity[list(RIGID)] = 0.0
        drawn = sizes * rng.standard_normal((150, EXPRESSION_SIZE))
        pose = np.array([0.2, 0.1, 0.1, 0.1, 0.1, 0.05]) * rng.standard_normal((150, POSE_SIZE)) + [0, 0, 0, 0, 0, -0.8]
        rest = mean_face() + identity + np.einsum("tk,knd->tnd", drawn, components)
        clips.append(apply_pose(torch.from_numpy(rest), torch.from_numpy(pose)).numpy().astype(np.float32))
        coefficients.append(drawn)
    space = MotionSpace().fit((clip, rigid_motion(clip).astype(np.float32)) for clip in clips)
    return Known(clips, coefficients, space)


@given(poses, st.integers(0, 2**32 - 1))
def test_remove_pose_inverts_apply_pose(pose: tuple[float, ...], seed: int) -> None:
    points = torch.from_numpy(np.random.default_rng(seed).standard_normal((3, 9, 3)))
    where = torch.tensor(pose, dtype=torch.float64)[None].expand(3, -1)
    assert torch.allclose(remove_pose(apply_pose(points, where), where), points, atol=1e-9)
    assert torch.allclose(apply_pose(remove_pose(points, where), where), points, atol=1e-9)


@given(poses)
def test_poses_are_those_that_faces_are_found_in(pose: tuple[float, ...]) -> None:
    face = apply_pose(torch.from_numpy(mean_face().astype(np.float64)), torch.tensor(pose, dtype=torch.float64)).numpy()
    assert np.allclose(rigid_motion(face[None])[0], pose, atol=1e-5)


@given(poses)
def test_rotations_are_rotations(pose: tuple[float, ...]) -> None:
    matrix = rotations(torch.tensor(pose, dtype=torch.float64))
    assert torch.allclose(matrix @ matrix.T, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert float(torch.linalg.det(matrix)) == pytest.approx(1.0)


def test_axes_turn_as_heads_do() -> None:
    nose, chin, left = (mean_face()[i].astype(np.float64) for i in (1, 152, 454))

    def turned(point: np.ndarray, **angle: float) -> np.ndarray:
        pose = torch.zeros(POSE_SIZE, dtype=torch.float64)
        for name, value in angle.items():
            pose[["yaw", "pitch", "roll"].index(name)] = value
        return apply_pose(torch.from_numpy(point)[None], pose)[0].numpy()

    assert turned(nose, pitch=0.3)[1] > nose[1]  # a bow brings the nose down
    assert turned(chin, roll=0.3)[0] < chin[0]  # a tilt clockwise for the viewer brings the chin to the left
    assert abs(turned(nose, yaw=0.3)[0] - nose[0]) > 0.05 and turned(nose, yaw=0.3)[1] == pytest.approx(nose[1])
    assert turned(left, yaw=0.3)[2] != pytest.approx(left[2])


def test_known_components_are_found_again(known: Known) -> None:
    for clip, drawn in zip(known.clips, known.coefficients, strict=True):
        motion = known.space.motion(clip)
        assert motion.pose.shape == (150, POSE_SIZE) and motion.expression.shape == (150, EXPRESSION_SIZE)
        assert motion.pose.dtype == motion.expression.dtype == np.float32 and len(motion) == 150
        # Each is a linear combination of the others.
        change = motion.expression - motion.expression.mean(axis=0)
        solved = np.linalg.lstsq(drawn - drawn.mean(axis=0), change, rcond=None)[0]
        assert np.abs((drawn - drawn.mean(axis=0)) @ solved - change).max() < 0.02


def test_one_frame_and_the_motion_make_all_meshes(known: Known) -> None:
    for clip in known.clips:
        motion = known.space.motion(clip)
        first = Motion(motion.pose[:1], motion.expression[:1])
        identity = torch.from_numpy(known.space.identity(clip[0], first))[None]
        made = known.space.mesh(identity, torch.from_numpy(motion.pose), torch.from_numpy(motion.expression)).numpy()
        assert np.abs(made - clip).max() < 1e-3


def test_the_identity_is_the_residual_of_one_frame(renderer: Renderer) -> None:
    points = (0.4 * mean_face() + 0.05 * np.random.default_rng(0).standard_normal((LANDMARKS, 3))).astype(np.float32)
    motion = renderer.space.motion(points[None])
    identity = renderer.space.identity(points, motion)
    assert identity.shape == (LANDMARKS, 3) and identity.dtype == np.float32
    pose, expression = torch.from_numpy(motion.pose), torch.from_numpy(motion.expression)
    mesh = renderer.space.mesh(torch.from_numpy(identity)[None], pose, expression)[0]
    assert np.allclose(mesh[:, :2], points[:, :2], atol=2e-4)  # depth begins between the eyes


def test_expressions_have_unit_variance_within_clips(known: Known, renderer: Renderer, head_clips: list[HeadClip]) -> None:
    fitted = [(clip, rigid_motion(clip).astype(np.float32), known.space) for clip in known.clips]
    fitted += [(clip.points, clip.pose, renderer.space) for clip in head_clips]
    for space in (known.space, renderer.space):
        changes = []
        for points, pose, its in fitted:
            if its is space:
                expression = space.expression(points, pose)
                changes.append(expression - expression.mean(axis=0))
        covariance = np.cov(np.concatenate(changes).T)
        assert np.abs(covariance - np.eye(EXPRESSION_SIZE)).max() < 0.03


def test_the_pose_scale_is_the_deviation_within_clips(known: Known) -> None:
    poses = [rigid_motion(clip) for clip in known.clips]
    within = np.concatenate([pose - pose.mean(axis=0) for pose in poses]).std(axis=0)
    assert np.allclose(known.space.pose_scale, within, rtol=1e-3)


def test_what_is_written_is_read(renderer: Renderer) -> None:
    space, rng = renderer.space, np.random.default_rng(1)
    assert torch.allclose(space.basis @ space.projection, torch.eye(EXPRESSION_SIZE), atol=1e-3)
    expression = rng.standard_normal((4, EXPRESSION_SIZE)).astype(np.float32)
    pose = (0.1 * rng.standard_normal((4, POSE_SIZE))).astype(np.float32)
    mesh = space.mesh(torch.zeros(LANDMARKS, 3), torch.from_numpy(pose), torch.from_numpy(expression)).numpy()
    assert np.allclose(space.expression(mesh, pose), expression, atol=0.02)
    assert not space.expression_offsets(torch.zeros(2, EXPRESSION_SIZE)).any()


def test_pose_alone_is_no_expression(known: Known) -> None:
    expression = torch.randn(1, EXPRESSION_SIZE, generator=torch.Generator().manual_seed(0))
    pose = torch.from_numpy(np.linspace(-0.3, 0.3, 7)[:, None] * np.ones((7, POSE_SIZE))).float()
    motion = known.space.motion(known.space.mesh(torch.zeros(LANDMARKS, 3), pose, expression).numpy())
    assert np.allclose(motion.pose, pose, atol=1e-4)
    assert np.allclose(motion.expression, expression.expand(7, -1), atol=0.02)


def test_lips_and_eyes_weigh_more_than_depth() -> None:
    weights = point_weights()
    assert weights.shape == (LANDMARKS, 3)
    assert (weights[list(LIPS), :2] == LIP_WEIGHT).all() and not set(LIPS) & set(EYES)
    assert (weights[list(LIPS), 2] == LIP_WEIGHT * DEPTH_WEIGHT).all()
    assert weights[10].tolist() == [1.0, 1.0, DEPTH_WEIGHT]


@pytest.mark.parametrize("frames", [None, 1])
def test_fitting_without_data_is_refused(frames: int | None) -> None:
    face = mean_face()[None].astype(np.float32)
    clips = [] if frames is None else [(np.repeat(face, frames, axis=0), np.zeros((frames, POSE_SIZE), np.float32))]
    with pytest.raises(ValueError, match="no tracked face"):
        MotionSpace().fit(clips)


def test_a_pose_is_no_expression_wherever_depth_begins(known: Known) -> None:
    face = torch.from_numpy(0.4 * mean_face()).float() + torch.tensor([0.0, 0.0, 0.044])
    poses = torch.zeros(5, POSE_SIZE)
    poses[:, 0] = torch.linspace(-0.3, 0.3, 5)
    expression = known.space.motion((face @ rotations(poses).transpose(1, 2)).numpy()).expression
    assert np.abs(expression - expression[2]).max() < 0.1
