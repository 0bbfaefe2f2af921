"""Scoring of files, in this process or in worker processes: what every detector does in the same way."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from ...checkpoints import resolve_device
from ...media.clip import MAX_SECONDS, MediaError
from ...media.files import MediaSource, as_file, source_name
from ..scoring_options import scoring_options
from ..verdict import ModelInfo, Verdict, error_verdict, renamed
from ..weights_hash import weights_sha256
from .window_model import Hook, NonFiniteOutput

if TYPE_CHECKING:
    from .processes.pool import WorkerPool

log = logging.getLogger(__name__)

Self = TypeVar("Self", bound="FileScorer")


class FileScorer(ABC):
    """A detector that scores files.

    With ``workers``, files are scored in processes that keep their model from one call to the next, until :meth:`close` or the end of
    a ``with`` block. A process that was forked after the model was loaded scores in a worker process of its own, since the threads
    of the libraries do not survive a fork.

    Parameters
    ----------
    source : str
        Name or folder from which worker processes load the same detector.
    device : str
        ``auto``, ``cpu``, ``cuda``, ...
    workers : int
        Worker processes; 0 scores in this process.

    Attributes
    ----------
    info : ModelInfo
        Named in every verdict.
    device : torch.device
    """

    info: ModelInfo
    modalities: tuple[str, ...] = ("auto", "av", "audio", "video")
    modalities_reason: str = ""  # why there are fewer than these

    def __init__(self, source: str, device: str = "auto", workers: int = 0) -> None:
        if workers < 0:
            raise ValueError(f"{workers} workers: give the number of processes, or 0 to score in this one")
        self.device = torch.device(resolve_device(device))
        self.source, self.workers = source, workers
        self._pid = os.getpid()
        self._pools: dict[int, WorkerPool] = {}  # by process: a fork cannot use that of its parent

    def __enter__(self: Self) -> Self:
        if self.workers:
            self._pool().start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes, if there are any. The next call starts new ones."""
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.close()

    def __reduce__(self) -> tuple[Callable[..., FileScorer], tuple[object, ...]]:
        try:
            sha256 = weights_sha256(self._folder())
        except OSError as error:
            raise pickle.PicklingError(f"a detector is pickled as the name of its weights, and these are not found: {error}") from None
        if sha256 != self.info.sha256:
            raise pickle.PicklingError(f"a detector is pickled as the name of its weights, and {self.source} holds others than it has")
        return _load_again, (type(self), self._worker_settings(), self.workers, sha256)

    def score(
        self,
        path: MediaSource,
        *,
        modality: str = "auto",
        trim_silence: bool = False,
        hook: Hook | None = None,
        audio_track: int | None = None,
        video_track: int | None = None,
        max_seconds: float = MAX_SECONDS,
    ) -> Verdict:
        """Score one file.

        Parameters
        ----------
        path : path-like, bytes or binary file object
            A video or audio file. Bytes and file objects are copied to a private temporary file, which is removed afterwards; the
            verdict calls them ``<bytes>``, and by the name of the file object or ``<file>``.
        modality : {"auto", "av", "audio", "video"}
            What to score: whatever is there, both streams or nothing, or one stream. Zero-shot scoring compares both streams.
        trim_silence : bool
            Leave out both streams before the sound begins and after it ends, see :mod:`avwitness.media.silence`. Silence at the edges
            gives fakes of some published sets away, and says nothing about files from elsewhere.
        hook : callable, optional
            Called with the seconds done and the seconds in all after every window.
        audio_track, video_track : int, optional
            Index (as in ``Verdict.tracks``) of the only track of its type to score; otherwise all are scored, and the worst one decides.
        max_seconds : float
            Length above which a file is refused.

        Returns
        -------
        Verdict
            Of status ``error`` where the file cannot be read or the model outputs NaN or infinity; nothing is raised for it.

        Raises
        ------
        ValueError
            If there is no such modality.
        """
        self._check(modality)
        options = scoring_options(modality, trim_silence, audio_track, video_track, max_seconds)
        if self._scores_elsewhere():
            progress = None if hook is None else lambda name, done, total: hook(done, total)
            (verdict,) = self._pool().score([path], on_progress=progress, **options)
            return verdict
        name = source_name(path)
        with as_file(path) as file:
            try:
                verdict = self._score(file, **options, hook=hook)
            except (MediaError, NonFiniteOutput) as error:
                verdict = self._error_verdict(file, error)
        return renamed(verdict, file, name)

    async def ascore(
        self,
        path: MediaSource,
        *,
        modality: str = "auto",
        trim_silence: bool = False,
        timeout: float | None = None,
        audio_track: int | None = None,
        video_track: int | None = None,
        max_seconds: float = MAX_SECONDS,
    ) -> Verdict:
        """Score one file in a worker process, without blocking the event loop.

        Cancelling the call, as ``asyncio.timeout`` does, frees the process at once. A detector without ``workers`` starts one process.

        Parameters
        ----------
        path, modality, trim_silence, audio_track, video_track, max_seconds
            As for :meth:`score`.
        timeout : float, optional
            Seconds for the scoring, not counting the time that the file waits for a process; beyond, the verdict is an error of
            type ``Timeout``.

        Raises
        ------
        ValueError
            If there is no such modality.
        """
        self._check(modality)
        future = self._pool().submit(
            path, timeout=timeout, **scoring_options(modality, trim_silence, audio_track, video_track, max_seconds)
        )
        return await asyncio.wrap_future(future)

    def score_many(
        self,
        paths: Iterable[MediaSource],
        workers: int = 0,
        *,
        modality: str = "auto",
        trim_silence: bool = False,
        timeout: float | None = None,
        audio_track: int | None = None,
        video_track: int | None = None,
        max_seconds: float = MAX_SECONDS,
    ) -> Iterator[Verdict]:
        """Score many files.

        Parameters
        ----------
        paths : iterable
            Of what :meth:`score` takes.
        workers : int
            Processes for this call alone; 0 takes those of the detector, and this process where it has none. In processes even a
            decoder that crashes or hangs costs only its own file.
        modality, trim_silence, audio_track, video_track, max_seconds
            As for :meth:`score`.
        timeout : float, optional
            Seconds for each file; beyond, its verdict is an error of type ``Timeout``. Only a process can be stopped, so without
            ``workers`` one is started.

        Yields
        ------
        Verdict
            One for every input, in the order of the inputs. Closing the iterator frees the processes.
        """
        from .processes.pool import WorkerPool

        options = scoring_options(modality, trim_silence, audio_track, video_track, max_seconds)
        if workers > 0:
            with WorkerPool(workers, **self._worker_settings()) as pool:
                yield from pool.score(paths, timeout=timeout, **options)
        elif timeout is not None or self._scores_elsewhere():
            yield from self._pool().score(paths, timeout=timeout, **options)
        else:
            for path in paths:
                yield self.score_guarded(path, **options)

    def score_guarded(self, path: MediaSource, *, hook: Hook | None = None, **options: Any) -> Verdict:
        """As :meth:`score`, but every failure becomes a verdict of status ``error``: one bad input never harms another."""
        try:
            return self.score(path, hook=hook, **options)
        except Exception as error:  # whatever it is, it belongs to this file alone
            log.debug("%s", error, exc_info=True)
            name = source_name(path)
            return error_verdict(name, type(error).__name__, f"{name}: could not be scored: {error}", self.info)

    @abstractmethod
    def _score(self, path: str, *, modality: str, trim_silence: bool, hook: Hook | None, **options: Any) -> Verdict:
        """Score one file in this process; may raise ``MediaError`` and ``NonFiniteOutput``."""

    @classmethod
    @abstractmethod
    def _load(cls, model: str, device: str, workers: int, **options: Any) -> FileScorer:
        """Load a detector of this kind with the settings of :meth:`_worker_settings`."""

    @abstractmethod
    def _folder(self) -> Path:
        """The folder that ``source`` names."""

    def _check(self, modality: str) -> None:
        if modality not in self.modalities:
            raise ValueError(f"modality {modality!r} is none of {', '.join(self.modalities)}{self.modalities_reason}")

    def _scores_elsewhere(self) -> bool:
        """Whether files are scored in worker processes: on request, and in a fork of the process that loaded the model."""
        return self.workers > 0 or os.getpid() != self._pid

    def _pool(self) -> WorkerPool:
        """The worker processes of this process."""
        from .processes.pool import WorkerPool

        pid = os.getpid()
        if pid not in self._pools:  # of two threads that come here at once, the pool of one is dropped before it starts anything
            self._pools.setdefault(pid, WorkerPool(max(1, self.workers), **self._worker_settings()))
        return self._pools[pid]

    def _error_verdict(self, path: str, error: MediaError | NonFiniteOutput) -> Verdict:
        """The verdict of status ``error`` on a file that cannot be read, or for which the model outputs no finite numbers."""
        log.debug("%s", error, exc_info=True)
        if isinstance(error, MediaError):
            return error_verdict(path, "MediaError", str(error), self.info)
        return error_verdict(path, "NonFiniteOutput", f"{path}: {error}", self.info)

    def _worker_settings(self) -> dict[str, Any]:
        """What worker processes load, as :func:`avwitness.detector.inference.worker_process.load_detector` takes it."""
        return {"model": self.source, "device": str(self.device)}


def _load_again(kind: type[FileScorer], settings: dict[str, Any], workers: int, sha256: str) -> FileScorer:
    """Load a detector that was pickled.

    Raises
    ------
    ValueError
        If there are other weights under its name here.
    """
    detector = kind._load(**settings, workers=workers)
    if detector.info.sha256 != sha256:
        raise ValueError(f"{settings['model']}: holds other weights here than where the detector was pickled")
    return detector
