"""Clips that the audio classifier is trained on: the field set, genuine clips of further corpora, and forged copies of genuine clips."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...audio_classifier import AudioClassifier
from .audio_statistics import AudioTrainConfig, clip_statistics, forged_clips, read_waveforms
from .field_data import field_table, genuine_clips
from .linear import PageSamples


@dataclass(frozen=True)
class AudioSamples:
    """Clips to train on and to score.

    Parameters
    ----------
    table : pandas.DataFrame
        Scored clips, see :func:`~avwitness.detector.training.classifiers.field_data.field_table`.
    samples : PageSamples
        The scored clips in the order of the table, then those that are only trained on.
    waveforms : list of float16 [S]
        At 16 kHz, in the same order.
    failures : list of str
        Clips that cannot be read or are too short, a sentence each.
    """

    table: pd.DataFrame
    samples: PageSamples
    waveforms: list[np.ndarray]
    failures: list[str]


def load_audio_samples(
    field: str | os.PathLike[str],
    data: str | os.PathLike[str] | None,
    classifier: AudioClassifier,
    config: AudioTrainConfig,
    cache: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
    split: str | None = None,
) -> AudioSamples:
    """Waveforms and statistics of all clips that a configuration asks for.

    Parameters
    ----------
    field : path-like
        Folder of the field set.
    data : path-like or None
        Folder with the manifest that lists the corpora of ``config.genuine_corpora``.
    classifier : AudioClassifier
        Its encoder, layers and statistics are used.
    config : AudioTrainConfig
    cache : path-like
        Folder for forged copies and statistics.
    hook : callable, optional
        Called with clips done and all clips, for each of the parts anew.
    split : str, optional
        Take the clips of this split of the field set alone.

    Raises
    ------
    ValueError
        If corpora are asked for and there is no manifest, a voice cannot be used, or no clip is left.
    """
    table = field_table(field, "audio")
    table = table if split is None else table[table.split == split]
    if table.empty:
        raise ValueError(f"{field}: has no clip of the split {split} with a label of its audio")
    waveforms, known, failures = read_waveforms(list(table.file), hook)
    table = table[known].reset_index(drop=True)
    files, labels, pages = list(table.file), [table.label.to_numpy()], [table.page.to_numpy(dtype=str)]
    weights = [np.ones(len(table))]
    if config.genuine_corpora:
        more = genuine_clips(data, "audio", config)
        found, known, failed = read_waveforms(list(more.file), hook)
        waveforms, failures, more = waveforms + found, failures + failed, more[known]
        files += list(more.file)
        labels.append(np.zeros(len(more), dtype=int))
        pages.append(more.corpus.to_numpy(dtype=str))
        weights.append(np.ones(len(more)))
    if config.voices:
        genuine = np.flatnonzero(np.concatenate(labels) == 0)
        forged, sources = forged_clips([files[row] for row in genuine], config, cache, hook)
        waveforms += forged
        pages.append(np.concatenate(pages)[genuine][sources])
        labels.append(np.ones(len(forged), dtype=int))
        weights.append(np.full(len(forged), config.forged_weight))
    scored = np.arange(len(waveforms)) < len(table)
    statistics = clip_statistics(waveforms, classifier, cache, hook)
    samples = PageSamples(statistics, np.concatenate(labels), np.concatenate(pages), np.concatenate(weights), scored)
    return AudioSamples(table, samples, waveforms, failures)
