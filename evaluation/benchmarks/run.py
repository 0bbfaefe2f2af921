"""`avwitness evaluate`: evaluates the bundled detector or a score file on a benchmark and writes a folder of results."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ...datasets.benchmark import LABELS
from ...datasets.leakage import Leak, content_hashes, duplicates, leaks
from .evaluate import SILENCE_KEPT, SILENCE_TRIMMED, EvaluationSettings, evaluate, split_folds
from .output import write_results
from .score_file import match_scores, read_scores
from .scoring import score_benchmark, scorer

TABLE_FILE = "benchmark.csv"  # in the results' folder: the benchmark's table, with the problem of every row and its part in every fold


def run_evaluation(
    table: pd.DataFrame,
    settings: EvaluationSettings,
    out: str | os.PathLike[str],
    *,
    model: str | None = None,
    scores: str | os.PathLike[str] | None = None,
    workers: int = 1,
    device: str = "auto",
    ray_address: str | None = None,
) -> Path:
    """Evaluate a model or a score file; returns the path of the HTML page.

    Parameters
    ----------
    table : pandas.DataFrame
        Of a reader of :mod:`avwitness.datasets.registry`.
    out : path-like
        Folder of results; verdicts found there are used again.
    model : str, optional
        Name of bundled weights, or a folder.
    scores : path-like, optional
        A score file; exactly one of the two must be given.
    workers, device, ray_address
        See :func:`avwitness.evaluation.benchmarks.scoring.scorer`.

    Raises
    ------
    FileNotFoundError, ValueError
        See :func:`avwitness.evaluation.benchmarks.score_file.read_scores` and
        :func:`avwitness.evaluation.benchmarks.evaluate.evaluate`.
    """
    out = Path(out)
    if (model is None) == (scores is None):
        raise ValueError("either a model or a score file is needed, and not both")
    parts = split_folds(table, settings)  # before scoring, so that a protocol that cannot be followed is reported at once
    tested = (parts == "test").any(axis=1)
    if scores is not None:
        found = read_scores(scores)
    else:
        from ...detector.inference.detector import load

        assert model is not None
        if settings.silence not in (SILENCE_TRIMMED, SILENCE_KEPT):
            raise ValueError(f"silence {settings.silence!r} is neither {SILENCE_TRIMMED} nor {SILENCE_KEPT}")
        conditions = {"weights": load(model, device="cpu").info.sha256, "silence": settings.silence}
        score = scorer(model, workers, device, settings.silence == SILENCE_TRIMMED, ray_address)
        found = score_benchmark(table[tested], score, conditions, out)
    matched = match_scores(found, table.assign(tested=tested))
    notes = [*matched.notes, *_leak_notes(table)]
    if scores is not None and settings.missing != "none":
        notes.append("Streams were removed from the scores alone; the detector may have computed its other scores from both streams")
    figures, rows = evaluate(table, replace(matched, notes=tuple(notes)), settings)
    page = write_results(figures, rows, out)
    pd.concat([table.drop(columns="file"), parts], axis=1).to_csv(out / TABLE_FILE, index=False)
    return page


def _leak_notes(table: pd.DataFrame) -> list[str]:
    """Sentences on what the benchmark's own splits share. Files are only read where there are two splits."""
    if len(set(table["split"]) - {""}) < 2:
        return []
    hashes = content_hashes(table)
    return [*(_leak_sentence(leak) for leak in leaks(table, hashes)), *_duplicate_sentences(table, hashes)]


def _duplicate_sentences(table: pd.DataFrame, hashes: Mapping[str, str]) -> Iterator[str]:
    """Sentences on files with equal content."""
    columns = table[list(LABELS)].astype("Int8").fillna(-1)
    labels = dict(zip(table["path"].astype(str), columns.itertuples(index=False, name=None), strict=True))
    groups = duplicates(hashes)
    conflicting = [group for group in groups if len({labels[path] for path in group}) > 1]
    if groups:
        yield f"{sum(map(len, groups))} files have the same content as another file, such as {groups[0][0]} and {groups[0][1]}"
    if conflicting:
        yield f"{sum(map(len, conflicting))} of them have different labels, such as {conflicting[0][0]} and {conflicting[0][1]}"


def _leak_sentence(leak: Leak) -> str:
    what = {"content": "files with the same content", "source clip": "source clips", "identity": "identities"}[leak.kind]
    return f"the benchmark's splits {leak.first} and {leak.second} share {leak.count} {what}, such as {leak.example}"
