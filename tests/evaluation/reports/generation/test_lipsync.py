from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import Talk
from speech import toy_views

from avwitness.avsr.backbones.two_stream import TwoStream, TwoStreamConfig
from avwitness.datasets.manifest import read_manifest
from avwitness.evaluation.reports.generation.lipsync import MAX_OFFSET, MIN_OVERLAP, Lipsync, OffsetEstimator, bundled_backbone
from avwitness.media.views import read_views

pytestmark = pytest.mark.usefixtures("one_thread")
Clip = tuple[np.ndarray, np.ndarray]


def late(clip: Clip, frames: int) -> Clip:
    """The clip with its audio delayed by ``frames`` (negative: earlier), cut to the common part of both streams."""
    mouth, waveform = clip
    if frames == 0:
        return clip
    samples = 640 * abs(frames)
    return (mouth[frames:], waveform[:-samples]) if frames > 0 else (mouth[:frames], waveform[samples:])


def toy_clips(count: int, seed: int, letters: int = 14) -> list[Clip]:
    rng = np.random.default_rng(seed)
    views = [toy_views("".join(rng.choice(list("abcd "), letters)), rng) for _ in range(count)]
    return [(v.mouth, v.waveform) for v in views if v.mouth is not None and v.waveform is not None]


@pytest.fixture(scope="module")
def backbone() -> TwoStream:
    """A tiny one with random weights, which distinguish tones and bars."""
    torch.manual_seed(0)
    config = TwoStreamConfig(
        width=32, heads=2, feed_forward=64, audio_layers=1, video_layers=1, visual_widths=(8, 8, 16, 16), visual_blocks=1, position_kernel=7
    )
    return TwoStream(config).eval()


@pytest.fixture(scope="module")
def estimator(backbone: TwoStream) -> OffsetEstimator:
    return OffsetEstimator.fit(toy_clips(12, seed=0), backbone=backbone)


def measured(found: Lipsync | None) -> Lipsync:
    assert found is not None
    return found


@pytest.mark.parametrize("frames", [0, 3, -3, 5, -5, 10, -10])
def test_a_known_offset_is_found(estimator: OffsetEstimator, frames: int) -> None:
    for clip in toy_clips(3, seed=1):
        assert measured(estimator.estimate(*late(clip, frames))).offset_ms == pytest.approx(40.0 * frames, abs=20.0)


def test_half_a_frame_is_resolved(estimator: OffsetEstimator) -> None:
    clips = toy_clips(4, seed=1)
    none = measured(estimator.estimate_many(clips)).offset_ms
    half = measured(estimator.estimate_many([(mouth, np.roll(waveform, 320)) for mouth, waveform in clips])).offset_ms
    assert half - none == pytest.approx(20.0, abs=10.0)


def test_level_and_brightness_do_not_matter(estimator: OffsetEstimator) -> None:
    mouth, waveform = toy_clips(1, seed=2)[0]
    plain = measured(estimator.estimate(mouth, waveform))
    quiet = measured(estimator.estimate(mouth, waveform * np.float32(0.1)))
    assert quiet.offset_ms == pytest.approx(plain.offset_ms, abs=1.0)
    assert quiet.confidence == pytest.approx(plain.confidence, abs=0.01)
    assert measured(estimator.estimate(mouth // 2 + 10, waveform)).offset_ms == pytest.approx(0.0, abs=20.0)


def test_foreign_audio_has_less_confidence(estimator: OffsetEstimator) -> None:
    clips = toy_clips(6, seed=3)
    own = [measured(estimator.estimate(*clip)).confidence for clip in clips]
    shifted = zip(clips, clips[1:] + clips[:1], strict=True)
    foreign = [measured(estimator.estimate(mouth, waveform)).confidence for (mouth, _), (_, waveform) in shifted]
    assert min(own) > max(foreign)


def test_short_clips_are_pooled(estimator: OffsetEstimator) -> None:
    shortest = 2 * 3 + MAX_OFFSET + MIN_OVERLAP  # frames: both ends, the largest offset, the overlap
    clips = [(m[10 : 9 + shortest], w[6400 : 640 * (9 + shortest)]) for m, w in (late(clip, 3) for clip in toy_clips(6, seed=4))]
    assert all(estimator.estimate(*clip) is None for clip in clips)
    assert measured(estimator.estimate_many(clips)).offset_ms == pytest.approx(120.0, abs=20.0)
    mouth, waveform = toy_clips(1, seed=4)[0]
    assert estimator.estimate(mouth[:shortest], waveform) is not None


def test_clips_without_content_have_no_offset(estimator: OffsetEstimator) -> None:
    mouth, waveform = toy_clips(1, seed=5)[0]
    assert estimator.estimate_many([]) is None
    assert estimator.estimate(mouth[:0], waveform[:0]) is None
    assert estimator.estimate(mouth, waveform[:5000]) is None
    assert estimator.estimate(np.zeros_like(mouth), waveform) is None, "no mouth"
    assert estimator.estimate(mouth, np.zeros_like(waveform)) is None, "silence"
    assert estimator.estimate(np.repeat(mouth[:1], len(mouth), axis=0), waveform) is None, "a still image"


def test_frames_without_a_mouth_are_left_out(estimator: OffsetEstimator) -> None:
    for mouth, waveform in toy_clips(3, seed=6):
        holed = mouth.copy()
        holed[20:26] = 0
        holed[40] = 0
        assert measured(estimator.estimate(holed, waveform)).offset_ms == pytest.approx(0.0, abs=20.0)


def test_known_lags_calibrate_the_zero(backbone: TwoStream, estimator: OffsetEstimator) -> None:
    lags = [0, 1, 2, -3] * 3
    clips = [late(clip, lag) for clip, lag in zip(toy_clips(12, seed=0), lags, strict=True)]
    told = OffsetEstimator.fit(clips, lags, backbone)
    for clip in toy_clips(2, seed=7):
        assert measured(told.estimate(*clip)).offset_ms == pytest.approx(measured(estimator.estimate(*clip)).offset_ms, abs=5.0)


def test_invalid_fits_are_refused(backbone: TwoStream) -> None:
    clips = toy_clips(2, seed=8)
    with pytest.raises(ValueError, match="2 clips, but 1 lags"):
        OffsetEstimator.fit(clips, [0], backbone)
    with pytest.raises(ValueError, match=r"none of 1 clips .* 7 frames; give longer ones"):
        OffsetEstimator.fit([(clips[0][0][:6], clips[0][1])], backbone=backbone)
    with pytest.raises(ValueError, match="none of 0 clips"):
        OffsetEstimator.fit([], backbone=backbone)


def test_fitting_twice_gives_the_same(backbone: TwoStream) -> None:
    one, other = (OffsetEstimator.fit(toy_clips(3, seed=9), backbone=backbone) for _ in range(2))
    assert np.array_equal(one.audio_projection, other.audio_projection)
    assert np.array_equal(one.video_projection, other.video_projection)


def test_front_ends_do_not_depend_on_the_position(talk: Talk) -> None:
    """Features of a frame must not depend on frames more than two away, or every clip would appear in sync."""
    backbone = bundled_backbone()
    rng = np.random.default_rng(0)
    audio = torch.from_numpy(backbone.extract_audio_features(talk.waveform))[None, :50]
    video = torch.from_numpy(rng.integers(0, 256, (1, 50, 88, 88), dtype=np.uint8))
    mask = torch.ones(1, 50, dtype=torch.bool)
    with torch.inference_mode():
        for front, stream in ((backbone.audio_front, audio), (backbone.video_front, video)):
            whole, part = front(stream, mask)[0], front(stream[:, 10:30], mask[:, 10:30])[0]
            assert torch.allclose(whole[12:28], part[2:18], atol=1e-4)
            assert not torch.allclose(whole[10:30], part, atol=1e-4)


def read_clips(table: Sequence[Path]) -> list[Clip]:
    views = [read_views(file) for file in table]
    return [(v.mouth, v.waveform) for v in views if v.mouth is not None and v.waveform is not None]


@pytest.mark.slow
@pytest.mark.footage
def test_offsets_of_real_speech(footage: Path) -> None:
    table = read_manifest(footage)
    table = table[table.corpus == "grid"]
    files = {split: list(table.file[table.split == split]) for split in ("train", "dev")}
    estimator = OffsetEstimator.fit(read_clips(files["train"][::16]))
    dev = read_clips(files["dev"][::15])
    assert len(dev) == 4
    for frames in (0, 5, -10):
        for clip in dev:
            assert measured(estimator.estimate(*late(clip, frames))).offset_ms == pytest.approx(40.0 * frames, abs=60.0)
    own = [measured(estimator.estimate(*clip)).confidence for clip in dev]
    foreign = [measured(estimator.estimate(dev[i][0], dev[i - 1][1])).confidence for i in range(4)]
    assert min(own) > max(foreign)
