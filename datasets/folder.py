"""Manifest of genuine footage in plain folders, one folder per person."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ..media.clip import FRAME_RATE, SAMPLE_RATE, MediaError
from ..media.windows import read_clip
from .manifest import COLUMNS

MAX_SECONDS = 16.0  # of a file that are decoded


def list_genuine(
    folder: str | os.PathLike[str], suffixes: Iterable[str], corpus: str, split: str, min_seconds: float, per_identity: int | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """List the media of a folder as genuine clips; its subfolders are the identities.

    Parameters
    ----------
    suffixes : iterable of str
        Endings of the files to take, with dots, in lower case.
    min_seconds : float
        Shorter files are left out.
    per_identity : int, optional
        How many files of each subfolder, evenly spaced through their sorted names.

    Returns
    -------
    table : pandas.DataFrame
        With the columns of :func:`avwitness.datasets.manifest.read_manifest`; the label of a missing stream is missing.
    failures : list of str
        One sentence for every file that could not be read.
    """
    wanted, rows, failures = set(suffixes), [], []
    for person in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
        found = []
        for file in sorted(path for path in person.rglob("*") if path.suffix.lower() in wanted):
            try:
                clip = read_clip(file, max_seconds=MAX_SECONDS)
            except MediaError as error:
                failures.append(str(error))
                continue
            lengths = [
                0.0 if part is None else len(part) / rate for part, rate in ((clip.frames, FRAME_RATE), (clip.waveform, SAMPLE_RATE))
            ]
            if max(lengths) >= min_seconds:
                labels = [None if length == 0.0 else 0 for length in lengths]
                found.append((str(file.relative_to(folder)), corpus, split, person.name, *labels, "genuine"))
        if per_identity is not None and len(found) > per_identity:
            found = [found[i] for i in np.linspace(0, len(found) - 1, per_identity).round().astype(int)]
        rows += found
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"video_label": "Int8", "audio_label": "Int8"}), failures
