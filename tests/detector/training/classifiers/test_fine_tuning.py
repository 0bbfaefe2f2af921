"""Fine-tuning of the audio classifier, and its cross-validation, on tones that a small encoder can tell apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from avwitness.avsr.whisper.encoder import WhisperEncoderConfig
from avwitness.detector.audio_classifier import AudioClassifier, AudioClassifierConfig
from avwitness.detector.training.classifiers.audio_statistics import AudioTrainConfig, clip_statistics
from avwitness.detector.training.classifiers.audio_validation import fit_audio_classifier, held_out_logits, validate_audio_classifier
from avwitness.detector.training.classifiers.fine_tuning import FineTuning, clip_logits, cut, fine_tune
from avwitness.detector.training.classifiers.linear import PageSamples
from avwitness.detector.training.classifiers.waveform_augmentation import AUGMENTATIONS, augment, limit_band

TUNING = FineTuning(epochs=4, batch=8, seconds=0.5, encoder_rate=1e-3, linear_rate=1e-2, augment=0.3, average=0.5, bf16=False)
CONFIG = AudioTrainConfig(layers=(1,), folds=2, penalty=1e-6, fine_tuning=TUNING)
CLIPS, PAGES = 24, 4


@pytest.fixture(scope="module")
def classifier() -> AudioClassifier:
    torch.manual_seed(0)
    return AudioClassifier(AudioClassifierConfig(WhisperEncoderConfig(width=32, heads=2, feed_forward=48, layers=1), (1,))).eval()


@pytest.fixture(scope="module")
def clips(classifier: AudioClassifier, tmp_path_factory: pytest.TempPathFactory) -> tuple[PageSamples, list[np.ndarray]]:
    """Noise, to which fakes add a weak tone."""
    rng = np.random.default_rng(0)
    labels = np.arange(CLIPS) % 2
    tone = np.sin(2 * np.pi * 2000 * np.arange(12_000) / 16_000)
    waveforms = [(0.1 * rng.standard_normal(12_000) + 0.03 * label * tone).astype(np.float16) for label in labels]
    statistics = clip_statistics(waveforms, classifier, tmp_path_factory.mktemp("cache"))
    return PageSamples.of(statistics, labels, np.array([f"page{n % PAGES // 2}" for n in range(CLIPS)])), waveforms


@pytest.mark.slow
def test_training_lowers_the_loss_and_leaves_the_original(classifier: AudioClassifier, clips: tuple[PageSamples, list[np.ndarray]]) -> None:
    samples, waveforms = clips
    frozen = fit_audio_classifier(classifier, samples, waveforms, replace(CONFIG, fine_tuning=FineTuning()))
    weights = {name: value.clone() for name, value in classifier.state_dict().items()}
    steps: list[tuple[int, int]] = []
    tuned = fine_tune(frozen, samples, waveforms, TUNING, hook=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (12, 12) and not tuned.training

    def loss(model: AudioClassifier) -> float:
        logits = torch.from_numpy(clip_logits(model, waveforms))
        return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(samples.labels).double()))

    assert loss(tuned) < loss(frozen)
    assert all(torch.equal(value, weights[name]) for name, value in classifier.state_dict().items())
    assert torch.equal(tuned.encoder.embed_positions.weight, classifier.encoder.embed_positions.weight)
    again = fine_tune(frozen, samples, waveforms, TUNING)
    assert np.allclose(clip_logits(again, waveforms), clip_logits(tuned, waveforms), atol=1e-4)


@pytest.mark.slow
def test_finished_folds_are_kept(classifier: AudioClassifier, clips: tuple[PageSamples, list[np.ndarray]], tmp_path: Path) -> None:
    samples, waveforms = clips
    logits = validate_audio_classifier(classifier, samples, waveforms, CONFIG, tmp_path)
    assert np.isfinite(logits).all() and roc_auc_score(samples.labels, logits) > 0.6
    folds = sorted((tmp_path / "audio-folds").glob("*.npz"))
    assert len(folds) == CONFIG.folds
    for file in folds:
        with np.load(file) as data:
            np.savez(file, logits=data["logits"] + 100.0)
    assert (validate_audio_classifier(classifier, samples, waveforms, CONFIG, tmp_path) > 50.0).all()
    other = replace(CONFIG, fine_tuning=replace(TUNING, epochs=1))
    assert (validate_audio_classifier(classifier, samples, waveforms, other, tmp_path) < 50.0).all()  # other settings, other folds


def test_without_epochs_the_linear_layer_alone_is_fitted(
    classifier: AudioClassifier, clips: tuple[PageSamples, list[np.ndarray]], tmp_path: Path
) -> None:
    samples, waveforms = clips
    rows = np.arange(CLIPS)
    frozen = replace(CONFIG, fine_tuning=FineTuning())
    logits = held_out_logits(classifier, samples, waveforms, frozen, tmp_path, rows, rows[:4])
    made = fit_audio_classifier(classifier, samples, waveforms, frozen)
    assert np.allclose(logits, clip_logits(made, waveforms[:4]), atol=1e-3) and not list(tmp_path.iterdir())


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 9))
def test_a_cut_has_its_length_and_lies_inside(samples: int, length: int, seed: int) -> None:
    waveform = np.arange(samples, dtype=np.float16)
    piece = cut(waveform, length, np.random.default_rng(seed))
    assert piece.dtype == np.float32 and len(piece) == length
    if samples >= length:
        assert np.array_equal(piece, waveform[int(piece[0]) : int(piece[0]) + length].astype(np.float32)) or samples > 2048


@pytest.mark.parametrize("change", AUGMENTATIONS, ids=lambda change: change.__name__)
def test_augmentations_change_the_waveform_and_keep_its_length(change: object) -> None:
    waveform = np.random.default_rng(0).standard_normal(8001).astype(np.float32)
    changed = change(waveform, np.random.default_rng(1))  # type: ignore[operator]
    assert changed.shape == waveform.shape and np.isfinite(changed).all() and not np.allclose(changed, waveform)
    assert np.array_equal(augment(waveform, 0.0, np.random.default_rng(0)), waveform)
    assert augment(waveform, 1.0, np.random.default_rng(0)).dtype == np.float32


def test_a_band_limit_removes_what_lies_above() -> None:
    rng = np.random.default_rng(3)
    power = np.abs(np.fft.rfft(limit_band(rng.standard_normal(16_000), rng))) ** 2
    assert power[7990:].mean() < 1e-3 * power[:3000].mean()
