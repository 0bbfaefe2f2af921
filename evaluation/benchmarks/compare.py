"""Comparison of two detectors on the same clips: AUC differences with intervals and DeLong's p-values."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..metrics.bootstrap import Interval, bootstrap_units
from ..metrics.bootstrap_curves import auc_difference
from ..metrics.ranking import auc, delong
from .evaluate import SILENCE_UNKNOWN
from .output import RESULTS_FILE, ROWS_FILE
from .score_file import TARGETS

SAME_SETTINGS = ("dataset", "protocol", "missing", "seed")  # in which both must agree
UNKNOWN_SILENCE = ("not said", SILENCE_UNKNOWN)  # the first of these was written up to version 0.1


@dataclass(frozen=True)
class Difference:
    """AUCs of two detectors on the rows that both scored.

    Parameters
    ----------
    fold, stream : str
    fakes, genuine : int
    first, second : float
    difference : Interval
        First minus second, over resampled units.
    p : float
        DeLong's test, which takes clips as independent; NaN where a class has fewer than two.
    unit_name : str
        What the bootstrap resamples: identities, or source clips where identities are few or unknown.
    """

    fold: str
    stream: str
    fakes: int
    genuine: int
    first: float
    second: float
    difference: Interval
    p: float
    unit_name: str


def compare(first: str | os.PathLike[str], second: str | os.PathLike[str], n_bootstrap: int, seed: int) -> list[Difference]:
    """Compare two results of `avwitness evaluate`.

    Parameters
    ----------
    first, second : path-like
        ``results.json`` of each, or its folder; the scored rows are read from the same folder. Files of older versions are read, too.
    n_bootstrap, seed : int

    Raises
    ------
    FileNotFoundError
        If one of them does not exist.
    ValueError
        If benchmark, protocol, streams, silence or seed differ, or no scored row is shared.
    """
    (setting, rows), (other, others) = _load(first), _load(second)
    for name in SAME_SETTINGS:
        if setting[name] != other[name]:
            raise ValueError(f"{name} is {setting[name]} in one and {other[name]} in the other: no comparison would be fair")
    silence = {found.get("silence", SILENCE_UNKNOWN) for found in (setting, other)} - set(UNKNOWN_SILENCE)
    if len(silence) > 1:
        raise ValueError("silence at the edges is trimmed in one and kept in the other: no comparison would be fair")
    both = rows.merge(others, on=["fold", "path"], suffixes=("", "_other"))
    for name in (f"{target}_label" for target in TARGETS):
        if not both[name].equals(both[f"{name}_other"]):
            raise ValueError(f"{name} differs in the two for the same clips: they were not given the same streams or labels")
    found = list(_differences(both, n_bootstrap, seed))
    if not found:
        raise ValueError("no row was scored by both")
    return found


def _load(path: str | os.PathLike[str]) -> tuple[dict[str, object], pd.DataFrame]:
    file = Path(path)
    file = file / RESULTS_FILE if file.is_dir() else file
    rows = file.with_name(ROWS_FILE)
    for needed in (file, rows):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed}: not there; name what `avwitness evaluate` wrote")
    try:
        setting = json.loads(file.read_text())["setting"]
        return {name: setting[name] for name in SAME_SETTINGS} | setting, pd.read_parquet(rows)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: is no result of `avwitness evaluate` ({error}); name one, or its folder") from error


def _differences(both: pd.DataFrame, n_bootstrap: int, seed: int) -> Iterator[Difference]:
    for fold, part in both.groupby("fold", sort=True):
        for stream, column in TARGETS.items():
            known = part[[f"{stream}_label", column, f"{column}_other"]].notna().all(axis=1)
            rows = part[known]
            labels = rows[f"{stream}_label"].to_numpy(dtype=int)
            if len(np.unique(labels)) < 2:
                continue
            first, second = (rows[name].to_numpy(dtype=float) for name in (column, f"{column}_other"))
            units, unit_name = bootstrap_units(rows["identity"].to_numpy(dtype=str), rows["source_clip"].to_numpy(dtype=str))
            yield Difference(
                str(fold),
                stream,
                int(labels.sum()),
                int((labels == 0).sum()),
                auc(first, labels),
                auc(second, labels),
                auc_difference(first, second, labels, units, n_bootstrap, seed),
                delong(first, second, labels).p if min(np.bincount(labels)) > 1 else float("nan"),
                unit_name,
            )
