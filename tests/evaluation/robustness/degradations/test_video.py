from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwitness.evaluation.robustness.degradations import video
from avwitness.evaluation.robustness.degradations.base import TimedFrame, VideoTransform
from avwitness.media.clip import MIN_SIDE

KINDS = {"resize": 0.5, "blur": 2.0, "grain": 10.0, "crop": 0.3, "frame_drop": 0.5}


def numbered(count: int, height: int = 48, width: int = 64, made: list[int] | None = None) -> Iterator[TimedFrame]:
    """Frames with their number as grey value; ``made`` collects the numbers of consumed frames."""
    for index in range(count):
        if made is not None:
            made.append(index)
        yield index / 25, np.full((height, width, 3), index, np.uint8)


def changed(change: VideoTransform, frame: np.ndarray, severity: float, seed: int = 0) -> np.ndarray:
    ((time, out),) = change(iter([(0.25, frame)]), severity, np.random.default_rng(seed))
    assert time == 0.25
    assert out.dtype == np.uint8
    return out


def noisy(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("name", "severity"), KINDS.items())
def test_frames_stream_one_by_one_and_keep_their_times(name: str, severity: float) -> None:
    made: list[int] = []
    out = getattr(video, name)(numbered(40, made=made), severity, np.random.default_rng(0))
    for index in range(40):
        time, _ = next(out)
        assert time == index / 25
        assert len(made) == index + 1
    assert next(out, None) is None


@given(st.integers(MIN_SIDE, 400), st.integers(MIN_SIDE, 400), st.floats(0.01, 1.0))
@settings(max_examples=60)
def test_downscaled_sides_are_even_and_proportional(height: int, width: int, share: float) -> None:
    out = changed(video.resize, np.zeros((height, width, 3), np.uint8), share)
    scale = min(1.0, max(share, MIN_SIDE / min(height, width)))
    for side, before in zip(out.shape[:2], (height, width), strict=True):
        assert side % 2 == 0
        assert side >= MIN_SIDE
        assert abs(side - before * scale) <= 1.0


def test_downscaling_averages() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.ptp(changed(video.resize, stripes, 0.5)) <= 1


@given(st.floats(0.5, 4.0))
@settings(max_examples=20)
def test_blur_has_its_sigma(sigma: float) -> None:
    edge = np.zeros((33, 129, 3), np.uint8)
    edge[:, 64:] = 250
    slope = np.diff(changed(video.blur, edge, sigma)[16, :, 0].astype(float)).clip(0)
    places = np.arange(len(slope))
    middle = (slope * places).sum() / slope.sum()
    assert np.sqrt((slope * (places - middle) ** 2).sum() / slope.sum()) == pytest.approx(sigma, rel=0.2, abs=0.1)


@given(st.floats(1.0, 30.0), st.integers(0, 5))
@settings(max_examples=20)
def test_grain_has_its_standard_deviation_and_no_colour(levels: float, seed: int) -> None:
    out = changed(video.grain, np.full((96, 96, 3), 128, np.uint8), levels, seed).astype(float)
    assert out[..., 0].std() == pytest.approx(levels, rel=0.06)
    assert out.mean() == pytest.approx(128.0, abs=levels / 20)
    assert np.array_equal(out[..., 0], out[..., 1]) and np.array_equal(out[..., 0], out[..., 2])


def test_grain_is_independent_by_frame_and_clipped() -> None:
    frames = [(0.0, np.zeros((64, 64, 3), np.uint8)), (0.04, np.zeros((64, 64, 3), np.uint8))]
    (_, first), (_, second) = video.grain(iter(frames), 20.0, np.random.default_rng(0))
    assert not np.array_equal(first, second)
    assert first.max() < 128  # values below 0 do not wrap around
    assert changed(video.grain, np.full((64, 64, 3), 255, np.uint8), 20.0).min() > 128


@given(st.integers(MIN_SIDE, 300), st.integers(MIN_SIDE, 300), st.floats(0.0, 0.9))
@settings(max_examples=60)
def test_crop_is_central(height: int, width: int, share: float) -> None:
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = np.arange(width) % 256
    frame[..., 1] = (np.arange(height) % 256)[:, None]
    out = changed(video.crop, frame, share)
    high, wide = out.shape[:2]
    kept = min(1.0, max(1.0 - share, MIN_SIDE / min(height, width)))
    assert abs(high - height * kept) <= 1.0 and abs(wide - width * kept) <= 1.0
    top, left = (height - high) // 2, (width - wide) // 2
    assert np.array_equal(out, frame[top : top + high, left : left + wide])


@given(st.floats(0.0, 0.95), st.integers(0, 20))
@settings(max_examples=30)
def test_dropped_frames_repeat_the_previous_one(share: float, seed: int) -> None:
    shown = [int(frame[0, 0, 0]) for _, frame in video.frame_drop(numbered(60, 2, 2), share, np.random.default_rng(seed))]
    assert shown[0] == 0
    for index, number in enumerate(shown):
        assert number in (index, shown[index - 1] if index else 0)
    assert shown == [int(f[0, 0, 0]) for _, f in video.frame_drop(numbered(60, 2, 2), share, np.random.default_rng(seed))]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6])
def test_share_of_dropped_frames(share: float) -> None:
    out = video.frame_drop(((i / 25, np.array([i])) for i in range(20_000)), share, np.random.default_rng(0))
    assert np.mean([int(frame[0]) != index for index, (_, frame) in enumerate(out)]) == pytest.approx(share, abs=0.01)


def test_no_share_dropped_leaves_every_frame() -> None:
    assert [f[0, 0, 0] for _, f in video.frame_drop(numbered(10), 0.0, np.random.default_rng(0))] == list(range(10))


@pytest.mark.parametrize(("name", "severity"), KINDS.items())
def test_input_frames_are_not_modified(name: str, severity: float) -> None:
    frame = noisy(48, 64)
    before = frame.copy()
    list(getattr(video, name)(iter([(0.0, frame)]), severity, np.random.default_rng(0)))
    assert np.array_equal(frame, before)
