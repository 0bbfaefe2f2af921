"""Statistics of portraits, and a video classifier that becomes part of a detector."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from makers import noise_frames
from tiny_clip import SIZES, tiny_clip
from tiny_detector import tiny

from avwitness.checkpoints import weight_files
from avwitness.detector.inference.detector import load
from avwitness.detector.training.classifiers import export
from avwitness.detector.training.classifiers.clip_conversion import load_clip_encoder
from avwitness.detector.training.classifiers.linear import PageSamples, cross_validated_logits, fit_linear, set_linear
from avwitness.detector.training.classifiers.video_data import BASELINES, VideoTrainConfig, forged_rows, portrait_statistics
from avwitness.detector.video_classifier import VideoClassifier, with_image_encoder
from avwitness.detector.weights_hash import weights_sha256
from avwitness.media.encode import write_media

PAGES, CLIPS = 12, 10


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> VideoClassifier:
    folder = tmp_path_factory.mktemp("clip")
    tiny_clip(folder)
    return with_image_encoder(load_clip_encoder(folder, 2, SIZES), (1,), (2,))


@pytest.mark.slow
def test_statistics_come_from_the_cache_and_failures_are_said(classifier: VideoClassifier, talk_file: Path, tmp_path: Path) -> None:
    blank = write_media(tmp_path / "blank.mp4", noise_frames(30))
    statistics, baselines, failures = portrait_statistics([talk_file, blank], classifier, tmp_path / "cache")
    assert np.isfinite(statistics[0]).all() and np.isnan(statistics[1]).all() and baselines.shape == (2, len(BASELINES))
    assert len(failures) == 1 and "shows no face" in failures[0] and str(blank) in failures[0]
    (file,) = (tmp_path / "cache").glob("portrait-statistics-*/*.npz")
    (cut,) = (tmp_path / "cache").glob("portraits-4/*.npz")
    with np.load(cut) as data:
        assert data["portraits"].shape[1:] == (224, 224, 3)
    with np.load(file) as data:
        found = data["portraits"]
        np.savez(file, portraits=found + 1.0, baselines=data["baselines"])
    again, _, _ = portrait_statistics([talk_file], classifier, tmp_path / "cache")
    assert np.allclose(again[0], statistics[0] + 1.0, atol=1e-5)
    both, _, _ = portrait_statistics([talk_file], classifier, tmp_path / "cache", deviation=True)
    assert np.allclose(both[0], np.concatenate([again[0], found.std(axis=0)]), atol=1e-5) and found.std(axis=0).max() > 0


def test_a_forged_clip_has_the_page_of_its_source(tmp_path: Path) -> None:
    field = pd.DataFrame({"path": ["clips/a.mp4", "clips/b.mp4"], "page": ["one", "two"]})
    rows = [
        ("a.mp4", 1, 0, "clips/a.mp4", "p"),
        ("b.mp4", 0, 0, "clips/b.mp4", "p"),
        ("c.mp4", 1, 0, "grid/s1/x.mp4", "grid_s1"),
        ("d.mp4", "", 1, "clips/a.mp4", "p"),
    ]
    columns = ["path", "video_label", "audio_label", "source_clip", "identity"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "manifest.csv", index=False)
    found, pages = forged_rows(tmp_path, field)
    assert pages.tolist() == ["one", "two", "grid_s1"] and found.video_label.tolist() == [1, 0, 1]


@pytest.mark.slow
def test_what_is_exported_in_several_files_loads_and_scores(
    classifier: VideoClassifier, talk_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.tile(np.arange(CLIPS) % 2, PAGES)
    table = pd.DataFrame({"label": labels, "page": np.repeat([f"page{n}" for n in range(PAGES)], CLIPS), "method": "x", "category": "swap"})
    statistics = np.random.default_rng(0).standard_normal((len(table), 3 * SIZES.width)).astype(np.float32)
    statistics[:, 0] += 3.0 * labels
    samples = PageSamples.of(statistics, labels, table.page.to_numpy())
    tiny().save_pretrained(tmp_path / "base")
    monkeypatch.setattr(export, "SHARD", "60KB")
    config = VideoTrainConfig(penalty=1.0)
    set_linear(classifier, fit_linear(samples, config))
    logits = cross_validated_logits(samples, config)
    out = export.export_classifier(table, samples, classifier, logits, tmp_path / "base", config, tmp_path / "out", "the command")
    assert len(weight_files(out)) > 1
    card = json.loads((out / "card.json").read_text())["video_classifier"]
    assert card["data"]["fakes"] == {"swap": PAGES * CLIPS // 2} and card["command"] == "the command"
    detector = load(out, device="cpu")
    assert detector.uses_portraits and detector.calibration.video.validated
    assert detector.info.sha256 == weights_sha256(out) and len(detector.info.sha256) == 64
    loaded = detector.model.video_classifier
    assert loaded is not None
    images = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(loaded.statistics(images), classifier.statistics(images), atol=0.05)
    verdict = detector.score(talk_file)
    assert verdict.status == "ok" and verdict.video.p_fake is not None
    assert len({interval.video for interval in verdict.timeline}) > 1  # portraits differ
