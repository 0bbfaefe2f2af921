"""Portraits of the clips of a set, in a cache, for detectors with a video classifier."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....media.clip import MediaError
from ....media.parallel import make_files
from ....media.views import cache_name, save_arrays
from ....media.window_views import window_views
from ....media.windows import WINDOW, MediaReader


def fill_portraits(
    files: Sequence[str | os.PathLike[str]], paths: Sequence[str], cache: str | os.PathLike[str], workers: int
) -> dict[str, Path]:
    """Cut the portraits that the cache lacks.

    Parameters
    ----------
    files, paths : sequence
        File of every clip, and its path in the manifest.
    cache : path-like
        Folder.
    workers : int
        Processes.

    Returns
    -------
    dict
        By path, a file with ``portraits`` uint8 [N, 224, 224, 3] and ``numbers`` int [N] of their frames; clips without any are not in it.
    """
    targets = {path: Path(cache) / cache_name(path) for path in paths}
    make_files(((file, targets[path]) for file, path in zip(files, paths, strict=True)), save_portraits, workers)
    found = {}
    for path, target in targets.items():
        if target.exists():
            with np.load(target) as data:
                if len(data["numbers"]):
                    found[path] = target
    return found


def save_portraits(file: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Cut the portraits of all windows of one clip; none of a clip without a video."""
    portraits, numbers = [], []
    with (
        contextlib.suppress(MediaError),
        contextlib.closing(window_views(MediaReader(file), WINDOW, WINDOW, faces=False, portraits=True)) as windows,
    ):
        for views in windows:
            if views.portraits is not None and views.portrait_numbers is not None:
                portraits.append(views.portraits)
                numbers.append(views.portrait_numbers + views.first)
    shown = np.concatenate(portraits) if portraits else np.zeros((0, 1, 1, 3), dtype=np.uint8)
    save_arrays(target, portraits=shown, numbers=np.concatenate(numbers) if numbers else np.zeros(0, dtype=int))
