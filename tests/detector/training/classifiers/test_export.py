"""A fitted classifier becomes part of a detector, which keeps all else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_detector import tiny

from avwitness.avsr.whisper.encoder import WhisperAudioEncoder, WhisperEncoderConfig
from avwitness.detector.audio_classifier import with_encoder
from avwitness.detector.inference.detector import load
from avwitness.detector.training.classifiers.audio_statistics import AudioTrainConfig
from avwitness.detector.training.classifiers.audio_validation import fit_audio_classifier
from avwitness.detector.training.classifiers.export import calibrate_stream, export_classifier, with_classifier
from avwitness.detector.training.classifiers.linear import PageSamples, cross_validated_logits

PAGES, CLIPS = 12, 10
CONFIG = AudioTrainConfig(layers=(1,), penalty=1.0)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    labels = np.tile(np.arange(CLIPS) % 2, PAGES)
    return pd.DataFrame(
        {
            "label": labels,
            "page": np.repeat([f"page{n}" for n in range(PAGES)], CLIPS),
            "method": np.where(labels == 1, "vits", "real"),
            "category": np.where(labels == 1, "tts", "genuine"),
        }
    )


@pytest.fixture(scope="module")
def samples(table: pd.DataFrame) -> PageSamples:
    rng = np.random.default_rng(0)
    statistics = rng.standard_normal((len(table), 64)).astype(np.float32)
    statistics[:, 0] += 3.0 * table.label
    more = PageSamples.of(rng.standard_normal((5, 64)).astype(np.float32), np.zeros(5, dtype=int), np.full(5, "corpus"), scored=False)
    return PageSamples.of(statistics, table.label.to_numpy(), table.page.to_numpy()).with_more(more)


@pytest.fixture(scope="module")
def encoder() -> WhisperAudioEncoder:
    torch.manual_seed(0)
    return WhisperAudioEncoder(WhisperEncoderConfig(width=32, heads=2, feed_forward=48, layers=1))


def test_the_rest_of_the_detector_stays(encoder: WhisperAudioEncoder) -> None:
    before = tiny()
    after = with_classifier(before, with_encoder(encoder, (1,)))
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(1, 25, before.backbone.audio_features, generator=generator)
    video = torch.randint(0, 255, (1, 25, 88, 88), generator=generator).float()
    waveform = 0.1 * torch.randn(1, 16_000, generator=generator)
    with torch.inference_mode():
        one, other = before(audio, video), after(audio, video, waveform=waveform)
        assert one.video is not None and other.video is not None and other.audio is not None and after.audio_classifier is not None
        assert torch.allclose(one.video.clip, other.video.clip, atol=1e-6)
        assert torch.allclose(other.audio.clip, after.audio_classifier(waveform)[0])
        assert other.audio.frames.shape == (1, 25)
        larger = with_classifier(after, with_encoder(encoder, (0, 1)))  # replaces a classifier of other sizes
        assert larger.audio_classifier is not None and larger.audio_classifier.linear.in_features == 2 * 3 * 32
        without = after(audio, video)  # no waveform: the backbone classifies, as before
        assert one.audio is not None and without.audio is not None and torch.allclose(one.audio.clip, without.audio.clip, atol=1e-6)


def test_thresholds_keep_the_limits(table: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    logits = rng.standard_normal(len(table)) + 2.0 * table.label.to_numpy()
    calibration = calibrate_stream(logits, table, CONFIG)
    p = np.asarray(calibration.probability(logits))
    genuine = table.label.to_numpy() == 0
    assert (p[genuine] > calibration.fake_above).mean() <= CONFIG.max_fpr
    assert calibration.genuine_below <= calibration.fake_above and calibration.validated
    assert (p[~genuine] < calibration.genuine_below).mean() <= 0.051


def test_what_is_exported_loads_and_scores(table: pd.DataFrame, samples: PageSamples, encoder: WhisperAudioEncoder, tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path / "base")
    classifier = fit_audio_classifier(with_encoder(encoder, (1,), ("mean", "deviation")), samples, [], CONFIG)
    logits = cross_validated_logits(samples, CONFIG)
    out = export_classifier(table, samples, classifier, logits, tmp_path / "base", CONFIG, tmp_path / "out", "the command")
    card = json.loads((out / "card.json").read_text())["audio_classifier"]
    assert card["data"]["pages"] == PAGES and card["data"]["fakes"] == {"tts": PAGES * CLIPS // 2} and card["command"] == "the command"
    assert card["data"]["only fitted to"] == {"genuine": 5, "forged": 0}
    detector = load(out, device="cpu")
    assert detector.model.audio_classifier is not None and detector.calibration.audio.validated
    rng = np.random.default_rng(0)
    waveform = 0.1 * rng.standard_normal(32_000).astype(np.float32)
    output = detector.predict_window(detector.extract_audio_features(waveform), None, None, waveform=waveform)
    assert output.audio is not None and output.audio_frames is not None and len(output.audio_frames) == 50
