from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from makers import noise_frames

from avwitness.evaluation.reports.detection.portraits import fill_portraits
from avwitness.media.encode import write_media


@pytest.mark.slow
def test_portraits_are_cut_once_and_clips_without_a_face_are_left_out(talk_file: Path, tmp_path: Path) -> None:
    blank = write_media(tmp_path / "blank.mp4", noise_frames(20))
    files, paths = [talk_file, blank, tmp_path / "missing.mp4"], ["a/talk.mp4", "a/blank.mp4", "a/missing.mp4"]
    found = fill_portraits(files, paths, tmp_path / "cache", 1)
    assert list(found) == ["a/talk.mp4"]
    with np.load(found["a/talk.mp4"]) as data:
        portraits, numbers = data["portraits"], data["numbers"]
    assert portraits.shape == (len(numbers), 224, 224, 3) and (np.diff(numbers) > 0).all()
    np.savez(found["a/talk.mp4"], portraits=portraits[:1], numbers=numbers[:1])
    with np.load(fill_portraits(files, paths, tmp_path / "cache", 1)["a/talk.mp4"]) as data:
        assert len(data["numbers"]) == 1
