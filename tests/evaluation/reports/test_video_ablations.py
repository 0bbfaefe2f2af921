"""Variants of the video classifier: clips and trainings are small, everything else is as in the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from avwitness.detector.efficientnet import EfficientNetLite
from avwitness.detector.training.classifiers.linear import PageSamples
from avwitness.detector.training.classifiers.video_data import VideoTrainConfig
from avwitness.detector.training.classifiers.video_fine_tuning import VideoFineTuning
from avwitness.detector.video_classifier import with_image_encoder
from avwitness.evaluation.reports import video_ablations
from avwitness.evaluation.reports.video_ablations import held_pages, tuned_variants

PAGES, CLIPS = 12, 4
QUICK = VideoFineTuning(epochs=2, batch=8, frozen_stages=1, bf16=False)


@pytest.mark.slow
def test_trained_variants_score_the_clips_that_are_asked_and_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.tile(np.arange(CLIPS) % 2, PAGES)
    pages = np.repeat([f"page{n:02d}" for n in range(PAGES)], CLIPS)
    files = [tmp_path / f"{n}.mp4" for n in range(len(labels))]
    table = pd.DataFrame(
        {
            "file": files,
            "path": [file.name for file in files],
            "label": labels,
            "page": pages,
            "split": np.where(pages > "page07", "val", "train"),
        }
    )
    rng = np.random.default_rng(0)
    portraits = {
        file: np.clip(rng.integers(60, 140, (2, 32, 32, 3)) + 60 * label, 0, 255).astype(np.uint8)
        for file, label in zip(files, labels, strict=True)
    }
    monkeypatch.setattr(video_ablations, "cached_portraits", lambda file, content, cache: portraits[file])
    monkeypatch.setattr(video_ablations, "file_sha256", lambda file: file.name)
    monkeypatch.setattr(video_ablations, "FINE_TUNING", QUICK)
    monkeypatch.setattr(video_ablations, "SCRATCH", replace(QUICK, epochs=1))
    torch.manual_seed(0)
    classifier = with_image_encoder(EfficientNetLite(), (1, 2), (), ("portrait", "mouth"))
    with torch.inference_mode():
        statistics = np.stack([classifier.statistics(torch.from_numpy(portraits[file])).mean(dim=0).numpy() for file in files])
    samples = PageSamples.of(statistics, labels, pages)
    config = VideoTrainConfig(penalty=1.0, folds=4)
    train, val = held_pages(table)
    assert train.sum() == 8 * CLIPS and val.sum() == 4 * CLIPS
    first = dict(tuned_variants(table, samples, classifier, config, tmp_path / "cache"))
    for name, logits in first.items():
        cross_validated = name.startswith("cross-validation") or name == list(first)[1]
        assert np.array_equal(~np.isnan(logits), train if cross_validated else val), name
    kept = list((tmp_path / "cache" / "video-training").glob("*.npz"))
    assert len(kept) == video_ablations.TUNED_FOLDS + 2
    monkeypatch.setattr(video_ablations, "fine_tune_video", lambda *_: pytest.fail("trained again"))
    again = dict(tuned_variants(table, samples, classifier, config, tmp_path / "cache"))
    assert all(np.array_equal(first[name], again[name], equal_nan=True) for name in first)
