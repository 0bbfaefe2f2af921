from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_clip import SIZES
from tiny_detector import clip, fake, tiny

from avwitness.avsr.whisper.encoder import WhisperEncoderConfig
from avwitness.detector.audio_classifier import AudioClassifierConfig
from avwitness.detector.model import DualLabelDetector
from avwitness.detector.training.predict import CASES, clip_inputs, fit_sync_head, predict
from avwitness.detector.training.samples import Sample
from avwitness.detector.training.visual_features import extract_visual_features
from avwitness.detector.video_classifier import VideoClassifierConfig
from avwitness.media.face.mouth import centre
from avwitness.media.pcm import to_float32


@pytest.fixture(scope="module")
def clips() -> list[Sample]:
    """Both streams, audio alone, video alone, audio longer than video, a fake, and a clip whose face is never usable."""
    short = clip(3, 40)
    assert short.mouth is not None and short.usable is not None and short.face is not None
    longer = replace(short, mouth=short.mouth[:33], usable=short.usable[:33], face=short.face[:7])
    hidden = replace(clip(5), usable=np.zeros(40, dtype=bool))
    return [clip(0), clip(1, streams=("audio",)), clip(2, streams=("video",)), longer, fake(clip(4), "audio", "lpc", 3, 9), hidden]


@pytest.fixture(scope="module")
def model(clips: list[Sample]) -> DualLabelDetector:
    found = tiny()
    assert fit_sync_head(found, clips[:1] + clips[3:]) > 60
    return found


@pytest.fixture(scope="module")
def tables(model: DualLabelDetector, clips: list[Sample]) -> dict[str, pd.DataFrame]:
    return {case: predict(model, clips, case, keep_frames=True) for case in CASES}


def test_rows_hold_metadata_and_labels(tables: dict[str, pd.DataFrame], clips: list[Sample]) -> None:
    for table in tables.values():
        assert list(table.path) == [s.path for s in clips] and list(table.identity) == [s.identity for s in clips]
        assert table.audio_label.tolist()[:2] == [0, 0] and table.audio_label[4] == 1 and math.isnan(table.audio_label[2])
        assert math.isnan(table.video_label[1]) and table.video_label[4] == 0
        assert table.audio_method[4] == "lpc" and table.video_method[4] == "genuine"


def test_missing_streams_have_no_logits(tables: dict[str, pd.DataFrame]) -> None:
    both = tables["both"]
    assert both.audio.notna().tolist() == [True, True, False, True, True, True]
    assert both.video.notna().tolist() == [True, False, True, True, True, False]
    assert both.sync.notna().tolist() == both.offset.notna().tolist() == [True, False, False, True, True, False]
    assert tables["audio"].video.isna().all() and tables["audio"].sync.isna().all() and tables["video"].audio.isna().all()


def test_logits_of_a_stream_do_not_depend_on_the_other_stream(tables: dict[str, pd.DataFrame]) -> None:
    for stream in ("audio", "video"):
        for name in (stream, f"{stream}_speech", f"{stream}_artefacts"):
            rows = [0, 1, 2, 4]  # where both streams are equally long
            assert np.allclose(tables["both"][name][rows], tables[stream][name][rows], atol=1e-4, equal_nan=True)
    table = tables["both"]
    assert np.allclose(table.audio, table.audio_speech + table.audio_artefacts, atol=1e-5, equal_nan=True)
    assert table.audio.nunique() == 5  # not a constant


def test_frame_logits_are_kept_on_request(tables: dict[str, pd.DataFrame], model: DualLabelDetector, clips: list[Sample]) -> None:
    assert [len(x) for x in tables["both"].audio_frames[[0, 1, 3]]] == [40, 40, 40]
    assert "audio_frames" not in predict(model, clips[:1])


def test_cached_visual_features_give_the_same_logits(model: DualLabelDetector, clips: list[Sample]) -> None:
    sample = clips[0]
    assert sample.mouth is not None and sample.usable is not None
    features = extract_visual_features(model.backbone, centre(sample.mouth)[None], sample.usable)
    known = replace(sample, visual_features=features)
    assert clip_inputs(known, type(model.backbone))["video"].shape == (40, features.shape[2])
    first, second = predict(model, [sample]), predict(model, [known])
    for name in ("video", "video_speech", "sync", "offset"):
        assert first[name][0] == pytest.approx(second[name][0], abs=1e-3)


def test_the_sync_head_is_fitted_to_genuine_clips_in_sync_alone(clips: list[Sample]) -> None:
    late = replace(clips[0], mismatch=True)
    with pytest.raises(ValueError, match="no clip"):
        fit_sync_head(tiny(), [late, fake(clips[0], "audio", "lpc"), clips[1], clips[2]])
    model = tiny()
    before = model.sync_head.audio_projection.weight.clone()
    one = fit_sync_head(model, [clips[0]])
    assert not np.allclose(before, model.sync_head.audio_projection.weight)
    assert fit_sync_head(model, [clips[0], late]) == one
    assert fit_sync_head(model, [replace(clips[0], lag=4)]) == one - 4


def test_classifiers_of_single_streams_predict_them(clips: list[Sample], tmp_path: Path) -> None:
    whisper = WhisperEncoderConfig(width=32, heads=2, feed_forward=48, layers=1)
    options = {
        "audio_classifier": AudioClassifierConfig(whisper, (1,)).to_dict(),
        "video_classifier": VideoClassifierConfig(SIZES, (1,), (2,)).to_dict(),
    }
    model, sample = tiny(**options), clips[0]
    assert model.audio_classifier is not None and model.video_classifier is not None and sample.waveform is not None
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    np.savez(tmp_path / "portraits.npz", portraits=images, numbers=np.array([3, 30]))
    table = predict(model, clips[:2], keep_frames=True, portraits={sample.path: tmp_path / "portraits.npz"})
    with torch.inference_mode():
        audio = model.audio_classifier(torch.from_numpy(to_float32(sample.waveform))[None])[0].item()
        video = model.video_classifier(torch.from_numpy(images)[None])[0].item()
    assert table.audio[0] == pytest.approx(audio, abs=1e-4) and table.video[0] == pytest.approx(video, abs=1e-4)
    assert table.audio_artefacts.isna().all() and math.isnan(table.video_artefacts[0]) and len(np.unique(table.video_frames[0])) == 2
    without = predict(model, clips[:1])  # without portraits, the video head predicts
    assert without.audio[0] == pytest.approx(audio, abs=1e-4) and without.video[0] != pytest.approx(video, abs=1e-4)
