"""Face warping and swapping."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes, label

from avwitness.generators.faces.swap import POINTS, swap_face, triangles, warp_face
from avwitness.generators.methods.source import Source
from avwitness.media.face.landmarks import LIPS_INNER, OVAL


@pytest.fixture(scope="module")
def faces(followed: dict[str, Source]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Six frames of each person, and their landmarks."""
    found = {}
    for name in ("collins-1", "hopper-1"):
        source = followed[name]
        assert source.frames is not None and source.landmarks is not None
        found[name.split("-")[0]] = source.frames[10:34:4], source.landmarks[10:34:4]
    return found


def test_triangles_lie_side_by_side() -> None:
    corners = triangles()
    assert len(corners) > 100
    assert corners.max() == len(POINTS) - 1
    assert set(corners.ravel()) == set(range(len(POINTS)))  # no landmark is left out


def test_a_face_warped_onto_itself_is_the_same_face(faces: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    frames, landmarks = faces["collins"]
    warped, inside = warp_face(frames[0], landmarks[0], landmarks[0], frames.shape[1:3])
    difference = np.abs(warped.astype(int) - frames[0])[inside]
    assert np.percentile(difference, 99) <= 3
    assert inside[landmarks[0, 1, 1].astype(int), landmarks[0, 1, 0].astype(int)]  # the tip of the nose


def test_a_face_follows_the_points_it_is_moved_to(faces: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    frames, landmarks = faces["collins"]
    warped, inside = warp_face(frames[0], landmarks[0], landmarks[0] + np.float32((7, -5)), frames.shape[1:3])
    moved = np.roll(frames[0], (-5, 7), axis=(0, 1))
    assert np.percentile(np.abs(warped.astype(int) - moved)[inside], 99) <= 3


@pytest.mark.parametrize("name", ["collins", "hopper"])
@pytest.mark.parametrize("size", [0.5, 1.0, 2.3])
def test_the_inside_is_one_piece_without_holes(name: str, size: float, faces: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    frames, landmarks = faces["collins"]
    target = faces[name][1][2] * np.float32(size)
    _, inside = warp_face(frames[0], landmarks[0], target, (round(256 * size), round(256 * size)))
    assert inside.dtype == bool
    assert np.array_equal(binary_fill_holes(inside), inside)
    assert label(inside)[1] == 1
    box = np.ptp(target[list(OVAL)], axis=0)
    assert 0.6 * box.prod() < inside.sum() < 0.95 * box.prod()


@pytest.mark.parametrize("seed", range(4))
def test_the_donors_colours_end_up_near_those_of_the_target(seed: int, faces: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    frames, landmarks = faces["hopper"]
    donor, points = faces["collins"]
    cold = np.clip(donor * np.array([0.45, 0.6, 1.0]) + np.array([0, 0, 25]), 0, 255).astype(np.uint8)
    before = frames.copy(), cold.copy()
    forged, weight = swap_face(frames, landmarks, cold, points, np.random.default_rng(seed))
    again, _ = swap_face(frames, landmarks, cold, points, np.random.default_rng(seed))
    assert np.array_equal(forged, again)
    assert np.array_equal(frames, before[0]) and np.array_equal(cold, before[1])
    assert forged.shape == frames.shape and forged.dtype == np.uint8
    assert weight.shape == frames.shape[:3] and weight.min() >= 0.0 and 0.9 < weight.max() <= 1.0 + 1e-6
    assert np.array_equal(forged[weight == 0.0], frames[weight == 0.0])
    core = weight > 0.95
    assert core.mean() > 0.05
    wanted, got = (x[core].astype(float).mean(axis=0) for x in (frames, forged))
    _, face = warp_face(cold[0], points[0], points[0], frames.shape[1:3])
    given = cold[0][face].astype(float).mean(axis=0)
    assert np.abs(given - wanted).max() > 40.0
    # Poisson blending takes the level from the boundary only, so it matches less closely than a feathered edge.
    assert np.abs(got - wanted).max() < 0.75 * np.abs(given - wanted).max()
    assert np.abs(forged.astype(int) - frames)[core].mean() > 5.0  # and it is another face


def test_the_mouth_goes_on_speaking(faces: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    frames, landmarks = faces["hopper"]
    _, weight = swap_face(frames, landmarks, *faces["collins"], np.random.default_rng(0))
    gape = np.linalg.norm(landmarks[:, 13] - landmarks[:, 14], axis=-1)
    widest = int(np.argmax(gape))
    assert gape[widest] > 6.0
    x, y = landmarks[widest, list(LIPS_INNER)].mean(axis=0).round().astype(int)
    assert weight[widest, y, x] < 0.2
    nose = landmarks[widest, 1].round().astype(int)
    assert weight[widest, nose[1], nose[0]] > 0.9


def test_the_donor_frame_has_the_most_similar_pose(faces: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    frames, landmarks = faces["hopper"]
    squeezed = landmarks[:1] * np.float32((0.6, 1.0))
    noise = np.random.default_rng(0).integers(0, 256, frames[:1].shape, dtype=np.uint8)
    donor = np.concatenate([noise, frames[:1]]), np.concatenate([squeezed, landmarks[:1]])
    forged, weight = swap_face(frames[:1], landmarks[:1], *donor, np.random.default_rng(0))
    assert np.abs(forged.astype(int) - frames[:1])[weight > 0.9].mean() < 4.0


@pytest.mark.parametrize("move", [(-90, 0), (100, 0), (0, -60), (60, 110), (-400, 0)])
@pytest.mark.parametrize("seed", range(5))
def test_a_face_may_cross_the_edge_of_the_frame(move: tuple[int, int], seed: int, faces: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    frames, landmarks = (x[:2] for x in faces["hopper"])
    rolled, points = np.roll(frames, move[::-1], axis=(1, 2)), landmarks + np.float32(move)
    forged, weight = swap_face(rolled, points, *faces["collins"], np.random.default_rng(seed))
    assert forged.shape == rolled.shape
    assert np.isfinite(weight).all()
    assert weight.any() == (move[0] > -400)  # wholly outside: unchanged
