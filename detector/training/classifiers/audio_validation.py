"""Fitting of the audio classifier, and its cross-validation by page; finished folds are kept in the cache."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ....media.views import save_arrays
from ...audio_classifier import AudioClassifier
from .audio_statistics import AudioTrainConfig, encoder_hash
from .fine_tuning import clip_logits, fine_tune
from .linear import PageSamples, fit_linear, page_folds, set_linear


def fit_audio_classifier(
    classifier: AudioClassifier,
    samples: PageSamples,
    waveforms: Sequence[np.ndarray],
    config: AudioTrainConfig,
    hook: Callable[[int, int], None] | None = None,
) -> AudioClassifier:
    """A fitted copy: the linear layer on the statistics of the pretrained encoder first, then both together.

    Parameters
    ----------
    classifier : AudioClassifier
        With the weights of the pretrained encoder.
    samples : PageSamples
        Statistics are those of this classifier.
    waveforms : sequence of float [S]
        At 16 kHz, of the same clips.
    config : AudioTrainConfig
    hook : callable, optional
        Called with the steps done and all steps of fine-tuning.
    """
    made = copy.deepcopy(classifier)
    set_linear(made, fit_linear(samples, config))
    if config.fine_tuning.epochs == 0:
        return made.eval()
    return fine_tune(made, samples, waveforms, config.fine_tuning, config.page_balance, config.seed, hook)


def validate_audio_classifier(
    classifier: AudioClassifier,
    samples: PageSamples,
    waveforms: Sequence[np.ndarray],
    config: AudioTrainConfig,
    cache: str | os.PathLike[str],
    keep: np.ndarray | None = None,
    hook: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Logits of classifiers that were trained without the clip's page: float [M] of the M clips that are scored.

    Parameters
    ----------
    classifier, samples, waveforms, config
        See :func:`fit_audio_classifier`.
    cache : path-like
        Folder in which the logits of finished folds are kept, by everything that they depend on.
    keep : bool [N], optional
        Clips that may be trained on, for learning curves.
    hook : callable, optional
        Called with the steps done and all steps, for each fold anew.
    """
    keep = np.ones(len(samples.labels), dtype=bool) if keep is None else keep
    places = np.flatnonzero(samples.scored)
    fold = page_folds(samples.pages[places], config.folds, config.seed)
    logits = np.full(len(places), np.nan)
    for number in np.unique(fold):
        test = fold == number
        train = np.flatnonzero(keep & ~np.isin(samples.pages, np.unique(samples.pages[places[test]])))
        logits[test] = held_out_logits(classifier, samples, waveforms, config, cache, train, places[test], hook)
    return logits


def held_out_logits(
    classifier: AudioClassifier,
    samples: PageSamples,
    waveforms: Sequence[np.ndarray],
    config: AudioTrainConfig,
    cache: str | os.PathLike[str],
    train: np.ndarray,
    test: np.ndarray,
    hook: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Logits of the clips ``test`` by a classifier trained on the clips ``train`` (both int, places in ``samples``); kept in the cache."""
    if config.fine_tuning.epochs == 0:
        made = fit_audio_classifier(classifier, samples[train], [], config)
        return linear_logits(made, samples.statistics[test])
    settings = {name: value for name, value in asdict(config).items() if not name.startswith("max_")}
    digest = hashlib.sha1(json.dumps([settings, encoder_hash(classifier)], sort_keys=True, default=str).encode())
    for part in (train, test, samples.labels[train], samples.weights[train], samples.statistics[train].sum(axis=1)):
        digest.update(np.ascontiguousarray(part).tobytes())
    target = Path(cache) / "audio-folds" / f"{digest.hexdigest()}.npz"
    if not target.exists():
        made = fit_audio_classifier(classifier, samples[train], [waveforms[row] for row in train], config, hook)
        target.parent.mkdir(parents=True, exist_ok=True)
        save_arrays(target, logits=clip_logits(made, [waveforms[row] for row in test]))
    with np.load(target) as data:
        return np.asarray(data["logits"])


def linear_logits(classifier: AudioClassifier, statistics: np.ndarray) -> np.ndarray:
    """Logits [N] of statistics [N, D], by the linear layer."""
    import torch

    with torch.inference_mode():
        return classifier.classify(torch.from_numpy(statistics)).numpy()
