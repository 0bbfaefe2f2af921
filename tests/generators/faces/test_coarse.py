from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from avwitness.generators.faces.coarse import blur_to_match, reduce_resolution

SIDE = 64
seeds = st.integers(0, 2**32 - 1)


def images(seed: int, frames: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, SIDE, SIDE, 3), dtype=np.uint8)


def disc() -> np.ndarray:
    weight = np.zeros((3, SIDE, SIDE), dtype=np.float32)
    weight[:, 20:44, 16:48] = 1.0
    return weight


def fine(images: np.ndarray, where: np.ndarray) -> float:
    """Mean squared Laplacian within a mask."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    return float(np.mean([np.square(cv2.Laplacian(image, cv2.CV_32F))[where].mean() for image in grey]))


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_only_the_forged_region_is_softer(seed: int) -> None:
    genuine, weight = images(0), disc()
    before = genuine.copy()
    made = reduce_resolution(genuine, weight, np.random.default_rng(seed))
    assert made.shape == genuine.shape and made.dtype == np.uint8
    assert np.array_equal(genuine, before)
    assert np.array_equal(made, reduce_resolution(genuine, weight, np.random.default_rng(seed)))
    far = cv2.dilate(weight[0], np.ones((31, 31))) == 0
    assert np.array_equal(made[:, far], genuine[:, far])
    inside = cv2.erode(weight[0], np.ones((9, 9))) > 0
    assert fine(made, inside) <= fine(genuine, inside)


def test_a_box_extends_beyond_the_forged_region() -> None:
    genuine = images(1)
    ring = np.zeros((3, SIDE, SIDE), dtype=np.float32)
    cv2.circle(ring[0], (32, 32), 16, 1.0, 2)
    ring[:] = ring[0]
    corners = [made[:, 17:19, 17:19] for s in range(20) if (made := reduce_resolution(genuine, ring, np.random.default_rng(s))).any()]
    changed = [not np.array_equal(corner, genuine[:, 17:19, 17:19]) for corner in corners]
    assert any(changed) and not all(changed)  # in some clips a box around it, in others the part alone


def test_without_a_forged_region_nothing_changes() -> None:
    genuine = images(2)
    for seed in range(6):
        assert np.array_equal(reduce_resolution(genuine, np.zeros_like(disc()), np.random.default_rng(seed)), genuine)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_genuine_clip_becomes_as_soft_as_the_forged_part(seed: int) -> None:
    genuine = np.stack([cv2.GaussianBlur(image, (0, 0), 0.8) for image in images(3)])
    forged = reduce_resolution(genuine, disc(), np.random.default_rng(seed))
    part = np.abs(genuine.astype(int) - forged).max(axis=(0, 3)) > 2
    made = blur_to_match(genuine, forged)
    assert made.shape == genuine.shape and made.dtype == np.uint8
    if part.sum() > 50:
        assert 0.8 < fine(made, part) / fine(forged, part) < 1.25
        assert fine(made, ~part) < fine(genuine, ~part)  # as a whole, not in that part alone


def test_a_forgery_that_is_not_softer_keeps_its_paired_clip() -> None:
    genuine = np.stack([cv2.GaussianBlur(image, (0, 0), 2.0) for image in images(4)])
    assert blur_to_match(genuine, genuine) is genuine
    sharper = genuine.copy()
    sharper[:, 20:44, 16:48] = images(5)[:, 20:44, 16:48]
    assert np.array_equal(blur_to_match(genuine, sharper), genuine)
