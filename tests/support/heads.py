"""Helpers for tests of talking-head models."""

from __future__ import annotations

import numpy as np

from avwitness.generators.talking.models.base import DrivingSignals, Portrait, TalkingHead
from avwitness.generators.talking.rendering.motion import Motion


def same(a: Motion, b: Motion) -> bool:
    return np.array_equal(a.pose, b.pose) and np.array_equal(a.expression, b.expression)


def moved(head: TalkingHead, portrait: Portrait, driving: DrivingSignals, seed: int = 0) -> Motion:
    return head.generate_motion(portrait, driving, np.random.default_rng(seed))
