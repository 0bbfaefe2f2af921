"""Head crops: coordinates, cropping and pasting."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import Talk

from avwitness.generators.talking.rendering.head_crops import (
    BOX_SCALE,
    FEATHER_SHARE,
    HEAD_SIZE,
    Box,
    crop_heads,
    feather_mask,
    head_box,
    paste_heads,
)
from avwitness.media.face.geometry import mean_face
from avwitness.media.face.landmarks import OVAL
from avwitness.media.face.tracking import FaceTrack

numbers = st.floats(-200.0, 400.0)
boxes = st.builds(Box, numbers, numbers, st.floats(20.0, 500.0))


def smooth_frames(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Images without fine detail."""
    small = np.random.default_rng(seed).uniform(0, 255, (count, 6, 6, 3)).astype(np.float32)
    return np.stack([cv2.resize(x, (width, height), interpolation=cv2.INTER_CUBIC) for x in small]).clip(0, 255).astype(np.uint8)


def noise(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@given(boxes, st.integers(0, 2**32 - 1), st.sampled_from([2, 3]))
def test_unit_coordinates_are_inverted(box: Box, seed: int, axes: int) -> None:
    points = np.random.default_rng(seed).uniform(-300, 600, (4, 7, axes)).astype(np.float32)
    before = points.copy()
    units = box.to_unit(points)
    assert units.dtype == np.float32 and units.shape == points.shape
    assert np.allclose(box.from_unit(units), points, atol=2e-3)
    assert np.array_equal(points, before)


@given(boxes)
def test_the_edges_of_a_box_are_one_and_depth_has_their_scale(box: Box) -> None:
    corners = np.array([[box.left, box.top, 0.0], [box.left + box.side, box.top + box.side, box.side / 2]])
    assert np.allclose(box.to_unit(corners), [[-1, -1, 0], [1, 1, 1]], atol=1e-3)


@given(boxes, st.integers(16, 200), numbers, numbers)
def test_units_and_pixels_of_the_crop_are_one_map(box: Box, side: int, x: float, y: float) -> None:
    # The centre of pixel (x, y) is half a pixel inside its edges.
    units = box.to_unit(np.array([x + 0.5, y + 0.5]))
    column, row = box.transform(side) @ (x, y, 1.0)
    assert np.allclose(units, [(column + 0.5) * 2 / side - 1, (row + 0.5) * 2 / side - 1], atol=1e-3)


@pytest.mark.parametrize("side", [64, HEAD_SIZE, 131])
def test_a_crop_of_the_whole_image_is_the_image(side: int) -> None:
    frames = noise(2, side, side)
    assert np.array_equal(crop_heads(frames, Box(0.0, 0.0, float(side)), side), frames)


def test_a_crop_at_native_size_is_a_cut() -> None:
    frames = noise(2, 150, 170)
    assert np.array_equal(crop_heads(frames, Box(30.0, 20.0, float(HEAD_SIZE))), frames[:, 20 : 20 + HEAD_SIZE, 30 : 30 + HEAD_SIZE])


def test_half_size_averages_and_lies_where_it_lay() -> None:
    frames = np.repeat(np.repeat(smooth_frames(1, 96, 96), 2, axis=1), 2, axis=2)
    halved = crop_heads(frames, Box(0.0, 0.0, 192.0))
    assert np.abs(halved.astype(int) - frames[:, ::2, ::2]).max() <= 6
    grating = np.zeros((1, 384, 384, 3), np.uint8)
    grating[:, :, ::2] = 255
    assert crop_heads(grating, Box(3.3, 1.7, 371.0)).std() < 40.0  # 127 without an average


def test_landmarks_stay_on_what_they_mark() -> None:
    frame = np.zeros((1, 240, 320, 3), np.uint8)
    middle = np.array([163.5, 101.5])  # of pixel (163, 101)
    cv2.circle(frame[0], (163, 101), 4, (255, 255, 255), -1)
    box = Box(110.3, 40.9, 120.7)
    y, x = np.mgrid[0:HEAD_SIZE, 0:HEAD_SIZE]
    weight = crop_heads(frame, box)[0, ..., 0].astype(float)
    seen = np.array([((x + 0.5) * weight).sum(), ((y + 0.5) * weight).sum()]) / weight.sum() * 2 / HEAD_SIZE - 1
    assert np.allclose(seen, box.to_unit(middle), atol=0.1 * 2 / HEAD_SIZE)  # a tenth of a pixel


@pytest.mark.parametrize("box", [Box(-40.0, -30.0, 150.0), Box(60.0, 50.0, 200.0), Box(-100.0, -100.0, 400.0), Box(500.0, 500.0, 96.0)])
def test_beyond_the_frame_its_border_goes_on(box: Box) -> None:
    frames = smooth_frames(1, 120, 140)
    heads = crop_heads(frames, box)
    assert heads.shape == (1, HEAD_SIZE, HEAD_SIZE, 3)
    if box.left < 0 and box.top < 0:
        assert np.abs(heads[0, 0, 0].astype(int) - frames[0, 0, 0]).max() <= 8
    pasted, share = paste_heads(heads, frames, box)
    assert pasted.shape == frames.shape and share.shape == (1, 120, 140)
    assert share.min() >= 0.0 and share.max() <= 1.0
    if box.left >= 140:
        assert np.array_equal(pasted, frames) and not share.any()


@pytest.mark.parametrize(("left", "top"), [(20.0, 11.0), (0.0, 0.0), (-17.0, 60.0)])
def test_pasting_an_unchanged_crop_of_native_size_changes_nothing(left: float, top: float) -> None:
    frames = noise(2, 140, 150)
    box = Box(left, top, float(HEAD_SIZE))
    pasted, share = paste_heads(crop_heads(frames, box), frames, box)
    assert np.abs(pasted.astype(int) - frames).max() <= 1
    assert share.max() > 0.99


@settings(max_examples=25)
@given(st.floats(-30.0, 60.0), st.floats(-30.0, 60.0), st.floats(70.0, 120.0))
def test_pasting_an_unchanged_crop_changes_little_anywhere(left: float, top: float, side: float) -> None:
    frames = smooth_frames(1, 140, 150)
    box = Box(left, top, side)
    pasted, share = paste_heads(crop_heads(frames, box), frames, box)
    # Where a square extends beyond the frame, its crop repeats the border: only there may the last pixels of the frame change.
    assert np.abs(pasted.astype(int) - frames)[:, 2:-2, 2:-2].max() <= 6
    assert share.min() >= 0.0 and share.max() <= 1.0


@settings(max_examples=40)
@given(boxes, st.integers(0, 1000))
def test_outside_the_square_nothing_changes(box: Box, seed: int) -> None:
    frames = noise(1, 120, 160, seed)
    before = frames.copy()
    pasted, share = paste_heads(noise(1, HEAD_SIZE, HEAD_SIZE, seed + 1), frames, box)
    y, x = np.mgrid[0:120, 0:160] + 0.5
    room = box.side / HEAD_SIZE  # a pixel of the crop, over which its edge is interpolated
    outside = (x < box.left - room) | (x > box.left + box.side + room) | (y < box.top - room) | (y > box.top + box.side + room)
    assert not share[0][outside].any()
    assert np.array_equal(pasted[0][outside], frames[0][outside])
    assert share.min() >= 0.0 and share.max() <= 1.0
    assert np.array_equal(frames, before)


@pytest.mark.parametrize("side", [60.0, 96.0, 300.0])
def test_an_even_head_is_pasted_evenly(side: int) -> None:
    frames, head = np.full((1, 320, 320, 3), 50, np.uint8), np.full((1, HEAD_SIZE, HEAD_SIZE, 3), 200, np.uint8)
    pasted, share = paste_heads(head, frames, Box(10.0, 10.0, side))
    assert pasted.min() >= 50 and pasted.max() <= 200  # no dark line at the edge, no ringing
    assert np.abs(pasted[..., 0] - (50 + 150 * share)).max() < 1.0


def test_masks_reduce_what_is_pasted() -> None:
    frames, heads = np.zeros((2, HEAD_SIZE, HEAD_SIZE, 3), np.uint8), np.full((2, HEAD_SIZE, HEAD_SIZE, 3), 255, np.uint8)
    masks = np.zeros((2, HEAD_SIZE, HEAD_SIZE), np.float32)
    masks[1, :, :48] = 1.0
    pasted, share = paste_heads(heads, frames, Box(0.0, 0.0, float(HEAD_SIZE)), masks)
    assert not pasted[0].any() and not share[0].any()
    assert not pasted[1, :, 48:].any() and pasted[1, 48, 24].min() == 255
    assert np.array_equal(share[1, :, :48], feather_mask(HEAD_SIZE)[:, :48])  # a mask never goes beyond the feather


def test_feathers_fade_on_every_side_alike() -> None:
    mask = feather_mask(HEAD_SIZE)
    assert mask.shape == (HEAD_SIZE, HEAD_SIZE) and mask.dtype == np.float32
    assert np.array_equal(mask, mask.T) and np.array_equal(mask, mask[::-1]) and np.array_equal(mask, mask[:, ::-1])
    assert mask[0].max() < 0.02
    inside = int(np.ceil(FEATHER_SHARE * HEAD_SIZE))
    assert (mask[inside:-inside, inside:-inside] == 1.0).all()
    assert (np.diff(mask[HEAD_SIZE // 2, : HEAD_SIZE // 2]) >= 0.0).all()


def test_a_head_box_holds_the_head_and_grows_with_its_ways(talk_track: FaceTrack) -> None:
    face = 90.0 * mean_face() + (160.0, 120.0, 0.0)
    oval = face[list(OVAL), :2]
    still = head_box(np.repeat(face[None], 20, axis=0))
    assert still.side == pytest.approx(BOX_SCALE * np.ptp(oval[:, 1]), rel=1e-4)
    assert still.left + still.side / 2 == pytest.approx(oval[:, 0].min() / 2 + oval[:, 0].max() / 2, abs=1e-3)
    assert still.top + still.side / 2 < (oval[:, 1].min() + oval[:, 1].max()) / 2  # room for the hair
    ways = np.linspace(0.0, 80.0, 20)[:, None, None] * np.array([1.0, 0.0, 0.0])
    wandering = head_box(face[None] + ways)
    assert wandering.side > still.side + 20.0
    units = head_box(talk_track.landmarks).to_unit(talk_track.landmarks)
    assert np.abs(units[..., :2]).max() < 0.95
    assert np.array_equal(units[:, 1, :2], head_box(talk_track.landmarks[..., :2]).to_unit(talk_track.landmarks)[:, 1, :2])


def test_a_larger_image_gives_the_same_crop(talk: Talk, talk_track: FaceTrack) -> None:
    frames = talk.frames[:2]
    big = np.stack([cv2.resize(x, None, fx=2.0, fy=2.0, interpolation=cv2.INTER_LINEAR) for x in frames])
    a, b = head_box(talk_track.landmarks), head_box(2.0 * talk_track.landmarks)
    difference = np.abs(crop_heads(frames, a).astype(int) - crop_heads(big, b))
    assert difference.mean() < 1.5
