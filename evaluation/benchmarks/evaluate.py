"""A benchmark's rows and a detector's scores to figures: per stream and overall, per category, method and group of people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..metrics.bootstrap import named_units
from ..metrics.bootstrap_curves import RANKED, intervals, ordered
from ..metrics.classification import Called, calibration_error, called, multi_label, tpr_at_fpr
from ..metrics.ranking import Interval
from .fairness import FIGURES, fairness
from .localisation import Stretches, localised_rows, stretches_of
from .protocols import DEFAULT, Fold, Protocol, missing_streams
from .score_file import TARGETS, Scored

STREAMS = ("video", "audio")
RATES = (0.01, 0.05)
ROUNDS = 500  # of the bootstrap
GROUPS = ("category", "method", "language", "gender", "ethnicity", "age")  # columns by which figures are told apart, too
POOLED = "all"
MEAN = "mean of folds"
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
        Plain JSON values. ``setting``; ``rows`` (how many are listed, sound, tested on, and without any score; problems by sentence);
        ``results``, rows with ``fold, stream, by, group, fakes, genuine, units`` and figures: ``auc``, ``ap``, ``eer`` as
        ``[value, low, high]``, ``tpr_at_1``, ``tpr_at_5``, ``accuracy``, ``balanced_accuracy``, ``precision``, ``recall``, ``f1``, ``ece``,
        and their means where there are several folds; ``multi_label`` for each fold; ``localisation``, where the benchmark says when
        clips are fake and the scores do, see :func:`avwitness.evaluation.benchmarks.localisation.localise`; ``fairness``, see
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
        raise ValueError(f"{setting.dataset}: {_nothing_sound(table)}")
    if rows[[f"{target}_label" for target in TARGETS]].isna().all(axis=None):
        raise ValueError(f"{setting.dataset}: no row has a label of what is left of it, so nothing can be judged")
    stretches = stretches_of(rows, listed, scores, setting.missing == "none")
    results: list[dict[str, Any]] = []
    joint, parts, localised, fair = [], [], [], []
    odd = _no_probabilities(rows)
    folds = setting.protocol.folds(rows, setting.seed)
    for fold in folds:
        tested = rows.iloc[fold.test]
        parts.append(tested.assign(fold=fold.name))
        results += [{"fold": fold.name, **row} for row in _rows(tested, setting, odd)]
        joint.append({"fold": fold.name, **_multi(tested, odd)})
        fair += [{"fold": fold.name, **_fair(row, odd)} for row in fairness(tested, setting.rounds, setting.seed)]
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
        "rows": _counts(table, scored, sound, rows, folds, odd),
        "results": results + list(_means(results, folds)),
        "multi_label": joint,
        "localisation": localised,
        "fairness": fair,
    }
    return figures, pd.concat(parts, ignore_index=True)[list(TESTED)]


def divided(table: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """``train``, ``test`` or nothing for every row of a benchmark, a column for each fold.

    Parameters
    ----------
    table : pandas.DataFrame
        A benchmark; rows with a problem are in no fold.

    Raises
    ------
    ValueError
        If the protocol cannot be followed.
    """
    sound = np.flatnonzero(table["problem"] == "")
    if not len(sound):
        raise ValueError(f"{setting.dataset}: {_nothing_sound(table)}")
    listed = table.iloc[sound].reset_index(drop=True)
    nothing = pd.DataFrame(np.nan, index=listed.index, columns=list(TARGETS.values()))
    found = {}
    for fold in setting.protocol.folds(labelled(listed, nothing, setting), setting.seed):
        part = np.full(len(table), "", dtype=object)
        part[sound[fold.train]], part[sound[fold.test]] = "train", "test"
        found[fold.name] = part
    return pd.DataFrame(found, index=table.index)


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
    cut = np.any([table[f"has_{stream}"].to_numpy(dtype=bool) & ~kept[stream] for stream in STREAMS], axis=0)
    unsaid = np.where(cut & (stated == 1), np.nan, stated)  # what is left of a fake may be genuine
    found["overall_label"] = np.where(fake, 1.0, np.where(complete, 0.0, unsaid))
    found["p_fake"] = _overall(found, scores["p_fake"].to_numpy(dtype=float), cut)
    return pd.DataFrame(found)


def _overall(found: dict[str, np.ndarray], stated: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """A file's own score, where all of it was scored; else the more suspicious of the streams that are left.

    Parameters
    ----------
    cut : bool [N]
        Whether a stream was taken away: what was said of the whole file is no longer of what is left.
    """
    streams = np.stack([found[TARGETS[stream]] for stream in STREAMS])
    with np.errstate(invalid="ignore"):
        worst = np.where(np.isnan(streams).all(axis=0), np.nan, np.nanmax(np.where(np.isnan(streams), -np.inf, streams), axis=0))
    return np.where(np.isnan(stated) | cut, worst, stated)


def _rows(tested: pd.DataFrame, setting: Setting, odd: frozenset[str]) -> Iterator[dict[str, Any]]:
    for stream in TARGETS:
        labels = tested[f"{stream}_label"].to_numpy()
        asked = ~np.isnan(labels)
        if not asked.any():
            continue
        part = tested[asked]
        yield _figures(part, stream, "", POOLED, setting, odd)
        genuine = labels[asked] == 0
        for name in GROUPS:
            values = part[name].to_numpy(dtype=str)
            for group in sorted(set(values) - {""}):
                inside = values == group
                # Kinds of fakes are judged against all genuine clips; people against genuine clips of their own group.
                chosen = inside | genuine if name in ("category", "method") else inside
                if name in ("category", "method") and not (inside & ~genuine).any():
                    continue
                yield _figures(part[chosen], stream, name, group, setting, odd)


def _figures(part: pd.DataFrame, stream: str, by: str, group: str, setting: Setting, odd: frozenset[str]) -> dict[str, Any]:
    labels, scores = part[f"{stream}_label"].to_numpy(), part[TARGETS[stream]].to_numpy()
    judged = ~np.isnan(scores)
    row: dict[str, Any] = {"stream": stream, "by": by, "group": group}
    row |= {"fakes": int((labels == 1).sum()), "genuine": int((labels == 0).sum()), "coverage": float(judged.mean())}
    labels, scores = labels[judged].astype(int), scores[judged]
    units, row["units"] = named_units(part["identity"].to_numpy(dtype=str)[judged], part["source_clip"].to_numpy(dtype=str)[judged])
    found = intervals(ordered(scores, labels, units), setting.rounds, setting.seed) if len(scores) else {}
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    for name in RANKED:
        interval = found.get(name, nothing)
        row[name] = [_plain(x) for x in (interval.value, interval.low, interval.high)]
    for rate in RATES:
        row[f"tpr_at_{rate * 100:g}"] = _plain(tpr_at_fpr(scores, labels, rate))
    # A threshold of 0.5 means nothing to what is no probability, nor accuracy where there is but one class.
    fit = stream not in odd and len(np.unique(labels)) == 2
    said = called(scores, labels) if fit else Called(*[float("nan")] * 5)
    row |= {name: _plain(value) for name, value in asdict(said).items()}
    row["ece"] = _plain(calibration_error(scores, labels)) if stream not in odd else None
    return row


def _localised(stretches: Stretches, tested: pd.DataFrame, test: np.ndarray, setting: Setting) -> Iterator[dict[str, Any]]:
    said, truth = ({target: [values[i] for i in test] for target, values in of.items()} for of in stretches)
    units, drawn = named_units(tested["identity"].to_numpy(dtype=str), tested["source_clip"].to_numpy(dtype=str))
    for row in localised_rows(said, truth, units, setting.rounds, setting.seed):
        yield {name: [_plain(x) for x in value] if isinstance(value, list) else value for name, value in row.items()} | {"units": drawn}


def _multi(tested: pd.DataFrame, odd: frozenset[str]) -> dict[str, Any]:
    labels = {stream: tested[f"{stream}_label"].to_numpy() for stream in STREAMS if stream not in odd}
    scores = {stream: tested[TARGETS[stream]].to_numpy() for stream in labels}
    figures = asdict(multi_label(scores, labels))
    return {name.rstrip("_"): _plain(value) for name, value in figures.items()}


def _nothing_sound(table: pd.DataFrame) -> str:
    """Why no row of a benchmark can be used."""
    if table.empty:
        return "it lists no row"
    commonest = table["problem"].value_counts()
    return f"no row is without a problem; of {len(table)}, {commonest.iloc[0]} have this: {commonest.index[0]}"


def _one_sided(rows: pd.DataFrame) -> Iterator[str]:
    """Targets of which nothing can be ranked."""
    for target in TARGETS:
        known = rows[f"{target}_label"].dropna().unique()
        if len(known) == 1:
            what = "genuine clip" if known[0] == 1 else "fake"
            yield f"{target}: no {what} is among what is tested on, so nothing can be ranked"


def _in_both(rows: pd.DataFrame, folds: Sequence[Fold]) -> int | None:
    """The most people that any fold has in both train and test; ``None`` where nothing is trained on."""
    people = rows["identity"].to_numpy(dtype=str)
    counts = [len(set(people[fold.train]) & set(people[fold.test]) - {""}) for fold in folds if len(fold.train)]
    return max(counts) if counts else None


def _no_probabilities(rows: pd.DataFrame) -> frozenset[str]:
    """Targets of which some score lies outside of [0, 1]."""
    return frozenset(name for name, column in TARGETS.items() if bool((rows[column] < 0.0).any() or (rows[column] > 1.0).any()))


def _fair(row: dict[str, Any], odd: frozenset[str]) -> dict[str, Any]:
    """Fairness without what was counted at 0.5, where scores are no probabilities."""
    if row["stream"] not in odd:
        return row
    even = [name for name in FIGURES if name.endswith("_even")]
    groups = [group | {name: [None] * 3 for name in even} for group in row["groups"]]
    return row | {"groups": groups, "gaps": {name: gap for name, gap in row["gaps"].items() if name not in even}}


def _means(results: Sequence[Mapping[str, Any]], folds: Sequence[Fold]) -> Iterator[dict[str, Any]]:
    """Means over folds, of all clips of a stream together, as papers give them; folds are no sample, so there is no interval."""
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
    """Of what is known in every fold; a mean over some of them would be of other folds than its neighbours."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _counts(
    table: pd.DataFrame, scored: Scored, sound: np.ndarray, rows: pd.DataFrame, folds: Sequence[Fold], odd: frozenset[str]
) -> dict[str, Any]:
    problems = pd.Series([text for row in table["problem"] if row for text in str(row).split("; ")], dtype=object).value_counts()
    tested = rows.iloc[np.unique(np.concatenate([fold.test for fold in folds]))]
    silent = int(tested[list(TARGETS.values())].isna().all(axis=1).sum())
    notes = [f"{name}: scores are no probabilities, so nothing is told at 0.5" for name in TARGETS if name in odd]
    notes += _one_sided(tested)
    return {
        "listed": len(table),
        "sound": int(sound.sum()),
        "tested": len(tested),
        "in_both": _in_both(rows, folds),
        "unnamed": int((tested["identity"] == "").sum()),
        "failed": silent,
        "coverage": 1.0 - silent / len(tested),
        "problems": {str(text): int(count) for text, count in problems.items()},
        "notes": [*scored.notes, *notes],
    }


def _plain(value: float) -> float | None:
    """A number as JSON has it."""
    return None if value is None or np.isnan(value) else float(value)
