"""Degraded copies as a benchmark of their own, for detectors that are not ours."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from .conditions import ORIGINAL, Condition
from .copies import SUFFIX, Job, Key, copies
from .plan import Plan

MANIFEST = "manifest.csv"
PEOPLE = ("identity", "language", "gender", "ethnicity", "age")
LABELS = ("has_video", "has_audio", "video_label", "audio_label", "file_label")
KEPT = ("corpus", "split", "source_clip", "method", "category", *PEOPLE, *LABELS)  # columns of a benchmark that hold for a copy, too


def copy_path(condition: Condition, path: str) -> str:
    """Where the copy of a clip lies below the folder of all copies, with slashes."""
    inside = PurePosixPath(*(part for part in PurePosixPath(path).parts if part not in ("/", "..")))
    inside = inside if condition.kind == ORIGINAL else inside.with_suffix(inside.suffix + SUFFIX)
    return (PurePosixPath(condition.name.replace(" ", "-")) / inside).as_posix()


def place_of(condition: Condition, clip: Mapping[str, Any]) -> str:
    """What score files call a clip in a condition."""
    return copy_path(condition, str(clip["path"]))


def write_copies(plan: Plan, out: str | os.PathLike[str], workers: int) -> list[str]:
    """Write every copy of a plan, the originals among them, and a manifest; copies found there are kept.

    Parameters
    ----------
    plan : Plan
        Of :func:`avwitness.evaluation.robustness.plan.plan_of`.
    out : path-like
        Folder; ``manifest.csv`` lists what is there, with ``path``, ``degradation``, ``severity``, ``source`` and
        the labels.
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
    places: dict[Key, list[str]] = {}
    for condition, clips in plan.conditions:
        for row in clips.to_dict("records"):
            path = place_of(condition, row)  # type: ignore[arg-type]
            places.setdefault((row["content"], condition.name), []).append(path)
            about = {"path": path, "degradation": condition.kind, "severity": condition.severity, "source": row["path"]}
            rows.append(about | {name: row[name] for name in KEPT})
    todo = [job for job in _once(plan.jobs()) if not all((out / path).is_file() for path in places[job.key])]
    failed = []
    scratch = out / ".making"
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
    with closing(copies(todo, scratch, workers)) as made:
        for copy in track(made, "degrading", total=len(todo), transient=True, disable=not todo):
            if copy.file is None:
                failed.append(copy.failure)
                continue
            for path in places[copy.job.key]:
                _place(copy.file, out / path, copy.job.condition.kind == ORIGINAL)
            copy.discard()
    shutil.rmtree(scratch, ignore_errors=True)
    there = [row for row in rows if (out / str(row["path"])).is_file()]
    pd.DataFrame(there).to_csv(out / MANIFEST, index=False)
    return failed


def _once(jobs: Sequence[Job]) -> list[Job]:
    return list({job.key: job for job in jobs}.values())


def _place(made: Path, place: Path, original: bool) -> None:
    """A link to what was made, which appears at once and whole; originals stay where they are."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    if original:
        place.symlink_to(made.resolve())
    else:
        os.link(made, place)
