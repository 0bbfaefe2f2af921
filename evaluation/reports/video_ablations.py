"""Logits of variants of the video classifier: other training data, time, another or a random encoder, fine-tuning."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ...detector.efficientnet import EfficientNetLite
from ...detector.training.classifiers.distillation import load_efficientnet
from ...detector.training.classifiers.linear import PageSamples, cross_validated_logits, fit_linear, page_folds, set_linear
from ...detector.training.classifiers.video_data import VideoTrainConfig, cached_portraits, encoder_hash, load_video_samples
from ...detector.training.classifiers.video_fine_tuning import LabelledImages, VideoFineTuning, clip_logits, fine_tune_video
from ...detector.video_classifier import VideoClassifier, with_image_encoder
from ...media.files import file_sha256
from ...media.views import save_arrays

FIELD = "field"  # folder of the field set among the development data
FINE_TUNING = VideoFineTuning()
SCRATCH = VideoFineTuning(epochs=6, encoder_rate=1e-3, linear_rate=1e-3, frozen_stages=0)  # of an encoder with random weights
TUNED_FOLDS = 4  # of the cross-validation of fine-tuning, which trains an encoder for each
Hook = Callable[[int, int], None]
Variant = tuple[str, np.ndarray]  # name and logits float [N] of the clips of the table, NaN for those that are not asked


def held_pages(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Clips of the training split, and those of pages that occur in the other split alone: bool [N] each."""
    pages = table.page.to_numpy()
    train = (table.split == "train").to_numpy()
    return train, ~train & ~np.isin(pages, np.unique(pages[train]))


def validated(data: PageSamples, rows: np.ndarray, more: PageSamples, config: VideoTrainConfig) -> np.ndarray:
    """Cross-validated logits of the scored clips ``rows``, NaN for the others."""
    logits = np.full(len(rows), np.nan)
    logits[rows] = cross_validated_logits(data[rows].with_more(more), config)
    return logits


def data_variants(
    data: str | os.PathLike[str],
    classifier: VideoClassifier,
    config: VideoTrainConfig,
    cache: str | os.PathLike[str],
    forged: Sequence[str | os.PathLike[str]] = (),
    outside: Sequence[str | os.PathLike[str]] = (),
    start: str | os.PathLike[str] | None = None,
    hook: Hook | None = None,
) -> Iterator[Variant]:
    """Variants of the linear layer: with time, without forged clips or the field set, and on the encoder before it was taught.

    Parameters
    ----------
    data : path-like
        Folder of the development data, with the field set in ``field/``.
    classifier, config
        Of the detector.
    cache : path-like
        Folder for the statistics of clips.
    forged : sequence of path-like
        Forged sets that the classifier was fitted to.
    outside : sequence of path-like
        Sets that were forged from other corpora.
    start : path-like, optional
        Weights of EfficientNet-Lite0 that the encoder began with.
    hook : callable, optional
        Called with clips done and all clips, for each part anew.
    """
    field, size = Path(data) / FIELD, len(classifier.center)
    table, both, _ = load_video_samples(field, data, classifier, config, cache, hook, forged, deviation=True)
    train, _ = held_pages(table)
    scored, more = both[both.scored], both[~both.scored]
    yield "cross-validation, train, mean and deviation over the portraits of a clip", validated(scored, train, more, config)
    scored = scored.columns(slice(size))
    if forged:
        _, plain, _ = load_video_samples(field, data, classifier, config, cache, hook)
        yield "cross-validation, train, without forged clips", validated(scored, train, plain[~plain.scored], config)
    if outside:
        _, every, _ = load_video_samples(field, data, classifier, config, cache, hook, outside)
        fitted = every[~every.scored & ~np.isin(every.pages, np.unique(table.page.to_numpy(dtype=str)))]
        yield "train and val, fitted to forged clips of other corpora alone", fit_linear(fitted, config)(scored.statistics)
    if start is not None:
        chosen = classifier.config
        untaught = with_image_encoder(load_efficientnet(start), chosen.patch_layers, chosen.token_layers, chosen.views)
        other, samples, _ = load_video_samples(field, data, untaught, config, cache, hook, forged)
        assert list(other.path) == list(table.path)
        yield (
            "cross-validation, train, encoder as it was before it was taught",
            validated(samples[samples.scored], train, samples[~samples.scored], config),
        )


def tuned_variants(
    table: pd.DataFrame,
    samples: PageSamples,
    classifier: VideoClassifier,
    config: VideoTrainConfig,
    cache: str | os.PathLike[str],
    hook: Hook | None = None,
) -> Iterator[Variant]:
    """Variants whose encoder is trained with labels: fine-tuned last stages, and all of it from random weights; on whole portraits.

    Parameters
    ----------
    table, samples
        See :func:`~avwitness.detector.training.classifiers.video_data.load_video_samples`.
    classifier, config
        Of the detector; its encoder must be an EfficientNet.
    cache : path-like
        Folder for portraits, and for the logits of finished trainings.
    hook : callable, optional
        Called with the steps done and all steps of a training.
    """
    train, val = held_pages(table)
    portraits = [cached_portraits(file, file_sha256(file), cache) for file in table.file]
    data = LabelledImages(
        np.concatenate(portraits),
        np.repeat(np.arange(len(table)), [len(images) for images in portraits]),
        table.label.to_numpy(),
        table.page.to_numpy(dtype=str),
    )
    chosen = classifier.config
    whole = slice(len(classifier.center) // len(chosen.views))  # statistics of the first view, the whole portrait
    assert chosen.views[0] == "portrait"
    classifier = with_image_encoder(classifier.encoder, chosen.patch_layers, chosen.token_layers)
    scored, more = samples[samples.scored].columns(whole), samples[~samples.scored].columns(whole)

    def asked(taught: np.ndarray, test: np.ndarray, settings: VideoFineTuning, begin: VideoClassifier) -> np.ndarray:
        digest = hashlib.sha1(repr((encoder_hash(begin), asdict(settings), asdict(config), list(table.path[taught]))).encode())
        target = Path(cache) / "video-training" / f"{digest.hexdigest()[:16]}.npz"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            save_arrays(target, logits=clip_logits(fine_tune_video(begin, data, taught, settings, hook), data, ~taught))
        with np.load(target) as found:
            return np.where(test, found["logits"], np.nan)

    def fitted(taught: np.ndarray) -> VideoClassifier:
        model = copy.deepcopy(classifier)
        set_linear(model, fit_linear(scored[taught].with_more(more), config))
        return model

    settings = replace(FINE_TUNING, seed=config.seed, page_balance=config.page_balance)
    few, fold = replace(config, folds=TUNED_FOLDS), np.full(len(table), -1)
    fold[train] = page_folds(data.pages[train], TUNED_FOLDS, config.seed)
    yield f"cross-validation with {TUNED_FOLDS} folds, train, whole portrait alone", validated(scored, train, more, few)
    logits = np.full(len(table), np.nan)
    for number in range(TUNED_FOLDS):
        taught = train & (fold != number)
        logits = np.where(fold == number, asked(taught, fold == number, settings, fitted(taught)), logits)
    yield "the same, last stages of the encoder fine-tuned", logits
    yield (
        "val, whole portrait alone, fitted on train",
        np.where(val, fit_linear(scored[train].with_more(more), config)(scored.statistics), np.nan),
    )
    yield "val, whole portrait alone, last stages of the encoder fine-tuned on train", asked(train, val, settings, fitted(train))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        random = with_image_encoder(EfficientNetLite(), chosen.patch_layers, ())
    scratch = replace(SCRATCH, seed=config.seed, page_balance=config.page_balance)
    yield "val, whole portrait alone, encoder trained from scratch on train", asked(train, val, scratch, random)
