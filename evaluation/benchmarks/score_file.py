"""Anybody's scores of a benchmark: the file that every detector can write, matched to the rows of a manifest."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ...detector.verdict import Verdict
from ...media.clip import FRAME_RATE
from ..metrics.temporal import propose
from .localisation import read_proposals

TARGETS = {"video": "p_video", "audio": "p_audio", "overall": "p_fake"}  # what is judged, and the column of its scores
SCORES = tuple(TARGETS.values())
INTERVALS = ("video_intervals", "audio_intervals", "file_intervals")  # JSON [[begin, end, score], ...]; empty where nothing is said
COLUMNS = ("path", *SCORES, "status", *INTERVALS)
OK = "ok"
JUDGED = frozenset({OK, "inconclusive", "success", "scored", ""})  # statuses, in any case, of rows whose scores count
UNSCORED = "unscored"  # status of a row of the manifest that the file does not name
OURS = {"video.p_fake": "p_video", "audio.p_fake": "p_audio"}  # columns of `avwitness score --out`
NOTES = 5  # names that a sentence gives as examples


@dataclass(frozen=True)
class Scored:
    """Scores in the order of a manifest.

    Parameters
    ----------
    table : pandas.DataFrame
        :data:`COLUMNS`, one row for each of the manifest's; NaN where there is no score or the status says that it failed, ``status``
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
        CSV or parquet with ``path``, at least one of ``p_video``, ``p_audio`` and ``p_fake`` (higher is more fake; empty where a
        detector says nothing), and perhaps ``status`` and :data:`INTERVALS` (JSON, ``[[begin, end, score], ...]`` in seconds: when
        a stream, or the file, is fake); or what `avwitness score --out` wrote, JSON lines included.

    Returns
    -------
    pandas.DataFrame
        :data:`COLUMNS`: scores as floats; ``status`` ``ok`` where the file has none.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, a column is missing, a score is no finite number, stretches are none, or a path is scored twice.
    """
    file = Path(file)
    table = _load(file).rename(columns=OURS)
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
            # A clip that was scored, in a file that has stretches: nothing was found there. Else who is unsure could say nothing.
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


def match(scores: pd.DataFrame, manifest: pd.DataFrame) -> Scored:
    """Bring scores into the order of a manifest, by ``path`` as the manifest has it, else by the file that a path leads to from here.

    Parameters
    ----------
    scores : DataFrame
        Of :func:`read_scores`.
    manifest : DataFrame
        ``path`` and ``file``; rows with a ``problem`` are not missed, nor those that a column ``asked`` denies.

    Raises
    ------
    ValueError
        If no path at all is in both.
    """
    wanted = manifest["path"].astype(str)
    absolute = manifest["file"].map(os.path.abspath)
    given = scores["path"].where(scores["path"].isin(set(wanted)), scores["path"].map(os.path.abspath))
    scores = scores.assign(path=given, given=scores["path"]).drop_duplicates("path")
    by_path = scores.set_index("path")
    keys = wanted.where(wanted.isin(by_path.index), absolute)
    if len(scores) and len(manifest) and not keys.isin(by_path.index).any():
        theirs, ours = scores["given"].iloc[0], wanted.iloc[0]
        raise ValueError(f"no scored path is in the manifest: the scores have paths like {theirs}, the manifest paths like {ours}")
    table = by_path.reindex(keys).reset_index(drop=True)
    table.insert(0, "path", wanted.to_numpy())
    table["status"] = table["status"].fillna(UNSCORED)
    table[list(INTERVALS)] = table[list(INTERVALS)].fillna("")
    failed = ~table["status"].str.strip().str.lower().isin(JUDGED)
    table.loc[failed, list(SCORES)] = np.nan
    table.loc[failed, list(INTERVALS)] = ""
    notes = []
    strange = scores.loc[~scores["path"].isin(set(keys)), "given"]
    if len(strange):
        notes.append(f"{len(strange)} scored files are not in the manifest, such as {', '.join(strange.head(NOTES))}")
    sound = (manifest["problem"] == "").to_numpy() if "problem" in manifest else np.ones(len(manifest), dtype=bool)
    asked = sound & (manifest["asked"].to_numpy(dtype=bool) if "asked" in manifest else True)
    lost = table.loc[(table["status"] == UNSCORED) & asked, "path"]
    if len(lost):
        notes.append(f"{len(lost)} files of the manifest are not scored, such as {', '.join(lost.head(NOTES))}")
    broken = table[failed.to_numpy() & (table["status"] != UNSCORED).to_numpy() & asked]
    if len(broken):
        notes.append(f"{len(broken)} files failed, such as {broken['path'].iloc[0]} ({broken['status'].iloc[0]})")
    if len(scores) and scores["p_fake"].isna().all():
        notes.append("The scores have no p_fake: that of a file is the larger one of its streams")
    return Scored(table[list(COLUMNS)], tuple(notes))


def said_of(verdict: Verdict) -> dict[str, object]:
    """A verdict as score files have it, all but its path."""
    scores: dict[str, object] = {"p_video": verdict.video.p_fake, "p_audio": verdict.audio.p_fake, "p_fake": verdict.p_fake}
    stretches = {f"{stream}_intervals": _stretches(verdict, stream) for stream in ("video", "audio")}
    status = verdict.status if verdict.error is None else f"{verdict.status}: {verdict.error.message}"
    return scores | {"status": status} | stretches | {"file_intervals": ""}


def _stretches(verdict: Verdict, stream: str) -> str:
    """Where the timeline says that a stream is fake; empty where it says nothing of it."""
    values = [getattr(segment, stream) for segment in verdict.timeline]
    if all(value is None for value in values):
        return ""
    frames = [max(1, round((segment.end - segment.start) * FRAME_RATE)) for segment in verdict.timeline]
    probabilities = np.repeat([0.0 if value is None else value for value in values], frames)
    return json.dumps([[round(begin, 3), round(end, 3), round(score, 4)] for begin, end, score in propose(probabilities)])


def _load(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such score file")
    try:
        if file.suffix == ".parquet":
            return pd.read_parquet(file)
        if file.suffix == ".jsonl":
            lines = (json.loads(line) for line in file.read_text().splitlines() if line.strip())
            return pd.DataFrame([{"path": line["path"], **said_of(Verdict.from_dict(line))} for line in lines])
        return pd.read_csv(file, dtype={"path": str})
    except (ValueError, OSError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: cannot be read as scores: {error}") from error


def _numbers(file: Path, column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    empty = column.isna() | (column.astype(str).str.strip() == "")
    wrong = ~empty & ~np.isfinite(numbers)
    if wrong.any():
        raise ValueError(f"{file}: {column.name} must be a finite number or empty, not '{column[wrong].iloc[0]}'")
    return numbers
