"""Scores of clips in one condition to figures, each beside the control's on the same clips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ..benchmarks.score_file import TARGETS
from ..metrics.bootstrap import named_units
from ..metrics.bootstrap_curves import auc_change, intervals, ordered
from ..metrics.classification import EVEN, called
from ..metrics.ranking import Interval

NOTHING = Interval(float("nan"), float("nan"), float("nan"))


def condition_figures(rows: pd.DataFrame, control: pd.DataFrame, rounds: int, seed: int) -> Iterator[dict[str, Any]]:
    """Figures of one condition, for every target that any of its clips has a label for.

    Parameters
    ----------
    rows, control : pandas.DataFrame
        Labels and scores of the clips, as :func:`avwitness.evaluation.benchmarks.evaluate.labelled` gives them, in this condition and
        in the control; the control may hold more clips.
    rounds, seed : int
        Of the bootstrap.

    Yields
    ------
    dict
        Plain JSON values: ``target``; ``fakes``, ``genuine`` (clips with a label); ``coverage``, the share of these that has a score, and
        of those that have: ``auc`` as [value, low, high], ``balanced_accuracy``, ``found`` (share of the fakes) and ``false_alarms``
        (share of the genuine clips) at a probability of 0.5, and ``drawn``, what the bootstrap draws; ``change`` as [value, low, high]: AUC
        minus the control's, on the ``shared`` clips that have a score in both. What cannot be told is ``None``.
    """
    base = control.set_index("path")
    for target, column in TARGETS.items():
        part = rows[rows[f"{target}_label"].notna()]
        if part.empty:
            continue
        labels, scores = part[f"{target}_label"].to_numpy(dtype=int), part[column].to_numpy(dtype=float)
        before = base[column].reindex(part["path"]).to_numpy(dtype=float)
        people, sources = part["identity"].to_numpy(dtype=str), part["source_clip"].to_numpy(dtype=str)
        judged, both = ~np.isnan(scores), ~np.isnan(scores) & ~np.isnan(before)
        units, drawn = named_units(people[judged], sources[judged])
        said = scores[judged] >= EVEN
        yield {
            "target": target,
            "fakes": int((labels == 1).sum()),
            "genuine": int((labels == 0).sum()),
            "coverage": float(judged.mean()),
            "auc": _plain(auc_interval(scores[judged], labels[judged], units, rounds, seed)),
            "balanced_accuracy": _number(called(scores[judged], labels[judged]).balanced_accuracy) if judged.any() else None,
            "found": _share(said[labels[judged] == 1]),
            "false_alarms": _share(said[labels[judged] == 0]),
            "shared": int(both.sum()),
            "change": _plain(
                auc_change(scores[both], before[both], labels[both], named_units(people[both], sources[both])[0], rounds, seed)
            ),
            "drawn": drawn,
        }


def auc_interval(scores: np.ndarray, labels: np.ndarray, units: np.ndarray, rounds: int, seed: int) -> Interval:
    """AUC with its 95 % interval over resampled units [N]; NaN where a class is missing."""
    return intervals(ordered(scores, labels, units), rounds, seed)["auc"] if len(scores) else NOTHING


def _share(said: np.ndarray) -> float | None:
    return float(said.mean()) if len(said) else None


def _plain(interval: Interval) -> list[float | None]:
    return [_number(value) for value in (interval.value, interval.low, interval.high)]


def _number(value: float) -> float | None:
    """A number as JSON has it."""
    return None if np.isnan(value) else float(value)
