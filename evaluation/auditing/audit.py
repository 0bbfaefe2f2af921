"""Audit of a data set for shortcuts: one small classifier per trivial statistic, scored on held-out identities."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ...media.clip import STREAMS
from .measuring import measure_all
from .probing import audit_stream
from .results import Audit

CACHE_NAME = "shortcuts.jsonl"

OnStep = Callable[[str, int, int], None]  # name of the stage, steps done, total steps


class NothingToAudit(ValueError):
    """No clip of a set can be read, or no stream has clips of both labels."""


def audit(
    table: pd.DataFrame,
    workers: int = 1,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
    on_step: OnStep | None = None,
) -> Audit:
    """Compute the statistics of every clip of a table, and probe each of them.

    Parameters
    ----------
    table : pandas.DataFrame
        As :func:`avwitness.datasets.manifest.read_labels` gives it.
    workers : int
        Processes; 1 for this process alone.
    seed : int
        Of folds, classifiers and bootstrap.
    cache : path-like, optional
        Folder of cached statistics; files that have changed are read again.
    on_step : callable, optional
        Called with the name of the stage, the number of finished steps and their total.

    Raises
    ------
    NothingToAudit
        If no clip can be read, or no stream has clips of both labels.
    FileNotFoundError
        If the face landmark model is missing.
    """
    step = on_step or (lambda *_: None)
    with tempfile.TemporaryDirectory() as temporary:
        found = measure_all(list(table.file), workers, Path(cache or temporary) / CACHE_NAME, partial(step, "reading clips"))
    unreadable = {str(file): cause for file in table.file if isinstance(cause := found[Path(file)], str)}
    readable = table[[not isinstance(found[Path(file)], str) for file in table.file]]
    if readable.empty:
        raise NothingToAudit(f"none of the {len(table)} clips can be read; the first: {next(iter(unreadable.values()), 'there is none')}")
    streams = []
    for stream in STREAMS:
        rows = readable[readable[f"{stream}_label"].notna()]
        labels = rows[f"{stream}_label"].to_numpy(dtype=int)
        if len(np.unique(labels)) == 2:
            statistics = [found[Path(file)].get(stream) for file in rows.file]  # type: ignore[union-attr]
            streams.append(audit_stream(stream, rows, labels, statistics, seed, partial(step, f"probing {stream}")))
    if not streams:
        raise NothingToAudit("no stream has both genuine (0) and fake (1) clips that can be read: there is nothing to classify")
    return Audit(len(table), unreadable, streams)
