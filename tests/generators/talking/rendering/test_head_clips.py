"""Head clips: cropping, caching, and clips without a face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from people import AUDIO_ONLY, FRAMES, VIDEO_ONLY

from avwitness.generators.forge.plan import Origin
from avwitness.generators.talking.rendering.head_clips import (
    MIN_FRAMES,
    HeadClip,
    crop_head_clip,
    load_head_clips,
    sampling_weights,
)
from avwitness.generators.talking.rendering.head_crops import HEAD_SIZE, crop_heads, head_box
from avwitness.media.clip import MediaError
from avwitness.media.face.geometry import rigid_motion
from avwitness.media.speech import STACKED_BINS, log_mel
from avwitness.media.windows import read_clip


def clip(identity: str) -> HeadClip:
    return HeadClip(identity, identity, "", *(np.zeros(0) for _ in range(5)))


def test_tracked_clips_become_head_clips(head_clips: list[HeadClip]) -> None:
    assert [c.identity for c in head_clips] == ["collins", "collins", "hopper", "hopper", "hopper"]
    for c in head_clips:
        assert len(c) == FRAMES and c.corpus == "people"
        assert c.heads.shape == (FRAMES, HEAD_SIZE, HEAD_SIZE, 3) and c.heads.dtype == np.uint8
        assert c.points.shape == (FRAMES, 478, 3) and c.points.dtype == np.float32
        assert c.pose.shape == (FRAMES, 6) and c.pose.dtype == np.float32
        assert c.usable.shape == (FRAMES,) and c.usable.dtype == bool
        assert c.audio.shape == (FRAMES, STACKED_BINS) and c.audio.dtype == np.float32
        assert np.abs(c.points[..., :2]).max() < 1.0
        assert np.allclose(rigid_motion(c.points), c.pose, atol=1e-5)


def test_clips_without_a_face_are_left_out_and_without_audio_have_zeros(head_clips: list[HeadClip]) -> None:
    assert not any(AUDIO_ONLY in c.path for c in head_clips)
    silent = [c for c in head_clips if VIDEO_ONLY in c.path]
    assert len(silent) == 1 and not silent[0].audio.any()
    assert all(c.audio.std() > 0.5 for c in head_clips if c is not silent[0])


def test_heads_and_audio_are_those_of_the_clip(
    head_clips: list[HeadClip], sources: tuple[list[Origin], list[Path]], tmp_path: Path
) -> None:
    origin, track = sources[0][0], sources[1][0]
    crop_head_clip(origin.file, tmp_path / "head.npz", track)
    with np.load(tmp_path / "head.npz") as data:
        assert np.array_equal(data["heads"], head_clips[0].heads) and np.array_equal(data["points"], head_clips[0].points)
    media = read_clip(origin.file)
    assert media.frames is not None and media.waveform is not None
    with np.load(track) as data:
        box = head_box(data["landmarks"][data["usable"]])
        assert np.allclose(box.from_unit(head_clips[0].points), data["landmarks"], atol=0.01)
    assert np.abs(crop_heads(media.frames[[30]], box)[0].astype(int) - head_clips[0].heads[30]).mean() < 1.0
    assert np.allclose(log_mel(media.waveform)[:40], head_clips[0].audio[:40], atol=1e-3)


def test_head_clips_are_cached(sources: tuple[list[Origin], list[Path]], tmp_path: Path) -> None:
    clips, tracks = ([x[0], x[4]] for x in sources)
    assert AUDIO_ONLY in clips[1].path
    first = load_head_clips(clips, tracks, tmp_path, 1)
    files = {f: f.stat().st_mtime_ns for f in tmp_path.iterdir()}
    assert len(first) == 1 and len(files) == 2  # what has no face is remembered, too
    again = load_head_clips([replace(c, file="gone.mp4") for c in clips], tracks, tmp_path, 1)
    assert {f: f.stat().st_mtime_ns for f in tmp_path.iterdir()} == files
    assert np.array_equal(again[0].heads, first[0].heads)


def test_clips_that_were_not_followed_are_left_out(sources: tuple[list[Origin], list[Path]], tmp_path: Path) -> None:
    assert load_head_clips(sources[0][:1], [tmp_path / "track-none.npz"], tmp_path / "cache", 1) == []
    assert load_head_clips([], [], tmp_path / "cache", 1) == []


@pytest.mark.parametrize("seen", [0, MIN_FRAMES - 1])
def test_a_face_in_too_few_frames_is_left_out(seen: int, sources: tuple[list[Origin], list[Path]], tmp_path: Path) -> None:
    with np.load(sources[1][0]) as data:
        arrays = dict(data)
    arrays["usable"] = np.arange(FRAMES) < seen
    np.savez(tmp_path / "track.npz", **arrays)
    crop_head_clip(sources[0][0].file, tmp_path / "head.npz", tmp_path / "track.npz")
    with np.load(tmp_path / "head.npz") as data:
        assert all(len(data[name]) == 0 for name in data)


def test_audio_shorter_than_the_video_is_padded(sources: tuple[list[Origin], list[Path]], tmp_path: Path) -> None:
    with np.load(sources[1][0]) as data:
        arrays = dict(data)
    arrays["waveform"] = arrays["waveform"][: 50 * 640]
    np.savez(tmp_path / "track.npz", **arrays)
    crop_head_clip(sources[0][0].file, tmp_path / "head.npz", tmp_path / "track.npz")
    with np.load(tmp_path / "head.npz") as data:
        assert data["audio"].shape == (FRAMES, STACKED_BINS)
        assert (data["audio"][50:] == data["audio"][49]).all()


def test_an_unreadable_file_writes_no_cache(sources: tuple[list[Origin], list[Path]], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is no film\n" * 200)
    with pytest.raises(MediaError):
        crop_head_clip(broken, tmp_path / "head.npz", sources[1][0])
    assert not (tmp_path / "head.npz").exists()


def test_people_have_votes_between_one_each_and_one_a_clip() -> None:
    made = sampling_weights([clip("a")] * 4 + [clip("b")])
    assert made.sum() == pytest.approx(1.0)
    assert made[:4].sum() == pytest.approx(2 / 3) and made[4] == pytest.approx(1 / 3)
    assert np.allclose(sampling_weights([clip(x) for x in "abc"]), 1 / 3)
