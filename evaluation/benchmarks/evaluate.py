"""Metrics of a detector's scores on a benchmark: by stream and for the whole file, by category, method and group of people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ...media.clip import STREAMS
from ..metrics.bootstrap import N_BOOTSTRAP, bootstrap_units, nan_to_none
from ..metrics.bootstrap_curves import RANKING_METRICS, ranking_intervals
from ..metrics.classification import ThresholdMetrics, calibration_error, multi_label_metrics, threshold_metrics
from ..metrics.ranking import tpr_at_fpr
from .fairness import fairness
from .fairness_counts import FIXED_THRESHOLD_METRICS
from .localisation import Localised, localisation_rows, localised_segments
from .protocols import DEFAULT, Fold, Protocol, missing_streams
from .score_file import TARGETS, MatchedScores

FPRS = (0.01, 0.05)  # at which the TPR is given
GROUPS = ("category", "method", "language", "gender", "ethnicity", "age")  # columns by whose values metrics are also given
POOLED = "all"
MEAN = "mean of folds"
SILENCE_TRIMMED, SILENCE_KEPT, SILENCE_UNKNOWN = "trimmed", "kept", "unknown"  # silence at the edges of clips before scoring
TESTED = ("fold", "path", "identity", "source_clip", *(f"{target}_label" for target in TARGETS), *TARGETS.values())


@dataclass(frozen=True)
class EvaluationSettings:
    """How a benchmark is evaluated.

    Parameters
    ----------
    dataset, detector : str
        Names that the tables show.
    protocol : Protocol
    missing : str
        Which streams are removed, see :func:`avwitness.evaluation.benchmarks.protocols.missing_streams`.
    seed, n_bootstrap : int
    silence : str
        :data:`SILENCE_TRIMMED`, :data:`SILENCE_KEPT`, or :data:`SILENCE_UNKNOWN` for scores that do not tell.
    """

    dataset: str
    detector: str
    protocol: Protocol
    missing: str = "none"
    seed: int = 0
    n_bootstrap: int = N_BOOTSTRAP
    silence: str = SILENCE_TRIMMED


def evaluate(table: pd.DataFrame, scored: MatchedScores, settings: EvaluationSettings) -> tuple[dict[str, Any], pd.DataFrame]:
    """Compute all metrics.

    Parameters
    ----------
    table : pandas.DataFrame
        A benchmark, see :func:`avwitness.datasets.benchmark.tabulate`. Rows with a problem are counted and not evaluated.
    scored : MatchedScores
        In the order of the table.

    Returns
    -------
    results : dict
        Plain JSON values. ``setting``; ``rows`` (how many are listed, valid, tested, and without any score; problems by sentence);
        ``results``, rows with ``fold, stream, by, group, fakes, genuine, units`` and metrics: ``auc``, ``ap``, ``eer`` as
        ``[value, low, high]``, ``tpr_at_1``, ``tpr_at_5``, ``accuracy``, ``balanced_accuracy``, ``precision``, ``recall``, ``f1``, ``ece``,
        and their means where there are several folds; ``multi_label`` for each fold; ``localisation``, where the benchmark has
        intervals and the scores have proposals, see :func:`avwitness.evaluation.benchmarks.localisation.localise`; ``fairness``, see
        :func:`avwitness.evaluation.benchmarks.fairness.fairness`.
    tested : pandas.DataFrame
        ``fold, path, identity, source_clip`` of every tested row, and label and score of the streams and the whole file.

    Raises
    ------
    ValueError
        If there is no valid row, or the protocol cannot be followed.
    """
    valid = (table["problem"] == "").to_numpy()
    listed, scores = table[valid].reset_index(drop=True), scored.table[valid].reset_index(drop=True)
    rows = label_rows(listed, scores, settings)
    if rows.empty:
        raise ValueError(f"{settings.dataset}: {_why_no_row(table)}")
    if rows[[f"{target}_label" for target in TARGETS]].isna().all(axis=None):
        raise ValueError(f"{settings.dataset}: no row has a label for the streams that are left, so nothing can be evaluated")
    segments = localised_segments(rows, listed, scores, settings.missing == "none")
    results: list[dict[str, Any]] = []
    joint, parts, localised, fair = [], [], [], []
    uncalibrated = _uncalibrated(rows)
    folds = settings.protocol.folds(rows, settings.seed)
    for fold in folds:
        tested = rows.iloc[fold.test]
        parts.append(tested.assign(fold=fold.name))
        results += [{"fold": fold.name, **row} for row in _rows(tested, settings, uncalibrated)]
        joint.append({"fold": fold.name, **_multi_label(tested, uncalibrated)})
        fair += [{"fold": fold.name, **_fairness(row, uncalibrated)} for row in fairness(tested, settings.n_bootstrap, settings.seed)]
        if segments is not None:
            localised += [{"fold": fold.name, **row} for row in _localisation(segments, tested, fold.test, settings)]
    figures = {
        "setting": {
            "dataset": settings.dataset,
            "detector": settings.detector,
            "protocol": settings.protocol.name,
            "identity_disjoint": settings.protocol.disjoint,
            "default_protocol": settings.protocol.name == DEFAULT,
            "missing": settings.missing,
            "silence": settings.silence,
            "seed": settings.seed,
            "n_bootstrap": settings.n_bootstrap,
        },
        "rows": _counts(table, scored, valid, rows, folds, uncalibrated),
        "results": results + list(_means(results, folds)),
        "multi_label": joint,
        "localisation": localised,
        "fairness": fair,
    }
    return figures, pd.concat(parts, ignore_index=True)[list(TESTED)]


def split_folds(table: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
    """``train``, ``test`` or an empty string for every row of a benchmark, a column for each fold.

    Parameters
    ----------
    table : pandas.DataFrame
        A benchmark; rows with a problem are in no fold.

    Raises
    ------
    ValueError
        If the protocol cannot be followed.
    """
    valid = np.flatnonzero(table["problem"] == "")
    if not len(valid):
        raise ValueError(f"{settings.dataset}: {_why_no_row(table)}")
    listed = table.iloc[valid].reset_index(drop=True)
    no_scores = pd.DataFrame(np.nan, index=listed.index, columns=list(TARGETS.values()))
    found = {}
    for fold in settings.protocol.folds(label_rows(listed, no_scores, settings), settings.seed):
        part = np.full(len(table), "", dtype=object)
        part[valid[fold.train]], part[valid[fold.test]] = "train", "test"
        found[fold.name] = part
    return pd.DataFrame(found, index=table.index)


def label_rows(table: pd.DataFrame, scores: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
    """Labels and scores of the streams that ``settings.missing`` leaves of each clip; NaN for a removed stream."""
    present = missing_streams(table, settings.missing, settings.seed)
    found = {name: table[name].to_numpy() for name in ("path", "identity", "source_clip", "split", *GROUPS)}
    for stream in STREAMS:
        label = table[f"{stream}_label"].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
        found[f"{stream}_label"] = np.where(present[stream], label, np.nan)
        found[f"has_{stream}"] = present[stream]
        found[TARGETS[stream]] = np.where(present[stream], scores[TARGETS[stream]].to_numpy(dtype=float), np.nan)
    labels = np.stack([found[f"{stream}_label"] for stream in STREAMS])
    known = ~np.isnan(labels)
    fake = (labels == 1).any(axis=0)
    # A file is genuine only if every stream that is present is known to be genuine.
    complete = np.all(known | ~np.stack([present[stream] for stream in STREAMS]), axis=0) & known.any(axis=0)
    file_label = table["file_label"].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    removed = np.any([table[f"has_{stream}"].to_numpy(dtype=bool) & ~present[stream] for stream in STREAMS], axis=0)
    fallback = np.where(removed & (file_label == 1), np.nan, file_label)  # the remaining stream of a fake may be genuine
    found["overall_label"] = np.where(fake, 1.0, np.where(complete, 0.0, fallback))
    found["p_fake"] = _overall_score(found, scores["p_fake"].to_numpy(dtype=float), removed)
    return pd.DataFrame(found)


def _overall_score(found: dict[str, np.ndarray], p_fake: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """The score of the file if there is one and no stream was removed; else the larger score of the streams that are left.

    Parameters
    ----------
    removed : bool [N]
        Whether a stream was removed, so that the file's score no longer belongs to what is left.
    """
    streams = np.stack([found[TARGETS[stream]] for stream in STREAMS])
    with np.errstate(invalid="ignore"):
        largest = np.where(np.isnan(streams).all(axis=0), np.nan, np.nanmax(np.where(np.isnan(streams), -np.inf, streams), axis=0))
    return np.where(np.isnan(p_fake) | removed, largest, p_fake)


def _rows(tested: pd.DataFrame, settings: EvaluationSettings, uncalibrated: frozenset[str]) -> Iterator[dict[str, Any]]:
    for stream in TARGETS:
        labels = tested[f"{stream}_label"].to_numpy()
        known = ~np.isnan(labels)
        if not known.any():
            continue
        part = tested[known]
        yield _metrics(part, stream, "", POOLED, settings, uncalibrated)
        genuine = labels[known] == 0
        for name in GROUPS:
            values = part[name].to_numpy(dtype=str)
            for group in sorted(set(values) - {""}):
                inside = values == group
                # Kinds of fakes are compared with all genuine clips; groups of people with genuine clips of their own group.
                chosen = inside | genuine if name in ("category", "method") else inside
                if name in ("category", "method") and not (inside & ~genuine).any():
                    continue
                yield _metrics(part[chosen], stream, name, group, settings, uncalibrated)


def _metrics(
    part: pd.DataFrame, stream: str, by: str, group: str, settings: EvaluationSettings, uncalibrated: frozenset[str]
) -> dict[str, Any]:
    labels, scores = part[f"{stream}_label"].to_numpy(), part[TARGETS[stream]].to_numpy()
    scored = ~np.isnan(scores)
    row: dict[str, Any] = {"stream": stream, "by": by, "group": group}
    row |= {"fakes": int((labels == 1).sum()), "genuine": int((labels == 0).sum()), "coverage": float(scored.mean())}
    labels, scores = labels[scored].astype(int), scores[scored]
    units, row["units"] = bootstrap_units(*(part[name].to_numpy(dtype=str)[scored] for name in ("identity", "source_clip")))
    intervals = ranking_intervals(scores, labels, units, settings.n_bootstrap, settings.seed)
    row |= {name: intervals[name].to_list() for name in RANKING_METRICS}
    row |= {f"tpr_at_{100 * fpr:g}": nan_to_none(tpr_at_fpr(scores, labels, fpr)) for fpr in FPRS}
    # A threshold of 0.5 has no meaning for scores that are no probabilities, nor has accuracy with one class.
    defined = stream not in uncalibrated and len(np.unique(labels)) == 2
    figures = threshold_metrics(scores, labels) if defined else ThresholdMetrics()
    row |= {name: nan_to_none(value) for name, value in asdict(figures).items()}
    row["ece"] = nan_to_none(calibration_error(scores, labels)) if stream not in uncalibrated else None
    return row


def _localisation(segments: Localised, tested: pd.DataFrame, test: np.ndarray, settings: EvaluationSettings) -> Iterator[dict[str, Any]]:
    proposals, truth = ({target: [values[i] for i in test] for target, values in of.items()} for of in segments)
    units, name = bootstrap_units(tested["identity"].to_numpy(dtype=str), tested["source_clip"].to_numpy(dtype=str))
    for row in localisation_rows(proposals, truth, units, settings.n_bootstrap, settings.seed):
        yield {key: [nan_to_none(x) for x in value] if isinstance(value, list) else value for key, value in row.items()} | {"units": name}


def _multi_label(tested: pd.DataFrame, uncalibrated: frozenset[str]) -> dict[str, Any]:
    labels = {stream: tested[f"{stream}_label"].to_numpy() for stream in STREAMS if stream not in uncalibrated}
    scores = {stream: tested[TARGETS[stream]].to_numpy() for stream in labels}
    figures = asdict(multi_label_metrics(scores, labels))
    return {name.rstrip("_"): nan_to_none(value) for name, value in figures.items()}


def _why_no_row(table: pd.DataFrame) -> str:
    """Why no row of a benchmark can be used."""
    if table.empty:
        return "it lists no row"
    commonest = table["problem"].value_counts()
    return f"no row is without a problem; of {len(table)}, {commonest.iloc[0]} have this: {commonest.index[0]}"


def _single_class(rows: pd.DataFrame) -> Iterator[str]:
    """Notes on targets with one class."""
    for target in TARGETS:
        known = rows[f"{target}_label"].dropna().unique()
        if len(known) == 1:
            what = "genuine clip" if known[0] == 1 else "fake"
            yield f"{target}: no {what} is among the tested rows, so ranking metrics are not defined"


def _shared_identities(rows: pd.DataFrame, folds: Sequence[Fold]) -> int | None:
    """The largest number of identities that a fold has in both train and test; ``None`` where no fold has training rows."""
    people = rows["identity"].to_numpy(dtype=str)
    counts = [len(set(people[fold.train]) & set(people[fold.test]) - {""}) for fold in folds if len(fold.train)]
    return max(counts) if counts else None


def _uncalibrated(rows: pd.DataFrame) -> frozenset[str]:
    """Targets with a score outside of [0, 1]."""
    return frozenset(name for name, column in TARGETS.items() if bool((rows[column] < 0.0).any() or (rows[column] > 1.0).any()))


def _fairness(row: dict[str, Any], uncalibrated: frozenset[str]) -> dict[str, Any]:
    """Fairness without the metrics at 0.5 where scores are no probabilities."""
    if row["stream"] not in uncalibrated:
        return row
    groups = [group | {name: [None] * 3 for name in FIXED_THRESHOLD_METRICS} for group in row["groups"]]
    return row | {"groups": groups, "gaps": {name: gap for name, gap in row["gaps"].items() if name not in FIXED_THRESHOLD_METRICS}}


def _means(results: Sequence[Mapping[str, Any]], folds: Sequence[Fold]) -> Iterator[dict[str, Any]]:
    """Means over folds of the metrics of all clips of a stream, without intervals, as papers report them."""
    if len(folds) < 2:
        return
    for stream in TARGETS:
        rows = [row for row in results if row["stream"] == stream and not row["by"]]
        if not rows:
            continue
        mean: dict[str, Any] = {"fold": MEAN, "stream": stream, "by": "", "group": POOLED, "units": f"{len(rows)} folds"}
        for name, value in rows[0].items():
            if name in ("fakes", "genuine"):
                mean[name] = sum(row[name] for row in rows)
            elif isinstance(value, list):
                mean[name] = [_mean([row[name][0] for row in rows]), None, None]
            elif name not in mean:
                mean[name] = _mean([row[name] for row in rows])
        yield mean


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of values that are known in every fold; else ``None``, so that all means of a row are over the same folds."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _counts(
    table: pd.DataFrame, scored: MatchedScores, valid: np.ndarray, rows: pd.DataFrame, folds: Sequence[Fold], uncalibrated: frozenset[str]
) -> dict[str, Any]:
    problems = pd.Series([text for row in table["problem"] if row for text in str(row).split("; ")], dtype=object).value_counts()
    tested = rows.iloc[np.unique(np.concatenate([fold.test for fold in folds]))]
    failed = int(tested[list(TARGETS.values())].isna().all(axis=1).sum())
    notes = [f"{name}: scores are not probabilities, so there are no metrics at 0.5" for name in TARGETS if name in uncalibrated]
    notes += _single_class(tested)
    return {
        "listed": len(table),
        "valid": int(valid.sum()),
        "tested": len(tested),
        "shared_identities": _shared_identities(rows, folds),
        "without_identity": int((tested["identity"] == "").sum()),
        "failed": failed,
        "coverage": 1.0 - failed / len(tested),
        "problems": {str(text): int(count) for text, count in problems.items()},
        "notes": [*scored.notes, *notes],
    }
