"""Clips that the audio classifier is fitted to: the field set, genuine clips of further corpora, and forged copies of genuine clips."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pandas as pd

from ...audio_classifier import AudioClassifier
from .audio_statistics import AudioTrainConfig, clip_statistics, forged_statistics
from .field_data import field_table, genuine_clips
from .linear import PageSamples


def load_audio_samples(
    field: str | os.PathLike[str],
    data: str | os.PathLike[str] | None,
    classifier: AudioClassifier,
    config: AudioTrainConfig,
    cache: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, PageSamples, list[str]]:
    """Statistics of all clips that a configuration asks for.

    Parameters
    ----------
    field : path-like
        Folder of the field set.
    data : path-like or None
        Folder with the manifest that lists the corpora of ``config.genuine_corpora``.
    classifier : AudioClassifier
        Its encoder and layers are used.
    config : AudioTrainConfig
    cache : path-like
    hook : callable, optional
        Called with clips done and all clips, for each of the three parts anew.

    Returns
    -------
    table : pandas.DataFrame
        Scored clips, see :func:`field_table`.
    samples : PageSamples
        The scored clips in the order of the table, then those that are only fitted to.
    failures : list of str
        Clips that cannot be read or are too short, a sentence each.

    Raises
    ------
    ValueError
        If corpora are asked for and there is no manifest.
    """
    table = field_table(field, "audio")
    statistics, failures = clip_statistics(list(table.file), classifier, cache, hook)
    known = ~np.isnan(statistics[:, 0])
    table, statistics = table[known].reset_index(drop=True), statistics[known]
    samples = PageSamples.of(statistics, table.label.to_numpy(), table.page.to_numpy())
    if config.genuine_corpora:
        more = genuine_clips(data, "audio", config)
        extra, failed = clip_statistics(list(more.file), classifier, cache, hook)
        failures += failed
        kept = ~np.isnan(extra[:, 0])
        samples = samples.with_more(
            PageSamples.of(extra[kept], np.zeros(kept.sum(), dtype=int), more.corpus[kept].to_numpy(), scored=False)
        )
    if config.voices:
        genuine = table[table.label == 0].reset_index(drop=True)
        forged, sources = forged_statistics(list(genuine.file), classifier, config, cache, hook)
        pages = genuine.page.to_numpy()[sources]
        samples = samples.with_more(PageSamples.of(forged, np.ones(len(forged), dtype=int), pages, config.forged_weight, scored=False))
    return table, samples, failures
