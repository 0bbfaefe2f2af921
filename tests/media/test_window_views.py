from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from makers import Talk, noise_frames

from avwitness.media.clip import FRAME_RATE, Clip
from avwitness.media.encode import write_media
from avwitness.media.window_views import window_views
from avwitness.media.windows import MediaReader


@pytest.fixture(scope="module")
def long_file(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = np.concatenate([talk.frames, talk.frames[::-1]])  # 6 s
    return write_media(tmp_path_factory.mktemp("views") / "long.mp4", frames, np.tile(talk.waveform, 2))


def test_windows_hold_waveform_tracks_and_crops_of_the_speaker(long_file: Path) -> None:
    views = list(window_views(MediaReader(long_file), 3.0, 1.6))
    assert [v.first for v in views] == [round(k * 1.6 * FRAME_RATE) for k in range(len(views))]
    for v in views:
        assert v.waveform is not None and v.speaker is not None and v.mouth is not None and v.faces is not None and v.lips is not None
        assert len(v.mouth) == len(v.lips) == v.video_frames
        assert v.usable is v.speaker.usable and v.usable is not None and v.usable.mean() > 0.9
        assert len(v.faces) == -(-v.video_frames // 5)
        assert min(v.frame_size) > 32
        assert v.speaker in v.tracks
    bare = next(window_views(MediaReader(long_file), 3.0, 1.6, faces=False))
    assert bare.faces is None and np.array_equal(bare.mouth, views[0].mouth)  # type: ignore[arg-type]


def test_missing_streams_and_faces_are_none(talk: Talk, tmp_path: Path) -> None:
    (audio,) = window_views(MediaReader(write_media(tmp_path / "audio.m4a", waveform=talk.waveform)))
    assert audio.video_frames == 0 and audio.speaker is audio.mouth is audio.usable is audio.faces is None
    assert audio.audio_frames >= 74
    (noise,) = window_views(MediaReader(write_media(tmp_path / "noise.mp4", noise_frames(12))))
    assert noise.waveform is None and noise.audio_frames == 0 and noise.video_frames == 12 and noise.tracks == ()
    (muted,) = window_views(MediaReader(write_media(tmp_path / "talk.mp4", talk.frames, talk.waveform), video=False))
    assert muted.video_frames == 0 and muted.waveform is not None


def test_a_face_in_few_frames_is_not_cropped(talk: Talk, tmp_path: Path) -> None:
    frames = talk.frames[:40].copy()
    frames[7:] = 0
    file = write_media(tmp_path / "few.mp4", frames)
    (few,) = window_views(MediaReader(file))
    assert few.speaker is not None and few.mouth is few.usable is None
    (cropped,) = window_views(MediaReader(file), min_face_frames=0)
    assert cropped.mouth is not None and cropped.mouth.shape == (40, 96, 96)
    (short,) = window_views(MediaReader(write_media(tmp_path / "short.mp4", talk.frames[:8])))
    assert short.mouth is not None


@pytest.mark.slow
def test_only_one_decoded_window_is_held(long_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frames of a window are gone when the next one is decoded, though its views are still held."""
    decoded: list[weakref.ref[np.ndarray]] = []
    held: list[int] = []

    def windows(self: MediaReader, seconds: float, hop: float) -> Iterator[Clip]:
        for number in range(4):
            gc.collect()
            held.append(sum(frames() is not None for frames in decoded))
            frames = source[number * 10 :][:50].copy()
            decoded.append(weakref.ref(frames))
            yield Clip(frames, None, number * 10 / FRAME_RATE)
            del frames

    source = next(iter(MediaReader(long_file).windows())).frames
    assert source is not None
    monkeypatch.setattr(MediaReader, "windows", windows)
    with contextlib.closing(window_views(MediaReader(long_file))) as iterator:
        views = list(iterator)
    assert all(v.mouth is not None for v in views)
    assert held == [0, 0, 0, 0]
