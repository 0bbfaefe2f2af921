"""Many files on one machine: worker processes that may crash or hang without harming any file but their own."""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any

from ....media.files import MediaSource, source_name
from ...verdict import Verdict
from .worker import Job, ModelUnavailable, Shared, WorkerThread

__all__ = ["MAX_AHEAD", "STALL", "ModelUnavailable", "WorkerPool", "score_in_processes"]

STALL = 300.0  # seconds without a finished window after which a process is given up
MAX_AHEAD = 64  # finished verdicts per worker that may wait for an earlier file


class WorkerPool:
    """Processes that score files and keep their model until :meth:`close`.

    Its methods may be called from several threads. The processes start with the first file, or on entering the ``with`` block.

    Parameters
    ----------
    workers : int
        Processes; each gets an equal share of the cores.
    model, device
        As for :func:`avwitness.load`.
    zero_shot : bool
        Whether ``model`` is a folder for :func:`avwitness.detector.inference.zero_shot.load_zero_shot`, which ``threshold`` goes to.
    threshold : float, optional
    stall : float
        Seconds without progress after which a file is given up.
    """

    def __init__(
        self,
        workers: int,
        *,
        model: str = "small",
        device: str = "auto",
        zero_shot: bool = False,
        threshold: float | None = None,
        stall: float = STALL,
    ) -> None:
        if workers < 1:
            raise ValueError(f"{workers} workers: at least one process is needed")
        threads = max(1, (os.cpu_count() or 1) // workers)
        settings = {"model": model, "device": device, "threads": threads, "zero_shot": zero_shot, "threshold": threshold}
        self.workers = workers
        self._shared = Shared({**settings, "parent": os.getpid()}, stall)
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, self._shared.close)

    def __enter__(self) -> WorkerPool:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Start the processes, which load their model; does not wait for them."""
        with self._lock:
            if self._shared.closed.is_set():
                raise RuntimeError("the worker pool is closed")
            while len(self._shared.threads) < self.workers:
                thread = WorkerThread(self._shared)
                self._shared.threads.append(thread)
                thread.start()

    def close(self) -> None:
        """End the processes. Files that are being scored or wait are cancelled."""
        self._finalizer()

    def submit(
        self,
        source: MediaSource,
        *,
        timeout: float | None = None,
        on_progress: Callable[[float, float | None], None] | None = None,
        **options: Any,
    ) -> Future[Verdict]:
        """Score one file as soon as a process is free.

        Parameters
        ----------
        source : path-like, bytes or binary file object
            A file object is read in another thread, later: do not use it meanwhile.
        timeout : float, optional
            Seconds for its scoring, not counting the time it waits for a process; beyond, the verdict is an error of type ``Timeout``.
        on_progress : callable, optional
            Called in another thread with the seconds done and the seconds in all, after every window.
        **options
            Keyword arguments of :meth:`avwitness.Detector.score`.

        Returns
        -------
        concurrent.futures.Future
            Of the verdict. Cancelling it frees the process, whatever it is doing.

        Raises
        ------
        RuntimeError
            If the pool is closed.
        TypeError
            If the source is nothing of that kind.
        """
        source_name(source)
        self.start()
        job = Job(source, options, timeout, on_progress)
        self._shared.jobs.put(job)
        return job.future

    def score(
        self,
        sources: Iterable[MediaSource],
        *,
        timeout: float | None = None,
        on_progress: Callable[[str, float, float | None], None] | None = None,
        **options: Any,
    ) -> Generator[Verdict, None, None]:
        """Score files and yield one verdict per file, in order. Closing the generator frees the processes.

        Parameters
        ----------
        sources : iterable
            Of what :meth:`submit` takes. Read as processes become free.
        timeout : float, optional
            Seconds for each file.
        on_progress : callable, optional
            Called in this thread with a name, the seconds done and the seconds in all, whenever a window is finished.
        **options
            Keyword arguments of :meth:`avwitness.Detector.score`.

        Raises
        ------
        ModelUnavailable
            If the model cannot be loaded.
        """
        events: queue.SimpleQueue[tuple[str, float, float | None] | None] = queue.SimpleQueue()  # None: a file is finished
        todo, exhausted = iter(sources), False
        waiting = deque[Future[Verdict]]()  # those whose verdict was not yielded yet

        def submit() -> None:
            nonlocal exhausted
            while not exhausted and len(waiting) < MAX_AHEAD * self.workers and sum(not f.done() for f in waiting) < self.workers:
                try:
                    source = next(todo)
                except StopIteration:
                    exhausted = True
                    return
                name = source_name(source)
                future = self.submit(source, timeout=timeout, on_progress=partial(report, name), **options)
                future.add_done_callback(lambda _: events.put(None))
                waiting.append(future)

        def report(name: str, done: float, total: float | None) -> None:
            events.put((name, done, total))

        try:
            submit()
            while waiting:
                if waiting[0].done():
                    verdict = waiting.popleft().result()
                    submit()  # before the caller takes its time
                    yield verdict
                else:
                    event = events.get()
                    if event is not None and on_progress is not None:
                        on_progress(*event)
                submit()
        finally:
            for future in waiting:
                future.cancel()


def score_in_processes(
    paths: Iterable[MediaSource],
    workers: int,
    *,
    model: str = "small",
    device: str = "auto",
    zero_shot: bool = False,
    threshold: float | None = None,
    stall: float = STALL,
    timeout: float | None = None,
    on_progress: Callable[[str, float, float | None], None] | None = None,
    **options: Any,
) -> Generator[Verdict, None, None]:
    """Score files in ``workers`` processes of their own and yield one verdict per path, in order.

    Parameters are those of :class:`WorkerPool` and :meth:`WorkerPool.score`.

    Raises
    ------
    ModelUnavailable
        If the model cannot be loaded.
    """
    with WorkerPool(workers, model=model, device=device, zero_shot=zero_shot, threshold=threshold, stall=stall) as pool:
        yield from pool.score(paths, timeout=timeout, on_progress=on_progress, **options)
