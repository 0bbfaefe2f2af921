"""People on both sides of a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avwitness.evaluation.auditing import people
from avwitness.evaluation.auditing.people import SAME_PERSON, load_embedder, missing_reason, nearest
from avwitness.media.face.portraits import portrait_crops
from avwitness.media.face.tracking import FaceTracker
from avwitness.media.windows import read_clip


def test_the_nearest_is_found() -> None:
    others = np.eye(3)
    distance, number = nearest(np.array([[0.0, 1.0, 0.0], [0.9, 0.1, 0.0]]), others)
    assert number.tolist() == [1, 0] and np.allclose(distance, [0.0, np.hypot(0.1, 0.1)])


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"dlib and face_recognition_models not installed.*avwitness\[people\]"):
        load_embedder()


@pytest.mark.slow
@pytest.mark.footage
@pytest.mark.skipif(bool(missing_reason()), reason=missing_reason())
def test_one_person_is_near_and_another_is_not(footage: Path) -> None:
    embed = load_embedder()

    def embedding(name: str) -> np.ndarray:
        frames = read_clip(footage / name, audio=False, max_seconds=2.0).frames
        assert frames is not None
        with FaceTracker() as tracker:
            return embed(portrait_crops(frames, tracker.track(frames)[0])[0])

    first, second, other = (embedding(name) for name in ("grid/s1/bbaf2n.mp4", "grid/s1/bbaf3s.mp4", "lrc_ar/00139.mp4"))
    assert nearest(first[None], second[None])[0] < SAME_PERSON < nearest(first[None], other[None])[0]
