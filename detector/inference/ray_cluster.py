"""Score files on a ray cluster; an actor that crashes or hangs costs only the file that it was scoring."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import textwrap
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, replace
from typing import Any

from ... import __version__
from ...media.clip import MAX_SECONDS
from ..scoring_options import scoring_options
from ..verdict import Verdict, error_verdict
from .processes.pool import MAX_AHEAD, STALL, ModelUnavailable
from .ray_actor import actor_class

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between two requests for the progress of an actor
START_WARNING = 60.0  # seconds without a started actor after which a warning is logged
MAX_FAILED_STARTS = 3  # actors in a row that may die while they load the model
CONNECT_TIMEOUT = 10.0  # seconds for a cluster to accept a connection
OBJECT_STORE = 128 * 1024**2  # bytes; verdicts are small, and the default is a third of the memory


class ClusterUnavailable(RuntimeError):
    """No cluster can be reached or started, or it lacks what scoring needs."""


@dataclass(frozen=True)
class _Job:
    index: int
    path: str
    retried: bool = False  # whether an actor was lost before it started on it


@dataclass
class _Actor:
    handle: Any
    result: Any  # reference to the result of its current call: loading the model, or a verdict
    node: str = ""  # set once the model is loaded
    job: _Job | None = None
    since: float = 0.0  # time of its last progress, on the clock of the scheduler
    poll: Any = None  # reference to its reply to the last request for progress
    polled: float = 0.0  # time of that request
    started: bool = False  # whether it replied while it had this job
    window: tuple[int, float, float | None] | None = None  # last reply: number of the file, seconds done, seconds in all

    def start(self, job: _Job, now: float) -> None:
        """Start a job; an outstanding reply on the previous one is dropped."""
        self.job, self.since, self.started, self.poll, self.polled = job, now, False, None, 0.0
        self.result = self.handle.score.remote(job.index, job.path)


def score_on_cluster(
    paths: Iterable[str | os.PathLike[str]],
    address: str | None = None,
    *,
    actors: int = 0,
    model: str = "small",
    device: str = "auto",
    modality: str = "auto",
    trim_silence: bool = False,
    audio_track: int | None = None,
    video_track: int | None = None,
    max_seconds: float = MAX_SECONDS,
    stall: float = STALL,
    on_progress: Callable[[str, float, float | None], None] | None = None,
) -> Iterator[Verdict]:
    """Score files on a ray cluster and yield one verdict per path, in order.

    Every node needs the same version of this package and access to the files (and to a model that is a folder) under the same paths
    as this machine; relative paths are resolved in the working directory here. A file that is missing on a node gives the verdict
    of status ``error`` that a missing file gives, with the node's name in its message. An actor that crashes or hangs costs the file
    that it was scoring, and is replaced.

    Parameters
    ----------
    paths : iterable of path-like
        Consumed as verdicts are taken, with a bounded look-ahead.
    address : str, optional
        ``auto``, ``host:port`` or ``ray://host:port`` of a cluster. Without it, one is started on this machine and shut down at the end.
        If this process is connected to a cluster already, that one is used and stays connected.
    actors : int
        Number of scoring processes, with one CPU each (and one GPU each on GPUs); 0 takes all of the cluster, but no more than
        ``len(paths)`` where that is known.
    model, modality, trim_silence, audio_track, video_track, max_seconds
        As for :func:`avwitness.load` and :meth:`avwitness.Detector.score`.
    device : str
        ``auto`` takes the GPUs of the cluster if it has any; ``cuda`` requires them; ``cpu``.
    stall : float
        Seconds without progress after which a file is given up (verdict of type ``Timeout``).
    on_progress : callable, optional
        Called with a path, the seconds done and the seconds in all; about once a second, for files that take longer than that.

    Raises
    ------
    ClusterUnavailable
        If ray is not installed, no cluster answers, it lacks the resources, or a node has another version of this package.
    ModelUnavailable
        If a node cannot load the model.
    """
    names = (os.fspath(path) for path in paths)
    jobs: Iterator[_Job] = (_Job(index, name) for index, name in enumerate(names))
    first = next(jobs, None)
    if first is None:
        return
    jobs = itertools.chain([first], jobs)
    with _connection(address, actors) as ray:
        on_gpu, count = _resources(ray, device, actors)
        if isinstance(paths, Sized):
            count = min(count, len(paths))
        settings = {
            "folder": os.getcwd(),
            "version": __version__,
            "model": model,
            "device": "cuda" if on_gpu else "cpu" if device == "auto" else device,  # ray shows a GPU actor its own GPU alone
            "scoring": scoring_options(modality, trim_silence, audio_track, video_track, max_seconds),
        }
        remote = actor_class(ray).options(num_cpus=1, num_gpus=int(on_gpu), max_restarts=0, max_task_retries=0)
        scheduler = _Scheduler(ray, lambda: remote.remote(settings), count, stall, on_progress)
        try:
            yield from scheduler.score(jobs)
        finally:
            scheduler.stop()


class _Scheduler:
    """Actors, their jobs, and finished verdicts."""

    def __init__(
        self,
        ray: Any,
        create: Callable[[], Any],
        size: int,
        stall: float,
        on_progress: Callable[[str, float, float | None], None] | None,
    ) -> None:
        self.ray, self.create, self.size, self.stall, self.on_progress = ray, create, size, stall, on_progress
        self.actors: list[_Actor] = []
        self.done: dict[int, Verdict] = {}
        self.retries: deque[_Job] = deque()
        self.exhausted = False
        self.failed_starts = 0
        self.paused = 0.0  # seconds spent in the caller, between verdicts and in ``on_progress``; they do not count as a stall

    def clock(self) -> float:
        return time.monotonic() - self.paused

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Stop the clock while the caller's code runs."""
        begun = time.monotonic()
        yield
        self.paused += time.monotonic() - begun

    def score(self, jobs: Iterator[_Job]) -> Iterator[Verdict]:
        for _ in range(self.size):
            self.start_actor()
        next_out, warn_at = 0, time.monotonic() + START_WARNING
        while True:
            while next_out in self.done:
                with self.pause():
                    yield self.done.pop(next_out)
                next_out += 1
            for actor in self.actors:
                self.assign(actor, jobs)
                self.request_progress(actor)
            if self.exhausted and not self.retries and not self.done and all(actor.job is None for actor in self.actors):
                return
            if time.monotonic() > warn_at and not any(actor.node for actor in self.actors):
                free = self.ray.available_resources()
                log.warning("no actor has started yet: %g CPUs and %g GPUs are free", free.get("CPU", 0), free.get("GPU", 0))
                warn_at = float("inf")
            pending = [reference for actor in self.actors for reference in (actor.result, actor.poll) if reference is not None]
            self.ray.wait(pending, timeout=POLL)
            ready = set(self.ray.wait(pending, num_returns=len(pending), timeout=0)[0])
            for actor in list(self.actors):
                if actor.poll in ready:
                    self.receive_progress(actor)
                if actor.result in ready:
                    self.receive_result(actor)
                elif actor.job is not None and self.clock() - actor.since > self.stall:
                    cause = f"made no progress for {self.stall:.0f} s on node {actor.node} and was given up"
                    self.fail(actor, actor.job, "Timeout", cause)

    def start_actor(self) -> None:
        handle = self.create()
        self.actors.append(_Actor(handle, handle.load.remote()))

    def assign(self, actor: _Actor, jobs: Iterator[_Job]) -> None:
        if not actor.node or actor.job is not None:
            return
        if self.retries:
            job: _Job | None = self.retries.popleft()
        elif self.exhausted or len(self.done) > MAX_AHEAD * self.size:
            return
        else:
            job = next(jobs, None)
        if job is None:
            self.exhausted = True
            return
        actor.start(job, self.clock())

    def request_progress(self, actor: _Actor) -> None:
        if actor.job is not None and actor.poll is None and time.monotonic() - actor.polled >= POLL:
            actor.poll, actor.polled = actor.handle.progress.remote(), time.monotonic()

    def receive_progress(self, actor: _Actor) -> None:
        reference, actor.poll = actor.poll, None
        try:
            window = self.ray.get(reference)
        except self.ray.exceptions.RayError:
            return  # its pending result carries the cause
        actor.started = True
        if actor.job is None or window is None or window[0] != actor.job.index or window == actor.window:
            return
        actor.window, actor.since = window, self.clock()
        if self.on_progress is not None:
            with self.pause():
                self.on_progress(actor.job.path, *window[1:])

    def receive_result(self, actor: _Actor) -> None:
        reference, actor.result = actor.result, None
        try:
            result = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            log.debug("%s", error)
            self.handle_death(actor, error)
            return
        if actor.job is None:
            _check(result)
            actor.node, self.failed_starts = result["node"], 0
        else:
            self.done[actor.job.index] = result
            actor.job = None

    def handle_death(self, actor: _Actor, error: Exception) -> None:
        job = actor.job
        out_of_memory = "its node ran out of memory" if isinstance(error, self.ray.exceptions.OutOfMemoryError) else ""
        if job is None:
            self.failed_starts += 1
            if self.failed_starts >= MAX_FAILED_STARTS:
                reason = out_of_memory or textwrap.shorten(str(error).strip().splitlines()[-1], 200)
                raise ModelUnavailable(f"{MAX_FAILED_STARTS} actors in a row died before they had loaded the model; the last one: {reason}")
            self.replace_actor(actor)
        elif not (actor.started or job.retried):
            # It may have died while it was idle: the file is not the cause, and is tried once more.
            self.retries.append(replace(job, retried=True))
            self.replace_actor(actor)
        else:
            likely = out_of_memory or "the file is damaged in a way its decoder does not survive, or the node failed"
            self.fail(actor, job, "Crash", f"the process that scored it on node {actor.node} died; {likely}")

    def fail(self, actor: _Actor, job: _Job, kind: str, cause: str) -> None:
        self.done[job.index] = error_verdict(job.path, kind, f"{job.path}: {cause}")
        self.replace_actor(actor)

    def replace_actor(self, actor: _Actor) -> None:
        """Kill an actor, and start another one if there are jobs left."""
        self.actors.remove(actor)
        self.ray.kill(actor.handle)
        if self.retries or not self.exhausted:
            self.start_actor()

    def stop(self) -> None:
        for actor in self.actors:
            self.ray.kill(actor.handle)


def _check(reply: dict[str, Any]) -> None:
    """Raise the error of an actor that could not load the model."""
    node, version = reply["node"], reply["version"]
    if version != __version__:
        there = f"has avwitness {version}" if version else "lacks avwitness"
        raise ClusterUnavailable(f"node {node} {there}, this machine has {__version__}: install the same version on every node")
    if reply["failure"] is not None:
        raise ModelUnavailable(f"{reply['failure']} (node {node})")


def _resources(ray: Any, device: str, actors: int) -> tuple[bool, int]:
    """Whether the actors score on GPUs, and their number."""
    resources = ray.cluster_resources()
    on_gpu = device.startswith("cuda") or (device == "auto" and resources.get("GPU", 0) >= 1)
    count = actors or int(resources.get("GPU" if on_gpu else "CPU", 0))
    if count < 1:
        remedy = "choose the device cpu, or name a number of actors if the cluster grows on demand"
        raise ClusterUnavailable(f"the cluster has no {'GPU' if on_gpu else 'CPU'}: {remedy}")
    return on_gpu, count


@contextlib.contextmanager
def _connection(address: str | None, actors: int) -> Iterator[Any]:
    """The module ``ray``, connected to a cluster inside of the context."""
    try:
        import ray
    except ImportError:
        raise ClusterUnavailable("scoring on a cluster needs ray: pip install avwitness[cluster]") from None
    if ray.is_initialized():
        here = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", here):
            raise ClusterUnavailable(f"{address}: this process is connected to another cluster ({here}); call ray.shutdown() first")
        yield ray
        return
    if address is not None:
        address = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
        _check_port(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        with _keep_sigterm():
            if address is None:
                ray.init("local", num_cpus=actors or None, include_dashboard=False, object_store_memory=OBJECT_STORE, **quiet)
            else:
                ray.init(address, **quiet)
    except Exception as error:  # ray raises whatever its parts raise
        raise ClusterUnavailable(f"{address or 'this machine'}: no ray cluster could be reached or started: {error}") from error
    # Ray prints reports of lost actors on standard output; this is the only switch for it, and it is private.
    console: Any = ray._private.worker
    before = getattr(console, "_worker_logs_enabled", True)
    console._worker_logs_enabled = False
    try:
        yield ray
    finally:
        ray.shutdown()
        console._worker_logs_enabled = before


def _check_port(address: str) -> None:
    """Raise if ``[ray://]host:port`` refuses connections; ray itself would retry for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return  # another form, which ray interprets
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT).close()
    except OSError as error:
        raise ClusterUnavailable(f"{address}: no ray cluster answers there ({error.strerror or error})") from None


@contextlib.contextmanager
def _keep_sigterm() -> Iterator[None]:
    """Restore the handler of SIGTERM, which ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield  # ray sets no handler there
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None:  # None: it was not set from Python and cannot be restored
            signal.signal(signal.SIGTERM, handler)
