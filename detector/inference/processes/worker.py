"""The thread that sends files to a scoring process, as JSON lines, and replaces the process where it fails."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future, InvalidStateError
from dataclasses import dataclass, field
from typing import IO, Any

from ....media.files import MediaSource, as_file, source_name
from ...verdict import Verdict, error_verdict, renamed

PROGRAM = "avwitness.detector.inference.worker_process"  # module that a scoring process runs
LOADING = 600.0  # seconds in which a process must have loaded the model
POLL = 0.1  # seconds between two looks whether a file was cancelled or took too long

CRASH = "the process that scored it died (exit status {code}); the file is damaged in a way its decoder does not survive"


class ModelUnavailable(RuntimeError):
    """The workers could not load the model."""


@dataclass(eq=False)
class Job:
    """One file to score.

    Attributes
    ----------
    source : MediaSource
        Path, bytes or binary file object.
    options : dict
        Keyword arguments of :meth:`avwitness.Detector.score`.
    timeout : float or None
        Seconds from the start of its scoring after which it is given up.
    on_progress : callable, optional
        Called in the thread of the worker with the seconds done and the seconds in all, after every window.
    future : concurrent.futures.Future
        Of the verdict. It may be cancelled at any time, also while the file is being scored.
    """

    source: MediaSource
    options: dict[str, Any]
    timeout: float | None = None
    on_progress: Callable[[float, float | None], None] | None = None
    future: Future[Verdict] = field(default_factory=Future)

    def finish(self, verdict: Verdict | None = None, error: BaseException | None = None) -> None:
        """Set the result, unless the job was cancelled."""
        with contextlib.suppress(InvalidStateError):
            if error is None and verdict is not None:
                self.future.set_result(verdict)
            else:
                self.future.set_exception(error)


class Shared:
    """What a pool shares with its threads, which must not keep the pool itself alive.

    Parameters
    ----------
    settings : dict
        What the processes load, see :mod:`avwitness.detector.inference.worker`.
    stall : float
        Seconds without progress after which a file is given up.
    """

    def __init__(self, settings: dict[str, Any], stall: float) -> None:
        self.settings, self.stall, self.pid = settings, stall, os.getpid()
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.closed = threading.Event()
        self.threads: list[WorkerThread] = []

    def close(self) -> None:
        """End the threads and their processes, and cancel what waits."""
        if os.getpid() != self.pid:  # a fork must not end the processes of its parent
            return
        self.closed.set()
        for _ in self.threads:
            self.jobs.put(None)
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join()
        with contextlib.suppress(queue.Empty):
            while True:
                job = self.jobs.get_nowait()
                if job is not None:
                    job.future.cancel()


class WorkerThread(threading.Thread):
    """A thread that hands files to one process, and replaces the process where it dies or is given up."""

    process: subprocess.Popen[bytes] | None = None

    def __init__(self, shared: Shared) -> None:
        super().__init__(daemon=True, name="avwitness-worker")
        self.shared = shared
        self.messages: IO[str] | None = None  # what the libraries inside print
        self.ready = False

    def run(self) -> None:
        try:
            while True:
                with contextlib.suppress(OSError):  # reported with the next file, which tries again
                    self.start_process()
                job = self.shared.jobs.get()
                if job is None:
                    return
                try:
                    if not job.future.cancelled():
                        job.finish(self.score(job))
                except CancelledError:
                    job.future.cancel()
                except BaseException as error:
                    job.finish(error=error)
                del job
        finally:
            self.stop_process()

    def score(self, job: Job) -> Verdict:
        """Have the process score one file."""
        name = source_name(job.source)
        try:
            with as_file(job.source) as path:
                self.wait_until_ready(job)
                return renamed(self.answer(job, path), path, name)
        except (OSError, ValueError) as error:
            return error_verdict(name, type(error).__name__, f"{name}: could not be handed to a worker process: {error}")

    def answer(self, job: Job, path: str) -> Verdict:
        """The verdict of the process, or an error verdict where it dies or is given up."""
        assert self.process is not None and self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # where it died idle, the end of its output says so below
            self.process.stdin.write(json.dumps({"path": path, "options": job.options}).encode() + b"\n")
        begun = progress = time.monotonic()
        for message in self.replies(job):
            if message is None:
                now = time.monotonic()
                if job.timeout is not None and now - begun > job.timeout:
                    return self.give_up(path, f"took longer than {job.timeout:g} s and was given up")
                if now - progress > self.shared.stall:
                    return self.give_up(path, f"made no progress for {self.shared.stall:.0f} s and was given up")
            elif "progress" in message:
                progress = time.monotonic()
                if job.on_progress is not None:
                    job.on_progress(*message["progress"])
            elif "verdict" in message:
                return Verdict.from_dict(message["verdict"])
        code = self.process.wait()
        self.stop_process()
        return error_verdict(path, "Crash", f"{path}: {CRASH.format(code=code)}")

    def give_up(self, path: str, cause: str) -> Verdict:
        self.stop_process()
        return error_verdict(path, "Timeout", f"{path}: {cause}")

    def wait_until_ready(self, job: Job) -> None:
        """Wait until a process has loaded the model.

        Raises
        ------
        ModelUnavailable
            If it cannot, takes too long or dies.
        """
        if self.process is not None and self.process.poll() is not None and self.ready:
            self.stop_process()  # it died between two files, which is not this file's fault
        self.start_process()
        if self.ready:
            return
        begun, cause = time.monotonic(), "it printed nothing"
        for message in self.replies(job):
            if message is None and time.monotonic() - begun > LOADING:
                cause = f"the model was not loaded within {LOADING:.0f} s"
                break
            if message is not None and "failed" in message:
                self.stop_process()
                raise ModelUnavailable(message["message"])
            if message is not None:
                self.ready = True
                return
        words = self.last_words()
        self.stop_process()
        raise ModelUnavailable(f"a scoring process ended before it had work: {words or cause}")

    def replies(self, job: Job) -> Generator[dict[str, Any] | None, None, None]:
        """The messages of the process until it ends, and ``None`` every :data:`POLL` seconds or more often.

        Raises
        ------
        concurrent.futures.CancelledError
            If the job was cancelled or the pool closed; the process is ended.
        """
        assert self.process is not None and self.process.stdout is not None
        descriptor, unread = self.process.stdout.fileno(), b""
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        while True:
            if job.future.cancelled() or self.shared.closed.is_set():
                self.stop_process()
                raise CancelledError
            if poller.poll(POLL * 1000):
                chunk = os.read(descriptor, 1 << 16)
                if not chunk:
                    return
                *lines, unread = (unread + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)
            yield None

    def last_words(self) -> str:
        """The end of what the process printed before it died."""
        if self.messages is None:
            return ""
        self.messages.seek(0)
        return self.messages.read()[-2000:].strip()

    def start_process(self) -> None:
        if self.process is not None or self.shared.closed.is_set():
            return
        self.ready = False
        self.messages = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed with the process
        # -P: the working directory must not come first on the path, where a folder named like a library would replace it.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.messages,
            bufsize=0,
            env={**os.environ, "OMP_NUM_THREADS": str(self.shared.settings["threads"])},
        )
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(self.shared.settings).encode() + b"\n")

    def stop_process(self) -> None:
        """End the process."""
        process, self.process = self.process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()
        if self.messages is not None:
            self.messages.close()
            self.messages = None
