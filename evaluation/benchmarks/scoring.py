"""A detector over a whole benchmark: what is scored is kept by the content of the file, and a run that was cut goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd

from ...detector.pool import score_in_processes
from ...detector.scoring import file_sha256
from ...detector.verdict import Verdict
from .score_file import COLUMNS

KEPT = "verdicts.jsonl"

Score = Callable[[Iterable[str]], Iterator[Verdict]]


def scorer(model: str, workers: int, device: str = "auto") -> Score:
    """Our own detector, in processes of this machine."""
    return lambda paths: score_in_processes(paths, workers, model=model, device=device)


def score_benchmark(table: pd.DataFrame, score: Score, weights: str, folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Score the rows that have no problem.

    Parameters
    ----------
    table : pandas.DataFrame
        A benchmark: ``path``, ``file``, ``problem``.
    score : callable
        From paths to verdicts in their order, see :func:`scorer`.
    weights : str
        Checksum of the model; verdicts of others are not taken from the folder.
    folder : path-like
        Keeps :data:`KEPT`, one verdict a line.

    Returns
    -------
    pandas.DataFrame
        :data:`avwitness.evaluation.benchmarks.score_file.COLUMNS`, one row for each distinct path.
    """
    from rich.progress import track

    kept = Path(folder) / KEPT
    kept.parent.mkdir(parents=True, exist_ok=True)
    known = _known(kept, weights)
    rows = table[table["problem"] == ""].drop_duplicates("path")
    files = dict(zip(rows["path"].astype(str), rows["file"].map(str), strict=True))
    hashes = {path: file_sha256(file) for path, file in track(files.items(), "reading", transient=True, disable=len(files) < 50)}
    todo: dict[str, str] = {}
    for path, file in files.items():
        if hashes[path] not in known:
            todo.setdefault(hashes[path], file)  # a content once, however often it occurs
    with open(kept, "a") as stream:
        verdicts = score(list(todo.values()))
        for content, verdict in track(zip(todo, verdicts, strict=True), "scoring", total=len(todo), transient=True, disable=not todo):
            known[content] = _row(verdict)
            stream.write(json.dumps({"content": content, "weights": weights, **known[content]}) + "\n")
            stream.flush()
    return pd.DataFrame([{"path": path, **known[hashes[path]]} for path in files], columns=list(COLUMNS))


def _row(verdict: Verdict) -> dict[str, object]:
    return {"p_video": verdict.video.p_fake, "p_audio": verdict.audio.p_fake, "p_fake": verdict.p_fake, "status": verdict.status}


def _known(kept: Path, weights: str) -> dict[str, dict[str, object]]:
    """What these weights said already; a last line that was cut is not read."""
    found: dict[str, dict[str, object]] = {}
    if not kept.exists():
        return found
    text = kept.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        kept.write_text(whole)
    for line in whole.splitlines():
        said = json.loads(line)
        if said.pop("weights") == weights:
            found[said.pop("content")] = said
    return found
