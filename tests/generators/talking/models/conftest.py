"""Fixtures of the tests of talking-head models: small untrained models, and a batch of windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from avwitness.generators.talking.models.base import Batch, TalkingHead
from avwitness.generators.talking.models.registry import HEADS
from avwitness.generators.talking.rendering.head_clips import HeadClip
from avwitness.generators.talking.rendering.renderer import Renderer, RendererConfig
from avwitness.generators.talking.training.motion_training import WindowSampler


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def build(renderer: Renderer, tiny: RendererConfig, head_clips: list[HeadClip]) -> Callable[..., Any]:
    """Builds a small untrained model by its name, with its statistics fitted."""
    windows = WindowSampler(head_clips, renderer.space)

    def make(name: str, **given: Any) -> TalkingHead:
        torch.manual_seed(1)
        kind = HEADS[name]
        head = kind(kind.config_type(width=32, **({"renderer": tiny} if name == "mfr-net" else {}), **given))
        head.space.load_state_dict(renderer.space.state_dict())
        head.fit_statistics([windows.draw(32, np.random.default_rng(n)) for n in range(3)])
        return head.eval()

    return make


@pytest.fixture(scope="module")
def batch(head_clips: list[HeadClip], renderer: Renderer) -> Batch:
    return WindowSampler(head_clips, renderer.space).draw(4, np.random.default_rng(0))
