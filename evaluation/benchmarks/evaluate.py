"""A benchmark's rows and a detector's scores to figures: per stream and overall, per category, method and group of people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..classification import Called, calibration_error, called, found_at, multi_label
from ..curves_by_weight import RANKED, intervals, ordered
from ..detection.resampling import units_of
from ..metrics import Interval
from .fairness import fairness
from .localisation import Stretches, localised_rows, stretches_of
from .protocols import DEFAULT, Protocol, missing_streams
from .score_file import OK, TARGETS, Scored

STREAMS = ("video", "audio")
RATES = (0.01, 0.05)
ROUNDS = 500  # of the bootstrap
GROUPS = ("category", "method", "language", "gender", "ethnicity", "age")  # columns by which figures are told apart, too
POOLED = "all"
TRIMMED, KEPT, UNSAID = "trimmed", "kept", "not said"  # what was done with silence at the edges of clips before they were scored
TESTED = ("fold", "path", "identity", "source_clip", *(f"{target}_label" for target in TARGETS), *TARGETS.values())


@dataclass(frozen=True)
class Setting:
    """How a benchmark is evaluated.

    Parameters
    ----------
    dataset, detector : str
        Names, for the reader of the table.
    protocol : Protocol
    missing : str
        Which streams are taken away, see :func:`avwitness.evaluation.benchmarks.protocols.missing_streams`.
    seed, rounds : int
    silence : str
        :data:`TRIMMED`, :data:`KEPT`, or :data:`UNSAID` for scores of which nobody said.
    """

    dataset: str
    detector: str
    protocol: Protocol
    missing: str = "none"
    seed: int = 0
    rounds: int = ROUNDS
    silence: str = TRIMMED


def evaluate(table: pd.DataFrame, scored: Scored, setting: Setting) -> tuple[dict[str, Any], pd.DataFrame]:
    """All figures, and the rows that they are of.

    Parameters
    ----------
    table : pandas.DataFrame
        A benchmark, see :func:`avwitness.datasets.benchmark.tabulate`. Rows with a problem are counted, and not judged.
    scored : Scored
        In the order of the table.

    Returns
    -------
    results : dict
        Plain JSON values. ``setting``; ``rows`` (how many are listed, sound, scored; problems by sentence); ``results``, rows with
        ``fold, stream, by, group, fakes, genuine, units`` and figures: ``auc``, ``ap``, ``eer`` as ``[value, low, high]``,
        ``tpr_at_1``, ``tpr_at_5``, ``accuracy``, ``balanced_accuracy``, ``precision``, ``recall``, ``f1``, ``ece``;
        ``multi_label`` for each fold; ``localisation``, where the benchmark says when clips are fake and the scores do, see
        :func:`avwitness.evaluation.benchmarks.localisation.localise`; ``fairness``, see
        :func:`avwitness.evaluation.benchmarks.fairness.fairness`.
    tested : pandas.DataFrame
        ``fold, path, identity, source_clip`` of every row that was tested on, and label and score of the streams and the whole file.

    Raises
    ------
    ValueError
        If there is no sound row, or the protocol cannot be followed.
    """
    sound = (table["problem"] == "").to_numpy()
    listed, scores = table[sound].reset_index(drop=True), scored.table[sound].reset_index(drop=True)
    rows = labelled(listed, scores, setting)
    if rows.empty:
        raise ValueError(f"{setting.dataset}: no row is without a problem")
    stretches = stretches_of(rows, listed, scores, setting.missing == "none")
    results: list[dict[str, Any]] = []
    joint, parts, localised, fair = [], [], [], []
    for fold in setting.protocol.folds(rows, setting.seed):
        tested = rows.iloc[fold.test]
        parts.append(tested.assign(fold=fold.name))
        results += [{"fold": fold.name, **row} for row in _rows(tested, setting)]
        joint.append({"fold": fold.name, **_multi(tested)})
        fair += [{"fold": fold.name, **row} for row in fairness(tested, setting.rounds, setting.seed)]
        if stretches is not None:
            localised += [{"fold": fold.name, **row} for row in _localised(stretches, tested, fold.test, setting)]
    figures = {
        "setting": {
            "dataset": setting.dataset,
            "detector": setting.detector,
            "protocol": setting.protocol.name,
            "identity_disjoint": setting.protocol.disjoint,
            "default_protocol": setting.protocol.name == DEFAULT,
            "missing": setting.missing,
            "silence": setting.silence,
            "seed": setting.seed,
            "rounds": setting.rounds,
        },
        "rows": _counts(table, scored, sound),
        "results": results,
        "multi_label": joint,
        "localisation": localised,
        "fairness": fair,
    }
    return figures, pd.concat(parts, ignore_index=True)[list(TESTED)]


def labelled(table: pd.DataFrame, scores: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """Labels and scores of what is left of each clip; a stream that was taken away has neither."""
    kept = missing_streams(table, setting.missing, setting.seed)
    found = {name: table[name].to_numpy() for name in ("path", "identity", "source_clip", "split", *GROUPS)}
    for stream in STREAMS:
        label = table[f"{stream}_label"].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
        found[f"{stream}_label"] = np.where(kept[stream], label, np.nan)
        found[f"has_{stream}"] = kept[stream]
        found[TARGETS[stream]] = np.where(kept[stream], scores[TARGETS[stream]].to_numpy(dtype=float), np.nan)
    labels = np.stack([found[f"{stream}_label"] for stream in STREAMS])
    known = ~np.isnan(labels)
    fake = (labels == 1).any(axis=0)
    # Genuine as a whole is only what is known to be in every stream that is there.
    complete = np.all(known | ~np.stack([kept[stream] for stream in STREAMS]), axis=0) & known.any(axis=0)
    stated = table["file_label"].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    unsaid = stated if setting.missing == "none" else np.full(len(table), np.nan)  # what is left of a file may be genuine
    found["overall_label"] = np.where(fake, 1.0, np.where(complete, 0.0, unsaid))
    found["p_fake"] = _overall(found, scores["p_fake"].to_numpy(dtype=float), setting.missing)
    return pd.DataFrame(found)


def _overall(found: dict[str, np.ndarray], stated: np.ndarray, missing: str) -> np.ndarray:
    """A file's own score, where all of it was scored; else the more suspicious of the streams that are left."""
    streams = np.stack([found[TARGETS[stream]] for stream in STREAMS])
    with np.errstate(invalid="ignore"):
        worst = np.where(np.isnan(streams).all(axis=0), np.nan, np.nanmax(np.where(np.isnan(streams), -np.inf, streams), axis=0))
    return np.where(np.isnan(stated), worst, stated) if missing == "none" else worst


def _rows(tested: pd.DataFrame, setting: Setting) -> Iterator[dict[str, Any]]:
    for stream in TARGETS:
        labels = tested[f"{stream}_label"].to_numpy()
        asked = ~np.isnan(labels)
        if not asked.any():
            continue
        part = tested[asked]
        yield _figures(part, stream, "", POOLED, setting)
        genuine = labels[asked] == 0
        for name in GROUPS:
            values = part[name].to_numpy(dtype=str)
            for group in sorted(set(values) - {""}):
                inside = values == group
                # Kinds of fakes are judged against all genuine clips; people against genuine clips of their own group.
                chosen = inside | genuine if name in ("category", "method") else inside
                if name in ("category", "method") and not (inside & ~genuine).any():
                    continue
                yield _figures(part[chosen], stream, name, group, setting)


def _figures(part: pd.DataFrame, stream: str, by: str, group: str, setting: Setting) -> dict[str, Any]:
    labels, scores = part[f"{stream}_label"].to_numpy(), part[TARGETS[stream]].to_numpy()
    judged = ~np.isnan(scores)
    row: dict[str, Any] = {"stream": stream, "by": by, "group": group}
    row |= {"fakes": int((labels == 1).sum()), "genuine": int((labels == 0).sum()), "coverage": float(judged.mean())}
    labels, scores = labels[judged].astype(int), scores[judged]
    units, row["units"] = units_of(part["identity"].to_numpy(dtype=str)[judged], part["source_clip"].to_numpy(dtype=str)[judged])
    found = intervals(ordered(scores, labels, units), setting.rounds, setting.seed) if len(scores) else {}
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    for name in RANKED:
        interval = found.get(name, nothing)
        row[name] = [_plain(x) for x in (interval.value, interval.low, interval.high)]
    for rate in RATES:
        row[f"tpr_at_{rate * 100:g}"] = _plain(found_at(scores, labels, rate))
    said = called(scores, labels) if len(scores) else Called(*[float("nan")] * 5)
    row |= {name: _plain(value) for name, value in asdict(said).items()}
    row["ece"] = _plain(calibration_error(scores, labels))
    return row


def _localised(stretches: Stretches, tested: pd.DataFrame, test: np.ndarray, setting: Setting) -> Iterator[dict[str, Any]]:
    said, truth = ({target: [values[i] for i in test] for target, values in of.items()} for of in stretches)
    units, drawn = units_of(tested["identity"].to_numpy(dtype=str), tested["source_clip"].to_numpy(dtype=str))
    for row in localised_rows(said, truth, units, setting.rounds, setting.seed):
        yield {name: [_plain(x) for x in value] if isinstance(value, list) else value for name, value in row.items()} | {"units": drawn}


def _multi(tested: pd.DataFrame) -> dict[str, Any]:
    labels = {stream: tested[f"{stream}_label"].to_numpy() for stream in STREAMS}
    scores = {stream: tested[TARGETS[stream]].to_numpy() for stream in STREAMS}
    figures = asdict(multi_label(scores, labels))
    return {name.rstrip("_"): _plain(value) for name, value in figures.items()}


def _counts(table: pd.DataFrame, scored: Scored, sound: np.ndarray) -> dict[str, Any]:
    problems = pd.Series([text for row in table["problem"] if row for text in str(row).split("; ")], dtype=object).value_counts()
    judged = scored.table[sound]
    return {
        "listed": len(table),
        "sound": int(sound.sum()),
        "failed": int((judged["status"] != OK).sum()),
        "coverage": _plain(float(judged[list(TARGETS.values())].notna().any(axis=1).mean())) if sound.any() else None,
        "problems": {str(text): int(count) for text, count in problems.items()},
        "notes": list(scored.notes),
    }


def _plain(value: float) -> float | None:
    """A number as JSON has it."""
    return None if value is None or np.isnan(value) else float(value)
