"""The section on the video classifier of ``docs/RESULTS.md``: the field set by page, beside baselines, ablations and a learning curve."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ...checkpoints import find_weights, read_card
from ...detector.inference.detector import load
from ...detector.thresholds import page_threshold
from ...detector.training.classifiers.export import calibrate_stream
from ...detector.training.classifiers.linear import PageSamples, cross_validated_logits, fit_linear
from ...detector.training.classifiers.video_data import BASELINES, VideoTrainConfig, load_video_samples
from ..document import markdown_table, write_section
from ..metrics.ranking import auc
from .page_figures import HEADER, LEARNING_CURVE, coverage_lines, figures, fpr_lines, group_rows

SECTION = "video"  # and the name of the detector
KINDS = {"category": "kind"}  # column, and its name in the tables
FIELD = "field"  # folder of the field set among the development data


def report_video(
    data: str | os.PathLike[str],
    model: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    out: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
) -> None:
    """Measure the video classifier of a detector with the settings of its card, and write the section.

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
        If the detector has no video classifier.
    """
    classifier = load(model, device="cpu").model.video_classifier
    card = read_card(find_weights("detector", model)).get("video_classifier")
    if classifier is None or card is None:
        raise ValueError(f"{model}: has no video classifier")
    config = VideoTrainConfig(**card["training"])
    table, samples, failures = load_video_samples(Path(data) / FIELD, data, classifier, config, cache, hook)
    write_video(table, samples, classifier.config.parts, config, out, Path(model).name, len(failures))


def write_video(
    table: pd.DataFrame,
    samples: PageSamples,
    parts: list[tuple[str, int]],
    config: VideoTrainConfig,
    out: str | os.PathLike[str],
    name: str,
    n_failures: int = 0,
) -> None:
    """Measure the video classifier on the field set and write the section.

    Parameters
    ----------
    table, samples
        See :func:`avwitness.detector.training.classifiers.video_data.load_video_samples`.
    parts : list of (str, int)
        Name and number of columns of every part of the statistics.
    config : VideoTrainConfig
    out : path-like
        Markdown file.
    name : str
        Of the detector.
    n_failures : int
        Clips that cannot be read or show no face.
    """
    labels, pages = table.label.to_numpy(), table.page.to_numpy()
    train = (table.split == "train").to_numpy()
    val = ~train & ~np.isin(pages, np.unique(pages[train]))  # pages with clips in both splits are in neither row of val
    scored, extra = samples[samples.scored], samples[~samples.scored]

    def validate(data: PageSamples, rows: np.ndarray, more: PageSamples | None = None) -> np.ndarray:
        """Cross-validated logits of some of the scored clips, NaN for the others."""
        logits = np.full(len(table), np.nan)
        logits[rows] = cross_validated_logits(data[rows] if more is None else data[rows].with_more(more), config)
        return logits

    everything = np.ones(len(table), dtype=bool)
    logits_train, logits_all = validate(scored, train, extra), validate(scored, everything, extra)
    logits_val = np.where(val, fit_linear(scored[train].with_more(extra), config)(scored.statistics), np.nan)
    lines = [
        f"## Video classifier of `{name}`",
        "",
        f"Field set: {int(labels.sum())} fake and {int((labels == 0).sum())} genuine clips of {len(np.unique(pages))} pages. Clips that "
        f"show no face or cannot be read: {n_failures}. {len(extra.labels)} genuine clips of other corpora are fitted to and not "
        f"scored. Seed {config.seed}. Intervals are 95 % bootstrap intervals over pages. In cross-validation ({config.folds} folds) "
        "no page stands on both sides. Settings were chosen by cross-validation on `train`.",
        "",
    ]
    rows: list[tuple[object, ...]] = [
        ("cross-validation, train", *figures(logits_train, table, config.seed)),
        ("cross-validation, train and val", *figures(logits_all, table, config.seed)),
        ("val, fitted on train", *figures(logits_val, table, config.seed)),
        ("cross-validation, train, field set alone", *figures(validate(scored, train), table, config.seed)),
    ]
    begin = 0
    for part_name, size in parts:
        part = slice(begin, begin + size)
        begin += size
        rows.append((f"the same, {part_name} alone", *figures(validate(scored.columns(part), train), table, config.seed)))
    for baseline in BASELINES:
        values = table[baseline].to_numpy(dtype=float)
        sign = 1.0 if auc(values, labels) >= 0.5 else -1.0
        rows.append((f"baseline: {baseline}, better direction, all", *figures(sign * values, table, config.seed)))
    lines += ["### Ranking", "", *markdown_table(("scores", *HEADER), rows)]

    lines += ["### By kind and method", "", "Fakes of the row against all genuine clips.", ""]
    header = ("", "value", "fakes", "pages", *HEADER)
    for title, logits, columns in (
        ("Cross-validation, train and val", logits_all, ("category", "method")),
        ("Val, fitted on train", logits_val, ("category",)),
    ):
        rows = [row for column in columns for row in group_rows(KINDS.get(column, column), table[column], logits, table, config.seed)]
        lines += [f"{title}:", "", *markdown_table(header, rows)]
    lines += ["### Kinds that were not trained on", ""]
    lines += ["Cross-validation on train and val without any fake of the row's kind, against all genuine clips.", ""]
    rows = []
    for kind in sorted(table.category[table.label == 1].unique()):
        of_kind = (table.category.eq(kind) & table.label.eq(1)).to_numpy()
        logits = cross_validated_logits(samples, config, np.concatenate([~of_kind, np.ones(len(extra.labels), dtype=bool)]))
        rows += group_rows("kind", table.category.where(of_kind, ""), logits, table, config.seed)
    lines += markdown_table(header, rows)

    rows = []
    for count in (*LEARNING_CURVE, len(np.unique(pages))):
        order = np.random.default_rng(config.seed).permutation(np.unique(pages))
        keep = np.where(samples.scored, np.isin(samples.pages, order[:count]), True)
        rows.append((min(count, len(order)), *figures(cross_validated_logits(samples, config, keep), table, config.seed)))
    lines += ["### Learning curve", ""]
    lines += ["Cross-validation on train and val; each fold is fitted to this many other pages, drawn with the seed.", ""]
    lines += markdown_table(("pages", *HEADER), rows)

    calibration = calibrate_stream(logits_all, table, config)
    lines += ["### Coverage", "", *coverage_lines(logits_all, table, calibration, config.seed)]
    threshold = page_threshold(logits_all[labels == 0], pages[labels == 0], config.max_fpr, config.max_worst_fpr)
    lines += ["### FPR of genuine pages", "", *fpr_lines(logits_all, table, threshold)]
    write_section(out, f"{SECTION}-{name}", lines)
