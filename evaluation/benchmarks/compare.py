"""Two detectors on the same clips: what one is better by, and whether that may be chance."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..metrics.bootstrap import named_units
from ..metrics.bootstrap_curves import auc_change, ordered, ranked_figures
from ..metrics.classification import delong
from ..metrics.ranking import Interval
from .evaluate import UNSAID
from .output import RESULTS, ROWS
from .score_file import TARGETS

SAME = ("dataset", "protocol", "missing", "seed")  # settings in which both must agree


@dataclass(frozen=True)
class Difference:
    """AUCs of two detectors on the rows that both scored.

    Parameters
    ----------
    fold, stream : str
    fakes, genuine : int
    first, second : float
    gap : Interval
        First minus second, over resampled identities (or source clips, where those are few or unknown).
    p : float
        DeLong's test, clips as if independent; NaN where a class has less than two.
    drawn : str
    """

    fold: str
    stream: str
    fakes: int
    genuine: int
    first: float
    second: float
    gap: Interval
    p: float
    drawn: str


def compare(first: str | os.PathLike[str], second: str | os.PathLike[str], rounds: int, seed: int) -> list[Difference]:
    """Compare two results of `avwitness evaluate`.

    Parameters
    ----------
    first, second : path-like
        ``results.json`` of each, or its folder; the scored rows lie beside it.
    rounds, seed : int
        Of the bootstrap.

    Raises
    ------
    FileNotFoundError
        If one of them is not there.
    ValueError
        If they are not of the same benchmark, protocol, streams, silence and seed, or share no scored row.
    """
    (setting, rows), (other, others) = _load(first), _load(second)
    for name in SAME:
        if setting[name] != other[name]:
            raise ValueError(f"{name} is {setting[name]} in one and {other[name]} in the other: no comparison would be fair")
    silence = {setting.get("silence", UNSAID), other.get("silence", UNSAID)} - {UNSAID}
    if len(silence) > 1:
        raise ValueError("silence at the edges is trimmed in one and kept in the other: no comparison would be fair")
    labels = [f"{target}_label" for target in TARGETS]
    shared = rows.merge(others, on=["fold", "path"], suffixes=("", "_other"))
    for name in labels:
        if not shared[name].equals(shared[f"{name}_other"]):
            raise ValueError(f"{name} differs in the two for the same clips: they were not given the same streams or labels")
    both = rows.merge(others, on=["fold", "path"], suffixes=("", "_other"))
    found = list(_differences(both, rounds, seed))
    if not found:
        raise ValueError("no row was scored by both")
    return found


def _load(path: str | os.PathLike[str]) -> tuple[dict[str, object], pd.DataFrame]:
    file = Path(path)
    file = file / RESULTS if file.is_dir() else file
    rows = file.with_name(ROWS)
    for needed in (file, rows):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed}: not there; name what `avwitness evaluate` wrote")
    try:
        setting = json.loads(file.read_text())["setting"]
        return {name: setting[name] for name in SAME} | setting, pd.read_parquet(rows)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: is no result of `avwitness evaluate` ({error}); name one, or its folder") from error


def _differences(both: pd.DataFrame, rounds: int, seed: int) -> Iterator[Difference]:
    for fold, part in both.groupby("fold", sort=True):
        for stream, column in TARGETS.items():
            known = part[[f"{stream}_label", column, f"{column}_other"]].notna().all(axis=1)
            rows = part[known]
            labels = rows[f"{stream}_label"].to_numpy(dtype=int)
            if len(np.unique(labels)) < 2:
                continue
            scores = [rows[name].to_numpy(dtype=float) for name in (column, f"{column}_other")]
            units, drawn = named_units(rows["identity"].to_numpy(dtype=str), rows["source_clip"].to_numpy(dtype=str))
            areas = [ranked_figures(ordered(values, labels, units))["auc"] for values in scores]
            gap = auc_change(scores[0], scores[1], labels, units, rounds, seed)
            p = delong(scores[0], scores[1], labels).p if min(np.bincount(labels)) > 1 else float("nan")
            yield Difference(
                str(fold),
                stream,
                int(labels.sum()),
                int((labels == 0).sum()),
                areas[0],
                areas[1],
                gap,
                p,
                drawn,
            )
