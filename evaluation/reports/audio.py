"""The section on the audio classifier of ``docs/RESULTS.md``: the field set by page, beside baselines, ablations and a learning curve."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ...checkpoints import find_weights, read_card
from ...detector.audio_classifier import with_encoder
from ...detector.inference.detector import load
from ...detector.thresholds import page_threshold
from ...detector.training.classifiers.audio_data import load_audio_samples
from ...detector.training.classifiers.audio_statistics import AudioTrainConfig, layer_columns
from ...detector.training.classifiers.linear import PageSamples, cross_validated_logits, fit_linear
from ...media.clip import SAMPLE_RATE, MediaError
from ...media.windows import read_clip
from ..auditing.statistics import bandwidth, leading_silence, level
from ..document import markdown_table, write_section
from ..metrics.ranking import auc
from .page_figures import HEADER, LEARNING_CURVE, MIN_FAKES, figures, fpr_lines

SECTION = "audio"
FIELD = "field"  # folder of the field set among the development data
BASELINES: dict[str, Callable[[np.ndarray], float]] = {
    "band limit": bandwidth,
    "level": level,
    "leading silence": lambda waveform: leading_silence(waveform, SAMPLE_RATE)[0],
    "duration": lambda waveform: float(len(waveform)),
}


def baseline_statistics(files: Sequence[str | os.PathLike[str]], cache: str | os.PathLike[str]) -> pd.DataFrame:
    """One-line statistics of every clip, kept in the cache; NaN where a clip cannot be read."""
    target = Path(cache) / "audio-baselines.csv"
    if target.exists():
        found = pd.read_csv(target)
        if len(found) == len(files):
            return found[list(BASELINES)]
    rows = []
    for path in files:
        try:
            waveform = read_clip(path, video=False).waveform
        except MediaError:
            waveform = None
        rows.append({name: float("nan") if waveform is None else statistic(waveform) for name, statistic in BASELINES.items()})
    table = pd.DataFrame(rows)
    table.to_csv(target, index=False)
    return table


def report_audio(
    data: str | os.PathLike[str],
    model: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    out: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
) -> None:
    """Measure the audio classifier of a detector with the settings of its card, and write the section.

    Parameters
    ----------
    data : path-like
        Folder of the development data, with the field set in ``field/``.
    model : str or path-like
        Bundled name or folder.
    cache : path-like
        Folder for the statistics of clips.
    out : path-like
        Markdown file.
    hook : callable, optional
        Called with clips done and all clips.

    Raises
    ------
    ValueError
        If the detector has no audio classifier.
    """
    classifier = load(model, device="cpu").model.audio_classifier
    card = read_card(find_weights("detector", model)).get("audio_classifier")
    if classifier is None or card is None:
        raise ValueError(f"{model}: has no audio classifier")
    config = AudioTrainConfig(**card["training"])
    every = with_encoder(classifier.encoder, range(classifier.config.encoder.layers + 1))
    table, samples, _ = load_audio_samples(Path(data) / FIELD, data, every, config, cache, hook)
    write_audio(table, samples, classifier.config.encoder.width, config, cache, out)


def write_audio(
    table: pd.DataFrame,
    samples: PageSamples,
    width: int,
    config: AudioTrainConfig,
    cache: str | os.PathLike[str],
    out: str | os.PathLike[str],
    scores_before: pd.Series | None = None,
) -> None:
    """Measure the audio classifier on the field set and write the section.

    Parameters
    ----------
    table, samples
        See :func:`avwitness.detector.training.audio_classifier.data.load_audio_samples`; of a classifier that uses all layers.
    width : int
        Channels of the encoder.
    config : AudioTrainConfig
    cache : path-like
        Folder for the statistics of baselines.
    out : path-like
        Markdown file.
    scores_before : pandas.Series, optional
        Scores of another detector by path, for a row of its own.
    """
    baselines = baseline_statistics(list(table.file), cache)
    labels, pages = table.label.to_numpy(), table.page.to_numpy()
    train = (table.split == "train").to_numpy()
    val = ~train & ~np.isin(pages, np.unique(pages[train]))  # pages with clips in both splits are in neither row of val
    chosen = samples.columns(*layer_columns(config.layers, width))
    scored, extra = chosen[chosen.scored], chosen[~chosen.scored]
    of_train = extra[~np.isin(extra.pages, np.unique(pages[~train]))]

    def validate(data: PageSamples, more: PageSamples | None, rows: np.ndarray) -> np.ndarray:
        """Cross-validated logits of some of the scored clips, NaN for the others."""
        logits = np.full(len(table), np.nan)
        part = data[rows]
        logits[rows] = cross_validated_logits(part if more is None else part.with_more(more), config)
        return logits

    everything = np.ones(len(table), dtype=bool)
    logits_train, logits_all = validate(scored, of_train, train), validate(scored, extra, everything)
    linear = fit_linear(scored[train].with_more(of_train), config)
    logits_val = np.where(val, linear(scored.statistics), np.nan)
    lines = ["## Audio classifier", ""]
    lines += [
        f"Field set: {int(labels.sum())} fake and {int((labels == 0).sum())} genuine recordings of {len(np.unique(pages))} pages; "
        f"{int((extra.labels == 0).sum())} genuine clips of other corpora and {int((extra.labels == 1).sum())} forged copies are "
        f"fitted to and not scored. Seed {config.seed}. Intervals are 95 % bootstrap intervals over pages. "
        f"In cross-validation ({config.folds} folds) no page "
        "stands on both sides. Settings were chosen by cross-validation on `train`. *Audio pages* are those of the audio recordings: the "
        "audio of genuine videos comes from other pages than most fake audio, so that a classifier may tell the pages apart; figures "
        "without the videos are the stricter ones.",
        "",
    ]
    audio = table.path.str.startswith("audio/").to_numpy()
    only = np.where(audio, 0.0, np.nan)
    alone = validate(scored, None, train)
    rows: list[tuple[object, ...]] = [
        ("cross-validation, train", *figures(logits_train, table, config.seed)),
        ("cross-validation, train, audio pages", *figures(logits_train + only, table, config.seed)),
        ("cross-validation, train and val", *figures(logits_all, table, config.seed)),
        ("cross-validation, train and val, audio pages", *figures(logits_all + only, table, config.seed)),
        ("val, fitted on train", *figures(logits_val, table, config.seed)),
        ("val, fitted on train, audio pages", *figures(logits_val + only, table, config.seed)),
        ("cross-validation, train, audio pages, field set alone", *figures(alone + only, table, config.seed)),
    ]
    for layer in range(samples.statistics.shape[1] // (2 * width)):
        one = samples.columns(*layer_columns((layer,), width))
        logits = validate(one[one.scored], None, train) + only
        rows.append((f"the same, layer {layer} alone", *figures(logits, table, config.seed)))
    if scores_before is not None:
        rows.append(("version 0.1, all", *figures(table.path.map(scores_before).to_numpy(dtype=float), table, config.seed)))
    for name in BASELINES:
        values = baselines[name].to_numpy(dtype=float)
        known = ~np.isnan(values)
        sign = 1.0 if auc(values[known], labels[known]) >= 0.5 else -1.0
        rows.append((f"baseline: {name}, better direction, all", *figures(sign * values, table, config.seed)))
    lines += ["### Ranking", "", *markdown_table(("scores", *HEADER), rows)]

    lines += ["### By kind and language", "", "Fakes of the row against all genuine recordings; cross-validation on train and val.", ""]
    rows = []
    for column in ("category", "language"):
        for value, group in table[table.label == 1].groupby(column):
            if value and len(group) >= MIN_FAKES:
                rows_of = (table.label == 0) | (table[column].eq(value) & (table.label == 1))
                rows.append(
                    (column.replace("category", "kind"), value, len(group), *figures(logits_all[rows_of], table[rows_of], config.seed))
                )
    lines += markdown_table(("", "value", "fakes", *HEADER), rows)

    lines += [
        "### Learning curve",
        "",
        "Cross-validation on train and val; each fold is fitted to this many other pages, drawn with the seed.",
        "",
    ]
    rows = []
    for count in (*LEARNING_CURVE, len(np.unique(pages))):
        order = np.random.default_rng(config.seed).permutation(np.unique(pages))
        scores = cross_validated_logits(chosen, config, np.where(chosen.scored, np.isin(chosen.pages, order[:count]), True))
        rows.append((min(count, len(order)), *figures(scores, table, config.seed)))
    lines += markdown_table(("pages", *HEADER), rows)

    threshold = page_threshold(logits_all[labels == 0], pages[labels == 0], config.max_fpr, config.max_worst_fpr)
    lines += ["### FPR of genuine pages", "", *fpr_lines(logits_all, table, threshold)]
    write_section(out, SECTION, lines)
