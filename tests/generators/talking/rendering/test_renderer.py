"""The untrained renderer: shapes, invariances, gradients of every weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avwitness.generators.talking.rendering.keypoints import N_DETECTED, N_KEYPOINTS, grid
from avwitness.generators.talking.rendering.motion import EXPRESSION_SIZE, POSE_SIZE
from avwitness.generators.talking.rendering.renderer import FLOW_SIZE, HeadState, Renderer, RendererConfig, _local_jacobian, warp
from avwitness.media.face.geometry import mean_face

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def pose(batch: int, seed: int = 0, size: float = 0.1) -> HeadState:
    rng = np.random.default_rng(seed)
    where = size * rng.standard_normal((batch, POSE_SIZE))
    points = 0.4 * mean_face()[None, :, :2] + 0.02 * rng.standard_normal((batch, 478, 2)) + where[:, None, 3:5]
    return HeadState(*(torch.from_numpy(x.astype(np.float32)) for x in (where, rng.standard_normal((batch, EXPRESSION_SIZE)), points)))


def flow_of(renderer: Renderer, image: Tensor, source: HeadState, target: HeadState) -> tuple[Tensor, Tensor]:
    found = renderer.keypoint_detector(image)
    before = renderer.keypoints(found, source.points)
    after = renderer.keypoints(renderer.keypoint_transform(found, *source[:2], *target[:2]), target.points)
    return renderer.dense_motion(image, before, after, _local_jacobian(source.pose, target.pose))


@torch.no_grad()
@pytest.mark.parametrize("config", [None, RendererConfig(8, (8, 16), (8, 16, 24), 1), RendererConfig(8, (8, 16, 24, 32), (16, 16, 16), 3)])
def test_the_output_holds_image_warped_source_and_its_weight(config: RendererConfig | None) -> None:
    made = Renderer(config).eval()(torch.rand(2, 3, 96, 96), pose(2), pose(2, 1))
    assert made.image.shape == made.warped.shape == (2, 3, 96, 96) and made.source_weight.shape == (2, 1, 96, 96)
    for x in made:
        assert torch.isfinite(x).all() and float(x.min()) >= 0.0 and float(x.max()) <= 1.0 + 1e-6


def test_keypoints_are_those_found_and_then_landmarks(renderer: Renderer) -> None:
    found, points = torch.rand(2, N_DETECTED, 2), pose(2).points
    made = renderer.keypoints(found, points)
    assert made.shape == (2, N_KEYPOINTS, 2)
    assert torch.equal(made[:, :N_DETECTED], found)
    assert torch.equal(made[:, N_DETECTED], points[:, 61]) and torch.equal(made[:, N_DETECTED + 1], points[:, 291])


@torch.no_grad()
def test_a_head_that_does_not_move_is_not_warped(renderer: Renderer) -> None:
    image, still = torch.rand(2, 3, 96, 96), pose(2)
    flow, seen = flow_of(renderer, image, still, still)
    assert flow.shape == (2, FLOW_SIZE, FLOW_SIZE, 2) and seen.shape == (2, 2, FLOW_SIZE, FLOW_SIZE)
    assert torch.allclose(flow, grid(FLOW_SIZE, FLOW_SIZE, image).expand_as(flow), atol=1e-4)
    assert float(seen.min()) > 0.0 and float(seen.max()) < 1.0
    warped = renderer(image, still, still).warped
    # The outermost pixels lie outside the pixel centres of the flow.
    assert torch.allclose(warped[..., 2:-2, 2:-2], image[..., 2:-2, 2:-2], atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("seed", range(4))
def test_the_flow_of_a_moved_head_points_into_or_near_the_image(seed: int, renderer: Renderer) -> None:
    source, target = pose(2, seed), pose(2, seed + 10)
    flow, _ = flow_of(renderer, torch.rand(2, 3, 96, 96), source, target)
    # A convex combination of the keypoint motions lies between them.
    assert torch.isfinite(flow).all() and float(flow.abs().max()) < 1.8


@torch.no_grad()
def test_a_head_that_moves_as_a_whole_is_warped_as_a_whole(renderer: Renderer) -> None:
    source = pose(1)
    shift = torch.tensor([0.125, 0.0])
    moved = source.pose.clone()
    moved[:, 3:5] += shift
    found = renderer.keypoint_detector(image := torch.rand(1, 3, 96, 96))
    before, after = (renderer.keypoints(x, y) for x, y in ((found, source.points), (found + shift, source.points + shift)))
    inside = Renderer(renderer.config)
    inside.dense_motion.load_state_dict(renderer.dense_motion.state_dict())
    inside.dense_motion.last[2].bias[0] = -50.0  # the background is not chosen
    flow, _ = inside.dense_motion(image, before, after, _local_jacobian(source.pose, moved))
    assert torch.allclose(flow, grid(FLOW_SIZE, FLOW_SIZE, image)[None] - shift, atol=1e-4)  # source position of every pixel


def test_gradients_reach_every_weight(tiny: RendererConfig) -> None:
    renderer = Renderer(tiny)
    made = renderer(torch.rand(2, 3, 96, 96), pose(2), pose(2, 1))
    (made.image.square().sum() + made.warped.sum()).backward()
    silent = [name for name, weight in renderer.named_parameters() if weight.grad is None or not weight.grad.abs().sum() > 0.0]
    assert silent == []


@torch.no_grad()
def test_a_batch_of_many_equals_many_of_one(renderer: Renderer) -> None:
    images, source, target = torch.rand(3, 3, 96, 96), pose(3), pose(3, 1)
    together = renderer(images, source, target)
    for i in range(3):
        one = renderer(images[i : i + 1], HeadState(*(x[i : i + 1] for x in source)), HeadState(*(x[i : i + 1] for x in target)))
        for a, b in zip(one, together, strict=True):
            assert torch.allclose(a[0], b[i], atol=1e-4)


@torch.no_grad()
def test_a_style_of_zeros_is_none(renderer: Renderer, tiny: RendererConfig) -> None:
    image, source, target = torch.rand(1, 3, 96, 96), pose(1), pose(1, 1)
    plain = renderer(image, source, target).image
    assert torch.equal(renderer(image, source, target, torch.zeros(1, 2 * tiny.decoder[2])).image, plain)
    assert not torch.allclose(renderer(image, source, target, torch.ones(1, 2 * tiny.decoder[2])).image, plain, atol=1e-4)


@torch.no_grad()
def test_what_is_kept_is_the_warp(renderer: Renderer) -> None:
    made = renderer(torch.rand(1, 3, 96, 96), pose(1), pose(1, 1))
    # The generated part lies in [0, 1].
    painted = (made.image - made.source_weight * made.warped) / (1.0 - made.source_weight).clamp_min(1e-3)
    assert float(painted.min()) >= -1e-3 and float(painted.max()) <= 1.0 + 1e-3


@pytest.mark.parametrize("size", [12, 32, 96])
def test_a_warp_by_the_grid_is_no_warp(size: int) -> None:
    x = torch.rand(2, 5, size, size)
    assert torch.allclose(warp(x, grid(size, size, x).expand(2, -1, -1, -1)), x, atol=1e-5)
    coarse = warp(x, grid(size // 2, size // 2, x).expand(2, -1, -1, -1))
    assert torch.allclose(coarse[..., 1:-1, 1:-1], x[..., 1:-1, 1:-1], atol=1e-5)


@settings(max_examples=20)
@given(st.integers(-20, 20), st.integers(-20, 20))
def test_a_warp_samples_pixels_at_the_flow(dx: int, dy: int) -> None:
    x = torch.rand(1, 2, 24, 24)
    moved = warp(x, grid(24, 24, x)[None] + torch.tensor([dx, dy]) * 2 / 24)
    rows, columns = ((torch.arange(24) + d).clamp(0, 23) for d in (dy, dx))
    assert torch.allclose(moved, x[:, :, rows][..., columns], atol=1e-4)


@given(st.lists(st.floats(-1.3, 1.3), min_size=POSE_SIZE, max_size=POSE_SIZE))
def test_between_equal_poses_nothing_turns(numbers: list[float]) -> None:
    where = torch.tensor([numbers], dtype=torch.float64)
    assert torch.allclose(_local_jacobian(where, where), torch.eye(2, dtype=torch.float64)[None], atol=1e-6)


def test_neighbourhoods_turn_and_grow_with_the_head() -> None:
    still, other = torch.zeros(1, POSE_SIZE), torch.zeros(1, POSE_SIZE)
    other[:, 5] = np.log(2.0)
    assert torch.allclose(_local_jacobian(other, still), 2.0 * torch.eye(2)[None], atol=1e-5)  # from target to source
    other[:, 5], other[:, 2] = 0.0, np.pi / 2
    assert torch.allclose(_local_jacobian(other, still) @ torch.tensor([1.0, 0.0]), torch.tensor([[0.0, 1.0]]), atol=1e-5)
    profile = torch.zeros(1, POSE_SIZE)
    profile[:, 0] = np.pi / 2
    assert torch.isfinite(_local_jacobian(still, profile)).all() and float(_local_jacobian(still, profile).abs().max()) < 10.0


def test_it_ships_small() -> None:
    assert 2 * sum(p.numel() for p in Renderer().parameters()) < 6e6  # bytes in half precision
