"""The detector ``large``, which a clone has and the wheel has not."""

from __future__ import annotations

from pathlib import Path

import pytest

import avwitness
from avwitness.checkpoints import find_weights, weight_files
from avwitness.detector.inference.detector import Detector

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(scope="module")
def large() -> Detector:
    return avwitness.load("large", device="cpu")


@pytest.mark.slow
def test_the_video_is_classified_on_clip_features_and_all_else_is_that_of_small(large: Detector) -> None:
    small = avwitness.load("small", device="cpu")
    networks = [d.model.video_classifier.config.network for d in (small, large) if d.model.video_classifier is not None]
    assert networks == ["efficientnet_lite0", "clip"]
    one, other = (detector.score(SAMPLES / "font.mp4") for detector in (small, large))
    assert one.status == other.status == "ok"
    assert other.audio == one.audio and other.sync == one.sync
    assert other.video.p_fake is not None and other.video.p_fake != one.video.p_fake
    assert other.model is not None and other.model.name == "large"
    assert other == large.score(SAMPLES / "font.mp4")


@pytest.mark.slow
def test_audio_alone_needs_no_video(large: Detector) -> None:
    verdict = large.score(SAMPLES / "font.mp4", modality="audio")
    assert verdict.status == "ok" and verdict.video.p_fake is None and verdict.audio.p_fake is not None


def test_every_file_of_its_weights_can_be_pushed() -> None:
    sizes = [file.stat().st_size for file in weight_files(find_weights("detector", "large"))]
    assert max(sizes) < 95e6


@pytest.mark.slow
@pytest.mark.footage
def test_fakes_of_other_generators_rank_above_genuine_clips(large: Detector, footage: Path) -> None:
    import pandas as pd

    manifest = footage / "field" / "manifest.csv"
    if not manifest.is_file():
        pytest.skip(f"no field set at {footage / 'field'}")
    table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    table = table[table.path.str.startswith("clips/") & (table.split == "train")]
    fakes, genuine = (table[(table.video_label == label)].iloc[::90].head(3) for label in ("1", "0"))
    scores = [[large.score(footage / "field" / path).video.p_fake or 0.0 for path in rows.path] for rows in (fakes, genuine)]
    assert sum(scores[0]) / len(scores[0]) > sum(scores[1]) / len(scores[1]) + 0.2
