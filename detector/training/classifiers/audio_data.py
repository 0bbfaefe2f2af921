"""Clips that the audio classifier is fitted to: the field set, genuine clips of further corpora, and forged copies of genuine clips."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ....datasets.deepfake.field import Field
from ....datasets.manifest import read_manifest
from ...audio_classifier import AudioClassifier
from .audio_statistics import AudioTrainConfig, clip_statistics, forged_statistics
from .linear import PageSamples


def field_table(root: str | os.PathLike[str]) -> pd.DataFrame:
    """The clips of the field set whose audio is labelled.

    Returns
    -------
    pandas.DataFrame
        Columns of :class:`avwitness.datasets.deepfake.field.Field`, ``label`` (1 is fake) and ``page``.
    """
    table = Field().read(Path(root))
    table = table[(table.problem == "") & table.audio_label.notna() & table.has_audio].reset_index(drop=True)
    return table.assign(label=table.audio_label.astype(int), page=table.identity)


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
    table = field_table(field)
    statistics, failures = clip_statistics(list(table.file), classifier, cache, hook)
    known = ~np.isnan(statistics[:, 0])
    table, statistics = table[known].reset_index(drop=True), statistics[known]
    samples = PageSamples.of(statistics, table.label.to_numpy(), table.page.to_numpy())
    if config.genuine_corpora:
        if data is None:
            raise ValueError(f"the corpora {', '.join(config.genuine_corpora)} need --data, the folder with their manifest.csv")
        more = genuine_clips(data, config)
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


def genuine_clips(data: str | os.PathLike[str], config: AudioTrainConfig) -> pd.DataFrame:
    """Genuine clips of the training split of further corpora, drawn with the seed: ``file`` and ``corpus``."""
    table = read_manifest(data)
    table = table[(table.split == "train") & (table.audio_label == 0)]
    rng = np.random.default_rng(config.seed)
    parts = []
    for corpus, count in sorted(config.genuine_corpora.items()):
        rows = table[table.corpus == corpus]
        parts.append(rows.iloc[np.sort(rng.permutation(len(rows))[:count])])
    return pd.concat(parts, ignore_index=True)[["file", "corpus"]]
