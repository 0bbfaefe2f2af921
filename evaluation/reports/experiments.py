"""What the detector's design claims, tested: tables of trainings that differ in one thing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ...detector.training.experiments import ExperimentConfig, run_experiments
from ...detector.training.samples import load_set, split_methods
from ...media.clip import STREAMS
from ..document import markdown_table, write_section
from ..metrics.baselines import baseline_auc
from ..metrics.bootstrap import Interval
from ..metrics.ranking import auc
from .detection.forged_dev import BASELINES, baselines
from .detection.report import CARD

SECTION = "experiments"  # of the results file
ROUNDS = 500  # of the bootstrap
REFERENCE = "pretrained, dual"
ALL = "without nothing"  # the fold that has seen every method

#: What an arm is asked: which streams it is given, and what it shall tell apart.
QUESTIONS = {
    "any stream fake, both given": ("both", "any"),
    "audio fake, both given": ("both", "audio"),
    "video fake, both given": ("both", "video"),
    "audio fake, video removed": ("audio", "audio"),
    "video fake, audio removed": ("video", "video"),
}


def write_experiments(
    config: ExperimentConfig,
    forged: Sequence[str | os.PathLike[str]],
    dev: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    runs: str | os.PathLike[str],
    out: str | os.PathLike[str],
    workers: int,
    only: Sequence[str] | None = None,
) -> None:
    """Run what is not there yet, and write the section on experiments of a results file; the claims into a model card beside it, too."""
    table = run_experiments(config, forged, dev, cache, runs, workers, only)
    trivial = pd.DataFrame([{"path": sample.path, **baselines(sample)} for sample in load_set(dev, cache, workers)])
    table = table.merge(trivial, on="path", how="left", validate="many_to_one")
    lines = ["# Experiments", "", "Written by `avwitness experiment`; do not edit by hand.", ""]
    lines += claims(table[table.variant.isin(config.variants)], config)
    lines += left_out(table, config)
    write_section(out, SECTION, lines)
    card = Path(out).with_name(CARD)
    if card.exists():
        write_section(
            card, SECTION, ["Written by `avwitness experiment`.", "", *claims(table[table.variant.isin(config.variants)], config)[2:]]
        )


def scores_of(table: pd.DataFrame, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of one model's rows: of a stream, or that any stream is fake; NaN scores where it says nothing."""
    if target in STREAMS:
        return table[target].to_numpy(dtype=float), table[f"{target}_label"].to_numpy(dtype=float)
    labels = table[[f"{s}_label" for s in STREAMS]].max(axis=1).to_numpy(dtype=float)
    logits = table[list(STREAMS)].to_numpy(dtype=float)
    # Either witness suffices: the odds that one of two is fake are about the sum of their odds. A binary model says the same twice.
    return np.logaddexp(logits[:, 0], logits[:, 1]), labels


def across_seeds(
    table: pd.DataFrame,
    target: str,
    other: pd.DataFrame | None = None,
    seed: int = 0,
) -> Interval:
    """AUC's mean over seeds, or the mean of its difference to another arm, with a paired bootstrap over source clips.

    Parameters
    ----------
    table, other : DataFrame
        Rows of one arm, all its seeds; of the other arm the same clips.
    """
    arms = [_by_seed(part, target) for part in (table, other) if part is not None]
    sources = arms[0][2]
    rng = np.random.default_rng(seed)
    names, codes = np.unique(sources, return_inverse=True)
    rows = [np.flatnonzero(codes == code) for code in range(len(names))]

    def value(drawn: np.ndarray) -> float:
        means = []
        for scores, labels, _ in arms:
            keep = drawn[~np.isnan(scores[:, drawn]).any(axis=0) & ~np.isnan(labels[drawn])]
            means.append(np.mean([auc(score[keep], labels[keep]) for score in scores]))
        return float(means[0] - means[1]) if len(means) > 1 else float(means[0])

    values = [value(np.concatenate([rows[i] for i in rng.integers(0, len(names), len(names))])) for _ in range(ROUNDS)]
    return Interval(value(np.arange(len(sources))), *(float(q) for q in np.nanquantile(values, (0.025, 0.975))))


def _by_seed(table: pd.DataFrame, target: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores [seeds, N], labels [N] and sources [N], clips in the order of their paths."""
    ordered = [part.sort_values("path") for _, part in table.groupby("seed")]
    scores = np.stack([scores_of(part, target)[0] for part in ordered])
    return scores, scores_of(ordered[0], target)[1], ordered[0].source.to_numpy()


def claims(table: pd.DataFrame, config: ExperimentConfig) -> list[str]:
    """Tables of the arms: AUC by question, and what each differs by from the reference."""
    if table.empty:
        return []
    lines = ["## Claims", ""]
    steps = config.base.get("schedule", {}).get("steps")
    lines += [
        f"Every arm has the same clips, steps ({steps}) and examples a step; arms differ in one thing. Artefact branches are left out: "
        f"what is compared is the speech encoder. AUC on the forged dev clips, mean over {table.seed.nunique()} seed(s), with 95 % "
        "bootstrap intervals over source clips; in brackets after it the single seeds. A binary model has one score for every question. "
        "Trivial baselines are turned the way that suits them best.",
        "",
    ]
    rows, gaps = [], []
    for arm in [name for name in config.variants if name in set(table.variant)]:
        row: list[object] = [arm]
        gap: list[object] = [f"{REFERENCE} minus {arm}"]
        for case, target in QUESTIONS.values():
            mine = table[(table.variant == arm) & (table.case == case)]
            if mine.empty:
                row.append("-")
                gap.append("-")
                continue
            single = ", ".join(f"{_plain(part, target):.3f}" for _, part in mine.groupby("seed"))
            row.append(f"{across_seeds(mine, target)} ({single})")
            seeds = set(mine.seed)
            reference = table[(table.variant == REFERENCE) & (table.case == case) & table.seed.isin(seeds)]
            complete = set(reference.seed) == seeds and arm != REFERENCE
            gap.append(str(across_seeds(reference, target, mine)) if complete else "-")
        rows.append(row)
        if arm != REFERENCE:
            gaps.append(gap)
    lines += markdown_table(("arm", *QUESTIONS), [*rows, *_baseline_rows(table)])
    lines += ["Differences of AUC, paired clip by clip; an interval that holds 0 shows nothing:", ""]
    return lines + markdown_table(("difference", *QUESTIONS), gaps)


def _baseline_rows(table: pd.DataFrame) -> list[list[str]]:
    """What the trivial baselines answer to the questions, one row each."""
    clips = table.drop_duplicates("path")
    rows = []
    for name in BASELINES["overall"]:
        row = [f"baseline: {name}"]
        for _, target in QUESTIONS.values():
            asked = name in BASELINES.get(target, BASELINES["overall"])
            row.append(f"{_baseline(clips, target, name):.3f}" if asked else "-")
        rows.append(row)
    return rows


def _baseline(clips: pd.DataFrame, target: str, name: str) -> float:
    labels = clips[[f"{s}_label" for s in STREAMS if target in (s, "any")]].max(axis=1).to_numpy(dtype=float)
    known = ~np.isnan(labels)
    return baseline_auc(clips[name].to_numpy(dtype=float)[known], labels[known])


def _plain(table: pd.DataFrame, target: str) -> float:
    scores, labels = scores_of(table, target)
    known = ~np.isnan(scores) & ~np.isnan(labels)
    return auc(scores[known], labels[known])


def left_out(table: pd.DataFrame, config: ExperimentConfig) -> list[str]:
    """Table of methods by a model that never saw them, beside one that did."""
    table = table[table.case == "both"]
    reference = table[table.variant == ALL]
    rows = []
    for fold, methods in config.excluded_methods.items():
        mine = table[table.variant == f"without {fold}"]
        for method in methods if len(mine) else ():
            for stream in STREAMS:
                cells = [_method(part, stream, method, column) for part, column in _columns(mine, reference, stream)]
                if cells[0] is not None:
                    clips = _rows_of(mine, stream, method)
                    best = max((_baseline(clips, stream, name), name) for name in BASELINES[stream])
                    rows.append((method, stream, *("-" if cell is None else str(cell) for cell in cells), f"{best[0]:.3f} ({best[1]})"))
    if not rows:
        return []
    return [
        "## Methods left out",
        "",
        "Every method judged by a model that was trained without it and its kin (one fold of `configs/experiments.yaml`), beside one of "
        "the same length that was trained on all. AUC against the genuine clips of the same sources, 95 % bootstrap intervals over source "
        "clips. The speech encoder and the artefact branch testify each by itself, too, and the best trivial baseline stands in the last "
        "column. The face branch always learns from faces that are blended on the fly, which are kin to `self_blend`.",
        "",
        *markdown_table(
            (
                "method",
                "stream",
                "left out",
                "seen in training",
                "left out, speech encoder alone",
                "left out, artefact branch alone",
                "best baseline",
            ),
            rows,
        ),
    ]


def _columns(mine: pd.DataFrame, reference: pd.DataFrame, stream: str) -> list[tuple[pd.DataFrame, str]]:
    return [(mine, stream), (reference, stream), (mine, f"{stream}_speech"), (mine, f"{stream}_artefacts")]


def _rows_of(table: pd.DataFrame, stream: str, method: str) -> pd.DataFrame:
    """The fakes of a method and the genuine clips of their sources; empty where there is no fake."""
    fake = table[f"{stream}_method"].map(lambda name: method in split_methods(name)) & (table[f"{stream}_label"] == 1)
    return table[fake | ((table[f"{stream}_label"] == 0) & table.source.isin(table.source[fake]))]


def _method(table: pd.DataFrame, stream: str, method: str, column: str) -> Interval | None:
    """AUC of one column for the fakes of a method against the genuine clips of their sources."""
    rows = _rows_of(table, stream, method)
    rows = rows[rows[column].notna()]
    return None if rows.empty else across_seeds(rows.assign(**{stream: rows[column]}), stream)
