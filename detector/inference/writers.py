"""Verdicts to JSON lines, CSV, parquet and tables."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, Protocol

from rich.table import Table
from rich.text import Text

from ...media.files import atomic_write
from ..verdict import Verdict

SUFFIXES = (".jsonl", ".csv", ".parquet")
COLOURS = {"genuine": "green", "fake": "bold red", "inconclusive": "yellow", "error": "magenta"}
BARS = "▁▂▃▄▅▆▇█"

#: Columns of numbers in the table: of a trained detector, and of zero-shot scoring.
TRAINED: dict[str, Callable[[Verdict], str]] = {
    "p(fake)": lambda verdict: _number(verdict.p_fake),
    "audio": lambda verdict: _number(verdict.audio.p_fake),
    "video": lambda verdict: _number(verdict.video.p_fake),
    "mismatch": lambda verdict: _number(verdict.sync.p_mismatch),
}
ZERO_SHOT: dict[str, Callable[[Verdict], str]] = {
    "similarity": lambda verdict: _number(verdict.sync.similarity, 4),
    "offset/ms": lambda verdict: _number(verdict.sync.offset_ms, 0),
}


def flatten(verdict: Verdict) -> dict[str, Any]:
    """One row for tables: nested values get dotted names, lists become JSON."""
    row: dict[str, Any] = {}
    for name, value in verdict.to_dict().items():
        if name in ("audio", "video", "sync", "model", "error"):
            fields = {
                "audio": ("present", "p_fake", "label"),
                "video": ("present", "p_fake", "label"),
                "sync": ("offset_ms", "p_mismatch", "similarity"),
                "model": ("name", "version", "sha256"),
                "error": ("type", "message"),
            }[name]
            row |= {f"{name}.{field}": None if value is None else value[field] for field in fields}
        else:
            row[name] = json.dumps(value, allow_nan=False) if isinstance(value, list) else value
    return row


class Writer(Protocol):
    """Writes verdicts one at a time."""

    def write(self, verdict: Verdict) -> None: ...

    def close(self) -> None: ...


class JsonLines:
    """One JSON object per line, flushed after every verdict."""

    def __init__(self, path: Path, append: bool = False) -> None:
        self._file: IO[str] = path.open("a" if append else "w")

    def write(self, verdict: Verdict) -> None:
        self._file.write(json.dumps(verdict.to_dict(), allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Csv:
    """One row per file, flushed after every verdict."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="")
        self._writer: Any = None

    def write(self, verdict: Verdict) -> None:
        row = flatten(verdict)
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, row)
            self._writer.writeheader()
        self._writer.writerow(row)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Parquet:
    """One row per file, written by ``close``, also after an interruption."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, Any]] = []
        path.touch()  # raises now if the path is not writable

    def write(self, verdict: Verdict) -> None:
        self._rows.append(flatten(verdict))

    def close(self) -> None:
        import pandas as pd

        with atomic_write(self._path) as partial:
            pd.DataFrame(self._rows).to_parquet(partial, index=False)


def open_writer(path: str | os.PathLike[str], resume: bool = False) -> Writer:
    """A writer for ``.jsonl``, ``.csv`` or ``.parquet``.

    Raises
    ------
    ValueError
        For another extension, or ``resume`` with anything but ``.jsonl``.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if resume and path.suffix != ".jsonl":
        raise ValueError(f"{path}: only .jsonl files can be resumed")
    if path.suffix == ".jsonl":
        return JsonLines(path, append=resume)
    if path.suffix == ".csv":
        return Csv(path)
    if path.suffix == ".parquet":
        return Parquet(path)
    raise ValueError(f"{path}: the extension must be one of {', '.join(SUFFIXES)}")


def read_done(path: str | os.PathLike[str]) -> dict[str, Verdict]:
    """The verdicts that an interrupted run wrote, by path, without errors; lines that are incomplete or hold NaN are dropped."""
    path = Path(path)
    if not path.exists():
        return {}
    done: dict[str, Verdict] = {}
    for line in path.read_text().splitlines():
        try:
            verdict = Verdict.from_dict(json.loads(line, parse_constant=_refuse))
        except (ValueError, KeyError, TypeError):
            continue
        if verdict.status != "error":
            done[verdict.path] = verdict
    with atomic_write(path) as partial:
        partial.write_text("".join(json.dumps(verdict.to_dict(), allow_nan=False) + "\n" for verdict in done.values()))
    return done


def _refuse(constant: str) -> None:
    """Refuse NaN and infinities, which versions before 1.2 of the schema could write."""
    raise ValueError(f"{constant} is no JSON number")


def table(numbers: Iterable[str] = TRAINED) -> Table:
    """An empty table of verdicts with these columns of numbers; fill it with :func:`add_row`."""
    columns = Table(box=None, header_style="bold", pad_edge=False)
    columns.add_column("file", overflow="fold")
    columns.add_column("verdict")
    for name in numbers:
        columns.add_column(name, justify="right")
    columns.add_column("remarks", overflow="fold")
    return columns


def add_row(columns: Table, verdict: Verdict) -> None:
    """Add one verdict to a :func:`table`."""
    kind = "error" if verdict.status == "error" else verdict.verdict
    remarks = verdict.error.message if verdict.error is not None else ", ".join(verdict.quality)
    known = TRAINED | ZERO_SHOT
    numbers = [known[str(column.header)](verdict) for column in columns.columns if column.header in known]
    columns.add_row(Text(verdict.path), Text(kind, style=COLOURS[kind]), *numbers, Text(remarks))


def timeline(verdict: Verdict) -> Text:
    """Both streams over time, one bar for every half second."""
    text = Text()
    for name in ("audio", "video"):
        values = [getattr(segment, name) for segment in verdict.timeline]
        if any(value is not None for value in values):
            bars = "".join(" " if value is None else BARS[min(int(value * len(BARS)), len(BARS) - 1)] for value in values)
            text.append(f"{name} {bars}\n")
    return text


def _number(value: float | None, decimals: int = 2) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
