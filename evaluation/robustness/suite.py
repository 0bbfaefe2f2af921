"""A detector over a benchmark whose files have been degraded: scored once, kept, and told beside files that were only rewritten."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..benchmarks.evaluate import Setting, labelled
from ..benchmarks.protocols import PROTOCOLS
from ..benchmarks.score_file import SCORES
from ..benchmarks.scoring import Score
from .conditions import CONTROL, Condition
from .copies import Key
from .export import place_of
from .figures import condition_figures
from .plan import Plan, RobustnessSetting, plan_of
from .scoring import KEPT, Said, score_copies


def run_robustness(
    table: pd.DataFrame, setting: RobustnessSetting, score: Score, weights: str, out: str | os.PathLike[str], workers: int
) -> dict[str, Any]:
    """Score clips as they are, rewritten, and degraded, and tell what is left of the detector.

    Parameters
    ----------
    table : pandas.DataFrame
        A benchmark, see :func:`avwitness.datasets.benchmark.tabulate`. Rows with a problem are not used.
    setting : RobustnessSetting
    score : callable
        From paths to verdicts in their order, see :func:`avwitness.evaluation.benchmarks.scoring.scorer`. Copies are made as it asks for
        paths, and are gone once their verdict is there.
    weights : str
        Checksum of the model; verdicts of others, and of other seeds, are not taken from the folder.
    out : path-like
        Folder that keeps :data:`KEPT`, one verdict a line; a run found there goes on.
    workers : int
        Processes that degrade.

    Returns
    -------
    dict
        Plain JSON values. ``setting``; ``clips`` (how many are listed, sound, drawn); ``degradations`` (name, title, stream, unit,
        severities); ``results``, one row for each condition and target: ``condition, level, severity, clips`` and what
        :func:`avwitness.evaluation.robustness.figures.condition_figures` tells; ``failures`` of conditions that have any; ``notes``,
        sentences.

    Raises
    ------
    ValueError
        If no row is without a problem, or a degradation is not known.
    OSError
        If the disk is full.
    """
    plan = plan_of(table, setting)
    known, failed = score_copies(plan.jobs(), score, Path(out) / KEPT, weights, setting.seed, workers)
    return _told(plan, known, failed, weights)


def robustness_of_scores(table: pd.DataFrame, setting: RobustnessSetting, scores: pd.DataFrame) -> dict[str, Any]:
    """The same from anybody's scores of the copies that :func:`avwitness.evaluation.robustness.export.write_copies` wrote.

    Parameters
    ----------
    table, setting
        As for :func:`run_robustness`, and as the copies were written with.
    scores : pandas.DataFrame
        Of :func:`avwitness.evaluation.benchmarks.score_file.read_scores`; ``path`` is that of a copy below the folder of the copies.

    Raises
    ------
    ValueError
        If no copy that is asked for is scored, or as :func:`run_robustness`.
    """
    plan = plan_of(table, setting)
    rows: dict[str, Said] = scores.set_index("path")[[*SCORES, "status"]].to_dict("index")  # type: ignore[assignment]
    places = {
        place_of(condition, clip): (clip["content"], condition.name)  # type: ignore[arg-type]
        for condition, clips in plan.conditions
        for clip in clips.to_dict("records")
    }
    folder = _folder_of(rows, places)
    known = {key: row for place, key in places.items() if (row := rows.get(folder + place)) is not None}
    if not known:
        raise ValueError(
            f"{setting.dataset}: no copy of these clips and severities is scored; scores have paths like {next(iter(rows), 'none')}, "
            f"copies like {next(iter(places))}. Name limit, seed and levels as for the copies"
        )
    asked = {job.key for job in plan.jobs()}
    plan.notes.append(f"{len(asked)} copies of different content are asked for, and {len(known)} of them are in the score file")
    return _told(plan, known, {}, "")


def _folder_of(scored: Iterable[str], places: Collection[str]) -> str:
    """What comes before the places of copies in the paths that were scored: nothing, or the folder of the copies."""
    for path in scored:
        parts = path.split("/")
        for cut in range(len(parts)):
            if "/".join(parts[cut:]) in places:
                return "/".join([*parts[:cut], ""]) if cut else ""
    return ""


def _told(plan: Plan, known: Mapping[Key, Said], failed: Mapping[Key, str], weights: str) -> dict[str, Any]:
    """The results of :func:`run_robustness`."""
    setting = plan.setting
    control = _rows(plan.clips, Condition(CONTROL), known, setting)
    results = []
    for condition, clips in plan.conditions:
        rows = _rows(clips, condition, known, setting)
        about = {"condition": condition.kind, "level": condition.level, "severity": condition.severity, "clips": len(rows)}
        results += [about | figures for figures in condition_figures(rows, control, setting.rounds, setting.seed)]
    return {
        "setting": {
            "dataset": setting.dataset,
            "detector": setting.detector,
            "weights": weights,
            "degradations": [d.name for d in plan.degradations],
            "limit": setting.limit,
            "seed": setting.seed,
            "rounds": setting.rounds,
            "levels": list(setting.levels),
        },
        "clips": {"listed": plan.listed, "sound": plan.sound, "drawn": len(plan.clips)},
        "degradations": [
            {"name": d.name, "title": d.title, "stream": d.stream, "unit": d.unit, "severities": list(d.severities)}
            for d in plan.degradations
        ],
        "results": results,
        "failures": [found for condition, clips in plan.conditions if (found := _failures(clips, condition, known, failed))],
        "notes": plan.notes,
    }


def _rows(clips: pd.DataFrame, condition: Condition, known: Mapping[Key, Said], setting: RobustnessSetting) -> pd.DataFrame:
    """Labels and scores of clips in one condition; NaN where there is no score."""
    said = [known.get((content, condition.name), {}) for content in clips["content"]]
    scores = pd.DataFrame({name: [row.get(name) for row in said] for name in SCORES}, dtype=float)
    as_benchmark = Setting(setting.dataset, setting.detector, PROTOCOLS["zero-shot"], seed=setting.seed)
    return labelled(clips.reset_index(drop=True), scores, as_benchmark)


def _failures(clips: pd.DataFrame, condition: Condition, known: Mapping[Key, Said], failed: Mapping[Key, str]) -> dict[str, Any] | None:
    """How many clips a condition lacks, or ``None`` where it lacks none."""
    keys = [(content, condition.name) for content in clips["content"]]
    reasons = [failed[key] for key in keys if key in failed]
    # A copy of which nothing is known was made by somebody else's hands, and not scored by theirs.
    errors = sum(key not in known and key not in failed for key in keys)
    errors += sum(str(known[key]["status"]).startswith("error") for key in keys if key in known)
    if not reasons and not errors:
        return None
    example = reasons[0] if reasons else None
    return {"condition": condition.name, "clips": len(keys), "not_degraded": len(reasons), "not_scored": errors, "example": example}
