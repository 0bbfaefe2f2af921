"""The table that every benchmark on disk is read into, with a sentence for every row that cannot be used."""

from __future__ import annotations

import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ..media.clip import STREAMS

LABELS = ("video_label", "audio_label", "file_label")
COLUMNS = (
    "path",
    "file",
    "corpus",
    "split",
    "identity",
    "source_clip",
    "method",
    "category",
    "language",
    "gender",
    "ethnicity",
    "age",
    "has_video",
    "has_audio",
    "video_label",
    "audio_label",
    "file_label",
    "video_intervals",
    "audio_intervals",
    "problem",
)
SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".wav", ".flac", ".mp3", ".m4a"})  # of media
Intervals = list[tuple[float, float]]  # begin and end in seconds
_TEXT = ("corpus", "split", "identity", "source_clip", "method", "category", "language", "gender", "ethnicity", "age")


class Reader(ABC):
    """Reads one benchmark as it lies on disk.

    Attributes
    ----------
    name : str
        Value of ``--dataset``.
    title : str
        Full name, with the version.
    layout : str
        One line: the files and folders that are needed.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    layout: ClassVar[str]

    @abstractmethod
    def read(self, root: Path) -> pd.DataFrame:
        """Read every row that the benchmark lists, and every media file in its folders that it does not list.

        Returns
        -------
        pandas.DataFrame
            See :func:`tabulate`.

        Raises
        ------
        FileNotFoundError
            If the folder or a table that it must hold is absent.
        ValueError
            If a table lacks a column or cannot be read.
        """

    @abstractmethod
    def recognises(self, root: Path) -> bool:
        """Whether the names in a folder are those of this benchmark."""


def tabulate(rows: Iterable[Mapping[str, Any]], root: str | os.PathLike[str], corpus: str) -> pd.DataFrame:
    """Make the table of a benchmark from its rows, and check each of them.

    Parameters
    ----------
    rows : iterable of mapping
        ``path`` (relative to ``root``, with slashes) is needed, all else may be left out: text columns of
        :data:`COLUMNS`; ``has_video`` and ``has_audio`` (True); ``video_label`` and ``audio_label`` (0, 1, or ``None`` where
        that is not known or the stream is absent); ``file_label``, the label of the whole file where the publisher does
        not label streams; ``video_intervals`` and ``audio_intervals``, lists of (begin, end) in seconds that are fake;
        ``problem``, a sentence of the reader.
    root : path-like
    corpus : str

    Returns
    -------
    pandas.DataFrame
        :data:`COLUMNS`, in the order of the rows: ``file`` absolute; labels nullable integers; intervals JSON, empty where
        there are none; ``problem`` empty or sentences on a file that is missing, is listed twice (with the same labels and
        split, all but the first; else all of them), or contradicts itself. Rows with an empty ``problem`` can be used.
    """
    root = os.path.abspath(root)
    made = [_row(row, root, corpus) for row in rows]
    table = pd.DataFrame(made, columns=list(COLUMNS))
    table["file"] = pd.Series([Path(row["file"]) for row in made], index=table.index, dtype=object)
    for stream in STREAMS:
        name = f"{stream}_intervals"
        table[name] = [json.dumps([list(pair) for pair in row[name]]) if row[name] else "" for row in made]
    for name in LABELS:
        table[name] = pd.array([_label(row[name]) for row in made], dtype="Int8")
    problems = [[text] if (text := str(row["problem"])) else [] for row in made]
    for number, row in enumerate(made):
        problems[number] += _contradictions(row)
        if not os.path.isfile(row["file"]):
            problems[number].append("the file is missing")
    for number, problem in _duplicates(made):
        problems[number].append(problem)
    table["problem"] = ["; ".join(dict.fromkeys(found)) for found in problems]
    return table


def unlisted(folders: Iterable[Path], listed: Iterable[str], root: Path, suffixes: frozenset[str] = SUFFIXES) -> list[dict[str, Any]]:
    """Rows without labels for media files in folders that no table lists.

    Parameters
    ----------
    folders : iterable of Path
        Searched with all subfolders.
    listed : iterable of str
        Paths below ``root`` that a table lists.
    root : Path
    suffixes : frozenset of str
    """
    base = os.path.abspath(root)
    known = {os.path.normpath(os.path.join(base, path)) for path in listed}
    found = {
        file
        for folder in folders
        for above, _, names in os.walk(os.path.abspath(folder))
        for name in names
        if os.path.splitext(name)[1].lower() in suffixes and (file := os.path.join(above, name)) not in known
    }
    return [{"path": relative(Path(file), root), "problem": "the file is in no table"} for file in sorted(found)]


def relative(file: Path, root: Path) -> str:
    """A path relative to the root, with slashes; unchanged if it is outside of the root."""
    try:
        return file.absolute().relative_to(root.absolute()).as_posix()
    except ValueError:
        return file.as_posix()


def read_table(file: Path, needed: Sequence[str], **options: Any) -> pd.DataFrame:
    """Read a CSV with all cells as text; empty cells are empty strings.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read or lacks a column.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such table; name the folder that the benchmark was unpacked into")
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, **options)
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: cannot be read as a table: {error}") from error
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise ValueError(f"{file}: the columns {', '.join(missing)} are missing")
    return table


def read_json(file: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`read_table`.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; name the folder that the benchmark was unpacked into")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: is no JSON: {error}") from error


def read_records(file: Path, needed: Sequence[str]) -> list[dict[str, Any]]:
    """Read a table that is a JSON list of objects.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is anything else, or a row lacks a field.
    """
    records = read_json(file)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError(f"{file}: holds no list of rows; take the file as it was published")
    for number, record in enumerate(records):
        missing = [name for name in needed if name not in record]
        if missing:
            raise ValueError(f"{file}: row {number} lacks {', '.join(missing)}; take the file as it was published")
    return records


def intervals(value: Any) -> Intervals | None:
    """Pairs of seconds, or ``None`` if the value is anything else."""
    try:
        return [(float(begin), float(end)) for begin, end in value or []]
    except (TypeError, ValueError):
        return None


def _row(given: Mapping[str, Any], root: str, corpus: str) -> dict[str, Any]:
    unknown = set(given) - set(COLUMNS)
    if unknown:
        raise KeyError(f"no columns {', '.join(sorted(unknown))}")
    path = str(given["path"])
    row: dict[str, Any] = {name: str(given.get(name) or "") for name in _TEXT} | {"path": path, "file": os.path.join(root, path)}
    row["file_label"] = given.get("file_label")
    row["corpus"] = row["corpus"] or corpus
    for stream in STREAMS:
        row[f"has_{stream}"] = bool(given.get(f"has_{stream}", True))
        row[f"{stream}_label"] = given.get(f"{stream}_label")
        pairs = given.get(f"{stream}_intervals")
        row[f"{stream}_intervals"] = () if pairs is None else tuple((float(a), float(b)) for a, b in pairs)
    return row | {"problem": str(given.get("problem") or "")}


def _label(value: Any) -> Any:
    return int(value) if value in (0, 1) else pd.NA


def _contradictions(row: Mapping[str, Any]) -> list[str]:
    found = []
    for stream in STREAMS:
        label, pairs = row[f"{stream}_label"], row[f"{stream}_intervals"]
        if label is not None and label not in (0, 1):
            found.append(f"{stream}_label {label!r} is neither 0 nor 1")
        if label is not None and not row[f"has_{stream}"]:
            found.append(f"there is a label of {stream}, and no {stream}")
        if pairs and label == 0:
            found.append(f"{stream} is called genuine, yet parts of it fake")
        if any(not (math.isfinite(a) and math.isfinite(b) and 0.0 <= a < b) for a, b in pairs):
            found.append(f"an interval of {stream} does not end after it begins")
    file_label = row["file_label"]
    if file_label is not None and file_label not in (0, 1):
        found.append(f"file_label {file_label!r} is neither 0 nor 1")
    if file_label == 0 and any(row[f"{stream}_label"] == 1 for stream in STREAMS):
        found.append("the file is called genuine, yet a stream of it fake")
    if file_label == 1 and all(row[f"{stream}_label"] == 0 for stream in STREAMS if row[f"has_{stream}"]):
        found.append("the file is called fake, yet every stream of it genuine")
    return found


def _duplicates(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    places: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        places.setdefault(os.path.normpath(row["file"]), []).append(number)
    found = []
    for numbers in places.values():
        if len(numbers) == 1:
            continue
        labels = {tuple(rows[i][name] for name in (*LABELS, "video_intervals", "audio_intervals")) for i in numbers}
        if len(labels) > 1:
            found += [(i, "the file is listed more than once, with different labels") for i in numbers]
        elif len({rows[i]["split"] for i in numbers}) > 1:
            found += [(i, "the file is listed in more than one split") for i in numbers]
        else:
            found += [(i, "the file is listed before") for i in numbers[1:]]
    return found
