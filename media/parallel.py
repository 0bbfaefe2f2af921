"""A process pool: calls in worker processes, where an error or a crash costs one call alone."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from .clip import MediaError

AHEAD = 2  # calls for each worker that are submitted before their results are taken
PARENT_CHECK_SECONDS = 1.0  # how often a worker looks whether its parent process still runs

T = TypeVar("T")


class WorkerDied(RuntimeError):
    """The process that ran a call ended before the call returned."""


def run_parallel(
    function: Callable[..., T],
    calls: Iterable[tuple],
    workers: int,
    *,
    ordered: bool = False,
    start: Literal["spawn", "fork"] = "spawn",
) -> Generator[tuple[tuple, Future[T]], None, None]:
    """Call a function in worker processes and yield the finished calls.

    A call that raises, or that crashes its process, harms no other call. Workers use one thread each, write nothing to
    standard error, and end when their parent process is gone.

    Parameters
    ----------
    function : callable
        Can be pickled, as its arguments and results can.
    calls : iterable of tuple
        Arguments of every call. At most :data:`AHEAD` calls for each worker are taken before their results are yielded.
    workers : int
        Number of processes.
    ordered : bool
        Whether to yield in the order of ``calls``; otherwise in the order in which they finish.
    start : {"spawn", "fork"}
        How processes are started. A fork of a process that has used torch or mediapipe may hang if it uses them, too; a
        spawned process imports everything anew, which takes seconds.

    Yields
    ------
    arguments : tuple
    future : concurrent.futures.Future
        Finished: ``future.result()`` returns what the function returned, or raises what it raised, or :class:`WorkerDied`.
    """
    todo = iter(calls)
    pending: deque[tuple[tuple, Future[T]]] = deque()
    pool = _pool(workers, start)
    try:
        while True:
            for arguments in islice(todo, AHEAD * workers - len(pending)):
                pending.append((arguments, _submit(pool, function, arguments)))
            if not pending:
                return
            futures = [future for _, future in pending]
            wait(futures[:1] if ordered else futures, return_when=FIRST_COMPLETED)
            if any(map(_broken, futures)):
                # One call crashed its process, and with it the pool and all that was unfinished. Each of these is repeated alone.
                pool.shutdown()
                pending = deque((call, _run_alone(function, call, start) if _broken(future) else future) for call, future in pending)
                pool = _pool(workers, start)
            for _ in range(1 if ordered else len(pending)):
                call, future = pending.popleft()
                if future.done():
                    yield call, future
                else:
                    pending.append((call, future))
    finally:
        pool.shutdown(cancel_futures=True)


def make_files(
    jobs: Iterable[tuple],
    make: Callable[..., None],
    workers: int = 2,
    title: str = "preparing clips",
    *,
    start: Literal["spawn", "fork"] = "fork",
) -> list[str]:
    """Call ``make(source, target, ...)`` for every job whose target does not exist yet, in processes, with a progress bar.

    Parameters
    ----------
    jobs : iterable of tuple
        Arguments of ``make``; the second is the file it writes.
    make : callable
    workers : int
        Number of processes.
    title : str
        Of the progress bar.
    start : {"spawn", "fork"}
        See :func:`run_parallel`.

    Returns
    -------
    list of str
        One sentence for every job that failed.
    """
    from rich.progress import Progress

    todo = [job for job in jobs if not Path(job[1]).exists()]
    for folder in {Path(job[1]).parent for job in todo}:
        folder.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    with Progress() as progress, closing(run_parallel(make, todo, workers, start=start)) as calls:
        bar = progress.add_task(title, total=len(todo))
        for job, future in calls:
            try:
                future.result()
            except (MediaError, ValueError) as error:
                failures.append(str(error))
            except WorkerDied:
                failures.append(f"{job[1]}: the process that should make it died, perhaps for want of memory")
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")
            progress.advance(bar)
    return failures


def _pool(workers: int, start: str) -> ProcessPoolExecutor:
    context = multiprocessing.get_context(start)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_initialise, initargs=(os.getpid(), start))


def _submit(pool: ProcessPoolExecutor, function: Callable[..., T], arguments: tuple) -> Future[T]:
    try:
        return pool.submit(function, *arguments)
    except BrokenProcessPool as error:  # an earlier call crashed its process
        broken: Future[T] = Future()
        broken.set_exception(error)
        return broken


def _broken(future: Future[Any]) -> bool:
    return future.done() and isinstance(future.exception(), BrokenProcessPool)


def _run_alone(function: Callable[..., T], arguments: tuple, start: str) -> Future[T]:
    """A finished call in a pool of its own, so that a crash is its own, too."""
    with _pool(1, start) as pool:
        future = _submit(pool, function, arguments)
        wait([future])
    if _broken(future):
        future = Future()
        future.set_exception(WorkerDied("the process that ran the call died"))
    return future


def _initialise(parent: int, start: str) -> None:
    """Limit a worker to one thread, silence native libraries, which write into progress bars, and watch the parent process."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of torch, where it is not imported yet
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if start == "spawn":  # a fork would wait for the threads of its parent
        import cv2

        cv2.setNumThreads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=exit_with_parent, args=(parent,), daemon=True).start()


def exit_with_parent(parent: int) -> None:
    """End this process when its parent is gone: workers of a killed run would wait forever."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)
