"""FONT: continuity of poses, the divergence of the latent, the temporal SSIM loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from avwitness.generators.talking.models.base import OVERLAP, Batch, DrivingSignals, Portrait, window_spans
from avwitness.generators.talking.models.font import FontConfig, temporal_ssim_loss
from avwitness.generators.talking.rendering.motion import POSE_SIZE

pytestmark = pytest.mark.usefixtures("one_thread")
MakeDriving = Callable[..., DrivingSignals]


def test_poses_of_font_go_on_where_the_window_before_was(build: Callable[..., Any], portrait: Portrait, driving_of: MakeDriving) -> None:
    font = build("font")
    for seed in range(4):
        made = (
            font.generate_motion(portrait, driving_of(70), np.random.default_rng(seed)).pose - portrait.motion.pose
        ) / font.space.pose_scale.numpy()
        assert np.allclose(made[0], 0.0, atol=1e-4)  # starts at the pose of the portrait
        steps = np.abs(np.diff(made, axis=0)).max(axis=1)
        seams = [i for begin, end in window_spans(70)[1:] for i in (begin - 1, begin, begin + OVERLAP - 1) if end]
        assert steps[seams].max() < 1.2 * np.delete(steps, seams).max()


def test_the_divergence_is_a_loss_only_with_sampling(build: Callable[..., Any], batch: Batch) -> None:
    sampling, plain = build("font"), build("font", sampling=False)
    assert "divergence" in sampling.losses(batch, np.random.default_rng(0), 0.5)
    assert "divergence" not in plain.losses(batch, np.random.default_rng(0), 0.5)
    early, late = (float(sampling.losses(batch, np.random.default_rng(0), p)["divergence"].detach()) for p in (0.1, 0.9))
    assert 0.0 < early < late
    mean, log_variance = sampling.poses.encode(batch.audio, batch.pose)
    assert mean.shape == log_variance.shape == (4, FontConfig().latent)


def test_sequences_that_are_equal_are_similar() -> None:
    a = torch.randn(2, 24, POSE_SIZE).cumsum(dim=1)
    assert float(temporal_ssim_loss(a, a)) == pytest.approx(0.0, abs=1e-5)
    near, far = float(temporal_ssim_loss(a + 0.1 * torch.randn_like(a), a)), float(temporal_ssim_loss(-a, a))
    assert 0.0 < near < far < 2.0
