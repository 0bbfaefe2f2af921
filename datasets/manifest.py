"""Benchmarks on disk as one table: which streams a clip has, and which of them are fake."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

DATA_VARIABLE = "AVWITNESS_DATA"
COLUMNS = ("path", "corpus", "split", "speaker", "video_label", "audio_label", "method")


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
    path = Path(path)
    if path.is_dir():
        path = path / "manifest.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no manifest there; name the manifest.csv or its folder, or set {DATA_VARIABLE}")
    table = pd.read_csv(path)
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise ValueError(f"{path}: the columns {', '.join(missing)} are missing")
    for column in ("video_label", "audio_label"):
        table[column] = table[column].astype("Int8")
        if not table[column].dropna().isin((0, 1)).all():
            raise ValueError(f"{path}: {column} must be 0, 1 or empty")
    table["file"] = [path.parent / name for name in table["path"]]
    table["speaker"] = table["speaker"].fillna("")
    return table
