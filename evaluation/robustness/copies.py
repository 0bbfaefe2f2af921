"""Degraded copies of clips, made by processes a few ahead of whoever reads them, so that a disk never holds more than those."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from ...media.clip import MediaError
from ...media.windows import read_clip
from .conditions import CONTROL, ORIGINAL, Condition

AHEAD = 2  # copies, for each process, that may wait to be read
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
        Consumed a few ahead of what is asked for.
    folder : Path
        Holds the copies, each in a folder of its own; the caller discards them.
    workers : int
        Processes. One that a file crashes costs that file alone.

    Raises
    ------
    OSError
        If the disk is full: every other copy would fail, too.
    """
    todo = enumerate(jobs)
    waiting: deque[tuple[int, Job, Future[Copy]]] = deque()
    pool = _crew(workers)
    try:
        while True:
            waiting.extend(
                (number, job, _begun(pool, job, folder / str(number))) for number, job in islice(todo, AHEAD * workers - len(waiting))
            )
            if not waiting:
                return
            number, job, future = waiting.popleft()
            try:
                made = future.result()
            except BrokenProcessPool:
                # Some file killed its process, and with it the pool. Alone with one, a process says whether it was this.
                pool.shutdown()
                made = _alone(job, folder / str(number))
                pool = _crew(workers)
                waiting = deque((n, j, f if _finished(f) else _begun(pool, j, folder / str(n))) for n, j, f in waiting)
            yield made
    finally:
        pool.shutdown(cancel_futures=True)


def _begun(pool: ProcessPoolExecutor, job: Job, folder: Path) -> Future[Copy]:
    if job.condition.kind == ORIGINAL:
        original: Future[Copy] = Future()
        original.set_result(Copy(job, Path(job.source)))
        return original
    try:
        return pool.submit(make_copy, job, folder)
    except BrokenProcessPool as error:  # it broke over an earlier job, whose turn comes first
        broken: Future[Copy] = Future()
        broken.set_exception(error)
        return broken


def _finished(future: Future[Copy]) -> bool:
    return future.done() and future.exception() is None


def _alone(job: Job, folder: Path) -> Copy:
    with _crew(1) as pool:
        try:
            return pool.submit(make_copy, job, folder).result()
        except BrokenProcessPool:
            shutil.rmtree(folder, ignore_errors=True)
            return Copy(
                job, None, f"{job.source}: the process that degraded it died; the file is damaged in a way its decoder does not survive"
            )


def _crew(workers: int) -> ProcessPoolExecutor:
    # A forked copy of a process that has used torch or mediapipe may hang.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_settle)


def _settle() -> None:
    """One thread, no messages of native libraries, an interrupt left to the parent, and an end when the parent is gone."""
    import cv2

    cv2.setNumThreads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


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
