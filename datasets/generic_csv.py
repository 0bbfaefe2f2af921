"""A manifest of the user's own, read as a benchmark: what is wrong with a row is said in the row."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from .benchmark import STREAMS, Reader, tabulate, unlisted
from .manifest import LABELS, load_table

SUFFIXES = (".csv", ".parquet")
NAMES = tuple(f"manifest{suffix}" for suffix in SUFFIXES)
SOUND = frozenset({".wav", ".flac", ".mp3", ".m4a"})  # suffixes of files that hold no video
NO = frozenset({"0", "0.0", "false", "no"})  # a stream that the columns has_video and has_audio deny
TEXTS: Mapping[str, tuple[str, ...]] = {  # what a row says: the columns that may say it, best first
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
    """A table of the user's own, CSV or parquet, with one row a clip.

    Notes
    -----
    Its columns are those that :func:`.manifest.read_labels` reads: ``path`` (relative to the table's folder, or absolute) and
    ``video_label`` or ``audio_label`` (0 genuine, 1 fake, empty where that is unknown or there is no such stream) are needed.
    Read where they are there: ``corpus``, ``split``, ``identity`` or else ``speaker``, ``source_clip`` or else the path itself,
    ``method`` or else ``family``, ``category``, ``language``, ``gender``, ``ethnicity``, ``age``, ``problem``, ``file_label``; and
    ``video_intervals`` and ``audio_intervals``, the fake parts as JSON, ``[[begin, end], ...]`` in seconds.

    Unlike :func:`.manifest.read_labels` this refuses a table only if it is unusable as a whole. A label that is none, an
    interval that is no pair of numbers and a row without a path are problems of their rows.

    An empty label does not say whether the stream is there. It is taken to be, but for the video of a file with a suffix of
    sound, and where a column ``has_video`` or ``has_audio`` denies it. Media below the table's folder that it does not
    list are rows with a problem, as they are for every benchmark.
    """

    name: ClassVar[str] = "csv"
    title: ClassVar[str] = "A manifest of your own (CSV or parquet)"
    layout: ClassVar[str] = "manifest.csv or manifest.parquet with the columns path and video_label or audio_label; or such a file itself"

    def read(self, root: Path) -> pd.DataFrame:
        """See :meth:`Reader.read`; ``root`` may be the table itself."""
        file, table = _table(root)
        texts = {name: there for name, columns in TEXTS.items() if (there := [column for column in columns if column in table])}
        rows = [_row(given, texts) for given in table.to_dict("records")]
        folder = file.parent
        return tabulate([*rows, *unlisted([folder], [folder / row["path"] for row in rows], folder)], folder, self.name)

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


def _row(given: Mapping[Any, Any], texts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    path = _text(given.get("path"))
    problems = [_text(given.get("problem")), "" if path else "the row names no file"]
    row: dict[str, Any] = {"path": path}
    for name, columns in texts.items():
        row[name] = next((text for column in columns if (text := _text(given[column]))), "")
    row["file_label"] = _label(given.get("file_label"))
    for stream in STREAMS:
        row[f"has_{stream}"] = _has(stream, path, given)
        row[f"{stream}_label"] = _label(given.get(f"{stream}_label"))
        row[f"{stream}_intervals"], problem = _intervals(stream, given.get(f"{stream}_intervals"))
        problems.append(problem)
    return row | {"problem": "; ".join(filter(None, problems))}


def _empty(value: Any) -> bool:
    """Whether a cell says nothing; a list in a cell says something."""
    return value is None or (not isinstance(value, str) and pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _text(value: Any) -> str:
    return "" if _empty(value) else str(value).strip()


def _label(value: Any) -> Any:
    """0 or 1 if a cell says so, ``None`` if it is empty, else its text, for the table to complain about."""
    text = _text(value)
    try:
        number = float(text)
    except ValueError:
        return {"": None, "True": 1, "False": 0}.get(text, text)  # a parquet may hold truth values
    return int(number) if number in (0.0, 1.0) else text


def _has(stream: str, path: str, given: Mapping[Any, Any]) -> bool:
    if _text(given.get(f"has_{stream}")).lower() in NO:
        return False
    return stream != "video" or os.path.splitext(path)[1].lower() not in SOUND


def _intervals(stream: str, value: Any) -> tuple[list[tuple[float, float]], str]:
    """The intervals of a cell, and what is wrong with it."""
    if _empty(value) or (isinstance(value, str) and not value.strip()):
        return [], ""
    try:
        spans = json.loads(value) if isinstance(value, str) else value  # a parquet may hold lists
        return [(float(begin), float(end)) for begin, end in spans], ""
    except (ValueError, TypeError):
        return [], f"{stream}_intervals is no list of pairs of seconds: {value}"
