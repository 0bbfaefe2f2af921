"""Score files: the table of scores that any detector can write, and its match to the rows of a benchmark."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ...detector.verdict import Verdict
from ...media.clip import FRAME_RATE, STREAMS
from ..metrics.temporal import propose_segments, read_proposals

TARGETS = {"video": "p_video", "audio": "p_audio", "overall": "p_fake"}  # what is scored, and the column of its scores
SCORES = tuple(TARGETS.values())
INTERVALS = ("video_intervals", "audio_intervals", "file_intervals")  # JSON [[begin, end, score], ...]; empty without proposals
COLUMNS = ("path", *SCORES, "status", *INTERVALS)
OK = "ok"
VALID_STATUSES = frozenset({OK, "inconclusive", "success", "scored", ""})  # in any case; scores of other rows are ignored
UNSCORED = "unscored"  # status of a row of the benchmark that the file does not name
VERDICT_COLUMNS = {"video.p_fake": "p_video", "audio.p_fake": "p_audio"}  # columns of `avwitness score --out`
ESCAPED = r"^'([=+@\-])"  # how `avwitness score --out F.csv` writes a path that a spreadsheet would take for a formula
MIN_COMPONENTS = 2  # of the end of a path by which a file is recognised: a name alone says too little
MAX_EXAMPLES = 5  # paths that a sentence gives as examples


@dataclass(frozen=True)
class MatchedScores:
    """Scores in the order of a benchmark.

    Parameters
    ----------
    table : pandas.DataFrame
        :data:`COLUMNS`, one row for each of the benchmark's; NaN where there is no score or the status is a failure, ``status``
        :data:`UNSCORED` where there is no row.
    notes : tuple of str
        Sentences on what did not match.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()


def read_scores(file: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a score file.

    Parameters
    ----------
    file : path-like
        CSV or parquet with ``path``, at least one of ``p_video``, ``p_audio`` and ``p_fake`` (higher is more fake; empty without a
        score), and optionally ``status`` and :data:`INTERVALS` (JSON, ``[[begin, end, score], ...]`` in seconds: when a stream, or
        the file, is fake); or what `avwitness score --out` wrote, JSON lines included.

    Returns
    -------
    pandas.DataFrame
        :data:`COLUMNS`: scores as floats; ``status`` ``ok`` where the file has none.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file does not exist, a column is missing, a score is not a finite number, proposals are not valid, or a path is scored
        twice.
    """
    file = Path(file)
    table = _load(file).rename(columns=VERDICT_COLUMNS)
    if "path" not in table:
        raise ValueError(f"{file}: the column path is missing; it names the files as the manifest does")
    if not set(SCORES) & set(table):
        raise ValueError(f"{file}: one of the columns {', '.join(SCORES)} must hold the scores")
    found = pd.DataFrame({"path": table["path"].astype(str)})
    for name in SCORES:
        found[name] = _numbers(file, table[name]) if name in table else np.nan
    found["status"] = table["status"].fillna(OK).astype(str) if "status" in table else OK
    for name, score in zip(INTERVALS, SCORES, strict=True):
        found[name] = table[name].fillna("").astype(str).str.strip() if name in table else ""
        if (found[name] != "").any():
            # In a file with proposals, a scored clip without any has none. Otherwise a detector could leave out uncertain clips.
            found.loc[(found[name] == "") & found[score].notna(), name] = "[]"
        for path, cell in found.loc[found[name] != "", ["path", name]].itertuples(index=False):
            try:
                read_proposals(cell)
            except ValueError as error:
                raise ValueError(f"{file}: {name} of {path} {error}") from error
    twice = found["path"][found["path"].duplicated()]
    if len(twice):
        raise ValueError(f"{file}: {twice.nunique()} paths are scored more than once, such as {twice.iloc[0]}")
    return found


def match_scores(scores: pd.DataFrame, manifest: pd.DataFrame) -> MatchedScores:
    """Bring scores into the order of a benchmark.

    A scored path is matched as the benchmark has it, else by the absolute path of the file, else by the longest end of the path (a
    folder and the name at least) that it shares with exactly one file: the data set may have been unpacked elsewhere.

    Parameters
    ----------
    scores : DataFrame
        Of :func:`read_scores`.
    manifest : DataFrame
        ``path`` and ``file``. Rows with a ``problem``, and rows whose column ``tested`` is false, need no score.

    Raises
    ------
    ValueError
        If no path at all is in both.
    """
    wanted = manifest["path"].astype(str)
    absolute = manifest["file"].map(os.path.abspath)
    paths = scores["path"].where(scores["path"].isin(set(wanted)), scores["path"].map(os.path.abspath))
    exact = set(wanted) | set(absolute)
    by_end = _match_by_end(scores.loc[~paths.isin(exact), "path"], absolute[~(wanted.isin(set(paths)) | absolute.isin(set(paths)))])
    paths = pd.Series([by_end.get(*pair) for pair in zip(scores["path"], paths, strict=True)], index=scores.index, dtype=object)
    scores = scores.assign(path=paths, given=scores["path"]).drop_duplicates("path")
    by_path = scores.set_index("path")
    keys = wanted.where(wanted.isin(by_path.index), absolute)
    if len(scores) and len(manifest) and not keys.isin(by_path.index).any():
        scored_path, listed_path = scores["given"].iloc[0], wanted.iloc[0]
        raise ValueError(
            f"no scored path is in the manifest: the scores have paths like {scored_path}, the manifest paths like {listed_path}"
        )
    table = by_path.reindex(keys).reset_index(drop=True)
    table.insert(0, "path", wanted.to_numpy())
    table["status"] = table["status"].fillna(UNSCORED)
    table[list(INTERVALS)] = table[list(INTERVALS)].fillna("")
    failed = ~table["status"].str.strip().str.lower().isin(VALID_STATUSES)
    table.loc[failed, list(SCORES)] = np.nan
    table.loc[failed, list(INTERVALS)] = ""
    notes = [f"{len(by_end)} scored files were matched by the end of their path, such as {next(iter(by_end))}"] if by_end else []
    unknown = scores.loc[~scores["path"].isin(set(keys)), "given"]
    if len(unknown):
        notes.append(f"{len(unknown)} scored files are not in the manifest, such as {', '.join(unknown.head(MAX_EXAMPLES))}")
    needed = (manifest["problem"] == "").to_numpy() if "problem" in manifest else np.ones(len(manifest), dtype=bool)
    needed = needed & (manifest["tested"].to_numpy(dtype=bool) if "tested" in manifest else True)
    unscored = table.loc[(table["status"] == UNSCORED) & needed, "path"]
    if len(unscored):
        notes.append(f"{len(unscored)} files of the manifest are not scored, such as {', '.join(unscored.head(MAX_EXAMPLES))}")
    errors = table[failed.to_numpy() & (table["status"] != UNSCORED).to_numpy() & needed]
    if len(errors):
        notes.append(f"{len(errors)} files failed, such as {errors['path'].iloc[0]} ({errors['status'].iloc[0]})")
    if len(scores) and scores["p_fake"].isna().all():
        notes.append("The scores have no p_fake: that of a file is the larger one of its streams")
    return MatchedScores(table[list(COLUMNS)], tuple(notes))


def _match_by_end(scored: pd.Series, files: pd.Series) -> dict[str, str]:
    """File of a scored path by the longest end of the path, of at least :data:`MIN_COMPONENTS`; only where no other file or path fits."""
    ends: dict[tuple[str, ...], str | None] = {}  # None: of several files
    split = {path: tuple(path.replace("\\", "/").split("/")) for path in scored}
    longest = max(map(len, split.values()), default=0)
    for file in files if split else ():
        parts = tuple(file.split("/"))
        for count in range(MIN_COMPONENTS, min(len(parts), longest) + 1):
            end = parts[-count:]
            ends[end] = None if end in ends else file
    found: dict[str, str] = {}
    for path, parts in split.items():
        for count in range(len(parts), MIN_COMPONENTS - 1, -1):
            if parts[-count:] in ends:
                file_of_end = ends[parts[-count:]]
                if file_of_end is not None:
                    found[path] = file_of_end
                break
    times = Counter(found.values())
    return {path: file for path, file in found.items() if times[file] == 1}


def score_row(verdict: Verdict) -> dict[str, object]:
    """A verdict as a row of a score file, without its path."""
    scores: dict[str, object] = {"p_video": verdict.video.p_fake, "p_audio": verdict.audio.p_fake, "p_fake": verdict.p_fake}
    intervals = {f"{stream}_intervals": _timeline_proposals(verdict, stream) for stream in STREAMS}
    status = verdict.status if verdict.error is None else f"{verdict.status}: {verdict.error.message}"
    return scores | {"status": status} | intervals | {"file_intervals": ""}


def _timeline_proposals(verdict: Verdict, stream: str) -> str:
    """Proposals from the timeline of a stream, JSON; empty where the timeline has no probability for it."""
    values = [getattr(segment, stream) for segment in verdict.timeline]
    if all(value is None for value in values):
        return ""
    frames = [max(1, round((segment.end - segment.start) * FRAME_RATE)) for segment in verdict.timeline]
    probabilities = np.repeat([0.0 if value is None else value for value in values], frames)
    return json.dumps([[round(begin, 3), round(end, 3), round(score, 4)] for begin, end, score in propose_segments(probabilities)])


def _load(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such score file")
    try:
        if file.suffix == ".parquet":
            return pd.read_parquet(file)
        if file.suffix == ".jsonl":
            lines = (json.loads(line) for line in file.read_text().splitlines() if line.strip())
            return pd.DataFrame([{"path": line["path"], **score_row(Verdict.from_dict(line))} for line in lines])
        table = pd.read_csv(file, dtype={"path": str})
        if "path" in table:
            table["path"] = table["path"].str.replace(ESCAPED, r"\1", regex=True)
        return table
    except (ValueError, OSError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: cannot be read as scores: {error}") from error


def _numbers(file: Path, column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    empty = column.isna() | (column.astype(str).str.strip() == "")
    wrong = ~empty & ~np.isfinite(numbers)
    if wrong.any():
        raise ValueError(f"{file}: {column.name} must be a finite number or empty, not '{column[wrong].iloc[0]}'")
    return numbers
