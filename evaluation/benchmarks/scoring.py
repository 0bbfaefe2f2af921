"""Scores of a benchmark by the bundled detector; verdicts are cached by the content of each file, so that a run can be resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ...detector.inference.processes.pool import score_in_processes
from ...detector.verdict import Verdict
from ...media.files import file_sha256
from .score_file import COLUMNS, INTERVALS, score_row

VERDICTS_FILE = "verdicts.jsonl"
TRANSIENT_ERRORS = frozenset({"Crash", "Timeout", "MemoryError"})  # that the machine may cause, and that are not cached

Score = Callable[[Iterable[str]], Iterator[Verdict]]


def scorer(
    model: str, workers: int, device: str = "auto", trim_silence: bool = False, ray_address: str | None = None, modality: str = "auto"
) -> Score:
    """A function from paths to verdicts, which scores in processes of this machine or on a ray cluster.

    Parameters
    ----------
    ray_address : str, optional
        Address of a ray cluster; ``auto`` finds one, ``local`` starts one on this machine. Processes are used without it.
    modality : str
        Streams to score.
    """
    options: dict[str, Any] = {"trim_silence": trim_silence, "modality": modality}
    if ray_address is None:
        return lambda paths: score_in_processes(paths, workers, model=model, device=device, **options)
    from ...detector.inference.ray_cluster import score_on_cluster

    address = None if ray_address == "local" else ray_address
    return lambda paths: score_on_cluster(paths, address, model=model, device=device, **options)


def score_benchmark(table: pd.DataFrame, score: Score, conditions: Mapping[str, str], folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Score the rows that have no problem.

    Parameters
    ----------
    table : pandas.DataFrame
        A benchmark: ``path``, ``file``, ``problem``.
    score : callable
        From paths to verdicts in their order, see :func:`scorer`.
    conditions : mapping of str to str
        What verdicts depend on, such as the checksum of the weights; only cached verdicts with the same values are used.
    folder : path-like
        Holds the cache :data:`VERDICTS_FILE`, one verdict a line.

    Returns
    -------
    pandas.DataFrame
        :data:`avwitness.evaluation.benchmarks.score_file.COLUMNS`, one row for each distinct path.
    """
    from rich.progress import track

    cache = Path(folder) / VERDICTS_FILE
    cache.parent.mkdir(parents=True, exist_ok=True)
    known = _read_cache(cache, conditions)
    rows = table[table["problem"] == ""].drop_duplicates("path")
    files = dict(zip(rows["path"].astype(str), rows["file"].map(str), strict=True))
    hashes, unreadable = dict[str, str](), dict[str, object]({"status": "error: the file cannot be read"})
    for path, file in track(files.items(), "reading", transient=True, disable=len(files) < 50):
        try:
            hashes[path] = file_sha256(file)
        except OSError:
            hashes[path] = ""  # of a file that cannot be read
    todo: dict[str, str] = {}
    for path, content in hashes.items():
        if content and content not in known:
            todo.setdefault(content, files[path])  # equal files are scored once
    with open(cache, "a") as stream:
        verdicts = score(list(todo.values()))
        for content, verdict in track(zip(todo, verdicts, strict=True), "scoring", total=len(todo), transient=True, disable=not todo):
            known[content] = score_row(verdict)
            if verdict.error is not None and verdict.error.type in TRANSIENT_ERRORS:
                continue  # to be tried again in another run
            stream.write(json.dumps({"content": content, **conditions, **known[content]}) + "\n")
            stream.flush()
    found = pd.DataFrame([{"path": path, **known.get(hashes[path], unreadable)} for path in files], columns=list(COLUMNS))
    return found.fillna(dict.fromkeys(INTERVALS, ""))


def complete_lines(file: Path) -> list[str]:
    """Lines of a file that is written line by line; a last line without its end, left by an interrupted run, is removed from the file."""
    if not file.exists():
        return []
    text = file.read_text()
    complete = text[: text.rfind("\n") + 1]
    if complete != text:
        file.write_text(complete)
    return complete.splitlines()


def _read_cache(cache: Path, conditions: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Score rows by content that were made under the same conditions."""
    found: dict[str, dict[str, object]] = {}
    for line in complete_lines(cache):
        row = json.loads(line)
        content = row.pop("content")
        if {name: row.pop(name, None) for name in conditions} == dict(conditions):
            found[content] = {name: row[name] for name in COLUMNS if name in row}
    return found
