from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny_detector import clip, fake, tiny

from avwitness.detector.calibration import Calibration
from avwitness.detector.training.augment import AugmentConfig
from avwitness.detector.training.export import CONDITIONS, augmented, calibrate, calibration_table

CLIPS = 240


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Predictions of a good model: logits of fakes are two higher than those of genuine clips, of clips out of sync three."""
    rng = np.random.default_rng(0)
    audio, video, mismatch = (rng.random((3, CLIPS)) < 0.5).astype(float)
    return pd.DataFrame(
        {
            "identity": [f"i{i % 12}" for i in range(CLIPS)],
            "group": "corpus/as recorded",
            "audio_label": audio,
            "video_label": video,
            "mismatch": mismatch.astype(bool),
            "audio_method": np.where(audio == 1, "lpc", "genuine"),
            "video_method": np.where(video == 1, "self_blend", "genuine"),
            "audio": 2.0 * audio + rng.normal(size=CLIPS),
            "video": 2.0 * video + rng.normal(size=CLIPS),
            "sync": 3.0 * mismatch + rng.normal(size=CLIPS),
        }
    )


def test_calibration_follows_the_logits(table: pd.DataFrame) -> None:
    calibration, figures = calibrate(table)
    assert set(figures) == {"audio", "video", "sync", "overall, both streams"}
    for name in ("audio", "video", "sync"):
        stream = getattr(calibration, name)
        assert stream.validated
        assert stream.probability(-1.5) < 0.2 < 0.8 < stream.probability(4.5)
        assert figures[name]["clips"] == CLIPS
        assert 0.85 < figures[name]["auc"] < 1.0 and figures[name]["ece"] < 0.15
    assert Calibration.from_dict(calibration.to_dict()).to_dict() == calibration.to_dict()


def test_rows_without_a_stream_are_left_out(table: pd.DataFrame) -> None:
    lacking = table.copy()
    lacking.loc[:49, ["video", "video_label", "sync"]] = np.nan
    lacking["mismatch"] = lacking.mismatch.astype(object)
    lacking.loc[:49, "mismatch"] = None
    _, figures = calibrate(lacking)
    assert figures["audio"]["clips"] == CLIPS
    assert figures["video"]["clips"] == figures["sync"]["clips"] == figures["overall, both streams"]["clips"] == CLIPS - 50


@pytest.mark.slow
def test_calibration_uses_clips_with_and_without_augmentation() -> None:
    clips = [clip(0), fake(clip(1), "audio", "lpc", 5, 30)]
    model = tiny()
    table = calibration_table(model, clips, 0)
    assert len(table) == len(clips) * CONDITIONS
    assert table.group.tolist() == ["noise/as recorded"] * 2 + ["noise/augmented"] * 4
    assert table.audio_label.tolist() == [0, 1] * CONDITIONS  # augmentation keeps the label
    assert table[table.path == clips[0].path].audio.nunique() == CONDITIONS
    assert table.drop(columns="lag").equals(calibration_table(model, clips, 0).drop(columns="lag"))


@pytest.mark.parametrize("features", [None, np.arange(3 * 40 * 2, dtype=np.float16).reshape(3, 40, 2)])
def test_augmentation_keeps_the_shape_of_a_clip(features: np.ndarray | None) -> None:
    sample = replace(fake(clip(0), "audio", "lpc", 5, 30), visual_features=features)
    assert sample.mouth is not None and sample.face is not None and sample.waveform is not None
    before = sample.mouth.copy(), sample.face.copy(), sample.waveform.copy()
    results = [augmented(sample, AugmentConfig(), np.random.default_rng(seed)) for seed in range(4)]
    for out in results:
        assert out.mouth is not None and out.face is not None and out.waveform is not None
        assert out.mouth.shape == sample.mouth.shape and out.face.shape == sample.face.shape
        assert out.waveform.shape == sample.waveform.shape and out.waveform.dtype == np.int16
        assert out.labels is sample.labels and out.methods == sample.methods
        if sample.visual_features is not None:
            assert out.visual_features is not None and len(out.visual_features) == 1
            assert any(np.array_equal(out.visual_features[0], version) for version in sample.visual_features[1:])
        else:
            assert not np.array_equal(out.mouth, sample.mouth)
    assert any(not np.array_equal(out.waveform, sample.waveform) for out in results)
    assert all(np.array_equal(a, b) for a, b in zip(before, (sample.mouth, sample.face, sample.waveform), strict=True))
    silent = augmented(clip(0, streams=("video",)), AugmentConfig(), np.random.default_rng(0))
    assert silent.waveform is None and silent.mouth is not None
