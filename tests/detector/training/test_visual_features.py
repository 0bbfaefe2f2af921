from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avwitness.avsr.model import SpeechEncoder
from avwitness.detector.training.samples import Sample
from avwitness.detector.training.visual_features import extract_visual_features, with_visual_features
from avwitness.media.face.mouth import centre


@pytest.fixture(scope="module")
def extracted(samples: list[Sample], encoder_folder: Path, views_cache: Path) -> list[Sample]:
    return with_visual_features(samples[:4], encoder_folder, 2, views_cache, 1)


def test_every_clip_with_a_mouth_has_features(extracted: list[Sample], samples: list[Sample]) -> None:
    assert [s.path for s in extracted] == [s.path for s in samples[:4]]
    assert any(s.mouth is None for s in extracted) and any(s.mouth is not None for s in extracted)
    for s in extracted:
        assert (s.visual_features is None) == (s.mouth is None)
        if s.visual_features is not None and s.mouth is not None:
            assert s.visual_features.shape[:2] == (3, len(s.mouth)) and s.visual_features.dtype == np.float16


def test_the_first_version_is_of_the_mouth_crops_without_augmentation(extracted: list[Sample], encoder_folder: Path) -> None:
    backbone = SpeechEncoder.from_pretrained(encoder_folder, dtype=torch.float32).eval().backbone
    sample = next(s for s in extracted if s.mouth is not None)
    assert sample.mouth is not None and sample.usable is not None and sample.visual_features is not None
    plain = extract_visual_features(backbone, centre(sample.mouth)[None], sample.usable)[0]
    assert np.allclose(sample.visual_features[0], plain, atol=2e-3, rtol=2e-3)
    assert all(np.abs(version.astype(float) - plain).max() > 1e-2 for version in sample.visual_features[1:])
    assert np.abs(sample.visual_features[1].astype(float) - sample.visual_features[2]).max() > 1e-2


def test_features_are_cached_by_the_weights_of_the_encoder(
    extracted: list[Sample], samples: list[Sample], encoder_folder: Path, views_cache: Path, tmp_path: Path
) -> None:
    folder = views_cache / samples[0].cache_folder
    files = {file: file.stat().st_mtime_ns for file in folder.glob("visual-features-*")}
    with_visual_features(samples[:4], encoder_folder, 2, views_cache, 1)
    assert files == {file: file.stat().st_mtime_ns for file in folder.glob("visual-features-*")}
    encoder = SpeechEncoder.from_pretrained(encoder_folder, dtype=torch.float32)
    encoder.backbone.video_front.requires_grad_(False)
    for parameter in encoder.backbone.video_front.parameters():
        parameter += 0.1
    encoder.save_pretrained(tmp_path / "other")
    sample = next(s for s in samples if s.mouth is not None)
    (other,) = with_visual_features([sample], tmp_path / "other", 0, views_cache, 1)
    same = next(s for s in extracted if s.path == sample.path)
    assert other.visual_features is not None and same.visual_features is not None and len(other.visual_features) == 1
    assert not np.allclose(other.visual_features[0], same.visual_features[0], atol=1e-2)
