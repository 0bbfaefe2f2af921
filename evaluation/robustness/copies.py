"""Degraded copies of clips, made by a process pool a few ahead of their reader, so that few of them are on disk at once."""

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

VOICE_SECONDS = 10.0  # of every voice that is mixed into a clip
SUFFIX = ".mkv"  # Matroska holds every codec in use here

Key = tuple[str, str]  # content and condition, which identify a copy


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
        Of random degradations.
    voices : tuple of str
        Files with the speech of other people.
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
    """Result of a job: a file, or a sentence on why there is none."""

    job: Job
    file: Path | None
    failure: str = ""

    def discard(self) -> None:
        """Delete the file, unless it is the source itself."""
        if self.file is not None and self.job.condition.kind != ORIGINAL:
            shutil.rmtree(self.file.parent, ignore_errors=True)


def make_copies(jobs: Iterable[Job], folder: Path, workers: int) -> Generator[Copy, None, None]:
    """Degrade clips in a process pool, and yield a copy of each in order.

    Parameters
    ----------
    jobs : iterable of Job
        At most :data:`avwitness.media.parallel.AHEAD` for each process are consumed before their copies are yielded.
    folder : Path
        Holds the copies, each in a folder of its own; the caller deletes them with :meth:`Copy.discard`.
    workers : int
        Processes. If a file crashes its process, only that file fails.

    Raises
    ------
    OSError
        If the disk is full.
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
    """Degrade one clip; an error becomes the ``failure`` of the copy.

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
    except Exception as error:  # an input that fails must not stop the others
        shutil.rmtree(folder, ignore_errors=True)
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise OSError(errno.ENOSPC, "no space is left for degraded copies; name a larger disk in TMPDIR", str(folder.parent)) from None
        complete = isinstance(error, (MediaError, ValueError))  # their messages name the file
        return Copy(job, None, str(error) if complete else f"{job.source}: cannot be degraded ({type(error).__name__}: {error})")


def _voices(job: Job) -> list[np.ndarray]:
    found = [voice for voice in map(_voice, job.voices) if voice is not None]
    if not found:
        raise MediaError(job.source, "none of the voices to be mixed into it can be read")
    return found


@lru_cache(maxsize=64)  # 640 kB each
def _voice(file: str) -> np.ndarray | None:
    """The beginning of an audio stream, float32 [S] at 16 kHz; ``None`` where it cannot be read."""
    try:
        return read_clip(file, video=False, max_seconds=VOICE_SECONDS).waveform
    except MediaError:
        return None
