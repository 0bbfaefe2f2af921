"""A detector over a whole benchmark: what is scored is kept by the content of the file, and a run that was cut goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from ...detector.inference.pool import score_in_processes
from ...detector.verdict import Verdict
from ...media.files import file_sha256
from .score_file import COLUMNS, INTERVALS, said_of

KEPT = "verdicts.jsonl"
PASSING = frozenset({"Crash", "Timeout", "MemoryError"})  # kinds of failure that may be the machine's, and are not kept

Score = Callable[[Iterable[str]], Iterator[Verdict]]


def scorer(model: str, workers: int, device: str = "auto", trim_silence: bool = False, cluster: str | None = None) -> Score:
    """Our own detector, in processes of this machine or, where ``cluster`` names one, by actors of ray.

    Parameters
    ----------
    cluster : str, optional
        Address of a ray cluster; ``auto`` finds one, ``local`` starts one on this machine.
    """
    if cluster is None:
        return lambda paths: score_in_processes(paths, workers, model=model, device=device, trim_silence=trim_silence)
    from ...detector.inference.ray_cluster import score_on_cluster

    address = None if cluster == "local" else cluster
    return lambda paths: score_on_cluster(paths, address, model=model, device=device, trim_silence=trim_silence)


def score_benchmark(table: pd.DataFrame, score: Score, how: Mapping[str, str], folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Score the rows that have no problem.

    Parameters
    ----------
    table : pandas.DataFrame
        A benchmark: ``path``, ``file``, ``problem``.
    score : callable
        From paths to verdicts in their order, see :func:`scorer`.
    how : mapping of str to str
        Checksum of the model, and whatever else a verdict depends on; others are not taken from the folder.
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
    known = _known(kept, how)
    rows = table[table["problem"] == ""].drop_duplicates("path")
    files = dict(zip(rows["path"].astype(str), rows["file"].map(str), strict=True))
    hashes, lost = dict[str, str](), dict[str, object]({"status": "error: the file cannot be read"})
    for path, file in track(files.items(), "reading", transient=True, disable=len(files) < 50):
        try:
            hashes[path] = file_sha256(file)
        except OSError:
            hashes[path] = ""  # of a file that cannot be read
    todo: dict[str, str] = {}
    for path, content in hashes.items():
        if content and content not in known:
            todo.setdefault(content, files[path])  # a content once, however often it occurs
    with open(kept, "a") as stream:
        verdicts = score(list(todo.values()))
        for content, verdict in track(zip(todo, verdicts, strict=True), "scoring", total=len(todo), transient=True, disable=not todo):
            known[content] = said_of(verdict)
            if verdict.error is not None and verdict.error.type in PASSING:
                continue  # another run may fare better
            stream.write(json.dumps({"content": content, **how, **known[content]}) + "\n")
            stream.flush()
    found = pd.DataFrame([{"path": path, **known.get(hashes[path], lost)} for path in files], columns=list(COLUMNS))
    return found.fillna(dict.fromkeys(INTERVALS, ""))


def _known(kept: Path, how: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """What was said already, in the same way; a last line that was cut is not read."""
    found: dict[str, dict[str, object]] = {}
    if not kept.exists():
        return found
    text = kept.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        kept.write_text(whole)
    for line in whole.splitlines():
        said = json.loads(line)
        content = said.pop("content")
        if {name: said.pop(name, None) for name in how} == dict(how):
            found[content] = {name: said[name] for name in COLUMNS if name in said}
    return found
