"""OSM-Net: the motion space and its samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avwitness.generators.talking.models import osm_net
from avwitness.generators.talking.models.base import WINDOW, Batch, DrivingSignals
from avwitness.generators.talking.models.osm_net import MAX_COEFFICIENT, MAX_DEVIATION, OsmNet, OsmNetConfig
from avwitness.generators.talking.rendering.head_clips import HeadClip
from avwitness.generators.talking.rendering.motion import EXPRESSION_SIZE, POSE_SIZE
from avwitness.generators.talking.rendering.renderer import Renderer
from avwitness.generators.talking.training.motion_training import WindowSampler

pytestmark = pytest.mark.usefixtures("one_thread")
MakeDriving = Callable[..., DrivingSignals]


def test_bases_have_unit_deviation_and_span_the_training_poses(
    build: Callable[..., Any], head_clips: list[HeadClip], renderer: Renderer
) -> None:
    osm = build("osm-net")
    assert torch.allclose(osm.bases @ osm.projection, torch.eye(osm.config.bases), atol=1e-3)
    windows = WindowSampler(head_clips, renderer.space)
    moves = torch.cat([(b.pose - b.pose[:, :1]).flatten(1) for b in (windows.draw(32, np.random.default_rng(n)) for n in range(3))])
    places = moves @ osm.projection
    assert torch.allclose(places.abs().median(dim=0).values, torch.full((osm.config.bases,), osm_net.MEDIAN_TO_DEVIATION), atol=0.15)
    left = (moves - places @ osm.bases).square().sum() / moves.square().sum()
    assert float(left) < 0.05


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.1, 10.0))
def test_samples_stay_within_the_limits_of_the_space(build: Callable[..., Any], driving_of: MakeDriving, seed: int, spread: float) -> None:
    osm = build("osm-net", bases=6)
    osm.residual_deviation.fill_(spread)
    with torch.no_grad():
        audio, face = torch.from_numpy(driving_of(WINDOW).audio)[None], torch.zeros(1, 32)
        move = osm.sample(audio, face, np.random.default_rng(seed))
        assert move.shape == (WINDOW, POSE_SIZE) and not move[0].any()
        # The bases begin at zero, so the coefficients can be recovered by projection.
        place = move.flatten() @ osm.projection
        assert float(place.abs().max()) <= MAX_COEFFICIENT + 1e-2
        centre = osm.predict_coefficients(audio, face)[0].clamp(-MAX_COEFFICIENT, MAX_COEFFICIENT)
        assert float((place - centre).norm()) <= MAX_DEVIATION * spread * 6**0.5 + 1e-2


def test_the_residual_deviation_is_estimated_in_training(build: Callable[..., Any], batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    osm: OsmNet = build("osm-net")
    before = osm.residual_deviation.clone()
    osm.losses(batch, np.random.default_rng(0), 0.0)
    assert torch.equal(before, torch.ones_like(before)) and not torch.equal(osm.residual_deviation, before)
    monkeypatch.setattr(osm_net, "AVERAGING_RATE", 0.5)
    for _ in range(12):
        osm.losses(batch, np.random.default_rng(0), 0.0)
    wanted = (batch.pose - batch.pose[:, :1]).flatten(1) @ osm.projection
    with torch.no_grad():
        off = (wanted - osm.predict_coefficients(batch.audio, osm.face(batch.face))).abs().median(
            dim=0
        ).values / osm_net.MEDIAN_TO_DEVIATION
    assert torch.allclose(osm.residual_deviation, off, atol=0.02)


def test_an_expression_depends_on_a_window_of_audio(build: Callable[..., Any], driving_of: MakeDriving) -> None:
    osm: OsmNet = build("osm-net")
    audio = torch.from_numpy(driving_of(40).audio)[None]
    knock = audio.clone()
    knock[:, 20] += 5.0
    source, face = torch.zeros(1, EXPRESSION_SIZE), torch.zeros(1, 32)
    with torch.no_grad():
        changed = (
            (osm.predict_expression(knock, source, face) - osm.predict_expression(audio, source, face))
            .abs()
            .sum(dim=2)[0]
            .nonzero()
            .flatten()
        )
    assert 20 in changed and changed.min() >= 10 and changed.max() <= 30
    assert isinstance(osm.config, OsmNetConfig)
