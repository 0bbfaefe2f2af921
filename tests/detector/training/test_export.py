from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from avwitness.detector.calibration import Calibration
from avwitness.detector.training.augment import AugmentConfig
from avwitness.detector.training.export import CONDITIONS, calibrate, calibration_table, degraded
from avwitness.detector.training.samples import Sample
from witness import clip, fake, tiny

CLIPS = 240


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Evidence as a good model gives it: fakes two logits higher than genuine clips, clips out of step three."""
    rng = np.random.default_rng(0)
    audio, video, mismatch = (rng.random((3, CLIPS)) < 0.5).astype(float)
    return pd.DataFrame(
        {
            "identity": [f"i{i % 12}" for i in range(CLIPS)],
            "group": "corpus/as it is",
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


def test_calibration_follows_the_evidence(table: pd.DataFrame) -> None:
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


def test_clips_are_calibrated_on_as_they_are_and_degraded() -> None:
    clips = [clip(0), fake(clip(1), "audio", "lpc", 5, 30)]
    model = tiny()
    table = calibration_table(model, clips, 0)
    assert len(table) == len(clips) * CONDITIONS
    assert table.group.tolist() == ["noise/as it is"] * 2 + ["noise/degraded"] * 4
    assert table.audio_label.tolist() == [0, 1] * CONDITIONS  # what is degraded keeps its label
    assert table[table.path == clips[0].path].audio.nunique() == CONDITIONS
    assert table.drop(columns="lag").equals(calibration_table(model, clips, 0).drop(columns="lag"))


@pytest.mark.parametrize("change", [lambda s: s, lambda s: replace(s, looks=np.arange(3 * 40 * 2, dtype=np.float16).reshape(3, 40, 2))])
def test_degrading_keeps_the_shape_of_a_clip(change: Callable[[Sample], Sample]) -> None:
    sample = change(fake(clip(0), "audio", "lpc", 5, 30))
    assert sample.mouth is not None and sample.face is not None and sample.waveform is not None
    before = sample.mouth.copy(), sample.face.copy(), sample.waveform.copy()
    drawn = [degraded(sample, AugmentConfig(), np.random.default_rng(seed)) for seed in range(4)]
    for out in drawn:
        assert out.mouth is not None and out.face is not None and out.waveform is not None
        assert out.mouth.shape == sample.mouth.shape and out.face.shape == sample.face.shape
        assert out.waveform.shape == sample.waveform.shape and out.waveform.dtype == np.int16
        assert out.labels is sample.labels and out.methods == sample.methods
        if sample.looks is not None:
            assert out.looks is not None and len(out.looks) == 1
            assert any(np.array_equal(out.looks[0], version) for version in sample.looks[1:])
        else:
            assert not np.array_equal(out.mouth, sample.mouth)
    assert any(not np.array_equal(out.waveform, sample.waveform) for out in drawn)
    assert all(np.array_equal(a, b) for a, b in zip(before, (sample.mouth, sample.face, sample.waveform), strict=True))
    silent = degraded(clip(0, streams=("video",)), AugmentConfig(), np.random.default_rng(0))
    assert silent.waveform is None and silent.mouth is not None
