"""Reader of a manifest of the user's own (CSV or parquet) as a benchmark."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ..media.clip import STREAMS
from .benchmark import Reader, tabulate, unlisted
from .manifest import LABELS, load_table

SUFFIXES = (".csv", ".parquet")
NAMES = tuple(f"manifest{suffix}" for suffix in SUFFIXES)
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".m4a"})  # of files without video
ABSENT = frozenset({"0", "0.0", "false", "no"})  # values of the columns has_video and has_audio for a missing stream
TEXTS: Mapping[str, tuple[str, ...]] = {  # columns of the result: those that they are read from, the first first
    "corpus": ("corpus",),
    "split": ("split",),
    "identity": ("identity", "speaker"),
    "source_clip": ("source_clip", "path"),
    "method": ("method", "family"),
    "category": ("category",),
    "language": ("language",),
    "gender": ("gender",),
    "ethnicity": ("ethnicity",),
    "age": ("age",),
}


class GenericCsv(Reader):
    """A table of the user's own, CSV or parquet, with one row per clip.

    Notes
    -----
    Its columns are those that :func:`.manifest.read_labels` reads: ``path`` (relative to the table's folder, or absolute) and
    ``video_label`` or ``audio_label`` (0 genuine, 1 fake, empty where that is unknown or there is no such stream) are needed.
    Read where they are there: ``corpus``, ``split``, ``identity`` or else ``speaker``, ``source_clip`` or else the path itself,
    ``method`` or else ``family``, ``category``, ``language``, ``gender``, ``ethnicity``, ``age``, ``problem``, ``file_label``; and
    ``video_intervals`` and ``audio_intervals``, the fake parts as JSON, ``[[begin, end], ...]`` in seconds.

    Unlike :func:`.manifest.read_labels`, which raises an error, this reader gives rows with an invalid label, an invalid
    interval or no path a problem.

    Where a label is empty the stream is assumed to be there, except for the video of a file with an audio suffix and where
    the column ``has_video`` or ``has_audio`` is 0. Media below the table's folder that it does not list are rows with a
    problem, as for every benchmark.
    """

    name: ClassVar[str] = "csv"
    title: ClassVar[str] = "A manifest of your own (CSV or parquet)"
    layout: ClassVar[str] = "manifest.csv or manifest.parquet with the columns path and video_label or audio_label; or such a file itself"

    def read(self, root: Path) -> pd.DataFrame:
        """See :meth:`Reader.read`; ``root`` may be the table itself."""
        file, table = _table(root)
        rows = _rows(table)
        folder = file.parent
        return tabulate([*rows, *unlisted([folder], (row["path"] for row in rows), folder)], folder, self.name)

    def recognises(self, root: Path) -> bool:
        """See :meth:`Reader.recognises`; ``root`` may be the table itself."""
        return (root.is_file() and root.suffix.lower() in SUFFIXES) or any((root / name).is_file() for name in NAMES)


def _table(root: Path) -> tuple[Path, pd.DataFrame]:
    """The manifest's own path, and its table."""
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such file or folder; name the table, or the folder that holds {' or '.join(NAMES)}")
    try:
        file, table = load_table(root)
    except ValueError as error:
        raise ValueError(f"{root}: cannot be read as a table ({str(error).strip()}); save it as CSV in UTF-8, or as parquet") from error
    if not isinstance(table.index, pd.RangeIndex):  # what pandas makes of surplus cells; every name would stand over another column
        raise ValueError(f"{file}: the rows have more cells than the header has names; name every column")
    table = table.rename(columns=lambda name: str(name).strip().removeprefix("\ufeff"))
    if "path" not in table:
        raise ValueError(f"{file}: the column path is missing; it names every clip, relative to the table's folder")
    if not set(LABELS) & set(table):
        raise ValueError(f"{file}: the columns {' and '.join(LABELS)} are missing; one of them must say 0 (genuine) or 1 (fake)")
    return file, table


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the table; column by column, which is fast for a million rows."""
    paths = _texts(table["path"])
    found: dict[str, list[Any]] = {"path": paths}
    for name, columns in TEXTS.items():
        there = [_texts(table[column]) for column in columns if column in table]
        if there:
            found[name] = [next(filter(None, cells), "") for cells in zip(*there, strict=True)]
    empty = [None] * len(table)
    for name in LABELS:
        found[name] = _labels(table[name]) if name in table else empty
    found["file_label"] = _labels(table["file_label"]) if "file_label" in table else empty
    problems = [
        _texts(table["problem"]) if "problem" in table else [""] * len(table),
        ["" if path else "the row names no file" for path in paths],
    ]
    for stream in STREAMS:
        absent = [text.lower() in ABSENT for text in _texts(table[f"has_{stream}"])] if f"has_{stream}" in table else [False] * len(table)
        audio_only = [stream == "video" and os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES for path in paths]
        found[f"has_{stream}"] = [not (no or other) for no, other in zip(absent, audio_only, strict=True)]
        cells = table[f"{stream}_intervals"] if f"{stream}_intervals" in table else empty
        found[f"{stream}_intervals"], wrong = (
            (list(part) for part in zip(*(_intervals(stream, cell) for cell in cells), strict=True)) if len(table) else ([], [])
        )
        problems.append(wrong)
    found["problem"] = ["; ".join(filter(None, texts)) for texts in zip(*problems, strict=True)]
    return [dict(zip(found, cells, strict=True)) for cells in zip(*found.values(), strict=True)]


def _empty(value: Any) -> bool:
    """Whether a cell is empty; a list in a cell is not."""
    return value is None or (not isinstance(value, str) and pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _texts(column: pd.Series) -> list[str]:
    """Cells as stripped text, empty strings for empty cells."""
    return column.astype(object).where(column.notna(), "").astype(str).str.strip().tolist()


def _labels(column: pd.Series) -> list[Any]:
    """0 or 1, ``None`` for an empty cell, else the text, which is a problem of the row."""
    texts = _texts(column)
    known = {text: _label(text) for text in set(texts)}
    return [known[text] for text in texts]


def _label(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return {"": None, "True": 1, "False": 0}.get(text, text)  # a parquet may hold truth values
    return int(number) if number in (0.0, 1.0) else text


def _intervals(stream: str, value: Any) -> tuple[list[tuple[float, float]], str]:
    """The intervals of a cell, and what is wrong with it."""
    if _empty(value) or (isinstance(value, str) and not value.strip()):
        return [], ""
    try:
        pairs = json.loads(value) if isinstance(value, str) else value  # a parquet may hold lists
        return [(float(begin), float(end)) for begin, end in pairs], ""
    except (ValueError, TypeError):
        return [], f"{stream}_intervals is no list of pairs of seconds: {value}"
