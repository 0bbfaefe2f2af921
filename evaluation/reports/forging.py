"""The section on forging of the results file: speed of every forging method, and quality of its output."""

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
from .forgery_quality import face_similarity_table, intelligibility_table

SECTION = "forging"
N_CLIPS = 12  # that are timed for every method, after one to warm up
N_DEV_CLIPS = 60  # of every corpus, for the quality
MAX_SOURCES = 240  # genuine clips to forge from


@dataclass
class _Speed:
    """Seconds of output, and of processing time."""

    output: list[float] = field(default_factory=list)
    elapsed: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{sum(self.output) / max(sum(self.elapsed), 1e-9):.1f}" if self.output else "-"


def write_forging(
    data: str | os.PathLike[str], out: str | os.PathLike[str], workers: int, seed: int, cache: str | os.PathLike[str] | None
) -> None:
    """Time every available method on genuine training clips, measure its quality on dev clips, and write the section.

    Parameters
    ----------
    data : path-like
        Folder with the manifest.
    out : path-like
        Markdown file, whose section on forging is replaced.
    cache : path-like, optional
        Folder of tracked faces; a temporary one by default.
    """
    from rich.progress import track

    torch.set_num_threads(1)
    rows = genuine_rows(data, "train")
    clips = origins(rows.sample(min(MAX_SOURCES, len(rows)), random_state=seed))
    with tempfile.TemporaryDirectory() as temporary:
        tracks = Path(cache or temporary)
        known, _ = track_faces(clips, tracks, workers)
        names = [name for name, method in METHODS.items() if method.missing_reason() is None]
        steps = {"decoding": _Speed(), "postprocessing (degrade, encode, write)": _Speed()}
        speeds = {}
        for name in track(names, "timing methods"):
            speeds[name] = _time(name, clips, known, tracks, Path(temporary), seed, steps)
    lines = [
        "# Forging",
        "",
        f"Written by `avwitness report --of forging --seed {seed}`; do not edit by hand. Seconds of output per second on one thread,",
        f"over {N_CLIPS} training clips of each method after one to warm up; decoding and writing, which every clip needs, are separate.",
        "Faces were tracked before (for the speed of tracking see `avwitness bench`).",
        "",
        *markdown_table(("step", "seconds of output per second"), list(steps.items())),
        *markdown_table(
            ("method", "fake streams", "seconds of output per second"),
            [(f"`{name}`", ", ".join(sorted(METHODS[name].streams)) or "none", speed) for name, speed in speeds.items()],
        ),
    ]
    dev = _dev_clips(data, cache, workers, seed)
    transcribed = [clip for clip in dev if clip.waveform is not None and clip.transcript.isascii() and clip.transcript]
    lines += [
        "## Quality of forged audio",
        "",
        "Character error rate of the bundled AVSR model on English dev clips with forged audio, none of which are in its training data",
        "(synthetic voices speak the same words at other times), and distance of the log-mel spectrograms.",
        "",
        *intelligibility_table(transcribed, seed),
        "## Quality of forged faces",
        "",
        "Aligned faces of dev clips, every tenth frame; for `lower_face` only the rows that were masked.",
        "",
        *face_similarity_table(dev),
    ]
    absent = [f"`{name}` ({method.missing_reason()})" for name, method in METHODS.items() if method.missing_reason() is not None]
    write_section(out, SECTION, [*lines, *([f"Not timed: {'; '.join(absent)}.", ""] if absent else [])])


def _dev_clips(data: str | os.PathLike[str], cache: str | os.PathLike[str] | None, workers: int, seed: int) -> list[Source]:
    """A sample of the clips of every corpus of the split ``dev``, sorted by corpus."""
    rows = genuine_rows(data, "dev")
    parts = [part.sample(min(N_DEV_CLIPS, len(part)), random_state=seed) for _, part in rows.groupby("corpus", sort=True)]
    clips = [clip for part in parts for clip in origins(part)]
    with tempfile.TemporaryDirectory() as temporary:
        tracks = Path(cache or temporary)
        known, _ = track_faces(clips, tracks, workers)
        return [load_origin(clip, tracks) for clip in clips if clip.path in known]


def _time(
    name: str, clips: list[Origin], known: Mapping[str, Facts], tracks: Path, folder: Path, seed: int, steps: Mapping[str, _Speed]
) -> _Speed:
    speed, warm = _Speed(), False
    decoding, postprocess = steps.values()
    for job in draw_plan(clips, known, (name,), 1, 0, seed):
        if not job.attempts:  # a genuine clip in place of one that the method cannot forge
            continue
        attempt = job.attempts[0]
        try:
            source, seconds = _timed(lambda job=job: load_origin(job.source, tracks))  # type: ignore[misc]
            donor = None if attempt.donor is None else load_origin(attempt.donor, tracks)
            forged, elapsed = _timed(lambda s=source, d=donor, job=job: forge_clip(name, s, d, job))  # type: ignore[misc]
        except CannotForge:
            continue
        if not warm:
            warm = True
            continue
        length = job.window.frames / FRAME_RATE
        speed.output.append(length)
        speed.elapsed.append(elapsed)
        decoding.output.append(source.length / FRAME_RATE)
        decoding.elapsed.append(seconds)
        _, elapsed = _timed(lambda m=forged, job=job: _write(folder, m.frames, m.waveform, job))  # type: ignore[misc]
        postprocess.output.append(length)
        postprocess.elapsed.append(elapsed)
        if len(speed.output) == N_CLIPS:
            break
    return speed


def _timed(function: Callable) -> tuple:
    began = time.perf_counter()
    return function(), time.perf_counter() - began


def _write(folder: Path, frames: np.ndarray | None, waveform: np.ndarray | None, job: Job) -> None:
    write_clip(folder / "clip.mp4", frames, waveform, None, job.postprocess)
