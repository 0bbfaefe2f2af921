"""Many files on many machines: a ray cluster whose actors may crash or hang without harming any file but their own."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
import textwrap
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, replace
from typing import Any

from ... import __version__
from ..verdict import Verdict, error_verdict
from .pool import AHEAD, STALL, ModelUnavailable

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between two questions to a busy actor how far it is
PATIENCE = 60.0  # seconds without any actor after which the log says why
STARTS = 3  # actors in a row that may die while they load the model
KNOCK = 10.0  # seconds for a cluster to accept a connection
OBJECT_STORE = 128 * 1024**2  # bytes; verdicts are small, and the default is a third of the memory


class ClusterUnavailable(RuntimeError):
    """There is no cluster, or it cannot score."""


@dataclass(frozen=True)
class _Job:
    index: int
    path: str
    again: bool = False  # whether an actor was lost before it could begin


@dataclass
class _Actor:
    handle: Any
    answer: Any  # reference to what it was asked last: to load the model, or for a verdict
    node: str = ""  # where it runs, once it is ready
    job: _Job | None = None
    since: float = 0.0  # when it was last seen to get on, on the clock of the crew
    poll: Any = None  # reference to its next word on progress
    asked: float = 0.0  # when it was asked for that
    begun: bool = False  # whether it was seen alive with this job
    window: tuple[int, float, float | None] | None = None  # that word: number of the file, seconds done, seconds in all

    def take(self, job: _Job, now: float) -> None:
        """Begin a job; a word on the last one that is still to come is no longer waited for."""
        self.job, self.since, self.begun, self.poll, self.asked = job, now, False, None, 0.0
        self.answer = self.handle.score.remote(job.index, job.path)


def score_on_cluster(
    paths: Iterable[str | os.PathLike[str]],
    address: str | None = None,
    *,
    actors: int = 0,
    model: str = "small",
    device: str = "auto",
    modality: str = "auto",
    trim_silence: bool = False,
    stall: float = STALL,
    on_progress: Callable[[str, float, float | None], None] | None = None,
) -> Iterator[Verdict]:
    """Score files on a ray cluster and yield one verdict per path, in order.

    Every node needs the same version of this package, and sees the files (and a model that is a folder) under the same
    paths as this machine; relative paths count from the working directory here. A file that a node does not see gives the verdict
    of status ``error`` that a missing file gives, with the node's name in it. An actor that crashes or hangs costs the file it was
    at, and a new one takes its place.

    Parameters
    ----------
    paths : iterable of path-like
        Read as verdicts are taken, never far ahead.
    address : str, optional
        ``auto``, ``host:port`` or ``ray://host:port`` of a cluster. Without it, one is started on this machine and shut down at the end.
        Where this process is connected to a cluster already, that one is used and left as it is.
    actors : int
        Processes that score, of one CPU each, and of one GPU each where they score on GPUs; 0 takes all that the cluster has, but
        never more than there are files, where ``len(paths)`` tells.
    model, modality, trim_silence
        As for :func:`avwitness.load` and :meth:`avwitness.Detector.score`.
    device : str
        ``auto`` takes the GPUs of the cluster, if it has any; ``cuda`` insists on them; ``cpu``.
    stall : float
        Seconds without progress after which a file is given up.
    on_progress : callable, optional
        Called with a path, the seconds done and the seconds in all; about once a second, for files that take longer than that.

    Raises
    ------
    ClusterUnavailable
        If ray is not installed, no cluster answers, it lacks what was asked for, or a node has another version of this package.
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
        on_gpu, count = _shares(ray, device, actors)
        if isinstance(paths, Sized):
            count = min(count, len(paths))
        settings = {
            "folder": os.getcwd(),
            "version": __version__,
            "model": model,
            "device": "cuda" if on_gpu else "cpu" if device == "auto" else device,  # ray shows a GPU actor its own GPU alone
            "scoring": {"modality": modality, "trim_silence": trim_silence},
        }
        scorer = _scorer(ray).options(num_cpus=1, num_gpus=int(on_gpu), max_restarts=0, max_task_retries=0)
        crew = _Crew(ray, lambda: scorer.remote(settings), count, stall, on_progress)
        try:
            yield from crew.score(jobs)
        finally:
            crew.dismiss()


class _Crew:
    """The actors, what they are at, and what is done."""

    def __init__(
        self,
        ray: Any,
        start: Callable[[], Any],
        size: int,
        stall: float,
        on_progress: Callable[[str, float, float | None], None] | None,
    ) -> None:
        self.ray, self.start, self.size, self.stall, self.on_progress = ray, start, size, stall, on_progress
        self.actors: list[_Actor] = []
        self.done: dict[int, Verdict] = {}
        self.again: deque[_Job] = deque()
        self.exhausted = False
        self.failed_starts = 0
        self.away = 0.0  # seconds that the caller took between verdicts and in ``on_progress``; no actor stalls in them

    def clock(self) -> float:
        return time.monotonic() - self.away

    @contextlib.contextmanager
    def leave(self) -> Iterator[None]:
        """Stop the clock while the caller is at work."""
        left = time.monotonic()
        yield
        self.away += time.monotonic() - left

    def score(self, jobs: Iterator[_Job]) -> Iterator[Verdict]:
        for _ in range(self.size):
            self.hire()
        next_out, impatient = 0, time.monotonic() + PATIENCE
        while True:
            while next_out in self.done:
                with self.leave():
                    yield self.done.pop(next_out)
                next_out += 1
            for actor in self.actors:
                self.feed(actor, jobs)
                self.ask(actor)
            if self.exhausted and not self.again and not self.done and all(actor.job is None for actor in self.actors):
                return
            if time.monotonic() > impatient and not any(actor.node for actor in self.actors):
                free = self.ray.available_resources()
                log.warning("no actor has started yet: %g CPUs and %g GPUs are free", free.get("CPU", 0), free.get("GPU", 0))
                impatient = float("inf")
            owed = [reference for actor in self.actors for reference in (actor.answer, actor.poll) if reference is not None]
            self.ray.wait(owed, timeout=POLL)
            ready = set(self.ray.wait(owed, num_returns=len(owed), timeout=0)[0])
            for actor in list(self.actors):
                if actor.poll in ready:
                    self.hear_progress(actor)
                if actor.answer in ready:
                    self.hear_answer(actor)
                elif actor.job is not None and self.clock() - actor.since > self.stall:
                    cause = f"made no progress for {self.stall:.0f} s on node {actor.node} and was given up"
                    self.write_off(actor, actor.job, "Timeout", cause)

    def hire(self) -> None:
        handle = self.start()
        self.actors.append(_Actor(handle, handle.load.remote()))

    def feed(self, actor: _Actor, jobs: Iterator[_Job]) -> None:
        if not actor.node or actor.job is not None:
            return
        if self.again:
            job: _Job | None = self.again.popleft()
        elif self.exhausted or len(self.done) > AHEAD * self.size:
            return
        else:
            job = next(jobs, None)
        if job is None:
            self.exhausted = True
            return
        actor.take(job, self.clock())

    def ask(self, actor: _Actor) -> None:
        if actor.job is not None and actor.poll is None and time.monotonic() - actor.asked >= POLL:
            actor.poll, actor.asked = actor.handle.progress.remote(), time.monotonic()

    def hear_progress(self, actor: _Actor) -> None:
        reference, actor.poll = actor.poll, None
        try:
            window = self.ray.get(reference)
        except self.ray.exceptions.RayError:
            return  # the answer that it owes tells what happened
        actor.begun = True
        if actor.job is None or window is None or window[0] != actor.job.index or window == actor.window:
            return
        actor.window, actor.since = window, self.clock()
        if self.on_progress is not None:
            with self.leave():
                self.on_progress(actor.job.path, *window[1:])

    def hear_answer(self, actor: _Actor) -> None:
        reference, actor.answer = actor.answer, None
        try:
            answer = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            log.debug("%s", error)
            self.lose(actor, error)
            return
        if actor.job is None:
            _check(answer)
            actor.node, self.failed_starts = answer["node"], 0
        else:
            self.done[actor.job.index] = answer
            actor.job = None

    def lose(self, actor: _Actor, error: Exception) -> None:
        job = actor.job
        starved = "its node ran out of memory" if isinstance(error, self.ray.exceptions.OutOfMemoryError) else ""
        if job is None:
            self.failed_starts += 1
            if self.failed_starts >= STARTS:
                reason = starved or textwrap.shorten(str(error).strip().splitlines()[-1], 200)
                raise ModelUnavailable(f"{STARTS} actors in a row died before they had loaded the model; the last one: {reason}")
            self.change(actor)
        elif not (actor.begun or job.again):
            # It may have died long before, idle: that is not this file's fault.
            self.again.append(replace(job, again=True))
            self.change(actor)
        else:
            guess = starved or "the file is damaged in a way its decoder does not survive, or the node failed"
            self.write_off(actor, job, "Crash", f"the process that scored it on node {actor.node} died; {guess}")

    def write_off(self, actor: _Actor, job: _Job, kind: str, cause: str) -> None:
        self.done[job.index] = error_verdict(job.path, kind, f"{job.path}: {cause}")
        self.change(actor)

    def change(self, actor: _Actor) -> None:
        """Put a new actor in the place of this one, if there is work for it."""
        self.actors.remove(actor)
        self.ray.kill(actor.handle)
        if self.again or not self.exhausted:
            self.hire()

    def dismiss(self) -> None:
        for actor in self.actors:
            self.ray.kill(actor.handle)


def _check(answer: dict[str, Any]) -> None:
    """Raise what hinders an actor that was asked to load the model."""
    node, version = answer["node"], answer["version"]
    if version != __version__:
        there = f"has avwitness {version}" if version else "lacks avwitness"
        raise ClusterUnavailable(f"node {node} {there}, this machine has {__version__}: install the same version on every node")
    if answer["failure"] is not None:
        raise ModelUnavailable(f"{answer['failure']} (node {node})")


def _shares(ray: Any, device: str, actors: int) -> tuple[bool, int]:
    """Whether the actors score on GPUs, and how many there are."""
    resources = ray.cluster_resources()
    on_gpu = device.startswith("cuda") or (device == "auto" and resources.get("GPU", 0) >= 1)
    count = actors or int(resources.get("GPU" if on_gpu else "CPU", 0))
    if count < 1:
        cure = "choose the device cpu, or name a number of actors if the cluster grows on demand"
        raise ClusterUnavailable(f"the cluster has no {'GPU' if on_gpu else 'CPU'}: {cure}")
    return on_gpu, count


@contextlib.contextmanager
def _connection(address: str | None, actors: int) -> Iterator[Any]:
    """The module ``ray``, connected to a cluster for the time being."""
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
        _knock(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        with _own_sigterm():
            if address is None:
                ray.init("local", num_cpus=actors or None, include_dashboard=False, object_store_memory=OBJECT_STORE, **quiet)
            else:
                ray.init(address, **quiet)
    except Exception as error:  # ray raises whatever its parts raise
        raise ClusterUnavailable(f"{address or 'this machine'}: no ray cluster could be reached or started: {error}") from error
    # Ray prints on standard output what nodes report of lost actors; this is its only switch for that, and not a public one.
    console: Any = ray._private.worker
    before = getattr(console, "_worker_logs_enabled", True)
    console._worker_logs_enabled = False
    try:
        yield ray
    finally:
        ray.shutdown()
        console._worker_logs_enabled = before


def _knock(address: str) -> None:
    """Raise if nobody listens at ``[ray://]host:port``; ray itself would go on trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return  # not of that form: ray knows what it means
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()
    except OSError as error:
        raise ClusterUnavailable(f"{address}: no ray cluster answers there ({error.strerror or error})") from None


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what this process does on SIGTERM, which ray would change for good."""
    if threading.current_thread() is not threading.main_thread():
        yield  # ray leaves it alone
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None:  # else it was not set by Python, and cannot be either
            signal.signal(signal.SIGTERM, handler)


def _scorer(ray: Any) -> Any:
    """The actor's class.

    Defined in a function, its code travels to the nodes by value, and imports the package only there, and when it is told to: so a
    node that has another version, or none, can say so.
    """
    beside: Callable[[Any], Any] = ray.method(concurrency_group="progress")  # answered while a file is scored

    @ray.remote(concurrency_groups={"progress": 1})
    class Scorer:
        def __init__(self, settings: dict[str, Any]) -> None:
            self.settings = settings
            self.node = f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"
            self.detector: Any = None
            self.window: tuple[int, float, float | None] | None = None

        def load(self) -> dict[str, Any]:
            """Load the model; say where, with which version of the package, and what hinders."""
            folder, name = self.settings["folder"], self.settings["model"]
            answer: dict[str, Any] = {"node": self.node, "version": None, "failure": None}
            # Ray puts the caller's working directory first on the path, where a folder named like a library would replace it.
            with contextlib.suppress(ValueError):
                sys.path.remove(folder)
            try:
                from ... import __file__ as package
                from ... import __version__
            except ImportError:
                return answer
            home = os.path.dirname(package)
            sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != os.path.realpath(home)]
            answer["version"] = __version__
            if __version__ != self.settings["version"]:
                return answer
            try:
                import torch

                from ...checkpoints import list_weights
                from .detector import load

                torch.set_num_threads(int(ray.get_runtime_context().get_assigned_resources()["CPU"]))
                own = os.path.join(folder, name)
                known = name in list_weights("detector") or not os.path.isdir(own)
                self.detector = load(name if known else own, device=self.settings["device"])
            except Exception as error:  # told to the caller, who names it to the user
                answer["failure"] = str(error)
            return answer

        def score(self, index: int, path: str) -> Any:
            """The verdict on the file of that number."""

            def hook(done: float, total: float | None) -> None:
                self.window = (index, done, total)

            full = os.path.join(self.settings["folder"], path)
            verdict = self.detector.score_guarded(full, hook=hook, **self.settings["scoring"])
            verdict = replace(verdict, path=path)
            if verdict.error is not None and not os.access(full, os.R_OK):
                message = f"{verdict.error.message} (node {self.node})"
                verdict = replace(verdict, error=replace(verdict.error, message=message))
            return verdict

        @beside
        def progress(self) -> tuple[int, float, float | None] | None:
            """The number of the file that was judged last, the seconds done and the seconds in all."""
            return self.window

    return Scorer
