"""How fast every method forges: the section of the results file on the forge."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ...generators.forge.plan import Job, draw_plan, origins
from ...generators.forge.postprocess import write_clip
from ...generators.forge.registry import METHODS
from ...generators.forge.run import forge_clip, genuine_rows, load_origin, track_faces
from ...generators.methods.base import CannotForge
from ...generators.methods.source import Facts, Origin, Source
from ...media.clip import FRAME_RATE
from ..document import markdown_table, write_section
from .plausibility import alike, understood

SECTION = "forging"
CLIPS = 12  # of every method, after one that warms up
DEV_CLIPS = 60  # of every corpus, to see how near forgeries come
POOL = 240  # genuine clips to choose from


@dataclass
class _Pace:
    """Seconds of output and of work."""

    made: list[float] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{sum(self.made) / max(sum(self.spent), 1e-9):.1f}" if self.made else "-"


def write_forging(
    data: str | os.PathLike[str], out: str | os.PathLike[str], workers: int, seed: int, cache: str | os.PathLike[str] | None
) -> None:
    """Time every method that can be used here on genuine training clips, and write the table.

    Parameters
    ----------
    data : path-like
        Folder with the manifest.
    out : path-like
        Markdown file, whose section on forging is replaced.
    cache : path-like, optional
        Folder of followed faces; a temporary one is made otherwise.
    """
    from rich.progress import track

    torch.set_num_threads(1)
    rows = genuine_rows(data, "train")
    clips = origins(rows.sample(min(POOL, len(rows)), random_state=seed))
    with tempfile.TemporaryDirectory() as temporary:
        tracks = Path(cache or temporary)
        known, _ = track_faces(clips, tracks, workers)
        names = [name for name, method in METHODS.items() if method.missing_reason() is None]
        steps = {"decoding": _Pace(), "the postprocess (degrade, encode, write)": _Pace()}
        paces = {}
        for name in track(names, "timing methods"):
            paces[name] = _time(name, clips, known, tracks, Path(temporary), seed, steps)
    lines = [
        "# Forging",
        "",
        f"Written by `avwitness report --of forging --seed {seed}`; do not edit by hand. Seconds of output per second of work on one",
        f"thread, over {CLIPS} training clips of each method after one that warms up; decoding and writing, which every clip needs, apart.",
        "Faces were followed before (see the table of speeds in `avwitness bench`).",
        "",
        *markdown_table(("step", "seconds of output per second"), list(steps.items())),
        *markdown_table(
            ("method", "fake streams", "seconds of output per second"),
            [(f"`{name}`", ", ".join(sorted(METHODS[name].streams)) or "none", pace) for name, pace in paces.items()],
        ),
    ]
    dev = _dev_clips(data, cache, workers, seed)
    spoken = [clip for clip in dev if clip.waveform is not None and clip.transcript.isascii() and clip.transcript]
    lines += [
        "## How near the voices come",
        "",
        "What the bundled speech reader, which was trained on none of them, makes of the English dev clips once their voice is forged",
        "(synthetic voices speak the same words with a strange voice, at other moments); and the distance of the spectrograms.",
        "",
        *understood(spoken, seed),
        "## How near the faces come",
        "",
        "Aligned faces of dev clips, every tenth frame; for `lower_face` the rows that were hidden from it.",
        "",
        *alike(dev),
    ]
    absent = [f"`{name}` ({method.missing_reason()})" for name, method in METHODS.items() if method.missing_reason() is not None]
    write_section(out, SECTION, [*lines, *([f"Not timed: {'; '.join(absent)}.", ""] if absent else [])])


def _dev_clips(data: str | os.PathLike[str], cache: str | os.PathLike[str] | None, workers: int, seed: int) -> list[Source]:
    """Some clips of every corpus of the split ``dev``, those of one corpus together."""
    rows = genuine_rows(data, "dev")
    parts = [part.sample(min(DEV_CLIPS, len(part)), random_state=seed) for _, part in rows.groupby("corpus", sort=True)]
    clips = [clip for part in parts for clip in origins(part)]
    with tempfile.TemporaryDirectory() as temporary:
        tracks = Path(cache or temporary)
        known, _ = track_faces(clips, tracks, workers)
        return [load_origin(clip, tracks) for clip in clips if clip.path in known]


def _time(
    name: str, clips: list[Origin], known: Mapping[str, Facts], tracks: Path, folder: Path, seed: int, steps: Mapping[str, _Pace]
) -> _Pace:
    pace, warm = _Pace(), False
    decoding, postprocess = steps.values()
    for job in draw_plan(clips, known, (name,), 1, 0, seed):
        if not job.attempts:  # a genuine clip in the place of one that does not suit
            continue
        attempt = job.attempts[0]
        try:
            source, seconds = _timed(lambda job=job: load_origin(job.source, tracks))  # type: ignore[misc]
            donor = None if attempt.donor is None else load_origin(attempt.donor, tracks)
            made, spent = _timed(lambda s=source, d=donor, job=job: forge_clip(name, s, d, job))  # type: ignore[misc]
        except CannotForge:
            continue
        if not warm:
            warm = True
            continue
        length = job.window.frames / FRAME_RATE
        pace.made.append(length)
        pace.spent.append(spent)
        decoding.made.append(source.length / FRAME_RATE)
        decoding.spent.append(seconds)
        _, spent = _timed(lambda m=made, job=job: _out(folder, m.frames, m.waveform, job))  # type: ignore[misc]
        postprocess.made.append(length)
        postprocess.spent.append(spent)
        if len(pace.made) == CLIPS:
            break
    return pace


def _timed(work: Callable) -> tuple:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def _out(folder: Path, frames: np.ndarray | None, waveform: np.ndarray | None, job: Job) -> None:
    write_clip(folder / "clip.mp4", frames, waveform, None, job.postprocess)
