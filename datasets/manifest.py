"""Manifests: tables of clips with their labels, as the forge writes and training reads them."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from ..media.clip import STREAMS

DATA_VARIABLE = "AVWITNESS_DATA"
COLUMNS = ("path", "corpus", "split", "speaker", "video_label", "audio_label", "method")
LABELS = ("video_label", "audio_label")
FORGED = ("video_intervals", "audio_intervals", "sync_label", "offset_ms", "slot")  # columns of forged sets beside the labels


def read_manifest(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a manifest of clips.

    Parameters
    ----------
    path : path-like
        A CSV with at least the columns ``path, corpus, split, speaker, video_label, audio_label, method``; paths are
        relative to its folder; labels are 0 (genuine), 1 (fake) or empty (unknown or absent).

    Returns
    -------
    pandas.DataFrame
        The same rows with absolute paths in a column ``file`` and labels as nullable integers.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing or a label is neither 0, 1 nor empty.
    """
    path, table = load_table(path)
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise ValueError(f"{path}: the columns {', '.join(missing)} are missing")
    for column in LABELS:
        table[column] = _labels(path, table[column])
    table["file"] = [path.parent / name for name in table["path"]]
    table["speaker"] = table["speaker"].fillna("")
    return table


def read_labels(path: str | os.PathLike[str], split: str | None = None) -> pd.DataFrame:
    """Read the labels of any labelled set; other columns of its manifest may be there or missing.

    Parameters
    ----------
    path : path-like
        A CSV or parquet file, or a folder with ``manifest.csv`` or ``manifest.parquet``. Needed are ``path`` (relative
        to the manifest's folder) and ``video_label`` or ``audio_label`` (0 genuine, 1 fake, empty unknown or absent).
    split : str, optional
        Keep the rows of this split only.

    Returns
    -------
    pandas.DataFrame
        ``file`` (absolute), ``video_label`` and ``audio_label`` (nullable integers), and, as strings, ``source`` (column
        ``source_clip``, else ``path``), ``identity`` (column ``identity``, else ``speaker``, else empty), ``method``,
        ``video_method`` and ``audio_method`` (else ``method``). Manifests of version 0.1 name these three columns ``family``,
        ``video_family`` and ``audio_family``; they are read as well. The other columns that `avwitness forge` writes are
        returned as strings, empty where there is none: ``video_intervals``, ``audio_intervals``, ``sync_label``,
        ``offset_ms``, ``slot``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a needed column is missing, a label is neither 0, 1 nor empty, or the split has no rows.
    """
    path, table = load_table(path)
    if "path" not in table:
        raise ValueError(f"{path}: the column path is missing; it names every clip, relative to the manifest's folder")
    if not set(LABELS) & set(table):
        raise ValueError(f"{path}: the columns video_label and audio_label are missing; one of them must say 0 (genuine) or 1 (fake)")
    if split is not None:
        if "split" not in table:
            raise ValueError(f"{path}: the column split is missing; leave --split out to take every row")
        splits = table["split"].astype(str)
        if not (splits == split).any():
            raise ValueError(f"{path}: no row has the split {split}; there are {', '.join(sorted(set(splits)))}")
        table = table[splits == split].reset_index(drop=True)
    empty = pd.Series("", index=table.index)

    def text(*columns: str) -> pd.Series:
        """In every row the first of these columns that is not empty."""
        found = empty
        for column in columns:
            if column in table:
                found = found.where(found != "", table[column].fillna("").astype(str))
        return found

    return pd.DataFrame(
        {
            "file": [path.parent / str(name) for name in table["path"]],
            **{label: _labels(path, table[label]) if label in table else pd.array([pd.NA] * len(table), dtype="Int8") for label in LABELS},
            "source": text("source_clip", "path"),
            "identity": text("identity", "speaker"),
            "method": text("method", "family"),
            **{f"{stream}_method": text(f"{stream}_method", f"{stream}_family", "method", "family") for stream in STREAMS},
            **{column: text(column) for column in ("path", "corpus", "split", "transcript", *FORGED)},
        }
    )


def load_table(path: str | os.PathLike[str]) -> tuple[Path, pd.DataFrame]:
    """Read a manifest, or the one in a folder; returns its path and its table."""
    path = Path(path)
    if path.is_dir():
        found = [path / f"manifest.{kind}" for kind in ("csv", "parquet") if (path / f"manifest.{kind}").is_file()]
        path = found[0] if found else path / "manifest.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no manifest there; name the manifest.csv or its folder, or set {DATA_VARIABLE}")
    return path, _read(path)


def _read(path: Path) -> pd.DataFrame:
    """A table with all cells as text: an identity 007 stays as it is, and None can be a word."""
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])


def _labels(path: Path, column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    if not numbers[column.notna()].isin((0, 1)).all():
        raise ValueError(f"{path}: {column.name} must be 0, 1 or empty")
    return numbers.astype("Int8")
