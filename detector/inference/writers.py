"""Verdicts to files and tables, and back from a file that an interrupted run left."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from rich.table import Table
from rich.text import Text

from ...media.files import atomic_write, file_sha256, printable
from ..verdict import Verdict

RUN_SUFFIX, PREVIOUS_SUFFIX = ".run.json", ".previous"  # appended to the name of a file of rows: settings of the run, and rows of others
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")  # characters with which a spreadsheet lets a formula begin
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


class _Lines:
    """A file that holds whole lines only, each on disk as soon as it is written."""

    def __init__(self, path: Path, append: bool = False) -> None:
        self._file = path.open("ab" if append else "wb", buffering=0)

    def write_line(self, line: str) -> None:
        """Append text, or nothing where the disk is full: then ``OSError`` is raised."""
        data, start = memoryview(line.encode("utf-8", "backslashreplace")), self._file.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(start)
            raise

    def close(self) -> None:
        self._file.close()


class JsonLines(_Lines):
    """One JSON object a line."""

    def write(self, verdict: Verdict) -> None:
        self.write_line(json.dumps(verdict.to_dict(), allow_nan=False) + "\n")


class Csv(_Lines):
    """One row a file. Text that a spreadsheet would take for a formula gets an apostrophe in front."""

    _header = True

    def write(self, verdict: Verdict) -> None:
        row = flatten(verdict)
        lines = io.StringIO(newline="")
        writer = csv.DictWriter(lines, row)
        if self._header:
            writer.writeheader()
        writer.writerow({name: escape_formula(value) for name, value in row.items()})
        self.write_line(lines.getvalue())
        self._header = False


def escape_formula(value: Any) -> Any:
    """A cell of a CSV file that no spreadsheet takes for a formula; other values than text stay as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) and len(value) > 1 else value


class Parquet:
    """One row per file, written by ``close``, also after an interruption."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, Any]] = []
        path.open("ab").close()  # an unwritable place is an error now, not after an hour

    def write(self, verdict: Verdict) -> None:
        row = flatten(verdict)  # names that are no text would be refused
        self._rows.append({k: v.encode("utf-8", "backslashreplace").decode() if isinstance(v, str) else v for k, v in row.items()})

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
    """The verdicts that a run wrote, by path, without errors; lines that are incomplete or hold NaN are left out."""
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
    return done


def resume(path: str | os.PathLike[str], settings: Mapping[str, Any]) -> tuple[dict[str, Verdict], str]:
    """Prepare a file of rows for the rest of a run.

    Rows stay where the run had the same settings and the content of the file is what it was; errors are scored again. Where the
    settings differ, the file is kept under the name with :data:`PREVIOUS_SUFFIX`.

    Parameters
    ----------
    path : path-like
        JSON lines.
    settings : mapping
        Whatever a verdict depends on; see :func:`save_settings`.

    Returns
    -------
    done : dict
        Verdicts by path.
    note : str
        A sentence on rows that cannot be used; empty where there are none.
    """
    path = Path(path)
    done = read_done(path)
    before = _read_settings(path)
    if done and before != dict(settings):
        names = sorted(name for name in {*before, *settings} if before.get(name) != settings.get(name)) if before else []
        differ = f"other settings ({', '.join(names)})" if names else "unknown settings"
        previous = path.with_name(path.name + PREVIOUS_SUFFIX)
        os.replace(path, previous)
        return {}, f"{path} was written with {differ}: every file is scored again; the rows are kept in {previous}"
    kept = {name: verdict for name, verdict in done.items() if _sha256(name) == verdict.sha256}
    if path.exists():
        with atomic_write(path) as partial:
            partial.write_text("".join(json.dumps(verdict.to_dict(), allow_nan=False) + "\n" for verdict in kept.values()))
    changed = len(done) - len(kept)
    return kept, f"{changed} files of {path} have changed or are gone since: they are scored again" if changed else ""


def save_settings(path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
    """Write the settings of a run beside its rows, as JSON, under the name with :data:`RUN_SUFFIX`."""
    path = Path(path)
    with atomic_write(path.with_name(path.name + RUN_SUFFIX)) as partial:
        partial.write_text(json.dumps(dict(settings), indent=2) + "\n")


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.with_name(path.name + RUN_SUFFIX).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _sha256(path: str) -> str | None:
    try:
        return file_sha256(path)
    except (OSError, ValueError):
        return None


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
    columns.add_row(Text(printable(verdict.path)), Text(kind, style=COLOURS[kind]), *numbers, Text(printable(remarks)))


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
