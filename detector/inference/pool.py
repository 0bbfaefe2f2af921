"""Score files in worker processes on one machine; a process that crashes or hangs costs only the file that it was scoring."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from ..verdict import Verdict, error_verdict

STALL = 300.0  # seconds without a finished window after which a process is given up
MAX_AHEAD = 64  # finished verdicts per worker that may wait for an earlier file


class ModelUnavailable(RuntimeError):
    """The workers could not load the model."""


@dataclass
class _Worker:
    process: subprocess.Popen[str]
    messages: IO[str]  # its standard error
    job: tuple[int, str] | None = None
    since: float = field(default_factory=time.monotonic)
    ready: bool = False
    unread: bytes = b""  # an incomplete line

    def replies(self) -> list[dict[str, Any]] | None:
        """Messages of the process since the last call; None if it has ended.

        The descriptor is read directly: a buffered reader could read two lines and return one, and the selector would not
        report the other.
        """
        assert self.process.stdout is not None
        chunk = os.read(self.process.stdout.fileno(), 1 << 16)
        if not chunk:
            return None
        *lines, self.unread = (self.unread + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def last_output(self) -> str:
        """The last 2000 characters of its standard error."""
        self.messages.seek(0)
        return self.messages.read()[-2000:].strip()


def score_in_processes(
    paths: Iterable[str | os.PathLike[str]],
    workers: int,
    *,
    model: str = "small",
    device: str = "auto",
    modality: str = "auto",
    trim_silence: bool = False,
    zero_shot: bool = False,
    threshold: float | None = None,
    stall: float = STALL,
    on_progress: Callable[[str, float, float | None], None] | None = None,
) -> Iterator[Verdict]:
    """Score files in ``workers`` processes and yield one verdict per path, in order.

    Parameters
    ----------
    paths : iterable of path-like
    workers : int
        Number of processes; each gets an equal share of the cores.
    model, device, modality, trim_silence
        As for :func:`avwitness.load` and :meth:`avwitness.Detector.score`.
    zero_shot : bool
        Whether ``model`` is a folder for :func:`avwitness.detector.inference.zero_shot.load_zero_shot`.
    threshold : float, optional
        For zero-shot scoring.
    stall : float
        Seconds without progress after which a file is given up.
    on_progress : callable, optional
        Called with a path, the seconds done and the seconds in all, whenever a window is finished.

    Raises
    ------
    ModelUnavailable
        If the model cannot be loaded.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    settings = {"model": model, "device": device, "modality": modality, "threads": threads}
    settings |= {"trim_silence": trim_silence, "zero_shot": zero_shot, "threshold": threshold}
    jobs: Iterator[tuple[int, str]] = ((index, os.fspath(path)) for index, path in enumerate(paths))
    done: dict[int, Verdict] = {}
    processes: list[_Worker] = []
    selector = selectors.DefaultSelector()
    next_out, exhausted = 0, False

    def start() -> None:
        worker = _start(settings)
        selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
        processes.append(worker)

    def stop(worker: _Worker) -> None:
        selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        processes.remove(worker)
        _stop(worker)

    def assign(worker: _Worker) -> None:
        nonlocal exhausted
        if exhausted or worker.job is not None or not worker.ready or len(done) > MAX_AHEAD * workers:
            return
        job = next(jobs, None)
        if job is None:
            exhausted = True
            return
        worker.job, worker.since = job, time.monotonic()
        assert worker.process.stdin is not None
        try:
            worker.process.stdin.write(json.dumps(job[1]) + "\n")
            worker.process.stdin.flush()
        except BrokenPipeError:
            pass  # it died while idle, which the selector reports below

    def replace_worker(worker: _Worker, kind: str, cause: str) -> None:
        """Turn the job of a lost worker into an error verdict, and start another process."""
        output, job = worker.last_output(), worker.job
        stop(worker)
        if job is None:
            raise ModelUnavailable(f"a scoring process ended before it had work: {output or cause}")
        done[job[0]] = error_verdict(job[1], kind, f"{job[1]}: {cause}")
        if not exhausted:
            start()

    try:
        first = next(jobs, None)
        if first is None:
            return
        jobs = itertools.chain([first], jobs)
        for _ in range(workers):
            start()
        while True:
            while next_out in done:
                yield done.pop(next_out)
                next_out += 1
            for worker in processes:
                assign(worker)
            if exhausted and not done and all(worker.job is None for worker in processes):
                return
            for key, _ in selector.select(timeout=1.0):
                worker = key.data
                replies = worker.replies()
                if replies is None:
                    code = worker.process.wait()
                    cause = (
                        f"the process that scored it died (exit status {code}); the file is damaged in a way its decoder does not survive"
                    )
                    replace_worker(worker, "Crash", cause)
                    continue
                for message in replies:
                    if "failed" in message:
                        raise ModelUnavailable(message["message"])
                    if "ready" in message:
                        worker.ready = True
                    elif worker.job is None:
                        continue
                    elif "progress" in message:
                        worker.since = time.monotonic()
                        if on_progress is not None:
                            on_progress(worker.job[1], *message["progress"])
                    else:
                        done[worker.job[0]] = Verdict.from_dict(message["verdict"])
                        worker.job = None
            for worker in list(processes):
                if worker.job is not None and time.monotonic() - worker.since > stall:
                    worker.process.kill()
                    replace_worker(worker, "Timeout", f"made no progress for {stall:.0f} s and was given up")
    finally:
        for worker in list(processes):
            stop(worker)
        selector.close()


def _start(settings: dict[str, Any]) -> _Worker:
    messages = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed with the worker
    # -P: the working directory must not come first on the path, where a folder named like a library would replace it.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", f"{__package__}.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=messages,
        text=True,
        bufsize=1,
        env={**os.environ, "OMP_NUM_THREADS": str(settings["threads"])},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(settings) + "\n")
    process.stdin.flush()
    return _Worker(process, messages)


def _stop(worker: _Worker) -> None:
    process = worker.process
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    if worker.job is not None:
        process.kill()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
    worker.messages.close()
