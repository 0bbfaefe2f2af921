"""Training of the video classifier with labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_clip import SIZES

from avwitness.detector.clip_encoder import ClipEncoder
from avwitness.detector.efficientnet import EfficientNetLite
from avwitness.detector.training.classifiers.video_fine_tuning import LabelledImages, VideoFineTuning, clip_logits, fine_tune_video
from avwitness.detector.video_classifier import VideoClassifier, with_image_encoder

CLIPS, PORTRAITS = 24, 2
CONFIG = VideoFineTuning(epochs=6, batch=8, encoder_rate=3e-3, linear_rate=3e-3, frozen_stages=2, bf16=False)


def examples(size: int = 32) -> LabelledImages:
    """Fakes are red at the left, genuine clips at the right."""
    rng = np.random.default_rng(0)
    labels = np.arange(CLIPS) % 2
    clips = np.repeat(np.arange(CLIPS), PORTRAITS)
    images = rng.integers(60, 120, (len(clips), size, size, 3))
    images[..., 0] += np.where(labels[clips] == 1, 100, 0)[:, None, None]
    return LabelledImages(images.astype(np.uint8), clips, labels, np.array([f"page{n // 4}" for n in range(CLIPS)]))


def classifier() -> VideoClassifier:
    torch.manual_seed(0)
    return with_image_encoder(EfficientNetLite(), (2, 3), ())


@pytest.mark.slow
def test_fakes_are_told_from_genuine_clips_and_frozen_stages_stay() -> None:
    data, begin = examples(), classifier()
    taught = np.arange(CLIPS) < 16
    made = fine_tune_video(begin, data, taught, CONFIG)
    logits = clip_logits(made, data, ~taught)
    assert np.isnan(logits[taught]).all() and not made.training
    assert logits[~taught & (data.labels == 1)].min() > logits[~taught & (data.labels == 0)].max()
    before, after = begin.encoder.state_dict(), made.encoder.state_dict()
    same = {name: torch.equal(before[name], after[name]) for name in before}
    assert all(same[name] for name in same if name.startswith(("stem", "stages.0.", "stages.1.")))
    assert not all(same[name] for name in same if name.startswith("stages.2."))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights() -> None:
    data, config = examples(), VideoFineTuning(epochs=1, batch=8, frozen_stages=0, bf16=False)
    taught = np.ones(CLIPS, dtype=bool)
    first, second = (fine_tune_video(classifier(), data, taught, config).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="EfficientNet"):
        fine_tune_video(with_image_encoder(ClipEncoder(SIZES), (1,), ()), examples(), np.ones(CLIPS, dtype=bool), CONFIG)
