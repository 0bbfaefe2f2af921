"""`avwitness evaluate`: a benchmark on disk, a detector or its scores, one folder of results."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ...datasets.benchmark import LABELS
from ...datasets.leakage import Leak, content_hashes, duplicates, leaks
from .evaluate import KEPT, TRIMMED, Setting, divided, evaluate
from .output import write_results
from .score_file import match, read_scores
from .scoring import score_benchmark, scorer

READ = "benchmark.csv"  # in the results' folder: what was read of the benchmark, the problem of every row, and its part in every fold


def run_evaluation(
    table: pd.DataFrame,
    setting: Setting,
    out: str | os.PathLike[str],
    *,
    model: str | None = None,
    scores: str | os.PathLike[str] | None = None,
    workers: int = 1,
    device: str = "auto",
    cluster: str | None = None,
) -> Path:
    """Evaluate a model of ours or anybody's score file; returns the page that was written.

    Parameters
    ----------
    table : pandas.DataFrame
        What a reader of :mod:`avwitness.datasets.registry` found.
    out : path-like
        Folder; a run found there goes on.
    model : str, optional
        Bundled weights by name, or a folder.
    scores : path-like, optional
        A score file; exactly one of the two must be given.
    workers, device, cluster
        Of a model, see :func:`avwitness.evaluation.benchmarks.scoring.scorer`.

    Raises
    ------
    FileNotFoundError, ValueError
        Of what cannot be read, see :func:`avwitness.evaluation.benchmarks.score_file.read_scores` and
        :func:`avwitness.evaluation.benchmarks.evaluate.evaluate`.
    """
    out = Path(out)
    if (model is None) == (scores is None):
        raise ValueError("either a model or a score file is needed, and not both")
    parts = divided(table, setting)  # first, for whoever asks for what cannot be done should not wait for scores
    asked = (parts == "test").any(axis=1)
    if scores is not None:
        said = read_scores(scores)
    else:
        from ...detector.inference.detector import load

        assert model is not None
        if setting.silence not in (TRIMMED, KEPT):
            raise ValueError(f"silence {setting.silence!r} is neither {TRIMMED} nor {KEPT}")
        how = {"weights": load(model, device="cpu").info.sha256, "silence": setting.silence}
        said = score_benchmark(table[asked], scorer(model, workers, device, setting.silence == TRIMMED, cluster), how, out)
    matched = match(said, table.assign(asked=asked))
    notes = [*matched.notes, *_shared(table)]
    if scores is not None and setting.missing != "none":
        notes.append("Streams were taken from the scores alone: what else was computed from them, the detector may have computed from both")
    figures, tested = evaluate(table, replace(matched, notes=tuple(notes)), setting)
    page = write_results(figures, tested, out)
    pd.concat([table.drop(columns="file"), parts], axis=1).to_csv(out / READ, index=False)
    return page


def _shared(table: pd.DataFrame) -> list[str]:
    """What the benchmark's own splits share; without two of them there is nothing to share, and no reason to read the files."""
    if len(set(table["split"]) - {""}) < 2:
        return []
    hashes = content_hashes(table)
    return [*(_sentence(leak) for leak in leaks(table, hashes)), *_twins(table, hashes)]


def _twins(table: pd.DataFrame, hashes: Mapping[str, str]) -> Iterator[str]:
    """What the tables say of files that hold the same."""
    labels = table[list(LABELS)].astype("Int8").fillna(-1)
    said = dict(zip(table["path"].astype(str), labels.itertuples(index=False, name=None), strict=True))
    groups = duplicates(hashes)
    torn = [group for group in groups if len({said[path] for path in group}) > 1]
    if groups:
        yield f"{sum(map(len, groups))} files hold what another one holds, such as {groups[0][0]} and {groups[0][1]}"
    if torn:
        yield f"{sum(map(len, torn))} of them with different labels, such as {torn[0][0]} and {torn[0][1]}"


def _sentence(leak: Leak) -> str:
    """What the tables say of a leak between the benchmark's own splits."""
    what = {"content": "files with the same content", "source clip": "source clips", "identity": "people"}[leak.kind]
    return f"the benchmark's splits {leak.first} and {leak.second} share {leak.count} {what}, such as {leak.example}"
