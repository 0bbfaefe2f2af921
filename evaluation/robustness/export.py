"""Degraded copies as a benchmark on disk, for detectors outside of this package."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from .conditions import ORIGINAL, Condition
from .copies import SUFFIX, Key, make_copies
from .plan import Plan

MANIFEST = "manifest.csv"
PEOPLE = ("identity", "language", "gender", "ethnicity", "age")
LABELS = ("has_video", "has_audio", "video_label", "audio_label", "file_label")
INHERITED = ("corpus", "split", "source_clip", "method", "category", *PEOPLE, *LABELS)  # columns that a copy takes from its source


def copy_path(condition: Condition, path: str) -> str:
    """Path of a clip's copy relative to the folder of all copies, with slashes."""
    inside = PurePosixPath(*(part for part in PurePosixPath(path).parts if part not in ("/", "..")))
    inside = inside if condition.kind == ORIGINAL else inside.with_suffix(inside.suffix + SUFFIX)
    return (PurePosixPath(condition.name.replace(" ", "-")) / inside).as_posix()


def row_copy_path(condition: Condition, clip: Mapping[str, Any]) -> str:
    """:func:`copy_path` of a row of a benchmark."""
    return copy_path(condition, str(clip["path"]))


def write_copies(plan: Plan, out: str | os.PathLike[str], workers: int) -> list[str]:
    """Write every copy of a plan, links to the originals, and a manifest. Copies that exist are not made again.

    Parameters
    ----------
    plan : Plan
        Of :func:`avwitness.evaluation.robustness.plan.make_plan`.
    out : path-like
        Folder; ``manifest.csv`` lists the copies, with ``path``, ``degradation``, ``severity``, ``source`` and the labels.
    workers : int

    Returns
    -------
    list of str
        A sentence for each copy that could not be made.
    """
    from rich.progress import track

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    paths: dict[Key, list[str]] = {}
    for condition, clips in plan.conditions:
        for row in clips.to_dict("records"):
            path = row_copy_path(condition, row)  # type: ignore[arg-type]
            paths.setdefault((row["content"], condition.name), []).append(path)
            about = {"path": path, "degradation": condition.kind, "severity": condition.severity, "source": row["path"]}
            rows.append(about | {name: row[name] for name in INHERITED})
    distinct = {job.key: job for job in plan.jobs()}.values()
    todo = [job for job in distinct if not all((out / path).is_file() for path in paths[job.key])]
    failed = []
    scratch = out / ".making"
    shutil.rmtree(scratch, ignore_errors=True)  # of an interrupted run
    with closing(make_copies(todo, scratch, workers)) as copies:
        for copy in track(copies, "degrading", total=len(todo), transient=True, disable=not todo):
            if copy.file is None:
                failed.append(copy.failure)
                continue
            for path in paths[copy.job.key]:
                _link(copy.file, out / path, copy.job.condition.kind == ORIGINAL)
            copy.discard()
    shutil.rmtree(scratch, ignore_errors=True)
    written = [row for row in rows if (out / str(row["path"])).is_file()]
    pd.DataFrame(written).to_csv(out / MANIFEST, index=False)
    return failed


def _link(file: Path, target: Path, original: bool) -> None:
    """Link a finished copy into place; an original is linked symbolically."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if original:
        target.symlink_to(file.resolve())
    else:
        os.link(file, target)
