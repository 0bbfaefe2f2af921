from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from makers import Talk, noise_frames

from avwitness.media.clip import MediaError
from avwitness.media.encode import write_media
from avwitness.media.views import load_views, read_views, save_views


def test_a_talking_face_has_every_view(talk: Talk, talk_file: Path, tmp_path: Path) -> None:
    views = read_views(talk_file, reader="pyav")
    assert views.mouth is not None and views.lips is not None and views.usable is not None and views.waveform is not None
    assert views.mouth.shape == (len(talk.frames), 96, 96)
    assert views.usable.mean() > 0.9
    assert views.face is not None and views.face.shape == (-(-len(talk.frames) // 5), 128, 128, 3)
    assert all(face.any() for face in views.face)
    assert abs(len(views.waveform) - len(talk.waveform)) <= 640
    save_views(views, tmp_path / "views.npz")
    again = load_views(tmp_path / "views.npz")
    assert np.array_equal(again.mouth, views.mouth)  # type: ignore[arg-type]
    assert np.array_equal(again.face, views.face)  # type: ignore[arg-type]
    assert np.array_equal(again.waveform, views.waveform)  # type: ignore[arg-type]
    assert np.abs(again.lips - views.lips).max() < 0.1  # type: ignore[operator]


def test_what_is_not_there_is_none(talk: Talk, tmp_path: Path) -> None:
    faceless = read_views(write_media(tmp_path / "noise.mp4", noise_frames(12)))
    assert faceless.mouth is faceless.face is faceless.waveform is None
    heard = read_views(write_media(tmp_path / "sound.m4a", waveform=talk.waveform))
    assert heard.mouth is None
    assert heard.waveform is not None
    save_views(heard, tmp_path / "heard.npz")
    assert load_views(tmp_path / "heard.npz").mouth is load_views(tmp_path / "heard.npz").face is None
    with pytest.raises(MediaError, match="no such file"):
        read_views(tmp_path / "absent.mp4")
