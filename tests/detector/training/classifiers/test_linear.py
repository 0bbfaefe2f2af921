"""Linear classifiers and cross-validation, on statistics that are made up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from avwitness.avsr.whisper.encoder import WhisperEncoderConfig
from avwitness.detector.audio_classifier import AudioClassifier, AudioClassifierConfig
from avwitness.detector.training.classifiers.audio_statistics import AudioTrainConfig
from avwitness.detector.training.classifiers.linear import (
    PageSamples,
    cross_validated_logits,
    fit_linear,
    page_folds,
    page_weights,
    set_linear,
)

PAGES = st.lists(st.integers(0, 12), min_size=1, max_size=80)


def made_up(seed: int = 0, pages: int = 16, clips: int = 12, width: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Statistics in which the first feature tells fakes, and the second the page."""
    rng = np.random.default_rng(seed)
    page = np.repeat([f"page{n}" for n in range(pages)], clips)
    labels = np.tile(np.arange(clips) % 2, pages)
    x = rng.standard_normal((len(page), width))
    x[:, 0] += 2.0 * labels
    x[:, 1] += np.repeat(rng.normal(0, 5, pages), clips)
    return x.astype(np.float32), labels, page


@given(PAGES, st.integers(2, 8), st.integers(0, 5))
def test_no_page_stands_in_two_folds(pages: list[int], folds: int, seed: int) -> None:
    fold = page_folds(np.array(pages), folds, seed)
    assert len(fold) == len(pages) and set(fold) <= set(range(folds))
    for page in set(pages):
        assert len(set(fold[np.array(pages) == page])) == 1
    assert (fold == page_folds(np.array(pages), folds, seed)).all()


def test_classes_weigh_the_same_and_large_pages_less_by_clip() -> None:
    labels, pages = np.array([0] * 9 + [1] * 3 + [0]), np.array(["a"] * 12 + ["b"])
    weights = page_weights(labels, pages, 0.5)
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())
    assert weights[-1] == pytest.approx(3.0 * weights[0])  # a single clip of its page against one of nine
    assert weights.mean() == pytest.approx(1.0)


def test_cross_validation_finds_what_holds_on_other_pages() -> None:
    x, labels, pages = made_up()
    logits = cross_validated_logits(PageSamples.of(x, labels, pages), AudioTrainConfig(penalty=1.0))
    assert roc_auc_score(labels, logits) > 0.85
    shuffled = np.random.default_rng(1).permutation(labels)
    assert abs(roc_auc_score(shuffled, cross_validated_logits(PageSamples.of(x, shuffled, pages), AudioTrainConfig())) - 0.5) < 0.15
    with pytest.raises(ValueError, match="genuine and fake"):
        fit_linear(PageSamples.of(x, np.zeros(len(labels), dtype=int), pages), AudioTrainConfig())


def test_the_module_outputs_what_was_fitted() -> None:
    x, labels, pages = made_up(width=96)
    linear = fit_linear(PageSamples.of(x, labels, pages), AudioTrainConfig())
    module = AudioClassifier(AudioClassifierConfig(WhisperEncoderConfig(width=32, heads=2, feed_forward=48, layers=1), (1,)))
    set_linear(module, linear)
    with torch.inference_mode():
        assert np.allclose(module.classify(torch.from_numpy(x)).numpy(), linear(x), atol=1e-4)


def test_clips_that_are_only_fitted_to_get_no_logit_and_leave_with_their_page() -> None:
    x, labels, pages = made_up()
    samples = PageSamples.of(x, labels, pages)
    leak = PageSamples.of(
        np.repeat(x, 3, axis=0), 1 - np.repeat(labels, 3), np.repeat(pages, 3), 1.0, scored=False
    )  # of the same pages, mislabelled
    elsewhere = PageSamples.of(x + 9.0, labels, np.full(len(x), "elsewhere"), 0.5, scored=False)
    config = AudioTrainConfig(penalty=1.0)
    logits = cross_validated_logits(samples.with_more(elsewhere), config)
    assert len(logits) == len(x) and np.isfinite(logits).all()
    one_page = pages == pages[0]
    assert np.allclose(
        cross_validated_logits(samples.with_more(leak[np.repeat(one_page, 3)]), config)[one_page],
        cross_validated_logits(samples, config)[one_page],
    )
