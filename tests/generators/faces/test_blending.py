"""The contract of the blending methods, and local blur."""

from __future__ import annotations

import numpy as np
import pytest
from makers import Talk

from avwitness.generators.demo import synthetic_voice
from avwitness.generators.faces.blending import BLENDING_METHODS, OutlinedImages, blending_boundary, jpeg_compressed, local_blur
from avwitness.media.face.mouth import mouth_crops
from avwitness.media.face.tracking import FaceTracker


@pytest.fixture(scope="module")
def mouth(talk: Talk) -> OutlinedImages:
    with FaceTracker() as tracker:
        return mouth_crops(talk.frames, tracker.track(talk.frames)[0])


@pytest.mark.parametrize("name", sorted(BLENDING_METHODS))
@pytest.mark.parametrize("donor_frames", [1, 7, 75])
def test_face_forgeries(name: str, donor_frames: int, mouth: OutlinedImages) -> None:
    donor = (mouth[0][:donor_frames], mouth[1][:donor_frames])
    before = mouth[0].copy()
    forged, alpha = BLENDING_METHODS[name](mouth, donor, np.random.default_rng(0))
    again, _ = BLENDING_METHODS[name](mouth, donor, np.random.default_rng(0))
    assert forged.shape == alpha.shape == mouth[0].shape
    assert forged.dtype == np.uint8
    assert np.array_equal(forged, again)
    assert np.array_equal(mouth[0], before)  # the genuine clip stays genuine
    changed = np.abs(forged.astype(int) - mouth[0]).mean()
    assert 0.1 < changed < 60.0
    assert (blending_boundary(alpha).max(axis=(1, 2)) > 100).all()
    assert alpha.min() >= 0.0 and alpha.max() <= 1.0


def test_local_blur_softens_the_mouth_and_nothing_else(mouth: OutlinedImages) -> None:
    blurred = local_blur(mouth, np.random.default_rng(0))
    difference = np.abs(blurred.astype(int) - mouth[0])
    assert difference[:, 40:56, 30:66].mean() > difference[:, :8].mean()
    assert jpeg_compressed(blurred[0], 50).shape == blurred[0].shape


def test_the_mouth_opens_while_the_synthetic_voice_is_loud() -> None:
    waveform, opening = synthetic_voice(2.0, seed=3)
    loud = np.sqrt((waveform[: len(opening) * 640].reshape(len(opening), -1) ** 2).mean(axis=1))
    assert len(opening) == 50
    assert np.corrcoef(loud, opening)[0, 1] > 0.5
    assert not np.array_equal(waveform, synthetic_voice(2.0, seed=4)[0])
