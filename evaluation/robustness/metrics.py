"""Metrics of a detector on clips in one condition, and their change against the control on the same clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..benchmarks.score_file import TARGETS
from ..metrics.bootstrap import bootstrap_units, nan_to_none
from ..metrics.bootstrap_curves import auc_difference, ranking_intervals
from ..metrics.classification import THRESHOLD, threshold_metrics


def condition_metrics(
    rows: pd.DataFrame, control: pd.DataFrame, n_bootstrap: int, seed: int, targets: Sequence[str] = tuple(TARGETS)
) -> Iterator[dict[str, Any]]:
    """Metrics of one condition, for every one of the targets that any of its clips has a label for.

    Parameters
    ----------
    rows, control : pandas.DataFrame
        Labels and scores of the clips, of :func:`avwitness.evaluation.benchmarks.evaluate.label_rows`, in this condition and
        in the control; the control may hold more clips.
    n_bootstrap, seed : int
    targets : sequence of str

    Yields
    ------
    dict
        Plain JSON values: ``target``; ``fakes``, ``genuine`` (clips with a label); ``coverage``, the share of these that has a score.
        Over the clips with a score: ``auc`` as [value, low, high]; ``balanced_accuracy``, ``tpr`` and ``fpr`` at a probability of 0.5;
        ``units``, the name of the bootstrap units. Over the ``shared`` clips that have a score in both conditions: ``change`` as
        [value, low, high], the AUC minus the control's. ``None`` where a value is not defined.
    """
    base = control.set_index("path")
    for target in targets:
        column = TARGETS[target]
        part = rows[rows[f"{target}_label"].notna()]
        if part.empty:
            continue
        labels, scores = part[f"{target}_label"].to_numpy(dtype=int), part[column].to_numpy(dtype=float)
        before = base[column].reindex(part["path"]).to_numpy(dtype=float)
        people, sources = part["identity"].to_numpy(dtype=str), part["source_clip"].to_numpy(dtype=str)
        scored, both = ~np.isnan(scores), ~np.isnan(scores) & ~np.isnan(before)
        units, unit_name = bootstrap_units(people[scored], sources[scored])
        shared_units, _ = bootstrap_units(people[both], sources[both])
        predicted = scores[scored] >= THRESHOLD
        yield {
            "target": target,
            "fakes": int((labels == 1).sum()),
            "genuine": int((labels == 0).sum()),
            "coverage": float(scored.mean()),
            "auc": ranking_intervals(scores[scored], labels[scored], units, n_bootstrap, seed)["auc"].to_list(),
            "balanced_accuracy": nan_to_none(threshold_metrics(scores[scored], labels[scored]).balanced_accuracy),
            "tpr": _mean(predicted[labels[scored] == 1]),
            "fpr": _mean(predicted[labels[scored] == 0]),
            "shared": int(both.sum()),
            "change": auc_difference(scores[both], before[both], labels[both], shared_units, n_bootstrap, seed).to_list(),
            "units": unit_name,
        }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
