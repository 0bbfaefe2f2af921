"""Media that is decoded in child processes, which may crash or exceed their limits without harm to this process.

A child decodes one stream of one file at a time and is used again afterwards, so a process that scores files one by one starts two.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..clip import MAX_PIXELS, Damage, MediaError, MediaInfo, PacketStatistics, TimedFrame
from .child import CPU_SECONDS, info_from
from .containers import MediaFile
from .messages import CANCEL, JOB, ProtocolError, receive, receive_bytes, send

STALL = 300.0  # seconds without an answer after which a child is stopped
BUFFER = 4 << 20  # bytes that a child may send before they are taken: a few frames
MAX_IDLE = 4  # children that are kept
START = "import sys; sys.path.append({root!r}); from {package}.child import main; main({descriptor})"


class _Child:
    """One child process and this process's end of the socket."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.connection, theirs = socket.socketpair()
        with contextlib.suppress(OSError):
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self.connection.settimeout(STALL)
        messages: IO[bytes]
        with theirs, tempfile.TemporaryFile() as messages:
            code = START.format(root=str(Path(__file__).parents[3]), package=__package__, descriptor=theirs.fileno())
            # -P: the working directory must not come first on the path, where a folder named like a library would replace it.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
            )
            theirs.close()
            try:
                receive(self.connection)
            except (EOFError, OSError):
                self.stop()
                messages.seek(0)
                reason = messages.read()[-2000:].decode(errors="replace").strip()
                raise RuntimeError(f"the process that decodes media could not be started: {reason or 'no reason given'}") from None

    def request(self, job: dict[str, Any], file: MediaFile) -> None:
        """Send a job and the file's descriptor."""
        socket.send_fds(self.connection, [JOB], [file.descriptor])
        send(self.connection, {**job, "path": file.path})

    def drain(self) -> bool:
        """Cancel the job; whether the child can be used again."""
        try:
            self.connection.sendall(CANCEL)
            while True:
                header, size = receive(self.connection)
                if "end" in header or "error" in header:
                    return True
                while size:
                    size -= len(receive_bytes(self.connection, min(size, BUFFER)))
        except (EOFError, OSError, ProtocolError):
            return False

    def stop(self) -> None:
        """End the process."""
        self.connection.close()
        if self.owner != os.getpid():
            return
        self.process.kill()
        self.process.wait()

    def cause(self) -> str:
        """Why the child ended, in a sentence."""
        try:
            code = self.process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            return "the process that decoded it stopped to answer"
        if code == -signal.SIGXCPU:
            return f"takes more than {CPU_SECONDS} s of processor time for a single frame: damaged or made to do so"
        if code == -signal.SIGKILL:
            return "the process that decoded it was killed, perhaps for want of memory"
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return f"crashes the decoder ({name}): damaged or made to do so"


_idle: list[_Child] = []
_lock = threading.Lock()


def _acquire() -> _Child:
    while True:
        with _lock:
            child = _idle.pop() if _idle else None
        if child is None:
            return _Child()
        if child.process.poll() is None:
            return child
        child.stop()


def _release(child: _Child) -> None:
    with _lock:
        if len(_idle) < MAX_IDLE:
            _idle.append(child)
            return
    child.stop()


def _forget() -> None:
    """A forked process shares the sockets with its parent process and must not use them."""
    global _lock
    _lock = threading.Lock()
    for child in _idle:
        child.connection.close()
    _idle.clear()


def stop_children() -> None:
    """End all children that wait for a job."""
    with _lock:
        children, _idle[:] = list(_idle), []
    for child in children:
        child.stop()


os.register_at_fork(after_in_child=_forget)
atexit.register(stop_children)


def _messages(job: dict[str, Any], file: MediaFile) -> Generator[tuple[dict[str, Any], np.ndarray], None, None]:
    """Run a job and yield its messages up to and including the last one."""
    child = _acquire()
    finished = stalled = False
    try:
        child.request(job, file)
        while not finished:
            header, size = receive(child.connection)
            if "error" in header:
                finished = True
                raise MediaError(file.path, str(header["error"]))
            finished = "end" in header or "info" in header
            shape = header.get("shape")
            expected = 0 if finished else 4 * int(header["samples"]) if shape is None else 3 * int(shape[0]) * int(shape[1])
            if size != expected or not 0 <= size <= 3 * MAX_PIXELS:
                raise ProtocolError("a message of impossible length")
            yield header, receive_bytes(child.connection, size)
    except TimeoutError:
        stalled = True
        raise MediaError(file.path, f"the process that decoded it gave no answer for {STALL:.0f} s and was stopped") from None
    except (EOFError, OSError):
        raise MediaError(file.path, child.cause()) from None
    except (ProtocolError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise MediaError(file.path, f"the process that decoded it sent what is no answer ({error}): damaged or made to do so") from error
    finally:
        if child.owner == os.getpid() and (finished or (not stalled and child.drain())):
            _release(child)
        else:
            child.stop()
        file.close()


def probe_in_child(path: str | os.PathLike[str], video_track: int | None, audio_track: int | None) -> MediaInfo:
    """See :func:`avwitness.media.probe.probe`."""
    file = MediaFile.open(path)
    (message,) = _messages({"job": "probe", "video_track": video_track, "audio_track": audio_track}, file)
    return info_from({**message[0]["info"], "path": os.fspath(path)})


def _job(kind: str, info: MediaInfo, **options: Any) -> dict[str, Any]:
    return {"job": kind, "info": {**asdict(info), "path": os.fspath(info.path)}, **options}


def _count(damage: Damage, values: dict[str, Any]) -> None:
    damage.packets, damage.broken, damage.end = int(values["packets"]), int(values["broken"]), float(values["end"])
    damage.channels = [int(channel) for channel in values["channels"]]


def frames_in_child(info: MediaInfo, damage: Damage, long_side: int, reader: str, max_seconds: float) -> Generator[TimedFrame, None, None]:
    """See :func:`avwitness.media.decode.stream_frames`."""
    job = _job("frames", info, long_side=long_side, reader=reader, max_seconds=max_seconds)
    with contextlib.closing(_messages(job, MediaFile.open(info.path))) as messages:
        for header, data in messages:
            _count(damage, header["damage"])
            if "end" not in header:
                yield float(header["time"]), data.reshape(*header["shape"], 3)


def packets_in_child(info: MediaInfo) -> dict[str, PacketStatistics]:
    """See :func:`avwitness.media.decode.packet_statistics`."""
    (message,) = _messages(_job("packets", info), MediaFile.open(info.path))
    return {kind: PacketStatistics(**values) for kind, values in message[0]["info"].items()}


def samples_in_child(
    info: MediaInfo, damage: Damage, max_seconds: float, channel: int | None, native: bool
) -> Generator[np.ndarray, None, None]:
    """See :func:`avwitness.media.decode.stream_samples`."""
    job = _job("samples", info, max_seconds=max_seconds, channel=channel, native=native)
    with contextlib.closing(_messages(job, MediaFile.open(info.path))) as messages:
        for header, data in messages:
            _count(damage, header["damage"])
            if "end" not in header:
                yield data.view(np.float32)
