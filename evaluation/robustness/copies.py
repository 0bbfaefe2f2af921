"""Degraded copies of clips, made by processes a few ahead of whoever reads them, so that a disk never holds more than those."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...media.clip import MediaError
from ...media.parallel import WorkerDied, run_parallel
from ...media.windows import read_clip
from .conditions import CONTROL, ORIGINAL, Condition

VOICE_SECONDS = 10.0  # of every voice that talks over a clip
SUFFIX = ".mkv"  # Matroska holds what every codec in use here writes

Key = tuple[str, str]  # content and condition: what is scored once


@dataclass(frozen=True)
class Job:
    """One clip in one condition.

    Parameters
    ----------
    content : str
        SHA-256 of the source.
    source : str
        File.
    condition : Condition
    seed : int
        Of what the degradation draws.
    voices : tuple of str
        Files in which other people speak.
    """

    content: str
    source: str
    condition: Condition
    seed: int
    voices: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """Content and condition."""
        return self.content, self.condition.name


@dataclass(frozen=True)
class Copy:
    """What came of a job: a file, or a sentence on why there is none."""

    job: Job
    file: Path | None
    failure: str = ""

    def discard(self) -> None:
        """Delete the file, unless it is the source itself."""
        if self.file is not None and self.job.condition.kind != ORIGINAL:
            shutil.rmtree(self.file.parent, ignore_errors=True)


def copies(jobs: Iterable[Job], folder: Path, workers: int) -> Generator[Copy, None, None]:
    """Degrade clips in processes, and yield a copy of each in order.

    Parameters
    ----------
    jobs : iterable of Job
        At most :data:`avwitness.media.parallel.AHEAD` for each process are consumed before their copies are yielded.
    folder : Path
        Holds the copies, each in a folder of its own; the caller discards them.
    workers : int
        Processes. One that a file crashes costs that file alone.

    Raises
    ------
    OSError
        If the disk is full: every other copy would fail, too.
    """
    calls = run_parallel(make_copy, ((job, folder / str(number)) for number, job in enumerate(jobs)), workers, ordered=True)
    with closing(calls):
        for (job, target), future in calls:
            try:
                yield future.result()
            except WorkerDied:
                shutil.rmtree(target, ignore_errors=True)
                failure = f"{job.source}: the process that degraded it died; the file is damaged in a way its decoder does not survive"
                yield Copy(job, None, failure)


def make_copy(job: Job, folder: Path) -> Copy:
    """Degrade one clip; whatever is wrong with it becomes a sentence.

    Raises
    ------
    OSError
        If the disk is full.
    """
    from .degradations.degrade import degrade
    from .degradations.registry import DEGRADATIONS

    kind, severity = job.condition.kind, job.condition.severity or 0.0
    if kind == ORIGINAL:
        return Copy(job, Path(job.source))
    degradation = None if kind == CONTROL else DEGRADATIONS[kind]
    try:
        voices = _voices(job) if degradation is not None and degradation.needs_voices else []
        folder.mkdir(parents=True, exist_ok=True)
        return Copy(job, degrade(Path(job.source), folder / f"copy{SUFFIX}", degradation, severity, voices, job.seed))
    except Exception as error:  # one bad input never harms another
        shutil.rmtree(folder, ignore_errors=True)
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise OSError(errno.ENOSPC, "no space is left for degraded copies; name a larger disk in TMPDIR", str(folder.parent)) from None
        told = isinstance(error, (MediaError, ValueError))  # in a sentence that names the file
        return Copy(job, None, str(error) if told else f"{job.source}: cannot be degraded ({type(error).__name__}: {error})")


def _voices(job: Job) -> list[np.ndarray]:
    heard = [voice for voice in map(_voice, job.voices) if voice is not None]
    if not heard:
        raise MediaError(job.source, "none of the voices that were to talk over it can be read")
    return heard


@lru_cache(maxsize=64)  # 640 kB each
def _voice(file: str) -> np.ndarray | None:
    """The beginning of a sound, float32 [S] at 16 kHz; ``None`` where it cannot be read."""
    try:
        return read_clip(file, video=False, max_seconds=VOICE_SECONDS).waveform
    except MediaError:
        return None
