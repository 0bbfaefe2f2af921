from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from avwitness.avsr.model import SpeechEncoder
from avwitness.detector.training.samples import Sample
from avwitness.detector.training.visual_features import look, with_visual_features
from avwitness.media.face.mouth import centre


@pytest.fixture(scope="module")
def looked(samples: list[Sample], reader: Path, witness_cache: Path) -> list[Sample]:
    return with_visual_features(samples[:4], reader, 2, witness_cache, 1)


def test_every_clip_with_a_mouth_is_looked_at(looked: list[Sample], samples: list[Sample]) -> None:
    assert [s.path for s in looked] == [s.path for s in samples[:4]]
    assert any(s.mouth is None for s in looked) and any(s.mouth is not None for s in looked)
    for s in looked:
        assert (s.looks is None) == (s.mouth is None)
        if s.looks is not None and s.mouth is not None:
            assert s.looks.shape[:2] == (3, len(s.mouth)) and s.looks.dtype == np.float16


def test_the_first_version_is_what_the_front_end_makes_of_the_plain_mouth(looked: list[Sample], reader: Path) -> None:
    backbone = SpeechEncoder.from_pretrained(reader, dtype=torch.float32).eval().backbone
    sample = next(s for s in looked if s.mouth is not None)
    assert sample.mouth is not None and sample.usable is not None and sample.looks is not None
    plain = look(backbone, centre(sample.mouth)[None], sample.usable)[0]
    assert np.allclose(sample.looks[0], plain, atol=2e-3, rtol=2e-3)
    assert all(np.abs(version.astype(float) - plain).max() > 1e-2 for version in sample.looks[1:])
    assert np.abs(sample.looks[1].astype(float) - sample.looks[2]).max() > 1e-2


def test_nothing_is_looked_at_twice_and_other_weights_look_anew(
    looked: list[Sample], samples: list[Sample], reader: Path, witness_cache: Path, tmp_path: Path
) -> None:
    folder = witness_cache / samples[0].home
    files = {file: file.stat().st_mtime_ns for file in folder.glob("looks-*")}
    with_visual_features(samples[:4], reader, 2, witness_cache, 1)
    assert files == {file: file.stat().st_mtime_ns for file in folder.glob("looks-*")}
    encoder = SpeechEncoder.from_pretrained(reader, dtype=torch.float32)
    encoder.backbone.video_front.requires_grad_(False)
    for parameter in encoder.backbone.video_front.parameters():
        parameter += 0.1
    encoder.save_pretrained(tmp_path / "other")
    sample = next(s for s in samples if s.mouth is not None)
    (other,) = with_visual_features([sample], tmp_path / "other", 0, witness_cache, 1)
    same = next(s for s in looked if s.path == sample.path)
    assert other.looks is not None and same.looks is not None and len(other.looks) == 1
    assert not np.allclose(other.looks[0], same.looks[0], atol=1e-2)
