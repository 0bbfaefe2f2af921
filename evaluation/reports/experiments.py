"""The section on experiments of the results file: ablations of the detector's design, and methods left out of training."""

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
from ..metrics.bootstrap import Interval, bootstrap
from ..metrics.ranking import auc
from .detection.forged_dev import BASELINES, baselines
from .detection.report import CARD

SECTION = "experiments"
REFERENCE = "pretrained, dual"
ALL = "without nothing"  # the fold that is trained on every method

#: Evaluation tasks by title: the input streams, and the target.
TASKS = {
    "any stream fake, both as input": ("both", "any"),
    "audio fake, both as input": ("both", "audio"),
    "video fake, both as input": ("both", "video"),
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
    """Run the missing experiments, and write the section of the results file; the ablations are also written to a model card there."""
    table = run_experiments(config, forged, dev, cache, runs, workers, only)
    baseline_values = pd.DataFrame([{"path": sample.path, **baselines(sample)} for sample in load_set(dev, cache, workers)])
    table = table.merge(baseline_values, on="path", how="left", validate="many_to_one")
    lines = ["# Experiments", "", "Written by `avwitness experiment`; do not edit by hand.", ""]
    lines += ablation_tables(table[table.variant.isin(config.variants)], config)
    lines += left_out_table(table, config)
    write_section(out, SECTION, lines)
    card = Path(out).with_name(CARD)
    if card.exists():
        write_section(
            card,
            SECTION,
            ["Written by `avwitness experiment`.", "", *ablation_tables(table[table.variant.isin(config.variants)], config)[2:]],
        )


def scores_of(table: pd.DataFrame, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of one model's rows for a stream, or for whether any stream is fake; NaN without a score."""
    if target in STREAMS:
        return table[target].to_numpy(dtype=float), table[f"{target}_label"].to_numpy(dtype=float)
    labels = table[[f"{s}_label" for s in STREAMS]].max(axis=1).to_numpy(dtype=float)
    logits = table[list(STREAMS)].to_numpy(dtype=float)
    # The odds that one of two streams is fake are about the sum of their odds. A binary model has equal logits for both.
    return np.logaddexp(logits[:, 0], logits[:, 1]), labels


def across_seeds(
    table: pd.DataFrame,
    target: str,
    other: pd.DataFrame | None = None,
    seed: int = 0,
) -> Interval:
    """Mean AUC over seeds, or mean difference of AUC to another arm, with a paired bootstrap over source clips.

    Parameters
    ----------
    table, other : DataFrame
        Rows of one arm with all its seeds; rows of the other arm with the same clips.
    """
    arms = [_by_seed(part, target) for part in (table, other) if part is not None]
    sources = arms[0][2]

    def value(drawn: np.ndarray) -> float:
        means = []
        for scores, labels, _ in arms:
            keep = drawn[~np.isnan(scores[:, drawn]).any(axis=0) & ~np.isnan(labels[drawn])]
            means.append(np.mean([auc(score[keep], labels[keep]) for score in scores]))
        return float(means[0] - means[1]) if len(means) > 1 else float(means[0])

    return bootstrap(value, sources, seed)


def _by_seed(table: pd.DataFrame, target: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores [seeds, N], labels [N] and sources [N], clips in the order of their paths."""
    ordered = [part.sort_values("path") for _, part in table.groupby("seed")]
    scores = np.stack([scores_of(part, target)[0] for part in ordered])
    return scores, scores_of(ordered[0], target)[1], ordered[0].source.to_numpy()


def ablation_tables(table: pd.DataFrame, config: ExperimentConfig) -> list[str]:
    """Tables of the variants: AUC by task, and the difference of the reference to each variant."""
    if table.empty:
        return []
    lines = ["## Ablations", ""]
    steps = config.base.get("schedule", {}).get("steps")
    lines += [
        f"All variants are trained on the same clips, for {steps} steps with the same batch size, and differ in one setting. They have no "
        f"artefact branches, so that speech encoders are compared. AUC on the forged dev clips, mean over {table.seed.nunique()} seed(s), "
        "with 95 % bootstrap intervals over source clips, followed by the values of the single seeds. A binary model has the same score "
        "for every task. Each baseline is oriented so that its AUC is at least 0.5.",
        "",
    ]
    rows, differences = [], []
    for variant in [name for name in config.variants if name in set(table.variant)]:
        row: list[object] = [variant]
        difference: list[object] = [f"{REFERENCE} minus {variant}"]
        for case, target in TASKS.values():
            part = table[(table.variant == variant) & (table.case == case)]
            if part.empty:
                row.append("-")
                difference.append("-")
                continue
            single = ", ".join(f"{_auc(of_seed, target):.3f}" for _, of_seed in part.groupby("seed"))
            row.append(f"{across_seeds(part, target)} ({single})")
            seeds = set(part.seed)
            reference = table[(table.variant == REFERENCE) & (table.case == case) & table.seed.isin(seeds)]
            complete = set(reference.seed) == seeds and variant != REFERENCE
            difference.append(str(across_seeds(reference, target, part)) if complete else "-")
        rows.append(row)
        if variant != REFERENCE:
            differences.append(difference)
    lines += markdown_table(("variant", *TASKS), [*rows, *_baseline_rows(table)])
    lines += ["Differences of AUC, paired by clip; an interval that contains 0 shows no difference:", ""]
    return lines + markdown_table(("difference", *TASKS), differences)


def _baseline_rows(table: pd.DataFrame) -> list[list[str]]:
    """AUC of the trivial baselines by task, one row each."""
    clips = table.drop_duplicates("path")
    rows = []
    for name in BASELINES["overall"]:
        row = [f"baseline: {name}"]
        for _, target in TASKS.values():
            applies = name in BASELINES.get(target, BASELINES["overall"])
            row.append(f"{_baseline(clips, target, name):.3f}" if applies else "-")
        rows.append(row)
    return rows


def _baseline(clips: pd.DataFrame, target: str, name: str) -> float:
    labels = clips[[f"{s}_label" for s in STREAMS if target in (s, "any")]].max(axis=1).to_numpy(dtype=float)
    known = ~np.isnan(labels)
    return baseline_auc(clips[name].to_numpy(dtype=float)[known], labels[known])


def _auc(table: pd.DataFrame, target: str) -> float:
    scores, labels = scores_of(table, target)
    known = ~np.isnan(scores) & ~np.isnan(labels)
    return auc(scores[known], labels[known])


def left_out_table(table: pd.DataFrame, config: ExperimentConfig) -> list[str]:
    """Table of methods by a model trained without them, beside one trained with them."""
    table = table[table.case == "both"]
    reference = table[table.variant == ALL]
    rows = []
    for fold, methods in config.excluded_methods.items():
        excluded = table[table.variant == f"without {fold}"]
        for method in methods if len(excluded) else ():
            for stream in STREAMS:
                cells = [_method(part, stream, method, column) for part, column in _columns(excluded, reference, stream)]
                if cells[0] is not None:
                    clips = _rows_of(excluded, stream, method)
                    best = max((_baseline(clips, stream, name), name) for name in BASELINES[stream])
                    rows.append((method, stream, *("-" if cell is None else str(cell) for cell in cells), f"{best[0]:.3f} ({best[1]})"))
    if not rows:
        return []
    return [
        "## Methods left out",
        "",
        "Every method is scored by a model that was trained without it and related methods (one fold of `configs/experiments.yaml`), "
        "beside a model that was trained for as many steps on all methods. AUC against the genuine clips of the same sources, 95 % "
        "bootstrap intervals over source clips. Further columns give the speech encoder and the artefact branch alone, and the best "
        "trivial baseline. The face branch is always trained with self-blended faces, which are related to `self_blend`.",
        "",
        *markdown_table(
            (
                "method",
                "stream",
                "left out",
                "in training",
                "left out, speech encoder alone",
                "left out, artefact branch alone",
                "best baseline",
            ),
            rows,
        ),
    ]


def _columns(excluded: pd.DataFrame, reference: pd.DataFrame, stream: str) -> list[tuple[pd.DataFrame, str]]:
    return [(excluded, stream), (reference, stream), (excluded, f"{stream}_speech"), (excluded, f"{stream}_artefacts")]


def _rows_of(table: pd.DataFrame, stream: str, method: str) -> pd.DataFrame:
    """The fakes of a method and the genuine clips of their sources; empty without fakes."""
    fake = table[f"{stream}_method"].map(lambda name: method in split_methods(name)) & (table[f"{stream}_label"] == 1)
    return table[fake | ((table[f"{stream}_label"] == 0) & table.source.isin(table.source[fake]))]


def _method(table: pd.DataFrame, stream: str, method: str, column: str) -> Interval | None:
    """AUC of one column for the fakes of a method against the genuine clips of their sources."""
    rows = _rows_of(table, stream, method)
    rows = rows[rows[column].notna()]
    return None if rows.empty else across_seeds(rows.assign(**{stream: rows[column]}), stream)
