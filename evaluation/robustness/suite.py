"""Robustness of a detector: its metrics on degraded copies of a benchmark, against a control that was only rewritten."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..benchmarks.evaluate import EvaluationSettings, label_rows
from ..benchmarks.protocols import PROTOCOLS
from ..benchmarks.score_file import SCORES
from ..benchmarks.scoring import VERDICTS_FILE, Score
from .conditions import CONTROL, Condition
from .copies import Key
from .export import row_copy_path
from .metrics import condition_metrics
from .plan import Plan, RobustnessSettings, make_plan
from .scoring import Scores, score_copies


def run_robustness(
    table: pd.DataFrame, settings: RobustnessSettings, score: Score, weights: str, out: str | os.PathLike[str], workers: int
) -> dict[str, Any]:
    """Score clips as they are, rewritten, and degraded, and compute the metrics of each condition.

    Parameters
    ----------
    table : pandas.DataFrame
        A benchmark, see :func:`avwitness.datasets.benchmark.tabulate`. Rows with a problem are not used.
    settings : RobustnessSettings
    score : callable
        From paths to verdicts in their order, see :func:`avwitness.evaluation.benchmarks.scoring.scorer`. Copies are made as it
        consumes paths, and are deleted once they are scored.
    weights : str
        Checksum of the model; only cached verdicts of the same weights and seed are used.
    out : path-like
        Folder of the cache :data:`avwitness.evaluation.benchmarks.scoring.VERDICTS_FILE`.
    workers : int
        Processes that degrade.

    Returns
    -------
    dict
        Plain JSON values. ``setting``; ``clips`` (how many are listed, valid, sampled); ``degradations`` (name, title, stream, unit,
        severities); ``results``, one row for each condition and target: ``condition, level, severity, clips`` and the metrics of
        :func:`avwitness.evaluation.robustness.metrics.condition_metrics`; ``failures`` of conditions that have any; ``notes``,
        sentences.

    Raises
    ------
    ValueError
        If no row is without a problem, or a degradation is not known.
    OSError
        If the disk is full.
    """
    plan = make_plan(table, settings)
    known, failed = score_copies(plan.jobs(), score, Path(out) / VERDICTS_FILE, _conditions(weights, settings), settings.seed, workers)
    return _results(plan, known, failed, weights)


def _conditions(weights: str, settings: RobustnessSettings) -> str:
    """What cached verdicts depend on, besides the seed."""
    return weights if settings.modality == "auto" else f"{weights} {settings.modality}"


def robustness_of_scores(table: pd.DataFrame, settings: RobustnessSettings, scores: pd.DataFrame) -> dict[str, Any]:
    """The same from a score file of the copies that :func:`avwitness.evaluation.robustness.export.write_copies` wrote.

    Parameters
    ----------
    table, settings
        As for :func:`run_robustness`, and equal to those that the copies were written with.
    scores : pandas.DataFrame
        Of :func:`avwitness.evaluation.benchmarks.score_file.read_scores`; ``path`` is that of a copy, relative to the folder of the
        copies or to a folder above it.

    Raises
    ------
    ValueError
        If none of the planned copies is scored, or as :func:`run_robustness`.
    """
    plan = make_plan(table, settings)
    rows: dict[str, Scores] = scores.set_index("path")[[*SCORES, "status"]].to_dict("index")  # type: ignore[assignment]
    keys = {
        row_copy_path(condition, clip): (clip["content"], condition.name)  # type: ignore[arg-type]
        for condition, clips in plan.conditions
        for clip in clips.to_dict("records")
    }
    folder = _common_folder(rows, keys)
    known = {key: row for path, key in keys.items() if (row := rows.get(folder + path)) is not None}
    if not known:
        raise ValueError(
            f"{settings.dataset}: no copy of these clips and severities is scored; scores have paths like {next(iter(rows), 'none')}, "
            f"copies like {next(iter(keys))}. Use the same limit, seed and levels as for the copies"
        )
    planned = {job.key for job in plan.jobs()}
    plan.notes.append(f"{len(planned)} copies of different content are planned, and {len(known)} of them are in the score file")
    return _results(plan, known, {}, "")


def _common_folder(scored: Iterable[str], paths: Collection[str]) -> str:
    """Prefix of the scored paths before the paths of copies: empty, or the folder of the copies."""
    for path in scored:
        parts = path.split("/")
        for cut in range(len(parts)):
            if "/".join(parts[cut:]) in paths:
                return "/".join([*parts[:cut], ""]) if cut else ""
    return ""


def _results(plan: Plan, known: Mapping[Key, Scores], failed: Mapping[Key, str], weights: str) -> dict[str, Any]:
    """The results of :func:`run_robustness`."""
    settings = plan.settings
    control = _rows(plan.clips, Condition(CONTROL), known, settings)
    results = []
    for condition, clips in plan.conditions:
        rows = _rows(clips, condition, known, settings)
        about = {"condition": condition.kind, "level": condition.level, "severity": condition.severity, "clips": len(rows)}
        of_targets = condition_metrics(rows, control, settings.n_bootstrap, settings.seed, settings.targets)
        results += [about | metrics for metrics in of_targets]
    return {
        "setting": {
            "dataset": settings.dataset,
            "detector": settings.detector,
            "weights": weights,
            "degradations": [d.name for d in plan.degradations],
            "limit": settings.limit,
            "seed": settings.seed,
            "n_bootstrap": settings.n_bootstrap,
            "levels": list(settings.levels),
            "modality": settings.modality,
        },
        "clips": {"listed": plan.n_listed, "valid": plan.n_valid, "sampled": len(plan.clips)},
        "degradations": [
            {"name": d.name, "title": d.title, "stream": d.stream, "unit": d.unit, "severities": list(d.severities)}
            for d in plan.degradations
        ],
        "results": results,
        "failures": [found for condition, clips in plan.conditions if (found := _failures(clips, condition, known, failed))],
        "notes": plan.notes,
    }


def _rows(clips: pd.DataFrame, condition: Condition, known: Mapping[Key, Scores], settings: RobustnessSettings) -> pd.DataFrame:
    """Labels and scores of clips in one condition; NaN where there is no score."""
    found = [known.get((content, condition.name), {}) for content in clips["content"]]
    scores = pd.DataFrame({name: [row.get(name) for row in found] for name in SCORES}, dtype=float)
    evaluation = EvaluationSettings(settings.dataset, settings.detector, PROTOCOLS["zero-shot"], seed=settings.seed)
    return label_rows(clips.reset_index(drop=True), scores, evaluation)


def _failures(clips: pd.DataFrame, condition: Condition, known: Mapping[Key, Scores], failed: Mapping[Key, str]) -> dict[str, Any] | None:
    """Number of copies of a condition that could not be made or scored; ``None`` if there are none."""
    keys = [(content, condition.name) for content in clips["content"]]
    reasons = [failed[key] for key in keys if key in failed]
    # With a score file, copies that it does not name count as not scored.
    errors = sum(key not in known and key not in failed for key in keys)
    errors += sum(str(known[key]["status"]).startswith("error") for key in keys if key in known)
    if not reasons and not errors:
        return None
    example = reasons[0] if reasons else None
    return {"condition": condition.name, "clips": len(keys), "not_degraded": len(reasons), "not_scored": errors, "example": example}
