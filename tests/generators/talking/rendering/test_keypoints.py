"""Keypoint detection, heatmaps and keypoint transforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avwitness.generators.talking.rendering.keypoints import (
    LANDMARK_POINTS,
    N_DETECTED,
    N_KEYPOINTS,
    KeypointDetector,
    KeypointTransform,
    grid,
    heatmaps,
)
from avwitness.generators.talking.rendering.motion import EXPRESSION_SIZE, POSE_SIZE
from avwitness.media.face.landmarks import LANDMARKS, LIPS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def keypoint_transform(follows: float, **values: Tensor) -> KeypointTransform:
    made = KeypointTransform()
    with torch.no_grad():
        made.follows.fill_(follows)
        for name, value in values.items():
            getattr(made, name).copy_(value)
    return made


def test_landmarks_are_of_the_lips_and_the_eyes() -> None:
    assert len(set(LANDMARK_POINTS)) == len(LANDMARK_POINTS) == N_KEYPOINTS - N_DETECTED
    assert max(LANDMARK_POINTS) < LANDMARKS
    assert len(set(LANDMARK_POINTS) & set(LIPS)) == 10


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 8), (32, 32)])
def test_a_grid_holds_the_middles_of_pixels(height: int, width: int) -> None:
    made = grid(height, width, torch.zeros((), dtype=torch.float64))
    assert made.shape == (height, width, 2) and made.dtype == torch.float64
    assert torch.allclose(made.mean(dim=(0, 1)), torch.zeros(2, dtype=torch.float64), atol=1e-12)
    assert made[0, 0].tolist() == pytest.approx([1 / width - 1, 1 / height - 1])
    assert made[height - 1, 0].tolist() == pytest.approx([1 / width - 1, 1 - 1 / height])  # x first
    # The grid samples an image unchanged.
    image = torch.rand(1, 2, height, width, dtype=torch.float64)
    assert torch.allclose(torch.nn.functional.grid_sample(image, made[None], align_corners=False), image, atol=1e-9)


@given(st.floats(-0.95, 0.95), st.floats(-0.95, 0.95), st.sampled_from([12, 24, 32]), st.floats(0.05, 0.3))
def test_heatmaps_peak_at_their_points(x: float, y: float, size: int, deviation: float) -> None:
    made = heatmaps(torch.tensor([[[x, y], [0.0, 0.0]]]), size, deviation)
    assert made.shape == (1, 2, size, size)
    assert float(made.min()) >= 0.0 and float(made.max()) <= 1.0
    row, column = divmod(int(made[0, 0].argmax()), size)
    assert abs((column + 0.5) * 2 / size - 1 - x) <= 1.01 / size and abs((row + 0.5) * 2 / size - 1 - y) <= 1.01 / size


def test_a_heatmap_falls_off_with_the_deviation() -> None:
    size, point = 48, grid(48, 48, torch.zeros(()))[20, 20]
    made = heatmaps(point[None, None], size, 2 / size)[0, 0]
    assert float(made[20, 20]) == pytest.approx(1.0)
    assert float(made[20, 21]) == pytest.approx(np.exp(-0.5), rel=1e-4) == pytest.approx(float(made[19, 20]), rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["noise", "black", "white", "huge"])
def test_detected_keypoints_lie_in_the_image(kind: str) -> None:
    keypoint_detector = KeypointDetector(8).eval()
    image = {"noise": torch.rand(3, 3, 96, 96), "black": torch.zeros(3, 3, 96, 96), "white": torch.ones(3, 3, 96, 96)}
    found = keypoint_detector(image[kind] if kind != "huge" else 1e4 * image["noise"])
    assert found.shape == (3, N_DETECTED, 2)
    assert torch.isfinite(found).all() and float(found.abs().max()) < 1.0


@torch.no_grad()
def test_keypoints_of_a_batch_are_detected_per_image() -> None:
    keypoint_detector, images = KeypointDetector(8).eval(), torch.rand(3, 3, 96, 96)
    assert torch.allclose(keypoint_detector(images), torch.cat([keypoint_detector(x[None]) for x in images]), atol=1e-5)


@torch.no_grad()
def test_a_keypoint_is_the_middle_of_its_heatmap() -> None:
    keypoint_detector, image = KeypointDetector(8).eval(), torch.rand(1, 3, 96, 96)
    keypoint_detector.last.weight.zero_()
    keypoint_detector.last.bias.zero_()
    assert torch.allclose(keypoint_detector(image), torch.zeros(1, N_DETECTED, 2), atol=1e-5)  # everywhere alike


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(-3.0, 3.0))
def test_the_same_motion_keeps_the_keypoints(seed: int, follows: float) -> None:
    rng = np.random.default_rng(seed)
    found, pose, expression, bend = (
        torch.from_numpy(x.astype(np.float32))
        for x in (
            rng.uniform(-1, 1, (2, N_DETECTED, 2)),
            rng.uniform(-0.5, 0.5, (2, POSE_SIZE)),
            rng.standard_normal((2, EXPRESSION_SIZE)),
            0.1 * rng.standard_normal((EXPRESSION_SIZE, N_DETECTED * 3)),
        )
    )
    with torch.no_grad():
        assert torch.allclose(keypoint_transform(follows, bend=bend)(found, pose, expression, pose, expression), found, atol=1e-5)


@torch.no_grad()
def test_what_follows_the_head_moves_with_it_and_what_does_not_stays() -> None:
    found, expression = torch.rand(2, N_DETECTED, 2) - 0.5, torch.randn(2, EXPRESSION_SIZE)
    pose = 0.2 * torch.randn(2, POSE_SIZE)
    moved = pose.clone()
    moved[:, 3:5] += torch.tensor([0.3, -0.1])
    assert torch.allclose(
        keypoint_transform(torch.inf)(found, pose, expression, moved, expression), found + torch.tensor([0.3, -0.1]), atol=1e-5
    )
    assert torch.allclose(keypoint_transform(-torch.inf)(found, pose, expression, moved, expression), found, atol=1e-6)
    half = keypoint_transform(0.0)(found, pose, expression, moved, expression)
    assert torch.allclose(half, found + torch.tensor([0.15, -0.05]), atol=1e-5)


@torch.no_grad()
def test_keypoints_follow_scale_and_roll_of_the_head() -> None:
    found, still, expression = torch.rand(1, N_DETECTED, 2) - 0.5, torch.zeros(1, POSE_SIZE), torch.zeros(1, EXPRESSION_SIZE)
    grown, tilted = still.clone(), still.clone()
    grown[:, 5], tilted[:, 2] = np.log(2.0), 0.5
    follow = keypoint_transform(torch.inf)
    assert torch.allclose(follow(found, still, expression, grown, expression), 2.0 * found, atol=1e-5)
    c, s = np.cos(0.5), np.sin(0.5)
    turned = found @ torch.tensor([[c, s], [-s, c]], dtype=torch.float32)
    assert torch.allclose(follow(found, still, expression, tilted, expression), turned, atol=1e-5)
    # The transform is inverted by the inverse motion.
    pose = 0.3 * torch.randn(1, POSE_SIZE)
    flat = keypoint_transform(torch.inf, depth=torch.zeros(N_DETECTED))
    there = flat(found, still, expression, tilted + grown, expression)
    assert torch.allclose(flat(there, tilted + grown, expression, still, expression), found, atol=1e-5)
    assert not torch.allclose(follow(found, still, expression, pose, expression), flat(found, still, expression, pose, expression))


@torch.no_grad()
def test_expressions_bend_keypoints_linearly() -> None:
    found, pose = torch.rand(1, N_DETECTED, 2) - 0.5, torch.zeros(1, POSE_SIZE)
    a, b = torch.randn(2, 1, EXPRESSION_SIZE)
    bend = keypoint_transform(torch.inf, bend=0.01 * torch.randn(EXPRESSION_SIZE, N_DETECTED * 3))
    once, twice = bend(found, pose, a, pose, b) - found, bend(found, pose, a, pose, a + 2 * (b - a)) - found
    assert float(once.abs().max()) > 1e-3
    assert torch.allclose(2 * once, twice, atol=1e-5)
    assert torch.equal(KeypointTransform()(found, pose, a, pose, b), KeypointTransform()(found, pose, a, pose, a))  # none before training
